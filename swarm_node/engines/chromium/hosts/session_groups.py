"""A cgroup for each session's browser, below the one that systemd delegated to the node.

Owns the node's own cgroup subtree: moves the node into a child, makes one for each browser with
its limits, tells of kills in it, removes it. Goes on without where there is none to own, and says
so once. Never decides a limit (`core/cgroups.py`), and never touches a cgroup that is not the
node's.
"""

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Final, Self

import structlog

from schemas import log_keys
from swarm_node.core import cgroups
from swarm_node.core.cgroups import SessionLimits

log = structlog.get_logger()

_MOUNT: Final = Path("/sys/fs/cgroup")
_SELF: Final = Path("/proc/self/cgroup")
_MARKS: Final = ("user.delegate", "trusted.delegate")
_REMOVE_TRIES: Final = 20
_REMOVE_PAUSE_S: Final = 0.05
_SHELL: Final = Path("/bin/sh")
_ENTER: Final = 'echo 0 > "$1"; shift; exec "$@"'
"""The shell moves itself, then becomes the browser: all that it ever starts is inside."""


class SessionGroup:
    """One browser's cgroup."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kills = self._killed()

    def launcher(self, executable: Path) -> tuple[Path, list[str]]:
        """The program to run in the browser's place, and what comes before its arguments."""
        entry = str(self.path / "cgroup.procs")
        return _SHELL, ["-c", _ENTER, "blazz-session", entry, str(executable)]

    def oom_killed(self) -> bool:
        """Whether the kernel killed one of its processes for want of memory since last asked."""
        before, self._kills = self._kills, self._killed()
        return self._kills > before

    def kill(self) -> None:
        """SIGKILL all that is in it, at once."""
        with contextlib.suppress(OSError):
            (self.path / "cgroup.kill").write_text("1", encoding="ascii")

    async def remove(self) -> None:
        """Remove it, once the last killed process has gone. Bounded; never raises."""
        for _ in range(_REMOVE_TRIES):
            try:
                self.path.rmdir()
            except FileNotFoundError:
                return
            except OSError:
                await asyncio.sleep(_REMOVE_PAUSE_S)
            else:
                return
        log.warning("session_group.left", path=self.path.name)

    def _killed(self) -> int:
        return cgroups.oom_kills(_read(self.path / "memory.events") or "")


class SessionGroups:
    """The subtree of one node; made by `take_subtree`."""

    def __init__(self, root: Path, limits: SessionLimits) -> None:
        self._root = root
        self._limits = limits

    @classmethod
    def take(cls, root: Path, limits: SessionLimits) -> Self:
        """Move whoever is in `root` into a child, and pass the controllers on. Raises OSError."""
        supervisor = root / cgroups.SUPERVISOR
        supervisor.mkdir(exist_ok=True)
        for pid in _pids(root):
            with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
                _write(supervisor / "cgroup.procs", str(pid))
        for word in cgroups.passed_on(_read(root / "cgroup.controllers") or ""):
            _write(root / "cgroup.subtree_control", word)
        return cls(root, limits)

    async def make(self, profile: str) -> SessionGroup | None:
        """A fresh cgroup with its limits; None, with a word in the log, if the kernel refuses."""
        path = self._root / cgroups.group_name(profile)
        try:
            left = SessionGroup(path)
            left.kill()
            await left.remove()
            path.mkdir()
            for name, value in cgroups.limit_files(self._limits):
                _write(path / name, value)
        except OSError as error:
            log.warning("session_group.refused", **{log_keys.DETAIL: error.strerror})
            return None
        return SessionGroup(path)


def take_subtree(
    limits: SessionLimits, *, mount: Path = _MOUNT, own: Path = _SELF
) -> SessionGroups | None:
    """This process's own subtree, when it may have one; else None, and why is logged. Blocks."""
    path = cgroups.own_path(_read(own) or "")
    controllers = None
    root = mount
    if path is not None:
        root = mount / path.lstrip("/")
        controllers = _read(root / "cgroup.controllers")
    if controllers is None:
        reason = "no unified hierarchy (cgroups version 2)"
    elif lacking := cgroups.lacking(controllers):
        reason = f"not delegated: {', '.join(lacking)}"
    elif not _delegated(root) or _pids(root) != [os.getpid()]:
        reason = "this cgroup is not the node's own (Delegate= in its unit)"
    else:
        try:
            return SessionGroups.take(root, limits)
        except OSError as error:
            reason = f"the kernel refused: {error.strerror}"
    log.warning("session_groups.off", **{log_keys.REASON: reason})
    return None


def _delegated(root: Path) -> bool:
    """Root may write to every cgroup, so for it only systemd's own mark counts."""
    if os.geteuid() != 0:
        return os.access(root, os.W_OK) and os.access(root / "cgroup.procs", os.W_OK)
    return any(_mark(root, name) for name in _MARKS)


def _mark(root: Path, name: str) -> bool:
    try:
        return os.getxattr(root, name) == b"1"
    except OSError:
        return False


def _pids(group: Path) -> list[int]:
    return [int(pid) for pid in (_read(group / "cgroup.procs") or "").split()]


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return None


def _write(path: Path, text: str) -> None:
    # One write, no truncation: these are no real files.
    handle = os.open(path, os.O_WRONLY)
    try:
        os.write(handle, text.encode("ascii"))
    finally:
        os.close(handle)
