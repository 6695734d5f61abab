"""Cgroups of sessions: the kernel's texts, the choice of limits, and a fake tree of files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from swarm_node.core import cgroups
from swarm_node.core.cgroups import SessionLimits
from swarm_node.engines.chromium.hosts import session_groups
from swarm_node.engines.chromium.hosts.session_groups import SessionGroups, take_subtree

LIMITS = SessionLimits(memory_high_bytes=100, memory_max_bytes=150, tasks_max=None)
UNIT = "system.slice/blazz-node.service"


@pytest.fixture(autouse=True)
def _delegated(monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd's mark can't be put on an ordinary directory by every user."""
    monkeypatch.setattr(session_groups, "_delegated", lambda root: root.is_dir())


def tree(
    tmp_path: Path, *, controllers: str = "cpu io memory pids", pid: int | None = None
) -> Path:
    """What systemd leaves a delegated unit, as plain files."""
    root = tmp_path / "cgroup" / UNIT
    (root / "supervisor").mkdir(parents=True)
    for path in (root, root / "supervisor"):
        (path / "cgroup.procs").touch()
    (root / "cgroup.procs").write_text(f"{pid or os.getpid()}\n")
    (root / "cgroup.controllers").write_text(controllers + "\n")
    (root / "cgroup.subtree_control").touch()
    (tmp_path / "self").write_text(f"3:memory:/old\n0::/{UNIT}\n")
    return root


def taken(tmp_path: Path) -> SessionGroups | None:
    return take_subtree(LIMITS, mount=tmp_path / "cgroup", own=tmp_path / "self")


def test_the_unified_line_is_found_among_the_old_ones() -> None:
    assert cgroups.own_path("12:pids:/a\n1:name=systemd:/b\n0::/c/d\n") == "/c/d"
    assert cgroups.own_path("12:pids:/a\n") is None


def test_a_limit_that_is_none_is_not_written() -> None:
    assert cgroups.limit_files(LIMITS) == (("memory.high", "100"), ("memory.max", "150"))


def test_kills_are_counted_by_their_own_line() -> None:
    assert cgroups.oom_kills("low 0\nhigh 7\nmax 9\noom 3\noom_kill 2\noom_group_kill 1\n") == 2
    assert cgroups.oom_kills("") == 0


def test_the_node_moves_and_passes_its_controllers_on(tmp_path: Path) -> None:
    root = tree(tmp_path)
    assert taken(tmp_path) is not None
    assert (root / "supervisor" / "cgroup.procs").read_text() == str(os.getpid())
    # A plain file keeps the last write at its beginning; the kernel takes each.
    assert (root / "cgroup.subtree_control").read_text().startswith("+pids")


@pytest.mark.parametrize(
    ("controllers", "pid", "own"),
    [
        ("cpu io", None, None),
        ("cpu memory pids", 1, None),
        ("cpu memory pids", None, "3:memory:/old\n"),
        ("cpu memory pids", None, "0::/elsewhere\n"),
    ],
    ids=["not delegated", "shared with others", "version 1", "not mounted"],
)
def test_without_a_subtree_of_its_own_it_goes_on(
    tmp_path: Path, controllers: str, pid: int | None, own: str | None
) -> None:
    root = tree(tmp_path, controllers=controllers, pid=pid)
    if own is not None:
        (tmp_path / "self").write_text(own)
    assert taken(tmp_path) is None
    assert (root / "supervisor" / "cgroup.procs").read_text() == ""


def test_a_write_that_is_refused_is_no_end(tmp_path: Path) -> None:
    root = tree(tmp_path)
    (root / "cgroup.subtree_control").unlink()
    assert taken(tmp_path) is None


async def test_a_session_gets_a_group_only_if_its_limits_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tree(tmp_path)
    groups = taken(tmp_path)
    assert groups is not None
    # On plain directories no limit's file comes by itself, so that writing it fails.
    assert await groups.make("ses_1") is None
    monkeypatch.setattr(cgroups, "limit_files", lambda _limits: ())
    group = await groups.make("ses_2")
    assert group is not None
    assert group.path == root / "session-ses_2"
    (group.path / "memory.events").write_text("oom_kill 1\n")
    assert group.oom_killed()
    assert not group.oom_killed()
    program, before = group.launcher(Path("/usr/bin/chromium"))
    assert program == Path("/bin/sh")
    assert before[-2:] == [str(group.path / "cgroup.procs"), "/usr/bin/chromium"]
