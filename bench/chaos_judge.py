"""What must be true of all traffic, whatever broke: judged by the switch's log.

Owns the counting. The ground truth for messages out is what the switch accepted, for messages in
what the friends' phones sent. Never causes anything, and repairs nothing.
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import aclosing
from typing import Any, Final

import msgspec

from bench.chaos_faults import Broken, Death
from bench.chaos_fleet import TOLD
from bench.chaos_traffic import Accepted, Record
from bench.watched import WatchedFleet
from sandbox.switch.log import Entry
from schemas.api import MessagePage
from schemas.errors import BlazzError
from schemas.events import Event, MessageReceived, MessageSent, event_name
from schemas.messages import ChatMessage
from schemas.resources import EVENTS
from schemas.states import EngineKind, MessageDirection, MessageState
from schemas.subjects import EVENTS_ALL
from schemas.transport.connection import Bus
from schemas.transport.jetstream import JetStream
from schemas.transport.streams import run_consumer

SETTLE_MAX_S: Final = 120.0
"""After the last fault: a session may have to be online again first, and an event that a killed
process had taken comes again after 30 s."""
LOOK_EVERY_S: Final = 2.0
SHOWN_MAX: Final = 10
DIED_WITH_IT_S: Final = 0.5
"""How far from its node's death WhatsApp's page may have confirmed a message that dies with it: a
page confirms by itself, and lives on for a moment when its node is killed."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What became of all messages. Lists hold message ids."""

    accepted: int
    states: dict[str, int]
    not_final: list[str]
    lost: list[str]
    """Called sent, and the switch never had it."""
    duplicates: list[str]
    out_of_order: list[str]
    """Reached the switch behind a later one of the same session and chat."""
    sent_all_the_same: list[str]
    """Called failed, and the switch has it."""
    unexplained: list[str]
    """Failed or unknown, with no reason."""
    unknown: list[dict[str, Any]]
    failed: list[dict[str, Any]]
    sent_events_wrong: list[str]
    """Sent, and its `message.sent` is not on the event stream exactly once."""
    inbound: int
    inbound_not_in_ledger: list[str]
    inbound_no_event: list[str]
    died_with_node: list[str]
    """Have no event and are not counted as lost: a page confirmed them in the moment in which its
    node was killed, and the session went on elsewhere from an older snapshot
    (`docs/guarantees.md`)."""
    inbound_events_twice: list[str]
    """More than one event id tells of its arrival."""
    hooked: int
    """Events that the webhook's receiver took."""
    hooks_missing: list[str]
    """Events (ids) on the stream that it never got."""
    hooks_unknown: list[str]
    """Event ids that it got and that are not on the stream."""
    hooks_repeated: int
    """Taken again under the same id, which a receiver has to expect."""
    double_holds: int
    slow_to_settle_s: float

    def broken(self) -> dict[str, int]:
        """The invariants that do not hold, with how often."""
        held = {
            "not final": len(self.not_final),
            "lost": len(self.lost),
            "duplicates": len(self.duplicates),
            "out of order": len(self.out_of_order),
            "failed, but sent": len(self.sent_all_the_same),
            "without a reason": len(self.unexplained),
            "message.sent not once": len(self.sent_events_wrong),
            "inbound not in the ledger": len(self.inbound_not_in_ledger),
            "inbound without an event": len(self.inbound_no_event),
            "inbound under two event ids": len(self.inbound_events_twice),
            "webhook missing": len(self.hooks_missing),
            "webhook under an id of its own": len(self.hooks_unknown),
        }
        return {name: count for name, count in held.items() if count}


async def judge(
    fleet: WatchedFleet,
    record: Record,
    broken: Sequence[Broken],
    deaths: Sequence[Death] = (),
    *,
    settle_max_s: float = SETTLE_MAX_S,
) -> Verdict:
    """Wait until all is settled (bounded), then hold every message to the ground truth."""
    began = time.monotonic()
    ledger: dict[str, ChatMessage] = {}
    events: list[Event] = []
    taken = fleet.hooked
    while True:
        ledger = await _read_ledger(fleet)
        events = await _read_events(fleet)
        log = await fleet.book.log(0, "message.accepted", "message.stored", "hold.started")
        # The loopback engine confirms what is kept already, so with it nothing is excused.
        confirmed = log if fleet.engine is EngineKind.CHROMIUM else []
        excused = died_with_node(record.inbound, events, confirmed, deaths)
        settled = _settled(record, ledger, events, excused) and not _hooks_missing(events, taken)
        if settled or time.monotonic() - began > settle_max_s:
            break
        await asyncio.sleep(LOOK_EVERY_S)
    return weigh(record, ledger, events, taken, log, broken, time.monotonic() - began, excused)


