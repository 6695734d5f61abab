"""`blazz doctor`: does this machine have what Blazz needs? Each finding says how to mend it.

Owns the checks and how they are printed. Looks only: never installs, starts or changes anything
(it asks the browser for its version).
"""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Final, Literal

import msgspec
import psutil

from cli.embedded.process import find_binary
from cli.exit_codes import Exit
from cli.up import default_data_dir
from schemas.errors import BlazzError
from swarm_node.engines.chromium.bundle import WA_JS_VERSION, find_bundle
from swarm_node.engines.chromium.executable import browser_build, find_executable, why_not_sandboxed
from swarm_node.engines.chromium.settings import settings_from_environment

_GB: Final = 2**30
MEMORY_FREE_GB: Final = 1.0
DISK_FREE_GB: Final = 2.0
SHM_MB: Final = 64
_SHM: Final = "/dev/shm"  # noqa: S108 - it is looked at, not written to


class Verdict(StrEnum):
    """How a check went."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(msgspec.Struct, frozen=True):
    """One check's result."""

    check: str
    verdict: Verdict
    detail: str
    fix: str = ""


def run_doctor(form: Literal["text", "json"]) -> Exit:
    """Run every check and print. Exit 1 if one fails; a warning is no failure."""
    findings = [check() for check in CHECKS]
    if form == "json":
        print(json.dumps([msgspec.to_builtins(finding) for finding in findings]))
    else:
        for finding in findings:
            print(f"{finding.verdict:<5} {finding.check:<18} {finding.detail}")
            if finding.fix:
                print(f"{'':<24} → {finding.fix}")
    failed = any(finding.verdict is Verdict.FAIL for finding in findings)
    return Exit.FAILED if failed else Exit.OK


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
        return _from_error("chromium", error)
    return Finding("chromium", Verdict.OK, f"{build} ({path})")


def check_chromium_sandbox() -> Finding:
    """Chromium's own sandbox holds a page that was broken into; without it, nothing does."""
    why_not = why_not_sandboxed()
    if why_not is None:
        return Finding("chromium sandbox", Verdict.OK, "can run")
    return Finding(
        "chromium sandbox",
        Verdict.WARN,
        f"off: {why_not}",
        "run nodes as an ordinary user, on a host that allows user namespaces",
    )


def check_wa_js() -> Finding:
    """The pinned bundle, unchanged."""
    try:
        bundle = find_bundle(settings_from_environment())
    except BlazzError as error:
        return _from_error("wa-js", error)
    return Finding("wa-js", Verdict.OK, f"{WA_JS_VERSION} ({bundle.path})")


def check_nats_server() -> Finding:
    """Needed by `blazz up` and `blazz demo` alone."""
    try:
        return Finding("nats-server", Verdict.OK, find_binary(None))
    except BlazzError as error:
        return _from_error("nats-server", error)


def check_memory() -> Finding:
    """A Chromium session takes 100 to 250 MB."""
    free = psutil.virtual_memory().available / _GB
    detail = f"{free:.1f} GB available"
    if free >= MEMORY_FREE_GB:
        return Finding("memory", Verdict.OK, detail)
    return Finding("memory", Verdict.WARN, detail, "free some, or lower --sessions-max")


def check_disk() -> Finding:
    """Where `blazz up` keeps everything."""
    folder = default_data_dir()
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


CHECKS: Final[tuple[Callable[[], Finding], ...]] = (
    check_python,
    check_chromium,
    check_chromium_sandbox,
    check_wa_js,
    check_nats_server,
    check_memory,
    check_disk,
    check_shared_memory,
)


def _from_error(check: str, error: BlazzError) -> Finding:
    return Finding(check, Verdict.FAIL, error.detail or error.spec.title, error.spec.mend)
