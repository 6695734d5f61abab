"""`blazz bench send`: how fast messages are accepted, and how soon they are with WhatsApp.

Owns what is measured and how. Acceptance (POST until the 202, which means: durably stored) is
measured from a process of its own beside raw JetStream publishes of the same size into a stream of
the same settings, in turns, on the same server. Twice: into lanes whose sessions are stopped, so
that nothing but acceptance costs, and into lanes that are worked off meanwhile. The way to WhatsApp
is read from the switch's log (same machine, same clock).
"""

import asyncio
import sys
from typing import Any, Final

import msgspec

from bench.report import Goal, at_least, at_most, percentile, print_report
from bench.send_client import PostPlan, PublishPlan, Took
from bench.stage import Linked, Stage, link_sessions, open_stage
from cli.exit_codes import Exit
from cli.stack import NodePlan, control_plane_name
from control_plane.config import ControlPlaneSettings
from control_plane.core.rate_limit import RatePolicy
from schemas.api_messages import NewMessage
from schemas.messages import Text
from schemas.records import OutboxItem
from schemas.states import EngineKind, SessionState
from schemas.subjects import media_chunk

NODE: Final = "bench-node"
FRIEND: Final = "15559990000"
SESSIONS: Final = {EngineKind.LOOPBACK: 16, EngineKind.CHROMIUM: 3}
CLIENTS: Final = (1, 64)
RAW_SHARE_GOAL: Final = 0.5
ACKED_GOAL_S: Final = 0.015
PACE_S: Final = 0.02
"""Between two messages of the way to WhatsApp: it is latency that is measured, not a queue's."""
LIMIT_S: Final = 120.0
TEXT: Final = "a message of the usual length, as a person would write it to a shop " * 2
LANE_DEPTH_MAX: Final = 1_000_000
"""Nothing empties the lanes of stopped sessions."""
NO_LIMIT: Final = RatePolicy(per_s=1_000_000.0, burst=1_000_000)


class SendOptions(msgspec.Struct, frozen=True):
    """What the command line said. `seconds` for each measurement of acceptance."""

    quiet: bool
    engine: str | None
    seconds: float
    sends: int
    control_planes: int


async def run_send(options: SendOptions, stop: asyncio.Event) -> Exit:
    """Measure, and print the one line."""
    engines = [EngineKind(options.engine)] if options.engine else list(SESSIONS)
    figures: dict[str, Any] = {"control_planes": options.control_planes}
    goals: list[Goal] = []
    for engine in engines:
        if stop.is_set():
            return Exit.INTERRUPTED
        count = SESSIONS[engine]
        async with open_stage(
            engine,
            (NodePlan(NODE, "local", count + 1),),
            control_planes=options.control_planes,
            rate=NO_LIMIT,
            services=ControlPlaneSettings(lane_depth_max=LANE_DEPTH_MAX),
        ) as stage:
            friend = await stage.book.create(FRIEND)
            numbers = [f"1555000{number:04}" for number in range(1, count + 1)]
            linked = await link_sessions(stage, numbers)
            _say(options, f"{engine}: {count} sessions online")
            acked = await _way_to_switch(stage, linked, friend.wid, options)
            figures[engine] = {"sessions": count, "accepted_to_switch_ms": _spread(acked)}
            if engine is EngineKind.LOOPBACK:
                goals.append(
                    at_most(
                        "loopback: accepted to acked by the switch, p50",
                        ACKED_GOAL_S * 1000,
                        percentile(acked, 0.5) * 1000,
                        "ms",
                    )
                )
                figures["acceptance"] = await _acceptance(stage, linked, friend.wid, options, goals)
    print_report("send", figures, goals)
    return Exit.OK


# The way to WhatsApp -----------------------------------------------------------------------------


async def _way_to_switch(
    stage: Stage, linked: list[Linked], to: str, options: SendOptions
) -> list[float]:
    """Seconds from acceptance until the switch has it, one message at a time."""
    accepted: dict[str, float] = {}
    for number in range(options.sends):
        session_id = linked[number % len(linked)].session.session_id
        message = await stage.api.send(session_id, NewMessage(to=to, text=f"way {number}"))
        accepted[message.message_id] = message.created_at
        await asyncio.sleep(PACE_S)
    arrived: dict[str, float] = {}
    async with asyncio.timeout(LIMIT_S):
        while len(arrived) < len(accepted):
            await asyncio.sleep(PACE_S)
            for entry in await stage.book.log(0, "message.accepted"):
                if entry.id in accepted:
                    arrived.setdefault(entry.id, entry.at_ms / 1000)
    # The switch's clock has whole milliseconds.
    return [max(0.0, arrived[id_] - accepted[id_]) for id_ in accepted]