def weigh(
    record: Record,
    ledger: Mapping[str, ChatMessage],
    events: Sequence[Event],
    taken: Counter[str] | None,
    log: Sequence[Entry],
    broken: Sequence[Broken],
    settle_s: float,
    excused: AbstractSet[str] = frozenset(),
) -> Verdict:
    """Count."""
    at_switch = Counter(entry.body_digest for entry in log if entry.kind == "message.accepted")
    by_state: dict[MessageState | None, list[Accepted]] = defaultdict(list)
    for one in record.accepted:
        found = ledger.get(one.message_id)
        final = found is not None and found.state.final
        by_state[found.state if found is not None and final else None].append(one)
    sent, failed = by_state[MessageState.SENT], by_state[MessageState.FAILED]
    unknown = by_state[MessageState.UNKNOWN]
    asked = [(one.digest, one.message_id) for one in record.accepted]
    asked += [(text, text) for text in record.unanswered]
    told = Counter(e.data.message_id for e in events if isinstance(e.data, MessageSent))
    inbound = [id_ for id_ in record.inbound if id_ not in excused]
    arrived: dict[str, set[str]] = defaultdict(set)
    for event in events:
        if isinstance(event.data, MessageReceived):
            arrived[event.data.message.message_id].add(event.event_id)
    return Verdict(
        accepted=len(record.accepted),
        states={state or "not final": len(of) for state, of in by_state.items() if of},
        not_final=[one.message_id for one in by_state[None]],
        lost=[one.message_id for one in sent if not at_switch[one.digest]],
        duplicates=[shown for text, shown in asked if at_switch[text] > 1],
        out_of_order=_out_of_order(record.accepted, log),
        sent_all_the_same=[one.message_id for one in failed if at_switch[one.digest]],
        unexplained=[
            one.message_id for one in (*failed, *unknown) if not ledger[one.message_id].error_code
        ],
        unknown=[_cause(one, ledger, at_switch, broken) for one in unknown],
        failed=[_cause(one, ledger, at_switch, broken) for one in failed],
        sent_events_wrong=[one.message_id for one in sent if told[one.message_id] != 1],
        inbound=len(record.inbound),
        inbound_not_in_ledger=[id_ for id_ in inbound if id_ not in ledger],
        inbound_no_event=[id_ for id_ in inbound if not arrived[id_]],
        died_with_node=sorted(excused),
        inbound_events_twice=[id_ for id_ in record.inbound if len(arrived[id_]) > 1],
        hooked=len(taken or ()),
        hooks_missing=_hooks_missing(events, taken),
        hooks_unknown=sorted(set(taken or ()) - {event.event_id for event in events}),
        hooks_repeated=taken.total() - len(taken) if taken is not None else 0,
        double_holds=sum(entry.kind == "hold.started" for entry in log),
        slow_to_settle_s=round(settle_s, 1),
    )


def _hooks_missing(events: Iterable[Event], taken: Counter[str] | None) -> list[str]:
    """The events that the receiver should have had by now, and has not; none where there is no
    receiver."""
    if taken is None:
        return []
    return [e.event_id for e in events if event_name(e.data) in TOLD and not taken[e.event_id]]


def _out_of_order(accepted: Sequence[Accepted], log: Sequence[Entry]) -> list[str]:
    """Those that the switch had after one which was accepted later for the same chat."""
    place = {one.digest: number for number, one in enumerate(accepted)}
    newest: dict[tuple[str, str], int] = {}
    found = []
    for entry in log:
        number = place.get(entry.body_digest) if entry.kind == "message.accepted" else None
        if number is None:
            continue
        one = accepted[number]
        lane = (one.session_id, one.chat)
        if number < newest.get(lane, -1):
            found.append(one.message_id)
        newest[lane] = max(number, newest.get(lane, -1))
    return found


