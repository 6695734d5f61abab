"""A browser in a cgroup of its own, on the kernel's own tree (which may have no controllers)."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarm_node.core.cgroups import SessionLimits
from swarm_node.engines.chromium.drill import without_network
from swarm_node.engines.chromium.hosts import open_host
from swarm_node.engines.chromium.hosts.session_groups import SessionGroups
from swarm_node.engines.chromium.settings import ChromiumSettings

TREES = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))
NO_LIMITS = SessionLimits(memory_high_bytes=None, memory_max_bytes=None, tasks_max=None)


@pytest.fixture
def subtree() -> Iterator[Path]:
    tree = next((one for one in TREES if (one / "cgroup.controllers").exists()), None)
    if tree is None or os.geteuid() != 0:
        pytest.skip("needs root and cgroups version 2")
    path = tree / f"blazz-test-{uuid.uuid4().hex}"
    try:
        path.mkdir()
    except OSError as error:
        pytest.skip(f"the cgroup tree can't be written to: {error}")
    yield path
    for group in path.iterdir():
        if group.is_dir():
            group.rmdir()
    path.rmdir()


async def test_all_of_a_browser_is_in_its_group_and_the_group_goes_with_it(
    subtree: Path, tmp_path: Path
) -> None:
    groups = SessionGroups(subtree, NO_LIMITS)
    async with open_host(without_network(ChromiumSettings()), groups) as host:
        opened = await host.open_profile(tmp_path / "ses_1")
        group = subtree / "session-ses_1"
        inside = {int(pid) for pid in (group / "cgroup.procs").read_text().split()}
        assert set(opened.pids) <= inside
        assert len(inside) > 1
        assert os.getpid() not in inside
        assert not opened.oom_killed()
        await opened.close()
        assert not group.exists()
        # Killed outright it leaves nothing either, and the next one finds a fresh group.
        again = await host.open_profile(tmp_path / "ses_1")
        assert group.exists()
        await again.kill()
        assert not group.exists()
