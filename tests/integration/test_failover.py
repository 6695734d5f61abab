"""Failover, drains and moves with real processes: nodes, control plane, nats-server, switch.

The switch's log is the judge of "never two browsers on one device".
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from bench.stage import (
    Stage,
    all_sessions,
    link_sessions,
    open_stage,
    shown_code,
    wait_kept,
)
from cli.exit_codes import Exit, exit_code
from cli.operate import DrainOptions, drain_nodes
from cli.options import Target
from cli.stack import NodePlan
from schemas.api import (
    DrainNode,
    MoveRequest,
    NewSession,
    NodeDetail,
    NodeView,
    RebalanceView,
    SessionView,
)
from schemas.api_messages import NewMessage
from schemas.commands import COMMANDS
from schemas.errors import BlazzError, ErrorCode
from schemas.keys import snapshot_head_key
from schemas.resources import FLEET
from schemas.snapshots import SnapshotHead
from schemas.states import MessageState, SessionState
from schemas.transport.connection import Bus
from schemas.transport.kv import Bucket
from tests.waiting import eventually

pytestmark = [pytest.mark.nats, pytest.mark.timeout(120)]
IN_FLIGHT_S = 25.0
ROOT = Path(__file__).parents[2]


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    nodes = (NodePlan("node-a", "sgp", 4), NodePlan("node-b", "fra", 4))
    async with open_stage("loopback", nodes) as opened:
        yield opened


async def linked(stage: Stage, count: int, *, on: str, but: tuple[str, ...]) -> list[SessionView]:
    """`count` sessions online on a node: the others are cordoned meanwhile."""
    for node_id in but:
        await mark(stage, node_id, "cordon")
    sessions = await link_sessions(stage, [f"1555000{n:04}" for n in range(count)], limit_s=30)
    await wait_kept(stage, sessions)
    for node_id in but:
        await mark(stage, node_id, "uncordon")
    views = await all_sessions(stage.api)
    assert {view.node_id for view in views} == {on}
    return views


async def mark(stage: Stage, node_id: str, act: str) -> NodeView:
    return await stage.api.call("POST", f"/v1/nodes/{node_id}/{act}", NodeView)


async def until(
    stage: Stage,
    check: Callable[[list[SessionView]], object],
    *,
    what: str,
    timeout_s: float = 30,
) -> list[SessionView]:
    found: list[SessionView] = []

    async def look() -> bool:
        found[:] = await all_sessions(stage.api)
        assert check(found), [(v.node_id, v.epoch, v.state, v.reason) for v in found]
        return True

    await eventually(look, timeout_s=timeout_s, what=what)
    return found


def online_on(*nodes: str) -> Callable[[list[SessionView]], bool]:
    return lambda views: all(
        view.state is SessionState.ONLINE and view.node_id in nodes for view in views
    )


async def wait_kept_since(stage: Stage, session_id: str, epoch: int) -> None:
    """Until a snapshot of that epoch is committed."""
    nats = stage.stack.nats
    async with Bus.connect(nats.bus_settings(nats.control_plane)) as bus:
        fleet = Bucket(bus, FLEET)

        async def kept() -> bool:
            head = (await fleet.get(snapshot_head_key(session_id), SnapshotHead)).value
            return head is not None and head.epoch >= epoch

        await eventually(kept, timeout_s=30, what=f"a snapshot of epoch {epoch}")


async def never_held_twice(stage: Stage) -> None:
    assert await stage.book.log(0, "hold.started") == []


@asynccontextmanager
async def running_blazz(stage: Stage, *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command as an operator runs it, still running; gone with the block."""
    folder = Path(stage.stack.info.api_key_file).parent
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "cli", *words, "--data-dir", str(folder)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def blazz(stage: Stage, *words: str) -> tuple[int, str, str]:
    """The command as an operator runs it, to its end."""
    async with running_blazz(stage, *words) as process:
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def said(process: asyncio.subprocess.Process, line: str) -> None:
    """Until the command has printed that line for people."""
    assert process.stderr is not None
    heard: list[str] = []
    async with asyncio.timeout(30):
        while line not in heard:
            raw = await process.stderr.readline()
            assert raw, heard
            heard.append(raw.decode().strip())


async def test_a_killed_nodes_sessions_are_online_elsewhere_or_visibly_nowhere(
    stage: Stage,
) -> None:
    before = await linked(stage, 4, on="node-a", but=("node-b",))
    others = await stage.api.create_session(NewSession(name="in the way", start=False))
    assert others.node_id == "node-b"
    await stage.stack.node("node-a").take_down()

    def three_and_one(views: list[SessionView]) -> bool:
        wanted = [view for view in views if view.session_id != others.session_id]
        placed = [v for v in wanted if v.node_id == "node-b" and v.state is SessionState.ONLINE]
        nowhere = [v for v in wanted if v.node_id is None]
        return len(placed) == 3 and len(nowhere) == 1

    after = await until(stage, three_and_one, what="three online on the other node, one nowhere")
    epochs = {view.session_id: view.epoch for view in before}
    for view in after:
        if view.session_id == others.session_id:
            continue
        assert (view.epoch or 0) > (epochs[view.session_id] or 0)
        assert view.phone is not None, "whose account it is stays known"
        if view.node_id is None:
            assert view.state is SessionState.PENDING
            assert (view.reason or "").startswith("unplaceable: ")
    nodes = {node.node_id: node for node in (await stage.api.nodes()).data}
    assert nodes["node-a"].state == "lost"
    assert nodes["node-a"].reserved == 0
    assert nodes["node-b"].reserved == 4
    # A node joins: room again.
    await stage.stack.node("node-a").restart()
    running = [view for view in after if view.session_id != others.session_id]
    await until(
        stage,
        lambda views: online_on("node-a", "node-b")(
            [v for v in views if v.session_id != others.session_id]
        ),
        what="all are online again",
    )
    assert len(running) == 4
    await never_held_twice(stage)


