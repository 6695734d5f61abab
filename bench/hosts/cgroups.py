"""The lab's control groups: made for each host, killed whole, removed.

Owns finding the cgroup2 file system and the directories below it. Blocking, quick.
"""

import contextlib
import os
import time
from pathlib import Path
from typing import Final

from schemas.errors import BlazzError, ErrorCode

PREFIX: Final = "blazz-lab-"
GONE_MAX_S: Final = 15.0


def mount_point(mountinfo: str) -> Path:
    """Where cgroup2 is mounted, by the text of `/proc/self/mountinfo`."""
    for line in mountinfo.splitlines():
        fields, _, after = line.partition(" - ")
        if after.startswith("cgroup2 "):
            return Path(fields.split()[4])
    raise BlazzError(ErrorCode.CONFIG_INVALID, "this machine has no cgroup2 file system mounted")


def make(folder: Path) -> None:
    """A group, and those above it."""
    folder.mkdir(parents=True, exist_ok=True)


def kill(folder: Path) -> None:
    """SIGKILL to every process in it and below."""
    with contextlib.suppress(FileNotFoundError):
        (folder / "cgroup.kill").write_text("1")


def remove(folder: Path) -> None:
    """Remove it and all below, once its processes are gone. Bounded."""
    deadline = time.monotonic() + GONE_MAX_S
    while folder.exists():
        kill(folder)
        for inner, _, _ in os.walk(folder, topdown=False):
            with contextlib.suppress(OSError):
                Path(inner).rmdir()
        if time.monotonic() > deadline:
            raise BlazzError(ErrorCode.TIMEOUT, f"{folder} still has processes")
        time.sleep(0.02)


def sweep(mount: Path) -> None:
    """Remove what labs left whose process is gone: their number is in the name."""
    for folder in mount.glob(f"{PREFIX}*"):
        if not Path("/proc", folder.name.removeprefix(PREFIX)).exists():
            remove(folder)
