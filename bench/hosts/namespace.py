"""The lab's outer shell: namespaces, a control group and a directory, which all go away with it.

Owns entering and leaving. A bench that needs hosts runs as PID 1 of namespaces of its own: its
network has nothing but the lab, and when it ends, however it ends, the kernel ends every process
in there and takes every mount and interface with it. It stops by itself when its input ends, so
the death of the command that started it is enough. Never runs a bench's logic.
"""

import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from bench.hosts import cgroups
from cli.exit_codes import Exit
from schemas.errors import BlazzError, ErrorCode

PROGRAMS: Final = {
    "unshare": "util-linux",
    "ip": "iproute2",
    "sshd": "openssh-server",
    "ssh": "openssh-client",
    "git": "git",
}
SYSTEMD: Final = Path("/lib/systemd/systemd")
STOP_MAX_S: Final = 90.0


class Task(msgspec.Struct, frozen=True):
    """What the process inside is told, as the first line of its input."""

    bench: str
    """A module with `async def inside(task) -> Exit`."""
    folder: str
    cgroup: str
    options: dict[str, Any]


def missing() -> list[str]:
    """What this machine lacks for a lab, in words."""
    found = []
    if not sys.platform.startswith("linux"):
        return ["Linux"]
    if os.geteuid() != 0:
        found.append("root: namespaces, mounts and interfaces are made")
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    found += [
        f"{program}: apt-get install {package}"
        for program, package in PROGRAMS.items()
        if shutil.which(program, path=path) is None
    ]
    if not SYSTEMD.exists():
        found.append("systemd: apt-get install systemd")
    if not Path("/usr/lib/python3/dist-packages/apt").exists():
        found.append("python3-apt, as every Debian server has: apt-get install python3-apt")
    return found


async def run_inside(
    bench: str, folder: Path, options: msgspec.Struct, stop: asyncio.Event
) -> Exit:
    """Run a bench in namespaces of its own; `folder` is the lab's (see `lab_folder`)."""
    mount = cgroups.mount_point(Path("/proc/self/mountinfo").read_text())  # noqa: ASYNC240
    await asyncio.to_thread(cgroups.sweep, mount)
    cgroup = mount / folder.name
    told = Task(bench, str(folder), str(cgroup), msgspec.to_builtins(options))
    process = await asyncio.create_subprocess_exec(
        *("unshare", "--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child"),
        *("--mount-proc", sys.executable, "-m", "bench.hosts.inside"),
        stdin=asyncio.subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "PATH": os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"},
    )
    assert process.stdin is not None
    try:
        process.stdin.write(msgspec.json.encode(told) + b"\n")
        await process.stdin.drain()
        async with asyncio.TaskGroup() as group:
            stopping = group.create_task(stop.wait())
            ended = group.create_task(process.wait())
            await asyncio.wait((stopping, ended), return_when=asyncio.FIRST_COMPLETED)
            process.stdin.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_MAX_S):
                    await asyncio.shield(ended)
            if process.returncode is None:
                process.kill()
            await ended
            stopping.cancel()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await asyncio.to_thread(cgroups.remove, cgroup)
    if stop.is_set():
        return Exit.INTERRUPTED
    return Exit(process.returncode) if process.returncode in set(Exit) else Exit.FAILED


@contextlib.contextmanager
def lab_folder() -> Iterator[Path]:
    """A directory of this process's number, removed at the end; those of dead ones go as well."""
    if lacking := missing():
        raise BlazzError(ErrorCode.CONFIG_INVALID, "the lab lacks " + "; ".join(lacking))
    above = Path(tempfile.gettempdir())
    for left in above.glob(f"{cgroups.PREFIX}*"):
        if not Path("/proc", left.name.removeprefix(cgroups.PREFIX)).exists():
            shutil.rmtree(left, ignore_errors=True)
    folder = above / f"{cgroups.PREFIX}{os.getpid()}"
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
