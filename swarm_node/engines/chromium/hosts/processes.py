"""A browser's processes and locks on this machine, found by its profile directory.

Owns finding them, killing them and clearing what a killed browser leaves. Every process of a
browser carries `--user-data-dir=<profile>`, and the whole browser is one process group that
Playwright made for it. Never asks politely: that is the host's part. Never touches a process of
another profile.
"""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil

_LOCKS: Final = ("SingletonLock", "SingletonSocket", "SingletonCookie")
_SOCKET_DIR: Final = "org.chromium.Chromium."
_ARGUMENT: Final = "--user-data-dir="


def main_pid(profile_dir: Path) -> int | None:
    """The browser's main process, as its lock names it; None without a (local) lock."""
    try:
        target = (profile_dir / "SingletonLock").readlink()
    except OSError:
        return None
    pid = target.name.rpartition("-")[2]
    if not pid.isdigit() or not _uses(int(pid), profile_dir):
        return None
    return int(pid)


def browser_pids(profile_dir: Path) -> list[int]:
    """Every live process of this profile's browser, by a look through all processes."""
    return [pid for pid, used in _all_browsers() if used == profile_dir]


def kill_browser(pid: int | None, profile_dir: Path) -> None:
    """SIGKILL the browser with all its processes, at once. `pid` spares a look-up."""
    if pid is not None and _uses(pid, profile_dir):
        _kill_group(pid)
    for left in browser_pids(profile_dir):
        _signal(left)


def clear_locks(profile_dir: Path) -> None:
    """Remove a dead browser's locks and its socket's directory; a new one refuses to start else."""
    try:
        socket_dir = (profile_dir / "SingletonSocket").readlink().parent
    except OSError:
        socket_dir = None
    for name in _LOCKS:
        (profile_dir / name).unlink(missing_ok=True)
    if socket_dir is not None and _is_socket_dir(socket_dir):
        shutil.rmtree(socket_dir, ignore_errors=True)


def reap_profiles(profiles_dir: Path) -> int:
    """Kill every browser whose profile is below `profiles_dir`, and clear the locks there.

    For the start of a node, when no browser of its own can be running: what is there was left
    by a process that was killed. Returns how many processes were killed.
    """
    profiles_dir = profiles_dir.resolve()
    killed = 0
    for pid, used in _all_browsers():
        if used.is_relative_to(profiles_dir):
            _signal(pid)
            killed += 1
    if profiles_dir.is_dir():
        # A lock is a symbolic link to nothing: only a pattern with a wildcard finds it.
        for lock in list(profiles_dir.rglob("SingletonLoc*")):
            clear_locks(lock.parent)
    return killed


def _kill_group(pid: int) -> None:
    try:
        # Only a group of the browser's own: never the one that this process is in.
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
            return
    except ProcessLookupError:
        return
    except PermissionError:
        pass
    _signal(pid)


def _signal(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _uses(pid: int, profile_dir: Path) -> bool:
    try:
        used = _profile_of(psutil.Process(pid).cmdline())
    except psutil.Error:
        return False
    return used == profile_dir


def _all_browsers() -> Iterator[tuple[int, Path]]:
    for process in psutil.process_iter():
        try:
            used = _profile_of(process.cmdline())
        except psutil.Error:
            continue
        if used is not None:
            yield process.pid, used


def _profile_of(cmdline: list[str]) -> Path | None:
    for argument in cmdline:
        # A child's arguments can arrive joined in one string.
        start = argument.find(_ARGUMENT)
        if start >= 0 and (start == 0 or argument[start - 1] == " "):
            return Path(argument[start + len(_ARGUMENT) :].split(" --", 1)[0])
    return None


def _is_socket_dir(path: Path) -> bool:
    return path.name.lstrip(".").startswith(_SOCKET_DIR) and path.is_relative_to(
        tempfile.gettempdir()
    )
