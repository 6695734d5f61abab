"""What a machine needs to run a node or `blazz up`: the doctor's checks of it.

Owns these checks. Looks only: never installs, starts or changes anything (it asks the browser for
its version).
"""

import asyncio
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psutil

from cli.embedded.process import find_binary
from cli.findings import Finding, Verdict, from_error
from cli.up import default_data_dir
from schemas.errors import BlazzError
from swarm_node.engines.chromium.bundle import WA_JS_VERSION, find_bundle
from swarm_node.engines.chromium.executable import (
    BY_APPARMOR,
    browser_build,
    find_executable,
    why_not_sandboxed,
    why_this_not_sandboxed,
)
from swarm_node.engines.chromium.settings import settings_from_environment

_GB: Final = 2**30
MEMORY_FREE_GB: Final = 1.0
DISK_FREE_GB: Final = 2.0
SHM_MB: Final = 64
_SHM: Final = "/dev/shm"  # noqa: S108 - it is looked at, not written to
_CGROUPS: Final = Path("/sys/fs/cgroup")
_CONTROLLERS: Final = frozenset({"cpu", "memory", "pids"})


def check_python() -> Finding:
    """3.11 to 3.13."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    if (3, 11) <= sys.version_info[:2] < (3, 14):
        return Finding("python", Verdict.OK, version)
    return Finding("python", Verdict.FAIL, version, "use Python 3.11, 3.12 or 3.13")


def check_chromium() -> Finding:
    """There, and starts."""
    try:
        path = find_executable(settings_from_environment())
        build = asyncio.run(browser_build(path))
    except BlazzError as error:
        return from_error("chromium", error)
    return Finding("chromium", Verdict.OK, f"{build} ({path})")


def check_chromium_sandbox() -> Finding:
    """Chromium's own sandbox holds a page that was broken into; without it, nothing does."""
    try:
        executable = find_executable(settings_from_environment())
        why_not = asyncio.run(why_this_not_sandboxed(executable))
    except BlazzError:
        why_not = why_not_sandboxed()  # the missing browser is a finding of its own
    if why_not is None:
        return Finding("chromium sandbox", Verdict.OK, "can run")
    fix = "run nodes as an ordinary user, on a host that allows user namespaces"
    if why_not == BY_APPARMOR:
        fix = "install deploy/apparmor/blazz-chromium (docs/systemd.md)"
    return Finding("chromium sandbox", Verdict.WARN, f"off: {why_not}", fix)


def check_wa_js() -> Finding:
    """The pinned bundle, unchanged."""
    try:
        bundle = find_bundle(settings_from_environment())
    except BlazzError as error:
        return from_error("wa-js", error)
    return Finding("wa-js", Verdict.OK, f"{WA_JS_VERSION} ({bundle.path})")


def check_nats_server() -> Finding:
    """Needed by `blazz up` and `blazz demo` alone."""
    try:
        return Finding("nats-server", Verdict.OK, find_binary(None))
    except BlazzError as error:
        return from_error("nats-server", error)


def check_memory() -> Finding:
    """A Chromium session takes 100 to 250 MB."""
    free = psutil.virtual_memory().available / _GB
    detail = f"{free:.1f} GB available"
    if free >= MEMORY_FREE_GB:
        return Finding("memory", Verdict.OK, detail)
    return Finding("memory", Verdict.WARN, detail, "free some, or lower --sessions-max")


def check_disk(folder: Path | None = None) -> Finding:
    """Where everything is kept, by default `blazz up`'s."""
    folder = folder or default_data_dir()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / _GB
    detail = f"{free:.1f} GB free under {folder}"
    if free >= DISK_FREE_GB:
        return Finding("disk", Verdict.OK, detail)
    return Finding("disk", Verdict.WARN, detail, "free some, or choose another --data-dir")


def check_shared_memory() -> Finding:
    """Chromium crashes pages when /dev/shm is tiny, as in containers."""
    folder = Path(_SHM)
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        return Finding(_SHM, Verdict.WARN, "not writable", "mount a tmpfs there")
    size_mb = shutil.disk_usage(folder).total // 2**20
    if size_mb > SHM_MB:
        return Finding(_SHM, Verdict.OK, f"{size_mb} MB")
    return Finding(_SHM, Verdict.WARN, f"{size_mb} MB", "give it 1 GB (docker: --shm-size=1g)")


def check_cgroups() -> Finding:
    """Version 2, with the controllers that bound a node and its sessions."""
    try:
        found = frozenset((_CGROUPS / "cgroup.controllers").read_text().split())
    except OSError:
        return Finding(
            "cgroups",
            Verdict.WARN,
            "no unified hierarchy: nothing bounds what a session takes",
            "boot with systemd.unified_cgroup_hierarchy=1 (cgroups version 2)",
        )
    lacking = ", ".join(sorted(_CONTROLLERS - found))
    if not lacking:
        return Finding("cgroups", Verdict.OK, "version 2: cpu, memory, pids")
    fix = "have systemd delegate them: Delegate=cpu memory pids in the node's unit"
    return Finding("cgroups", Verdict.WARN, f"lacking: {lacking}", fix)


CHECKS: Final[tuple[Callable[[], Finding], ...]] = (
    check_python,
    check_chromium,
    check_chromium_sandbox,
    check_wa_js,
    check_nats_server,
    check_memory,
    check_disk,
    check_shared_memory,
    check_cgroups,
)
