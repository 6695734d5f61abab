"""What must hold of the control plane's pure decisions whatever comes in."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.core import delivery, failover, ledger_fold, paging
from control_plane.core.delivery import DeliveryRules, GiveUp, Outcome, Progress, Retry
from control_plane.core.failover import Signs
from control_plane.core.fleet import FleetSnapshot, NodeSnapshot
from control_plane.core.lanes import Lane, LaneBook, Park, Parked
from control_plane.core.liveness import CountedClock, LivenessRules
from control_plane.core.placement import Unplaceable, Wanted, place
from schemas.errors import ErrorCode
from schemas.events import MessageAck, MessageFailed, MessageSent, MessageUnknown
from schemas.messages import ChatMessage
from schemas.records import Heartbeat, NodeIntent, NodeRecord
from schemas.states import (
    Ack,
    EngineKind,
    MessageDirection,
    MessageKind,
    MessageState,
    NodeState,
)

GIB = 1024**3


def node_snapshot(node_id: str, **fields: object) -> NodeSnapshot:
    """A node; `fields` go where they belong."""
    values = dict(fields)
    sessions_max = values.pop("sessions_max", 5)
    state = values.pop("state", NodeState.ALIVE)
    reserved = values.pop("reserved", 0)
    free = values.pop("free_bytes", 0)
    cordoned = values.pop("cordoned", False)
    record = msgspec.convert(
        {
            "node_id": node_id,
            "incarnation": "i1",
            "version": "1",
            "sessions_max": sessions_max,
            "engines": ["loopback"],
            "started_at": 0.0,
            **values,
        },
        NodeRecord,
    )
    pulse = Heartbeat(node_id, "i1", 1, sessions_max, (), memory_free_bytes=free)  # type: ignore[arg-type]
    intent = NodeIntent(node_id, cordoned=bool(cordoned))
    return NodeSnapshot(record, state, reserved, pulse, 0.1, intent)  # type: ignore[arg-type]


nodes = st.lists(
    st.builds(
        lambda number, state, cordoned, reserved, region, engine, free: node_snapshot(
            f"node-{number}",
            state=state,
            cordoned=cordoned,
            reserved=reserved,
            region=region,
            engines=[engine],
            free_bytes=free,
        ),
        st.integers(0, 20),
        st.sampled_from(NodeState),
        st.booleans(),
        st.integers(0, 7),
        st.sampled_from(["sgp", "fra"]),
        st.sampled_from(EngineKind),
        st.sampled_from([0, 1, GIB, 8 * GIB]),
    ),
    max_size=8,
)


@given(nodes, st.sampled_from(EngineKind), st.sampled_from([None, "sgp", "fra"]))
def test_a_placement_is_always_allowed_and_found_when_there_is_one(
    found: list[NodeSnapshot], engine: EngineKind, region: str | None
) -> None:
    fleet = FleetSnapshot({n.record.node_id: n for n in found}, {}, {}, {})
    placed = place(fleet, Wanted("acme", engine, region))
    allowed = {
        node.record.node_id
        for node in fleet.nodes.values()
        if node.state is NodeState.ALIVE
        and not node.cordoned
        and engine in node.record.engines
        and node.reserved < node.sessions_max
    }
    if isinstance(placed, Unplaceable):
        # Memory alone may forbid what all else allows.
        assert all(fleet.nodes[n].heartbeat.memory_free_bytes > 0 for n in allowed)  # type: ignore[union-attr]
        return
    assert placed.node_id in allowed
    chosen = fleet.nodes[placed.node_id]
    in_region = {n for n in allowed if fleet.nodes[n].record.region == region}
    roomy = {n for n in in_region if fleet.nodes[n].heartbeat.memory_free_bytes in (0, 8 * GIB)}  # type: ignore[union-attr]
    if roomy:
        assert chosen.record.region == region


errors = st.lists(st.tuples(st.sampled_from(ErrorCode), st.booleans()), min_size=1, max_size=40)


@given(errors, st.booleans(), st.floats(0, 0.999), st.floats(0, 200_000))
def test_a_message_ends_at_last_and_never_lies(
    coming: list[tuple[ErrorCode, bool]], inherited: bool, dice: float, age_s: float
) -> None:
    rules = DeliveryRules(attempts_max=5)
    progress = Progress(doubt="lease_lost" if inherited else "")
    unsure = inherited
    for code, received in coming:
        outcome = delivery.outcome_of(code, received=received)
        decision = delivery.after_error(
            progress, code, "", received=received, age_s=age_s, unit_random=dice, rules=rules
        )
        if outcome in (Outcome.UNSURE, Outcome.NEVER_KNOWN):
            unsure = True
        elif outcome in (Outcome.DEFINITE, Outcome.RETRY):
            unsure = False
        if isinstance(decision, GiveUp):
            # `failed` is a promise that it did not go out.
            assert decision.state is (MessageState.UNKNOWN if unsure else MessageState.FAILED)
            assert outcome is not Outcome.NOT_HANDED_OVER or age_s >= rules.age_max_s
            # Whoever reads `unknown` is told why nobody knows.
            assert decision.detail or not unsure or outcome is Outcome.NEVER_KNOWN
            return
        assert isinstance(decision, Retry)
        assert age_s < rules.age_max_s
        assert 0 <= decision.delay_s <= rules.backoff_max_s
        assert decision.progress.attempts < rules.attempts_max
        progress = decision.progress


message_events = st.lists(
    st.one_of(
        st.builds(MessageSent, st.just("A" * 20), st.just("1@lid"), st.sampled_from(Ack)),
        st.builds(MessageFailed, st.just("A" * 20), st.just("1@c.us"), st.just("x")),
        st.builds(MessageUnknown, st.just("A" * 20), st.just("1@c.us"), st.just("x")),
        st.builds(MessageAck, st.just("A" * 20), st.just("1@c.us"), st.sampled_from(Ack)),
    ),
    max_size=12,
)


@given(message_events)
def test_one_final_state_is_reached_and_acks_never_go_back(coming: list[MessageSent]) -> None:
    message = ChatMessage(
        "A" * 20,
        "s",
        MessageDirection.OUTBOUND,
        MessageKind.TEXT,
        MessageState.ACCEPTED,
        "1@c.us",
        1.0,
    )
    for number, data in enumerate(coming):
        new = ledger_fold.fold(message, data, session_id="s", at=float(number))
        after = new or message
        assert after.ack.level >= message.ack.level
        if message.state.final:
            assert after.state is message.state
        assert ledger_fold.fold(after, data, session_id="s", at=99.0) is None, "not idempotent"
        message = after


@given(
    st.lists(st.tuples(st.integers(0, 30).map(float), st.text("ab", max_size=3)), unique=True),
    st.integers(1, 7),
)
def test_pages_show_everything_once_newest_first(
    items: list[tuple[float, str]], limit: int
) -> None:
    shown: list[tuple[float, str]] = []
    cursor = None
    while True:
        page, cursor = paging.take(items, lambda item: item, limit=limit, cursor=cursor)
        shown += page
        if cursor is None:
            break
    assert shown == sorted(items, reverse=True)


clock_steps = st.lists(
    st.tuples(st.sampled_from(["lost", "back", "tick"]), st.floats(0, 20)), max_size=15
)


@given(clock_steps)
def test_the_counted_clock_never_goes_back_nor_ahead(steps: list[tuple[str, float]]) -> None:
    clock, now, away = CountedClock(), 100.0, False
    last = clock.counted(now)
    for what, passed_s in steps:
        now += passed_s
        if what == "lost" and not away:
            clock, away = clock.bus_lost(now), True
        elif what == "back" and away:
            clock, away = clock.bus_back(now, 5.0), False
        counted = clock.counted(now)
        assert last - 1e-6 <= counted <= last + passed_s + 1e-6
        last = counted


@given(st.floats(0, 60), st.floats(0, 60), st.floats(0.1, 600))
def test_an_outage_of_ours_is_nobodys_death(
    heard_before_s: float, absent_before_s: float, outage_s: float
) -> None:
    rules = LivenessRules(
        suspect_after_s=5.0, thaw_after_s=3.0, lease_absent_grace_s=1.0, restart_grace_s=8.0
    )
    lost_at = 1000.0
    clock = CountedClock().bus_lost(lost_at)
    back_at = lost_at + outage_s
    clock = clock.bus_back(back_at, rules.thaw_after_s)

    def look(counted: float) -> NodeState:
        signs = Signs(
            heard=True,
            silence_s=counted - (lost_at - heard_before_s),
            lease_absent_s=counted - (lost_at - absent_before_s),
        )
        return failover.verdict(signs, rules, rules.lease_absent_grace_s)

    for now in (back_at, back_at + rules.thaw_after_s - 0.01):
        assert look(clock.counted(now)) is look(lost_at)


actions = st.lists(
    st.tuples(
        st.sampled_from(["note", "take", "requeue", "park", "drop", "wake", "due"]),
        st.integers(0, 1),
    ),
    max_size=60,
)


@given(actions)
@settings(max_examples=300)
def test_a_lane_is_in_one_place_and_never_forgotten(coming: list[tuple[str, int]]) -> None:
    book = LaneBook()
    lanes = [Lane("acme", f"s{number}") for number in range(2)]
    holding: set[Lane] = set()
    noted_while_running: dict[Lane, bool] = {}
    for now, (what, number) in enumerate(coming):
        lane = lanes[number]
        running = next(iter(noted_while_running), None)
        match what:
            case "note":
                book.note(lane)
                holding.add(lane)
                if lane in noted_while_running:
                    noted_while_running[lane] = True
            case "take":
                taken = book.take()
                if taken is not None:
                    assert taken not in noted_while_running, "two tasks on one lane"
                    noted_while_running[taken] = False
            case "due":
                book.wake_due(float(now))
            case "wake":
                book.wake(lane)
            case "requeue" if running:
                book.requeue(running)
                del noted_while_running[running]
            case "park" if running:
                why = [Park.OFFLINE, Park.BACKING_OFF][number]
                book.park(running, Parked(now + 2.0, why))
                del noted_while_running[running]
            case "drop" if running:
                book.drop(running)
                if not noted_while_running.pop(running):
                    holding.discard(running)
        places = [*book._ready, *book._running, *book._parked]
        assert sorted(places, key=str) == sorted(holding, key=str)
        assert set(book._running) == set(noted_while_running)
