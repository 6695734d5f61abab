"""A node's disk fills up while messages flow: its sessions stay, or go on where there is room.

The node gets a small file system of its own, mounted in a mount namespace that no other process
sees and that ends with it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli.stack import NodePlan
from tests.chaos.harness import FAILOVER_S, NODE, OTHER, open_world, same_as

SESSIONS = 4
DISK_BYTES = 8 * 1024 * 1024
FULL_S = 8.0
_AS_ROOT = () if os.geteuid() == 0 else ("--user", "--map-root-user")


def own_disk(folder: str) -> tuple[str, ...]:
    """Words that run a command with a small file system of its own at `folder`."""
    script = 'mount -t tmpfs -o "size=$1,mode=700" tmpfs "$2" && shift 2 && exec "$@"'
    return ("unshare", *_AS_ROOT, "--mount", "sh", "-euc", script, "sh", str(DISK_BYTES), folder)


def why_not(folder: Path) -> str | None:
    """Why this machine can't give a process a file system of its own; None if it can."""
    if shutil.which("unshare") is None:
        return "there is no `unshare`"
    ran = subprocess.run(
        [*own_disk(str(folder)), "true"], capture_output=True, text=True, timeout=10, check=False
    )
    return None if ran.returncode == 0 else f"no own mounts here: {ran.stderr.strip()[:200]}"


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Not a byte is free there for the block."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file:
        while True:
            try:
                if not file.write(b"\0" * 65_536):
                    break
            except OSError:
                break
    try:
        yield
    finally:
        path.unlink()


async def test_sessions_outlast_a_full_disk(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    reason = why_not(disk)
    if reason is not None:
        pytest.skip(reason)
    nodes = (NodePlan(NODE, launcher=own_disk(str(disk)), data_dir=disk), NodePlan(OTHER))
    async with open_world(nodes=nodes) as world:
        await world.link(SESSIONS)
        hit, spared = await world.on(NODE), await world.on(OTHER)
        before = await world.views()
        seen_inside = Path(f"/proc/{world.stage.stack.node(NODE).child.pid}/root{disk}")
        load = world.load()
        async with load.running():
            with filled(seen_inside):
                world.say(f"{NODE} has no room on its disk")
                await asyncio.sleep(FULL_S)
                await world.online(spared, same_as(before), within_s=FAILOVER_S)
            world.say(f"{NODE} has room again")
            await world.online(hit, within_s=FAILOVER_S)
            await world.flows(within_s=FAILOVER_S)
        await world.check(load)
