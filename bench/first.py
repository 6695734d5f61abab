"""`blazz bench first`: linking, sending and memory of one node, through the real API.

Owns what is measured and how. The times are a customer's: from the request to what they see; what
WhatsApp got, and when, is read from the switch's log (same machine, same clock).
"""

import asyncio
import sys
import time
from typing import Any

import msgspec

from bench.process_tree import read_tree
from bench.report import at_most, percentile, print_report
from bench.stage import Linked, Stage, link_session, open_stage
from cli.exit_codes import Exit
from cli.stack import NodePlan
from cli.steps import until
from schemas.api_messages import NewMessage

NODE = "bench-node"
FRIEND = "15559990000"
SETTLE_S = 5.0
SEND_LIMIT_S = 30.0
_MB = 2**20


class FirstOptions(msgspec.Struct, frozen=True):
    """What the command line said."""

    quiet: bool
    sends: int
    memory_sessions: tuple[int, ...]
    engine: str


class Sends(msgspec.Struct, frozen=True):
    """What the sends took (seconds each), and what the switch counted."""

    to_accepted_s: list[float]
    to_switch_s: list[float]
    to_sent_s: list[float]
    lost: int
    twice: int


async def run_first(options: FirstOptions, stop: asyncio.Event) -> Exit:
    """Measure, and print the one line."""
    counts = sorted(set(options.memory_sessions)) or [1]
    memory: dict[str, Any] = {}
    linked: list[Linked] = []
    async with open_stage(options.engine, (NodePlan(NODE, "local", counts[-1] + 1),)) as stage:
        friend = await stage.book.create(FRIEND)
        empty = read_tree(stage.stack.node(NODE).child.pid)
        sends: Sends | None = None
        for number in range(1, counts[-1] + 1):
            if stop.is_set():
                return Exit.INTERRUPTED
            linked.append(await link_session(stage, f"1555000{number:04}"))
            _say(options, f"session {number} online after {linked[-1].to_online_s:.2f} s")
            if sends is None:
                sends = await _send(stage, linked[0], friend.number, options)
            if number in counts:
                await asyncio.sleep(SETTLE_S)
                use = read_tree(stage.stack.node(NODE).child.pid)
                memory[str(number)] = round(use.pss_bytes / _MB, 1)
                _say(options, f"{number} sessions: {memory[str(number)]} MB PSS")
    if sends is None:
        raise RuntimeError("no session was linked")
    figures = {
        "engine": options.engine,
        "post_to_qr_ms": _spread([one.to_qr_s for one in linked]),
        "scan_to_online_ms": _spread([one.to_online_s for one in linked]),
        "sends": options.sends,
        "post_to_202_ms": _spread(sends.to_accepted_s),
        "post_to_switch_ms": _spread(sends.to_switch_s),
        "post_to_acked_ms": _spread(sends.to_sent_s),
        "memory_pss_mb": {"0": round(empty.pss_bytes / _MB, 1)} | memory,
        "memory_pss_mb_per_session": _per_session(memory),
    }
    goals = [
        at_most("messages lost", 0, sends.lost, "messages"),
        at_most("messages twice", 0, sends.twice, "messages"),
    ]
    print_report("first", figures, goals)
    return Exit.OK


async def _send(stage: Stage, linked: Linked, to: str, options: FirstOptions) -> Sends:
    """Send one after the other; half wait for the outcome, half for the durable ack alone."""
    session_id = linked.session.session_id
    began: dict[str, float] = {}
    accepted, sent = [], []
    for number in range(options.sends):
        wait_s = SEND_LIMIT_S if number % 2 == 0 else None
        wall, at = time.time(), time.perf_counter()
        message = await stage.api.send(
            session_id, NewMessage(to=f"{to}@c.us", text=f"message {number}"), wait_s=wait_s
        )
        took = time.perf_counter() - at
        began[message.message_id] = wall
        if wait_s is None:
            accepted.append(took)
            await _until_final(stage, session_id, message.message_id)
        else:
            sent.append(took)
    counted: dict[str, list[float]] = {}
    for entry in await stage.book.log(0, "message.accepted"):
        if entry.id in began:
            counted.setdefault(entry.id, []).append(entry.at_ms / 1000)
    _say(options, f"{options.sends} messages sent")
    return Sends(
        to_accepted_s=accepted,
        to_switch_s=[max(0.0, times[0] - began[id_]) for id_, times in counted.items()],
        to_sent_s=sent,
        lost=len(began.keys() - counted.keys()),
        twice=sum(len(times) > 1 for times in counted.values()),
    )


async def _until_final(stage: Stage, session_id: str, message_id: str) -> None:
    async def final() -> bool | None:
        return (await stage.api.message(session_id, message_id)).state.final or None

    async with asyncio.timeout(SEND_LIMIT_S):
        await until(final)


def _spread(seconds: list[float]) -> dict[str, float]:
    if not seconds:
        return {}
    return {
        "p50": round(percentile(seconds, 0.5) * 1000, 1),
        "p99": round(percentile(seconds, 0.99) * 1000, 1),
        "max": round(max(seconds) * 1000, 1),
    }


def _per_session(memory: dict[str, float]) -> float | None:
    """What one more session costs, between the fewest and the most measured."""
    counts = sorted(int(count) for count in memory)
    if len(counts) < 2:
        return None
    grown = memory[str(counts[-1])] - memory[str(counts[0])]
    return round(grown / (counts[-1] - counts[0]), 1)


def _say(options: FirstOptions, text: str) -> None:
    if not options.quiet:
        print(text, file=sys.stderr, flush=True)