async def test_a_drain_empties_a_node_and_cordoned_nodes_get_nothing(stage: Stage) -> None:
    await linked(stage, 3, on="node-a", but=("node-b",))
    code, _out, err = await blazz(stage, "node", "drain", "node-a", "--deadline", "60")
    assert code == 0, err
    assert "node-a: drained" in err
    await until(stage, online_on("node-b"), what="all are online on the other node")
    detail = await stage.api.call("GET", "/v1/nodes/node-a", NodeDetail)
    assert (detail.drained, detail.sessions, detail.node.reserved) == (True, [], 0)
    created = [await stage.api.create_session(NewSession(start=False)) for _ in range(1)]
    assert {view.node_id for view in created} == {"node-b"}
    await mark(stage, "node-b", "cordon")
    with pytest.raises(BlazzError) as refused:
        await stage.api.create_session(NewSession(start=False))
    assert refused.value.code is ErrorCode.NO_NODE_AVAILABLE
    code, out, _err = await blazz(stage, "node", "list")
    assert code == 0
    assert "alive, draining" in out
    assert "alive, cordoned" in out
    await never_held_twice(stage)


async def test_ctrl_c_ends_the_waiting_for_a_drain_and_not_the_drain(stage: Stage) -> None:
    await linked(stage, 3, on="node-a", but=("node-b",))
    await mark(stage, "node-a", "cordon")
    in_the_way = [await stage.api.create_session(NewSession(start=False)) for _ in range(3)]
    assert {view.node_id for view in in_the_way} == {"node-b"}
    async with running_blazz(stage, "node", "drain", "node-a") as drain:
        # One has room, two wait: the drain is in its middle for as long as we like.
        await said(drain, "node-a: 2 sessions left; 2 wait: every suitable node is full")
        drain.send_signal(signal.SIGINT)
        _out, err = await drain.communicate()
    assert drain.returncode == 130
    assert "The drain goes on without this command" in err.decode()
    assert "`blazz node list`" in err.decode()
    assert "`blazz node uncordon node-a`" in err.decode()
    for view in in_the_way:
        await stage.api.delete(view.session_id)
    await until(
        stage,
        lambda views: len(views) == 3 and online_on("node-b")(views),
        what="all are online on the other node, and nobody waits for it",
    )
    detail = await stage.api.call("GET", "/v1/nodes/node-a", NodeDetail)
    assert (detail.drained, detail.sessions, detail.node.reserved) == (True, [], 0)
    await never_held_twice(stage)


async def test_who_waits_for_a_drain_is_told_when_it_ends_otherwise(stage: Stage) -> None:
    await linked(stage, 1, on="node-a", but=("node-b",))
    await mark(stage, "node-b", "cordon")
    async with running_blazz(stage, "node", "drain", "node-a") as drain:
        await said(drain, "node-a: 1 sessions left; 1 wait: every live node is cordoned")
        await mark(stage, "node-a", "uncordon")
        _out, err = await drain.communicate()
    assert drain.returncode == 6
    assert "somebody ended the drain" in err.decode()

    # The time is over before the session can have left: who waits is told, the drain goes on.
    folder = Path(stage.stack.info.api_key_file).parent
    options = DrainOptions(("node-a",), deadline_s=0.0, wait=True, margin_s=0.0)
    with pytest.raises(BlazzError) as late:
        await drain_nodes(Target(folder), options, asyncio.Event())
    assert late.value.code is ErrorCode.NODE_NOT_DRAINED
    assert late.value.fields == {"left": 1}
    assert exit_code(late.value.code, late.value.spec.http) is Exit.CONFLICT
    await until(stage, lambda views: views[0].node_id is None, what="it was let go all the same")


