"""Whatever order the bucket's changes come in, the same fleet stands at the end."""

from __future__ import annotations

import random

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.keys import assignment_key, observed_key
from schemas.records import Assignment, SessionObserved
from schemas.states import SessionState
from tests.tui.fleet_sample import NODES, NOW_MONO, heartbeat, session_id, whole_fleet
from tui.changes import Batch, BusDown, BusUp, Change, Pulse, RecordGone, RecordPut
from tui.fold import fold
from tui.health import FAST_LIMITS, Trust, all_node_health, session_look
from tui.model import FleetView

NODE_IDS = ("a", "b", "c")
SESSION_IDS = tuple(session_id(number) for number in range(3))


@st.composite
def histories(draw: st.DrawFn) -> list[Change]:
    """A bucket's log as it may be written: revisions rise, a session's epoch never falls."""
    changes: list[Change] = []
    epochs = dict.fromkeys(SESSION_IDS, 0)
    for revision in range(1, draw(st.integers(1, 30)) + 1):
        sid, node_id = draw(st.sampled_from(SESSION_IDS)), draw(st.sampled_from(NODE_IDS))
        match draw(st.sampled_from(["assign", "observe", "unassign", "forget"])):
            case "assign":
                epochs[sid] += 1
                record = Assignment(sid, "acme", node_id, epochs[sid])
                changes.append(RecordPut(assignment_key(sid), revision, record))
            case "observe":
                state = draw(st.sampled_from(list(SessionState)))
                epoch = draw(st.integers(0, epochs[sid]))
                seen = SessionObserved(sid, "acme", node_id, "life", epoch, state, 1.0)
                changes.append(RecordPut(observed_key(node_id, sid), revision, seen))
            case "unassign":
                changes.append(RecordGone(assignment_key(sid), revision))
            case _:
                changes.append(RecordGone(observed_key(node_id, sid), revision))
    return changes


def standing(view: FleetView) -> dict[str, object]:
    """All that is known, without when it was heard."""
    return {
        sid: (
            session.epoch,
            session.assignment and session.assignment.record,
            {node_id: kept.record for node_id, kept in session.observed.items()},
        )
        for sid, session in view.sessions.items()
    }


def folded(changes: list[Change], sizes: random.Random | None = None) -> FleetView:
    view = FleetView()
    rest = list(changes)
    while rest:
        size = sizes.randint(1, len(rest)) if sizes else len(rest)
        fold(view, Batch(NOW_MONO, tuple(rest[:size])))
        rest = rest[size:]
    return view


@given(histories(), st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_order_repeats_and_batching_do_not_matter(log: list[Change], chance: random.Random) -> None:
    shuffled = [*log, *chance.sample(log, chance.randint(0, len(log)))]
    chance.shuffle(shuffled)
    assert standing(folded(shuffled, chance)) == standing(folded(log))


@given(histories(), st.randoms(use_true_random=False))
@settings(max_examples=75, deadline=None)
def test_the_epoch_shown_never_falls(log: list[Change], chance: random.Random) -> None:
    view, highest = FleetView(), dict.fromkeys(SESSION_IDS, 0)
    chance.shuffle(log)
    for change in log:
        fold(view, Batch(NOW_MONO, (change,)))
        for sid, session in view.sessions.items():
            kept = session.assignment
            if kept is not None:
                assert kept.record.epoch >= highest[sid]
                highest[sid] = kept.record.epoch


@given(st.lists(st.tuples(st.sampled_from(["old", "new"]), st.integers(1, 9)), min_size=1))
@settings(max_examples=75, deadline=None)
def test_the_pulse_in_force_is_the_highest_of_the_named_life(said: list[tuple[str, int]]) -> None:
    node = NODES[0]
    view = fold(FleetView(), whole_fleet())
    names = {"old": "before", "new": node.incarnation}
    for life, sequence in said:
        pulse = msgspec.structs.replace(heartbeat(node, sequence), incarnation=names[life])
        fold(view, Batch(NOW_MONO, (Pulse(pulse),)))
    in_force = view.nodes[node.node_id].pulse
    assert in_force is not None
    wanted = max([1, *(sequence for life, sequence in said if life == "new")])
    assert in_force.heartbeat.incarnation == node.incarnation
    assert in_force.heartbeat.sequence == wanted


@given(st.lists(st.tuples(st.sampled_from(["up", "down", "pulse"]), st.floats(0.1, 30.0))))
@settings(max_examples=100, deadline=None)
def test_confirmed_always_means_heard_lately_over_a_bus_that_is_there(
    steps: list[tuple[str, float]],
) -> None:
    view, now = fold(FleetView(), whole_fleet(NOW_MONO)), NOW_MONO
    for number, (step, passed_s) in enumerate(steps, 2):
        now += passed_s
        pulses = tuple(Pulse(heartbeat(node, number)) for node in NODES[:2])
        told: dict[str, tuple[Change, ...]] = {
            "up": (BusUp(0.001),),
            "down": (BusDown("gone"),),
            "pulse": pulses,
        }
        fold(view, Batch(now, told[step]))
        healths = all_node_health(view, now, FAST_LIMITS)
        for session in view.sessions.values():
            look = session_look(view, session, healths, now)
            if look.trust is Trust.CONFIRMED:
                assert view.bus.up
                pulse = view.nodes[look.node_id or ""].pulse
                assert pulse is not None
                assert now - pulse.at <= FAST_LIMITS.suspect_after_s
