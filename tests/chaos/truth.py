"""What must be true after any fault, judged by the switch and by the durable events.

Owns the invariants and what is counted for the report. Never causes anything.

- Nobody held a device twice (the switch's `hold.started`).
- No message reached the switch twice; one that Blazz calls sent is there.
- Every accepted message ends as sent, failed or unknown.
- No session asked for a QR after it was linked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing

import msgspec

from bench.chaos_faults import Death
from bench.chaos_judge import died_with_node
from bench.stage import Linked, Stage
from cli.client import Api
from schemas.api import MessagePage
from schemas.errors import BlazzError
from schemas.events import Event, SessionLinked, SessionQr, SessionQrIdle, SessionStateChanged
from schemas.messages import ChatMessage
from schemas.resources import EVENTS
from schemas.states import MessageDirection, MessageState
from schemas.subjects import EVENTS_ALL
from schemas.transport.connection import Bus
from schemas.transport.jetstream import JetStream
from schemas.transport.streams import run_consumer
from tests.chaos.load import Accepted, Load
from tests.waiting import eventually

SETTLE_S = 40.0
INBOUND_LATE_MAX_S = 15.0
"""An event that a killed control plane had taken is given to another one after 3 s."""
MESSAGES_SHOWN_MAX = 5


class Outcome(msgspec.Struct, frozen=True):
    """What became of the traffic."""

    accepted: int
    states: dict[str, int]
    refused: int
    unanswered: int
    inbound: int
    inbound_missing: tuple[str, ...]
    """Written by the friend and not in the ledger, as of now."""


async def holds(stage: Stage) -> int:
    """How often two browser runs held one device."""
    return len(await stage.book.log(0, "hold.started"))


async def read_events(stage: Stage) -> list[Event]:
    """Every durable event so far, in order."""
    nats = stage.stack.nats
    events: list[Event] = []
    async with Bus.connect(nats.bus_settings(nats.control_plane)) as bus:
        config = {"deliver_policy": "all", "filter_subject": EVENTS_ALL}
        async with aclosing(run_consumer(JetStream(bus), EVENTS, config)) as deliveries:
            async for delivery in deliveries:
                if delivery.message is not None:
                    events.append(msgspec.json.decode(delivery.message.data, type=Event))
                if delivery.pending == 0:
                    break
    return events


def codes_after_link(events: list[Event]) -> list[Event]:
    """QR codes shown by a session that was linked already."""
    linked: set[str] = set()
    found = []
    for event in events:
        if isinstance(event.data, SessionLinked):
            linked.add(event.session_id)
        elif isinstance(event.data, SessionQr | SessionQrIdle) and event.session_id in linked:
            found.append(event)
    return found


def course(events: list[Event], linked: Linked) -> str:
    """A session's states, as its events tell: for failure texts."""
    return " ".join(
        f"{event.node_id}/{event.epoch}:{event.data.state}"
        for event in events
        if event.session_id == linked.session.session_id
        and isinstance(event.data, SessionStateChanged)
    )


async def died_with(
    stage: Stage, load: Load, events: Sequence[Event], deaths: Sequence[Death]
) -> set[str]:
    """Inbound messages that a page confirmed as its node was killed: a bound that is promised
    (`docs/guarantees.md`), not a loss."""
    stored = await stage.book.log(0, "message.stored") if deaths else []
    return died_with_node(load.inbound, events, stored, deaths)


async def settle(stage: Stage, load: Load, *, within_s: float = SETTLE_S) -> Outcome:
    """Wait until every accepted message is final, then hold the messages to the switch's log."""
    finals: dict[str, ChatMessage] = {}

    async def all_final() -> bool:
        waiting = [one for one in load.accepted if one.message_id not in finals]
        for one in waiting:
            message = await _message(stage.api, one)
            if message is None or not message.state.final:
                break
            finals[one.message_id] = message
        assert len(finals) == len(load.accepted), _left(load, finals)
        return True

    await eventually(all_final, timeout_s=within_s, what="every accepted message is final")
    await _hold_to_switch(stage, load, finals)
    return Outcome(
        accepted=len(load.accepted),
        states=dict(Counter(message.state.value for message in finals.values())),
        refused=len(load.refused),
        unanswered=len(load.open),
        inbound=len(load.inbound),
        inbound_missing=await _missing(stage.api, load),
    )


async def _message(api: Api, one: Accepted) -> ChatMessage | None:
    try:
        return await api.message(one.session_id, one.message_id)
    except BlazzError as error:
        if not error.retryable:
            raise
        return None


def _left(load: Load, finals: dict[str, ChatMessage]) -> str:
    left = [one.message_id for one in load.accepted if one.message_id not in finals]
    return f"{len(left)} of {len(load.accepted)} not final: {left[:MESSAGES_SHOWN_MAX]}"


async def _hold_to_switch(stage: Stage, load: Load, finals: dict[str, ChatMessage]) -> None:
    entries = await stage.book.log(0, "message.accepted")
    by_text = Counter(entry.body_digest for entry in entries)
    asked = [one.digest for one in load.accepted] + load.open
    twice = [text for text in asked if by_text[text] > 1]
    assert not twice, f"{len(twice)} messages reached the switch twice"
    for one in load.accepted:
        message = finals[one.message_id]
        if message.state is MessageState.SENT:
            assert by_text[one.digest] == 1, f"{one.message_id} is called sent, but never was"
        else:
            assert message.error_code, f"{one.message_id} is {message.state} for no reason"


async def _missing(api: Api, load: Load) -> tuple[str, ...]:
    """Which inbound messages the ledger still lacks; patient, for they may be on their way."""
    missing = set(load.inbound)

    async def all_there() -> bool:
        for session_id in {load.inbound[one] for one in missing}:
            missing.difference_update(await _received(api, session_id))
        return not missing

    try:
        await eventually(all_there, timeout_s=INBOUND_LATE_MAX_S)
    except AssertionError:
        return tuple(sorted(missing))
    return ()


async def _received(api: Api, session_id: str) -> set[str]:
    found: set[str] = set()
    query = {"limit": "200"}
    while True:
        page = await api.call(
            "GET", f"/v1/sessions/{session_id}/messages", MessagePage, query=query
        )
        found.update(m.message_id for m in page.data if m.direction is MessageDirection.INBOUND)
        if page.next_cursor is None:
            return found
        query["cursor"] = page.next_cursor