async def test_a_drain_without_room_says_why_and_ends_visibly_at_its_deadline(
    stage: Stage,
) -> None:
    await linked(stage, 1, on="node-a", but=("node-b",))
    await mark(stage, "node-b", "cordon")
    body = DrainNode(deadline_s=None)
    await stage.api.call("POST", "/v1/nodes/node-a/drain", NodeDetail, body=body)
    detail = await stage.api.call("GET", "/v1/nodes/node-a", NodeDetail)
    assert [session.waits_for for session in detail.sessions] == ["every live node is cordoned"]
    # It stays online meanwhile: nothing is stopped for a place that does not exist.
    assert online_on("node-a")(await all_sessions(stage.api))
    code, _out, err = await blazz(stage, "node", "drain", "node-a", "--deadline", "0")
    assert code == 0, err
    views = await until(stage, lambda views: views[0].node_id is None, what="it has no node")
    assert (views[0].reason or "").startswith("unplaceable: ")
    await mark(stage, "node-b", "uncordon")
    await until(stage, online_on("node-b"), what="there is room again")
    await never_held_twice(stage)


async def test_one_session_is_moved_and_the_fleet_evened_out(stage: Stage) -> None:
    before = await linked(stage, 4, on="node-a", but=("node-b",))
    code, out, _err = await blazz(stage, "session", "move", before[0].session_id, "--to", "node-b")
    assert code == 0
    assert "leaves node-a for node-b" in out
    await until(
        stage,
        lambda views: (
            online_on("node-a", "node-b")(views)
            and Counter(view.node_id for view in views) == {"node-a": 3, "node-b": 1}
        ),
        what="one is online on the other node",
    )
    begun = await stage.api.call("POST", "/v1/fleet/rebalance", RebalanceView)
    assert [(move.from_node, move.to_node) for move in begun.moves] == [("node-a", "node-b")]
    await until(
        stage,
        lambda views: (
            online_on("node-a", "node-b")(views)
            and Counter(view.node_id for view in views) == {"node-a": 2, "node-b": 2}
        ),
        what="both hold two",
    )
    for unknown, code_wanted in (
        (MoveRequest(node_id="node-z"), ErrorCode.NODE_NOT_FOUND),
        (None, ErrorCode.SESSION_NOT_FOUND),
    ):
        session_id = before[0].session_id if unknown else "ses_" + "0" * 26
        with pytest.raises(BlazzError) as refused:
            await stage.api.call(
                "POST", f"/v1/sessions/{session_id}/move", msgspec.Raw, body=unknown
            )
        assert refused.value.code is code_wanted
    await never_held_twice(stage)


async def test_a_node_that_restarts_in_time_keeps_its_sessions(stage: Stage) -> None:
    before = await linked(stage, 2, on="node-a", but=("node-b",))
    await stage.stack.node("node-a").restart()
    after = await until(stage, online_on("node-a"), what="both are online where they were")
    assert {view.session_id: view.epoch for view in after} == {
        view.session_id: view.epoch for view in before
    }
    await never_held_twice(stage)


async def test_after_a_logout_nothing_begins_from_the_unlinked_device(stage: Stage) -> None:
    session = (await linked(stage, 1, on="node-a", but=("node-b",)))[0].session_id
    path = f"/v1/sessions/{session}"
    gone = await stage.api.call("POST", f"{path}/logout", SessionView)
    await stage.api.call("POST", "/v1/nodes/node-a/drain", NodeDetail, body=DrainNode())
    await until(stage, lambda views: views[0].node_id == "node-b", what="its place moved")
    await stage.api.call("POST", f"{path}/start", SessionView)
    code = await shown_code(stage.api, session)
    # Its snapshots are there, and not one was tried.
    assert (await stage.api.session(session)).reason is None
    phone = await stage.book.create("15559999")
    await phone.scan(code.value)
    views = await until(stage, online_on("node-b"), what="it is linked anew")
    assert views[0].phone == "15559999"
    assert (views[0].epoch or 0) > (gone.epoch or 0)

    # Back where the first device's profile still lies: the second one is what comes up.
    await wait_kept_since(stage, session, views[0].epoch or 0)
    await mark(stage, "node-a", "uncordon")
    await stage.stack.node("node-b").take_down()
    views = await until(stage, online_on("node-a"), what="it is online on the first node")
    assert views[0].phone == "15559999"
    await never_held_twice(stage)


async def test_a_message_in_flight_ends_with_its_nodes_process_not_with_its_time_limit(
    stage: Stage,
) -> None:
    session = (await linked(stage, 1, on="node-a", but=("node-b",)))[0].session_id
    await mark(stage, "node-b", "cordon")
    friend = await stage.book.create("15558888")
    await stage.book.set_faults(ack_delay_ms=60_000)
    message = NewMessage(to=friend.wid, text="out, and never answered")
    sent = await stage.api.send(session, message)

    async def at_whatsapp() -> int:
        accepted = await stage.book.log(0, "message.accepted")
        return sum(entry.id == sent.message_id for entry in accepted)

    await eventually(at_whatsapp, what="WhatsApp has it")
    await stage.stack.node("node-a").take_down()
    await stage.book.clear_faults()
    await stage.stack.node("node-a").start()
    # Nobody answers the first request any more, whose limit is a minute.
    assert COMMANDS["send_message"].timeout_s > 2 * IN_FLIGHT_S

    async def ended() -> bool:
        return (await stage.api.message(session, sent.message_id)).state is MessageState.SENT

    await eventually(ended, timeout_s=IN_FLIGHT_S, what="it was asked for again")
    assert await at_whatsapp() == 1
