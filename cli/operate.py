"""`blazz node …` and `blazz session …`: an operator's hand on a fleet, through its own API.

Owns finding the API, printing, and waiting for a drain. Never decides a place: the control plane
goes on with what was asked whether this command is still there or not.
"""

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from cli.client import Api
from cli.exit_codes import Exit
from cli.stack import read_info
from cli.up import default_data_dir
from schemas.api import (
    CordonNode,
    DrainNode,
    MoveRequest,
    NodeDetail,
    NodePage,
    NodeView,
    RebalanceRequest,
    RebalanceView,
    SessionPage,
    SessionView,
)
from schemas.errors import BlazzError, ErrorCode

_LOOK_EVERY_S: Final = 0.5
_WAIT_MARGIN_S: Final = 60.0
"""After the deadline sessions are stopped without a new place; that takes its time, too."""
_HOW_ON: Final = (
    "The drain goes on without this command. "
    "Watch it: `blazz node list`. End it: `blazz node uncordon {nodes}`."
)


class Target(msgspec.Struct, frozen=True):
    """Where the API is looked for."""

    data_dir: Path | None
    json: bool = False


class DrainOptions(msgspec.Struct, frozen=True):
    """`deadline_s`: None waits for room for ever; `wait`: whether to stay until it is done, at most
    `margin_s` longer than the deadline."""

    nodes: tuple[str, ...]
    deadline_s: float | None
    wait: bool
    reason: str | None = None
    margin_s: float = _WAIT_MARGIN_S


def open_api(data_dir: Path | None) -> Api:
    """The API of a local stack (its data directory tells where), or of BLAZZ_API_URL with
    BLAZZ_API_KEY. Raises `config_invalid` when there is neither."""
    url, key = os.environ.get("BLAZZ_API_URL"), os.environ.get("BLAZZ_API_KEY")
    if data_dir is None and url:
        if not key:
            raise BlazzError(
                ErrorCode.CONFIG_INVALID, "BLAZZ_API_URL needs BLAZZ_API_KEY beside it"
            )
        return Api(url, key)
    folder = data_dir or default_data_dir()
    info = read_info(folder)
    if info is None:
        raise BlazzError(
            ErrorCode.CONFIG_INVALID,
            f"no fleet was started in {folder}: name one with --data-dir, or set BLAZZ_API_URL "
            "and BLAZZ_API_KEY",
        )
    return Api(info.api_url, Path(info.api_key_file).read_text(encoding="utf-8").strip())


async def list_nodes(target: Target) -> Exit:
    """Print the nodes."""
    async with open_api(target.data_dir) as api:
        page = await api.call("GET", "/v1/nodes", NodePage)
    if target.json:
        return print_json(page.data)
    rows = [
        (
            n.node_id,
            _node_word(n),
            f"{n.reserved}/{n.sessions_max}",
            n.region,
            n.provider,
            n.address,
        )
        for n in page.data
    ]
    print_table(("NODE", "STATE", "PLACES", "REGION", "PROVIDER", "ADDRESS"), rows)
    return Exit.OK


async def list_sessions(target: Target) -> Exit:
    """Print all tenants' sessions."""
    async with open_api(target.data_dir) as api:
        page = await api.call("GET", "/v1/fleet/sessions", SessionPage)
    if target.json:
        return print_json(page.data)
    rows = [
        (
            v.session_id,
            v.tenant_id,
            v.state.value,
            v.node_id or "-",
            str(v.epoch or "-"),
            v.reason or "",
        )
        for v in page.data
    ]
    print_table(("SESSION", "TENANT", "STATE", "NODE", "EPOCH", "REASON"), rows)
    return Exit.OK


async def mark_nodes(target: Target, nodes: Sequence[str], act: str, reason: str | None) -> Exit:
    """Cordon or uncordon nodes."""
    body = CordonNode(reason=reason) if act == "cordon" else None
    async with open_api(target.data_dir) as api:
        for node_id in nodes:
            view = await api.call("POST", f"/v1/nodes/{node_id}/{act}", NodeView, body=body)
            print(f"{view.node_id}: {_node_word(view)}")
    return Exit.OK


async def move_session(target: Target, session_id: str, to: str | None) -> Exit:
    """Have a session move."""
    async with open_api(target.data_dir) as api:
        body = MoveRequest(node_id=to)
        view = await api.call("POST", f"/v1/sessions/{session_id}/move", SessionView, body=body)
    print(f"{view.session_id} leaves {view.node_id} for {to or 'the best other node'}")
    return Exit.OK


async def rebalance(target: Target, max_moves: int) -> Exit:
    """Have sessions move from the fuller nodes to the emptier ones."""
    async with open_api(target.data_dir) as api:
        body = RebalanceRequest(max_moves=max_moves)
        begun = await api.call("POST", "/v1/fleet/rebalance", RebalanceView, body=body)
    for move in begun.moves:
        print(f"{move.session_id}: {move.from_node} → {move.to_node}")
    if not begun.moves:
        print("The fleet is even.")
    return Exit.OK


async def drain_nodes(target: Target, options: DrainOptions, stop: asyncio.Event) -> Exit:
    """Drain nodes and wait until they are empty; `stop` (ctrl-C) ends the waiting alone.

    Raises `node_not_drained`, with how many are left, when the deadline has passed for long.
    """
    body = DrainNode(deadline_s=options.deadline_s, reason=options.reason)
    async with open_api(target.data_dir) as api:
        # None of the targets may become another one's refuge: all are marked before any is drained.
        for node_id in options.nodes:
            await api.call("POST", f"/v1/nodes/{node_id}/cordon", NodeView)
        for node_id in options.nodes:
            await api.call("POST", f"/v1/nodes/{node_id}/drain", NodeDetail, body=body)
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


def _node_word(node: NodeView) -> str:
    if node.draining:
        return f"{node.state}, draining"
    return f"{node.state}, cordoned" if node.cordoned else node.state.value


def print_json(data: Sequence[msgspec.Struct] | msgspec.Struct) -> Exit:
    """Print it as one line of JSON."""
    print(msgspec.json.encode(data).decode())
    return Exit.OK


def print_table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows in columns."""
    widths = [max(len(row[n]) for row in (header, *rows)) for n in range(len(header))]
    for row in (header, *rows):
        print(
            "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        )
