"""What `blazz node …` does: an operator's hand on the machines, through the API.

Owns the words it prints, and waiting for a drain. Never decides a place: the control plane goes on
with what was asked whether this command is still there or not.
"""

import asyncio
import sys
import time
from collections.abc import Sequence
from typing import Final

import msgspec

from cli.acting import Step, confirm, perform
from cli.client import Api
from cli.exit_codes import Exit
from cli.options import Acting, Target, Watch
from cli.render import Column, Shape, show, show_one, shown
from cli.target import open_api
from schemas.api import (
    CordonNode,
    DrainNode,
    NodeDetail,
    NodePage,
    NodeView,
    RebalanceRequest,
    RebalanceView,
)
from schemas.errors import BlazzError, ErrorCode

_LOOK_EVERY_S: Final = 0.5
_WAIT_MARGIN_S: Final = 60.0
"""After the deadline sessions are stopped without a new place; that takes its time, too."""
_HOW_ON: Final = (
    "The drain goes on without this command. "
    "Watch it: `blazz node list`. End it: `blazz node uncordon {nodes}`."
)


class DrainOptions(msgspec.Struct, frozen=True):
    """`deadline_s`: None waits for room for ever; `wait`: whether to stay until it is done, at most
    `margin_s` longer than the deadline."""

    nodes: tuple[str, ...]
    deadline_s: float | None
    wait: bool
    reason: str | None = None
    margin_s: float = _WAIT_MARGIN_S


def _node_word(node: NodeView) -> str:
    if node.draining:
        return f"{node.state}, draining"
    return f"{node.state}, cordoned" if node.cordoned else node.state.value


def _age(node: NodeView) -> str:
    return "-" if node.age_s is None else f"{node.age_s:.1f}s"


NODES: Final = Shape[NodeView](
    (
        Column("NODE", lambda n: n.node_id),
        Column("STATE", _node_word),
        Column("PLACES", lambda n: f"{n.reserved}/{n.sessions_max}"),
        Column("REGION", lambda n: n.region),
        Column("PROVIDER", lambda n: n.provider),
        Column("ADDRESS", lambda n: n.address),
        Column("PULSE", _age, wide=True),
        Column("LOAD", lambda n: f"{n.cpu_load:.2f}", wide=True),
        Column("MB-USED", lambda n: n.memory_used_bytes >> 20, wide=True),
        Column("MB-FREE", lambda n: n.memory_free_bytes >> 20, wide=True),
        Column("CHROMIUM", lambda n: n.chromium_build, wide=True),
        Column("VERSION", lambda n: n.version, wide=True),
    ),
    lambda n: n.node_id,
)
_DETAILS: Final = Shape[NodeDetail]((), lambda d: d.node.node_id)


async def list_nodes(target: Target, watch: Watch, stop: asyncio.Event) -> Exit:
    """Print the nodes."""
    async with open_api(target) as api:

        async def once() -> Exit:
            page = await api.call("GET", "/v1/nodes", NodePage)
            return show(page.data, NODES, target.form)

        return await shown(stop, watch, once)


async def show_node(target: Target, node_id: str, watch: Watch, stop: asyncio.Event) -> Exit:
    """Print one node and the sessions on it."""
    async with open_api(target) as api:

        async def once() -> Exit:
            return show_one(await _look(api, node_id), _DETAILS, target.form)

        return await shown(stop, watch, once)


async def mark_nodes(
    target: Target, acting: Acting, nodes: Sequence[str], act: str, reason: str | None
) -> Exit:
    """Cordon or uncordon nodes."""
    body = CordonNode(reason=reason) if act == "cordon" else None
    async with open_api(target) as api:
        for node_id in nodes:
            step = Step(node_id, "POST", f"/v1/nodes/{node_id}/{act}", body)
            view = await perform(api, acting, step, NodeView)
            if view is not None:
                print(f"{view.node_id}: {_node_word(view)}")
    return Exit.OK


async def rebalance(target: Target, acting: Acting, max_moves: int) -> Exit:
    """Have the fleet even itself out."""
    body = RebalanceRequest(max_moves=max_moves)
    async with open_api(target) as api:
        step = Step("fleet", "POST", "/v1/fleet/rebalance", body)
        view = await perform(api, acting, step, RebalanceView)
    if view is None:
        return Exit.OK
    for move in view.moves:
        print(f"{move.session_id}: {move.from_node} to {move.to_node}")
    print(f"{len(view.moves)} sessions move", file=sys.stderr)
    return Exit.OK


async def drain_nodes(
    target: Target, options: DrainOptions, stop: asyncio.Event, acting: Acting | None = None
) -> Exit:
    """Drain nodes and wait until they are empty; `stop` (ctrl-C) ends the waiting alone.

    Raises `node_not_drained`, with how many are left, when the deadline has passed for long.
    """
    acting = acting or Acting(yes=True)
    if len(options.nodes) > 1:
        confirm(target, acting, "moves every session off these nodes", options.nodes)
    body = DrainNode(deadline_s=options.deadline_s, reason=options.reason)
    async with open_api(target) as api:
        # None of the targets may become another one's refuge: all are marked before any is drained.
        for node_id in options.nodes:
            step = Step(node_id, "POST", f"/v1/nodes/{node_id}/cordon")
            await perform(api, acting, step, NodeView)
        for node_id in options.nodes:
            step = Step(node_id, "POST", f"/v1/nodes/{node_id}/drain", body)
            await perform(api, acting, step, NodeDetail)
        if acting.dry_run:
            return Exit.OK
        if not options.wait:
            print(_how_on(options))
            return Exit.OK
        return await _wait_drained(api, options, stop)


async def _wait_drained(api: Api, options: DrainOptions, stop: asyncio.Event) -> Exit:
    deadline_s = options.deadline_s
    give_up_at = None if deadline_s is None else time.monotonic() + deadline_s + options.margin_s
    told: dict[str, str] = {}
    while True:
        details = [await _look(api, node_id) for node_id in options.nodes]
        for detail in details:
            words = _progress(detail)
            if told.get(detail.node.node_id) != words:
                told[detail.node.node_id] = words
                print(f"{detail.node.node_id}: {words}", file=sys.stderr)
        if all(detail.drained for detail in details):
            return Exit.OK
        if not all(detail.node.draining for detail in details):
            raise BlazzError(ErrorCode.CONFLICT, "somebody ended the drain")
        if give_up_at is not None and time.monotonic() >= give_up_at:
            left = sum(len(detail.sessions) for detail in details)
            raise BlazzError(ErrorCode.NODE_NOT_DRAINED, f"{left} sessions are left", left=left)
        if await _stopped(stop):
            print(_how_on(options), file=sys.stderr)
            return Exit.INTERRUPTED


def _how_on(options: DrainOptions) -> str:
    return _HOW_ON.format(nodes=" ".join(options.nodes))


async def _look(api: Api, node_id: str) -> NodeDetail:
    return await api.call("GET", f"/v1/nodes/{node_id}", NodeDetail)


async def _stopped(stop: asyncio.Event) -> bool:
    try:
        async with asyncio.timeout(_LOOK_EVERY_S):
            await stop.wait()
    except TimeoutError:
        return False
    return True


def _progress(detail: NodeDetail) -> str:
    if detail.drained:
        return "drained"
    waits: dict[str, int] = {}
    for session in detail.sessions:
        if session.waits_for is not None:
            waits[session.waits_for] = waits.get(session.waits_for, 0) + 1
    why = "".join(f"; {count} wait: {reason}" for reason, count in sorted(waits.items()))
    return f"{len(detail.sessions)} sessions left{why}"
