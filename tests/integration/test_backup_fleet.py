"""A fleet that loses its whole store: what a backup brings back, and what it does not.

Real processes: nodes, control plane, nats-server, switch. The switch's log is the judge.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.stage import Linked, Stage, link_sessions, wait_kept
from cli.client import Api
from cli.stack import NodePlan, StackPlan, open_stack
from control_plane.config import ControlPlaneSettings
from sandbox.phone import PhoneBook
from sandbox.server import Sandbox
from schemas.messages import ChatMessage
from schemas.pacing import UNPACED
from schemas.states import EngineKind, MessageState, SessionState
from swarm_node.engines.loopback.settings import LoopbackSettings
from tests.chaos.harness import QUICK_KEEPING
from tests.chaos.load import Accepted, Load
from tests.waiting import eventually

pytestmark = [pytest.mark.nats, pytest.mark.timeout(300)]

ONLINE_S = 60.0
WAITING = 5


class Fleet:
    """A machine's data directory, and the stand-in for WhatsApp beside it, which lives on."""

    def __init__(self, sandbox: Sandbox, book: PhoneBook, folder: Path) -> None:
        self.data_dir = folder / "data"
        self.backups = folder / "backups"
        self._sandbox = sandbox
        self._book = book
        self._temp_dir = folder / "tmp"
        self._temp_dir.mkdir()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Stage]:
        """Two nodes and a control plane."""
        plan = StackPlan(
            data_dir=self.data_dir,
            temp_dir=self._temp_dir,
            nodes=(NodePlan("node-a"), NodePlan("node-b")),
            port=0,
            engine=EngineKind.LOOPBACK,
            loopback=LoopbackSettings(
                link_url=self._sandbox.link_url,
                media_url=self._sandbox.media_base_url,
                ca_pem=self._sandbox.ca_pem,
            ),
            node_vault=QUICK_KEEPING,
            services=ControlPlaneSettings(pacing=UNPACED),
        )
        async with (
            open_stack(plan) as stack,
            Api(stack.api_url, stack.api_key) as api,
        ):
            yield Stage(self._sandbox, stack, api, self._book, self._temp_dir)

    async def blazz(self, *words: str) -> Any:
        """A command on this machine; its JSON."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "cli",
            *words,
            "--data-dir",
            str(self.data_dir),
            "--json",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), 90)
        assert process.returncode == 0, (out, err)
        return json.loads(out)


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    async with Sandbox() as sandbox, PhoneBook(sandbox.api_url) as book:
        yield Fleet(sandbox, book, tmp_path)


async def test_a_fleet_comes_back_from_its_backup(fleet: Fleet) -> None:
    """The store is lost, and one node's disk with it: that node's sessions come back from the
    snapshots in the backup, the other's from a disk that is newer than the backup."""
    async with fleet.running() as stage:
        linked = await link_sessions(stage, ["15550001", "15550002", "15550003"], limit_s=60)
        await wait_kept(stage, linked)
        stopped = linked[1:]
        assert {one.session.node_id for one in stopped} == {"node-a", "node-b"}
        friend = await stage.book.create("15559990000")
        for one in stopped:
            await stage.api.act(one.session.session_id, "stop")
        await _in_state(stage, stopped, SessionState.STOPPED)
        load = Load([stage.api], linked, friend, period_s=0.1)
        for number in range(WAITING):
            for one in stopped:
                await load.send_one(one, f"waits {number} {one.phone.number}")
        waiting = len(load.accepted)
        async with load.running():
            await eventually(lambda: len(load.accepted) > waiting + 6, timeout_s=30)
            before = list(load.accepted)
            taken = await fleet.blazz("backup", "create", "--to", str(fleet.backups))
        assert taken["complete"], taken["findings"]
        assert taken["counts"]["sessions"] == len(linked)
        assert taken["counts"]["messages_waiting"] >= waiting
        # What waited goes out after the backup was taken: it must not go out again.
        await _start(stage, stopped)
        await _all_final(stage, load.accepted)

    shutil.rmtree(fleet.data_dir / "nats" / "store")
    shutil.rmtree(fleet.data_dir / "nodes" / "node-a")
    done = await fleet.blazz("restore", "--from", str(fleet.backups), "--yes")
    assert done["findings"] == []

    async with fleet.running() as stage:
        await _start(stage, stopped)
        await _in_state(stage, linked, SessionState.ONLINE)
        finals = await _all_final(stage, before)
        assert {each.state for each in finals} == {MessageState.SENT}
        new = Load([stage.api], linked, friend, period_s=1.0)
        for one in linked:
            await new.send_one(one, f"after {one.phone.number}")
        await _all_final(stage, new.accepted)
        await _sent_once(stage, [*load.accepted, *new.accepted])
        assert await stage.book.log(0, "hold.started") == []


async def _start(stage: Stage, sessions: list[Linked]) -> None:
    for one in sessions:
        await stage.api.act(one.session.session_id, "start")
    await _in_state(stage, sessions, SessionState.ONLINE)


async def _in_state(stage: Stage, sessions: list[Linked], state: SessionState) -> None:
    for one in sessions:
        await stage.api.wait_state(one.session.session_id, state, timeout_s=ONLINE_S)


async def _all_final(stage: Stage, accepted: list[Accepted]) -> list[ChatMessage]:
    finals: dict[str, ChatMessage] = {}

    async def look() -> bool:
        for one in accepted:
            if one.message_id not in finals:
                found = await stage.api.message(one.session_id, one.message_id)
                if not found.state.final:
                    return False
                finals[one.message_id] = found
        return True

    await eventually(look, timeout_s=ONLINE_S, what="every message is final")
    return list(finals.values())


async def _sent_once(stage: Stage, accepted: list[Accepted]) -> None:
    entries = await stage.book.log(0, "message.accepted")
    by_text = Counter(entry.body_digest for entry in entries)
    assert [by_text[one.digest] for one in accepted] == [1] * len(accepted)
