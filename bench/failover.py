"""`blazz bench failover`: a node with N sessions is drained, then one with N sessions is killed.

Owns what is measured and how, by an operator's eyes: the sessions' list of the API, read every
50 ms. Detected is when a session's place is another one; online when a probe there said so. What
WhatsApp saw of it (two browsers on one device) is read from the switch's log. Never decides
anything: nodes are cordoned only so that all N sessions stand on one node at the start.
"""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

import msgspec

from bench.report import Goal, at_most, percentile, print_report
from bench.stage import Stage, all_sessions, link_sessions, open_stage
from cli.exit_codes import Exit
from cli.stack import NodePlan
from schemas.api import SessionView
from schemas.errors import BlazzError, ErrorCode
from schemas.states import EngineKind, NodeState, SessionState

SESSIONS: Final = {EngineKind.LOOPBACK: 30, EngineKind.CHROMIUM: 6}
ONLINE_GOAL_S: Final = {EngineKind.LOOPBACK: 10.0, EngineKind.CHROMIUM: 30.0}
DETECT_GOAL_S: Final = 7.0
LIMIT_S: Final = 180.0
LOOK_EVERY_S: Final = 0.05
FIRST, SECOND, THIRD = "node-a", "node-b", "node-c"

Begin = Callable[[], Coroutine[Any, Any, object]]


class FailoverOptions(msgspec.Struct, frozen=True):
    """What the command line said; None: both engines, each with its own number of sessions."""

    quiet: bool
    engine: str | None
    sessions: int | None


class Moves(msgspec.Struct, frozen=True):
    """When each session got a new place, left `online`, and was online there (seconds from the
    start of the measurement)."""

    placed_s: dict[str, float]
    left_s: dict[str, float]
    online_s: dict[str, float]

    def down_s(self) -> list[float]:
        """How long each was seen not online; one never seen so counts from its new place."""
        return [
            self.online_s[sid] - min(self.left_s.get(sid, self.placed_s[sid]), self.placed_s[sid])
            for sid in self.online_s
        ]


async def run_failover(options: FailoverOptions, stop: asyncio.Event) -> Exit:
    """Measure, and print the one line."""
    engines = [EngineKind(options.engine)] if options.engine else list(SESSIONS)
    figures: dict[str, Any] = {}
    goals: list[Goal] = []
    for engine in engines:
        if stop.is_set():
            return Exit.INTERRUPTED
        figures[engine] = await _measure(engine, options, goals)
    print_report("failover", figures, goals)
    return Exit.OK


async def _measure(
    engine: EngineKind, options: FailoverOptions, goals: list[Goal]
) -> dict[str, Any]:
    count = options.sessions or SESSIONS[engine]
    # Everywhere room for all: the time measured is not one of waiting for a place.
    nodes = tuple(NodePlan(name, "local", count + 2) for name in (FIRST, SECOND, THIRD))
    async with open_stage(engine, nodes) as stage:
        await _operate(stage, SECOND, "cordon")
        await _operate(stage, THIRD, "cordon")
        numbers = [f"1555000{number:04}" for number in range(1, count + 1)]
        await link_sessions(stage, numbers, limit_s=LIMIT_S)
        _say(options, f"{engine}: {count} sessions online on {FIRST}")

        await _operate(stage, SECOND, "uncordon")
        drained = await _moves_from(stage, FIRST, lambda: _operate(stage, FIRST, "drain"))
        _say(options, f"{engine}: drained after {max(drained.online_s.values()):.2f} s")

        await _operate(stage, FIRST, "uncordon")
        await _operate(stage, THIRD, "uncordon")
        await _all_alive(stage)
        killed = stage.stack.node(SECOND)
        lost = await _moves_from(stage, SECOND, killed.take_down)
        _say(options, f"{engine}: all online {max(lost.online_s.values()):.2f} s after the kill")
        holds = len(await stage.book.log(0, "hold.started"))
    goals += [
        at_most(f"{engine}: detected", DETECT_GOAL_S, max(lost.placed_s.values()), "s"),
        at_most(
            f"{engine}: all {count} online after a kill",
            ONLINE_GOAL_S[engine],
            max(lost.online_s.values()),
            "s",
        ),
        at_most(f"{engine}: double holds", 0, holds, "holds"),
    ]
    return {
        "sessions": count,
        "kill": _figures(lost),
        "drain": _figures(drained) | {"down_s": _middle_and_tail(drained.down_s())},
        "double_holds": holds,
    }


async def _moves_from(stage: Stage, node_id: str, begin: Begin) -> Moves:
    """Begin something that takes a node's sessions away; watch until all are online elsewhere."""
    loop = asyncio.get_running_loop()
    views = await all_sessions(stage.api)
    there = {view.session_id for view in views if view.node_id == node_id}
    if len(there) < len(views):
        raise RuntimeError(f"only {len(there)} of {len(views)} sessions are on {node_id}")
    moves = Moves({}, {}, {})
    began = loop.time()
    async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as group:
        group.create_task(begin())
        while len(moves.online_s) < len(there):
            await asyncio.sleep(LOOK_EVERY_S)
            note(moves, await _look(stage), node_id, loop.time() - began)
    return moves


async def _look(stage: Stage) -> Sequence[SessionView]:
    try:
        return await all_sessions(stage.api)
    except BlazzError as error:
        if error.retryable:
            return ()
        raise


def note(moves: Moves, views: Sequence[SessionView], old_node: str, at_s: float) -> None:
    """Keep the first moment of each step. Raises `restore_failed` for one that lost its link."""
    for view in views:
        sid = view.session_id
        if view.state is not SessionState.ONLINE:
            moves.left_s.setdefault(sid, at_s)
        if view.node_id not in (old_node, None):
            moves.placed_s.setdefault(sid, at_s)
            if view.state is SessionState.ONLINE:
                moves.online_s.setdefault(sid, at_s)
        if view.state.needs_link:
            raise BlazzError(ErrorCode.RESTORE_FAILED, f"a session is {view.state}")


def _figures(moves: Moves) -> dict[str, Any]:
    online = list(moves.online_s.values())
    return {
        "first_placed_s": round(min(moves.placed_s.values()), 2),
        "all_placed_s": round(max(moves.placed_s.values()), 2),
        "first_online_s": round(min(online), 2),
        "online_s": _middle_and_tail(online),
        "all_online_s": round(max(online), 2),
    }


def _middle_and_tail(values: Sequence[float]) -> dict[str, float]:
    return {
        "p50": round(percentile(values, 0.5), 2),
        "p95": round(percentile(values, 0.95), 2),
    }


async def _all_alive(stage: Stage) -> None:
    """Both receivers are there before the other is killed."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            nodes = {node.node_id: node for node in (await stage.api.nodes()).data}
            if all(
                nodes[name].state is NodeState.ALIVE and not nodes[name].cordoned
                for name in (FIRST, THIRD)
            ):
                return
            await asyncio.sleep(LOOK_EVERY_S)


async def _operate(stage: Stage, node_id: str, act: str) -> None:
    await stage.api.call("POST", f"/v1/nodes/{node_id}/{act}", msgspec.Raw)


def _say(options: FailoverOptions, text: str) -> None:
    if not options.quiet:
        print(text, file=sys.stderr, flush=True)