def _cause(
    one: Accepted,
    ledger: Mapping[str, ChatMessage],
    at_switch: Counter[str],
    broken: Sequence[Broken],
) -> dict[str, Any]:
    message = ledger[one.message_id]
    until = message.state_at or time.time()
    during = [
        f"{b.fault} ({b.process})"
        for b in broken
        if b.from_at <= until and b.until_at >= one.asked_at
    ]
    return {
        "message_id": one.message_id,
        "code": message.error_code,
        "detail": message.error_detail,
        "at_switch": at_switch[one.digest],
        "took_s": round(until - one.asked_at, 1),
        "meanwhile": during[:SHOWN_MAX],
    }


def died_with_node(
    inbound: Mapping[str, str],
    events: Sequence[Event],
    log: Sequence[Entry],
    deaths: Sequence[Death],
) -> set[str]:
    """Inbound messages that no event told of, that a page confirmed to WhatsApp in the very moment
    in which the node that ran it was killed, and whose session came up on another node next.
    `inbound` is their sessions, by message."""
    told = {e.data.message.message_id for e in events if isinstance(e.data, MessageReceived)}
    stored_at = {e.id: e.at_ms / 1000 for e in log if e.kind == "message.stored"}
    runs: dict[str, list[Event]] = defaultdict(list)
    for event in sorted(events, key=lambda event: event.epoch):
        runs[event.session_id].append(event)
    return {
        id_
        for id_, session_id in inbound.items()
        if id_ not in told
        and id_ in stored_at
        and any(
            -DIED_WITH_IT_S
            <= stored_at[id_] - death.at
            <= max(0.0, death.gone_at - death.at) + DIED_WITH_IT_S
            and _left_for_good(runs[session_id], death)
            for death in deaths
        )
    }


def _left_for_good(of_session: Sequence[Event], death: Death) -> bool:
    """Whether the session was on that node when it died, and went on on another one."""
    before = [event for event in of_session if event.at <= death.at + DIED_WITH_IT_S]
    if not before or before[-1].node_id != death.process:
        return False
    later = [event for event in of_session if event.epoch > before[-1].epoch]
    return bool(later) and later[0].node_id != death.process


def _settled(
    record: Record,
    ledger: Mapping[str, ChatMessage],
    events: Sequence[Event],
    excused: AbstractSet[str],
) -> bool:
    received = {e.data.message.message_id for e in events if isinstance(e.data, MessageReceived)}
    told = {e.data.message_id for e in events if isinstance(e.data, MessageSent)}
    out = all(
        (found := ledger.get(one.message_id)) is not None
        and found.state.final
        and (found.state is not MessageState.SENT or one.message_id in told)
        for one in record.accepted
    )
    return out and all(
        id_ in ledger and id_ in received for id_ in record.inbound if id_ not in excused
    )


async def _read_ledger(fleet: WatchedFleet) -> dict[str, ChatMessage]:
    """Every message of every session, by the customer's own list."""
    found: dict[str, ChatMessage] = {}
    for linked in fleet.linked:
        path, query = f"/v1/sessions/{linked.session.session_id}/messages", {"limit": "200"}
        while True:
            page = await _page(fleet, path, query)
            for message in page.data:
                twice = message.message_id in found
                ours = message.direction is MessageDirection.OUTBOUND
                if twice and ours is (
                    found[message.message_id].direction is MessageDirection.OUTBOUND
                ):
                    raise RuntimeError("the list of messages names one twice")
                found[message.message_id] = message
            if page.next_cursor is None:
                break
            query["cursor"] = page.next_cursor
    return found


async def _page(fleet: WatchedFleet, path: str, query: Mapping[str, str]) -> MessagePage:
    async with asyncio.timeout(SETTLE_MAX_S):
        while True:
            try:
                return await fleet.api.call("GET", path, MessagePage, query=query)
            except BlazzError as error:
                if not error.retryable:
                    raise
            await asyncio.sleep(LOOK_EVERY_S)


async def _read_events(fleet: WatchedFleet) -> list[Event]:
    """Every durable event, in order."""
    events: list[Event] = []
    async with Bus.connect(fleet.bus) as bus:
        config = {"deliver_policy": "all", "filter_subject": EVENTS_ALL}
        async with aclosing(run_consumer(JetStream(bus), EVENTS, config)) as deliveries:
            async for delivery in deliveries:
                if delivery.message is not None:
                    events.append(msgspec.json.decode(delivery.message.data, type=Event))
                if delivery.pending == 0:
                    break
    return events
