"""What holds for every schedule, answer and filter of webhooks."""

from __future__ import annotations

import itertools

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from control_plane.core.webhook_backlog import Backlog, Place
from control_plane.core.webhook_delivery import (
    ATTEMPTS_KEPT,
    JITTER_SHARE,
    RETRY_AFTER_MAX_S,
    SCHEDULE_S,
    Outcome,
    Verdict,
    after,
    asked_again,
    pause_s,
)
from control_plane.core.webhook_events import body_of, matches, wants
from schemas.webhooks import AnyEvent, Attempt, Delivery, DeliveryState

UNIT = st.floats(0, 1, exclude_max=True)
ASKED = st.none() | st.floats(0, RETRY_AFTER_MAX_S)
NAMES = st.from_regex(r"[a-z]{1,3}(\.[a-z]{1,3}){0,2}", fullmatch=True)
DELIVERY = Delivery(
    webhook_id="whk_" + "3" * 26,
    tenant_id="acme",
    event_id="evt_" + "1" * 26,
    type="message.ack",
    session_id="ses_" + "2" * 26,
    sequence=1,
    event_at=0.0,
    state=DeliveryState.WAITING,
    body="{}",
)


def failed(asked: float | None) -> Outcome:
    return Outcome(Attempt(0.0, 0.1, 500, "http_error"), Verdict.FAILED, asked)


@given(st.integers(1, 20), UNIT, ASKED)
def test_a_pause_is_never_shorter_than_promised_and_always_bounded(
    made: int, unit: float, asked: float | None
) -> None:
    pause = pause_s(made, unit, asked)
    assert (pause is None) == (made >= len(SCHEDULE_S))
    if pause is not None:
        assert max(SCHEDULE_S[made], asked or 0) <= pause
        assert pause <= max(SCHEDULE_S[-1], RETRY_AFTER_MAX_S) * (1 + JITTER_SHARE)


@given(st.lists(st.tuples(UNIT, ASKED), min_size=25, max_size=25))
def test_a_delivery_that_always_fails_dies_after_the_schedule_and_not_before(
    steps: list[tuple[float, float | None]],
) -> None:
    now, delivery, made = 0.0, DELIVERY, 0
    for unit, asked in steps:
        delivery = after(delivery, failed(asked), now=now, unit_random=unit)
        made += 1
        if delivery.state is DeliveryState.DEAD:
            break
        assert delivery.due_at is not None
        assert delivery.due_at >= now
        now = delivery.due_at
    assert (made, delivery.due_at, delivery.body) == (len(SCHEDULE_S), None, "{}")
    assert now >= sum(SCHEDULE_S)
    again = asked_again(delivery, now)
    assert (again.state, again.due_at, again.event_id) == (
        DeliveryState.WAITING,
        now,
        DELIVERY.event_id,
    )
    for (unit, asked), _ in zip(steps, SCHEDULE_S, strict=False):
        again = after(again, failed(asked), now=now, unit_random=unit)
    assert again.state is DeliveryState.DEAD
    assert len(again.attempts) <= ATTEMPTS_KEPT


@given(st.integers(0, 9), UNIT)
def test_a_delivery_that_is_taken_is_done_whenever_that_is(tries: int, unit: float) -> None:
    delivery = DELIVERY
    for _ in range(tries):
        delivery = after(delivery, failed(None), now=0.0, unit_random=unit)
    taken = Outcome(Attempt(0.0, 0.1, 200), Verdict.DELIVERED)
    done = after(delivery, taken, now=1.0, unit_random=unit)
    assert (done.state, done.due_at, len(done.attempts)) == (
        DeliveryState.DELIVERED,
        None,
        tries + 1,
    )


@given(NAMES, NAMES)
def test_patterns_agree_with_their_meaning(pattern: str, name: str) -> None:
    assert matches("*", name)
    assert matches(pattern, name) == (pattern == name)
    below = name.split(".")[: len(pattern.split("."))] == pattern.split(".")
    assert matches(f"{pattern}.*", name) == (below and name != pattern)


@given(st.lists(NAMES, max_size=4), NAMES, st.lists(st.sampled_from("abc"), max_size=3))
def test_more_patterns_never_take_an_event_away(
    patterns: list[str], name: str, sessions: list[str]
) -> None:
    if wants(patterns, sessions, name, "a"):
        assert wants([*patterns, "x.y"], sessions, name, "a")
        assert wants(patterns, [], name, "a")


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5)), st.integers(0))
def test_a_body_is_the_same_whenever_it_is_made(
    fields: dict[str, int | str], sequence: int
) -> None:
    event = AnyEvent(
        event_id=DELIVERY.event_id,
        at=1_700_000_000.5,
        tenant_id="acme",
        session_id=DELIVERY.session_id,
        node_id="node-a",
        epoch=1,
        data={**fields, "type": "a.b"},
    )
    again = msgspec.json.decode(msgspec.json.encode(event), type=AnyEvent)
    sequence = min(sequence, 2**63)
    assert body_of(event, sequence) == body_of(again, sequence)
    data = msgspec.json.decode(body_of(event, sequence))["data"]
    assert data["event_id"] == event.event_id
    assert data["sequence"] == sequence


@given(
    st.lists(
        st.tuples(st.sampled_from("abcd"), st.none() | st.integers(0, 50)), min_size=1, max_size=40
    )
)
def test_the_backlog_hands_out_each_waiting_delivery_once_by_its_last_write(
    writes: list[tuple[str, int | None]],
) -> None:
    backlog, last = Backlog(), {}
    for seq, (event, due) in enumerate(writes, 1):
        backlog.note(event, Place(seq, None if due is None else float(due)))
        last[event] = (seq, due)
    waiting = {event: seq for event, (seq, due) in last.items() if due is not None}
    assert backlog.waiting == len(waiting)
    assert backlog.dead == len(last) - len(waiting)
    taken = []
    for now in itertools.chain(range(51), [51]):
        while (found := backlog.take_due(float(now))) is not None:
            assert last[found[0]][1] == now
            taken.append(found)
    assert sorted(taken) == sorted(waiting.items())
