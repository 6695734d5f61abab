"""Cgroups of a node and its sessions: what the kernel's texts mean, and which limits are written.

Owns the reading of those texts and the choice of limits. Pure: the files themselves are read and
written by `engines/chromium/hosts/session_groups.py`.
"""

from typing import Final

import msgspec

SUPERVISOR: Final = "supervisor"
"""The node's own processes live there: a cgroup with children may hold no process itself."""
NEEDED: Final = frozenset({"memory", "pids"})
WANTED: Final = ("cpu", "memory", "pids")


class SessionLimits(msgspec.Struct, frozen=True):
    """What one session's browser may take; None: no limit. From `memory_high_bytes` on it is
    slowed and its memory taken back, over `memory_max_bytes` a process of it is killed."""

    memory_high_bytes: int | None
    memory_max_bytes: int | None
    tasks_max: int | None


def own_path(proc_cgroup: str) -> str | None:
    """Where this process is in the unified hierarchy, by `/proc/self/cgroup`; None: nowhere."""
    for line in proc_cgroup.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            return path
    return None


def lacking(controllers: str) -> tuple[str, ...]:
    """Which of the needed controllers `cgroup.controllers` does not list."""
    return tuple(sorted(NEEDED - set(controllers.split())))


def passed_on(controllers: str) -> tuple[str, ...]:
    """What to write to `cgroup.subtree_control`, one by one."""
    there = set(controllers.split())
    return tuple(f"+{name}" for name in WANTED if name in there)


def group_name(profile: str) -> str:
    """The cgroup of a session, by the name of its profile's directory."""
    return f"session-{profile}"


def limit_files(limits: SessionLimits) -> tuple[tuple[str, str], ...]:
    """Files of a session's cgroup, with what is written to each."""
    wanted = (
        ("memory.high", limits.memory_high_bytes),
        ("memory.max", limits.memory_max_bytes),
        ("pids.max", limits.tasks_max),
    )
    return tuple((name, str(value)) for name, value in wanted if value is not None)


def oom_kills(memory_events: str) -> int:
    """How many processes the kernel killed there for want of memory, by `memory.events`."""
    for line in memory_events.splitlines():
        name, _, value = line.partition(" ")
        if name == "oom_kill" and value.strip().isdigit():
            return int(value)
    return 0