# Acceptance --------------------------------------------------------------------------------------


async def _acceptance(
    stage: Stage, linked: list[Linked], to: str, options: SendOptions, goals: list[Goal]
) -> dict[str, Any]:
    post = _post_plan(stage, linked, to, options)
    publish = _publish_plan(stage, linked, to, options)
    figures: dict[str, Any] = {"message_bytes": publish.size_bytes, "seconds": options.seconds}
    for session in linked:
        await stage.api.act(session.session.session_id, "stop")
    for session in linked:
        await stage.api.wait_state(
            session.session.session_id, SessionState.STOPPED, timeout_s=LIMIT_S
        )
    warm_up = msgspec.structs.replace(post, clients=8, seconds=2.0)
    await _run_client(warm_up)
    for clients in CLIENTS:
        turns: dict[str, PostPlan | PublishPlan] = {
            "raw_jetstream": msgspec.structs.replace(publish, clients=clients),
            "accepted": msgspec.structs.replace(post, clients=clients),
            "accepted_with_key": msgspec.structs.replace(post, clients=clients, with_key=True),
            # Once more: a machine that does other things as well is not the same all the time.
            "raw_jetstream_again": msgspec.structs.replace(publish, clients=clients),
        }
        took = {name: await _run_client(plan) for name, plan in turns.items()}
        raw_per_s = (took["raw_jetstream"].per_s + took["raw_jetstream_again"].per_s) / 2
        share = took["accepted"].per_s / raw_per_s
        figures[f"clients_{clients}"] = {name: _rate(one) for name, one in took.items()} | {
            "share_of_raw": round(share, 3)
        }
        for name, one in took.items():
            _say(options, f"{clients} clients: {name} {one.per_s:.0f}/s")
        if clients == max(CLIENTS):
            goals.append(
                at_least(f"{clients} clients: share of raw JetStream", RAW_SHARE_GOAL, share, "")
            )
    for session in linked:
        await stage.api.act(session.session.session_id, "start")
    for session in linked:
        await stage.api.wait_state(
            session.session.session_id, SessionState.ONLINE, timeout_s=LIMIT_S
        )
    while_sending = await _run_client(msgspec.structs.replace(post, clients=max(CLIENTS)))
    figures["while_sending_clients_64"] = _rate(while_sending)
    _say(options, f"while it sends: {while_sending.per_s:.0f}/s")
    return figures


def _post_plan(stage: Stage, linked: list[Linked], to: str, options: SendOptions) -> PostPlan:
    children = stage.stack.children
    names = [control_plane_name(number) for number in range(1, options.control_planes + 1)]
    return PostPlan(
        clients=1,
        seconds=options.seconds,
        ports=tuple(children[name].child.facts["port"] for name in names),
        api_key=stage.stack.api_key,
        session_ids=tuple(one.session.session_id for one in linked),
        to=to,
        text=TEXT,
        with_key=False,
    )


def _publish_plan(stage: Stage, linked: list[Linked], to: str, options: SendOptions) -> PublishPlan:
    nats, session = stage.stack.nats, linked[0].session
    item = OutboxItem(
        message_id="3EB0" + "0" * 18,
        tenant_id="default",
        session_id=session.session_id,
        to=to,
        content=Text(TEXT),
        accepted_at=session.created_at,
    )
    return PublishPlan(
        clients=1,
        seconds=options.seconds,
        server=nats.url,
        seed_file=nats.control_plane.seed_file,
        inbox_prefix=nats.control_plane.inbox_prefix,
        # Stored as the outbox is (a file, each write on the disk), and nobody reads it.
        subject=media_chunk("bench", session.session_id, 0),
        size_bytes=len(msgspec.json.encode(item)),
    )


async def _run_client(plan: PostPlan | PublishPlan) -> Took:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.send_client",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(plan.seconds + LIMIT_S):
            out, _ = await process.communicate(msgspec.json.encode(plan))
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise RuntimeError("the clients' process failed; its words are above")
    return msgspec.json.decode(out, type=Took)


def _rate(took: Took) -> dict[str, Any]:
    return {"per_s": round(took.per_s, 1), "ms": _spread(took.seconds), "refused": took.refused}


def _spread(seconds: list[float]) -> dict[str, float]:
    return {
        "p50": round(percentile(seconds, 0.5) * 1000, 2),
        "p99": round(percentile(seconds, 0.99) * 1000, 2),
    }


def _say(options: SendOptions, text: str) -> None:
    if not options.quiet:
        print(text, file=sys.stderr, flush=True)
