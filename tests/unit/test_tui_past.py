"""Moments as people say them, and the tape on which every moment of the past lies."""

from __future__ import annotations

import msgspec
import pytest

from schemas.events import SessionStateChanged
from schemas.history import PastPulse
from schemas.keys import assignment_key, node_key, observed_key
from schemas.states import NodeState, SessionState
from tests.tui.fleet_sample import NODES, NOW_UNIX, SESSIONS, event, node_record, observed, records
from tui.changes import BusUp, Happened, RecordGone, RecordPut, ResyncBegan, ResyncDone
from tui.fold import fold
from tui.health import Trust
from tui.model import FleetView
from tui.past.moments import parse_moment
from tui.past.tape import PAST_LIMITS, Frame, Tape
from tui.roll import Roll

NOON = 1_795_003_200.0 - 1_795_003_200.0 % 86_400 + 43_200
T0 = NOW_UNIX


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("11:05", NOON - 55 * 60),
        ("11:05:30", NOON - 55 * 60 + 30),
        ("13:00", NOON - 23 * 3_600),
        ("-10m", NOON - 600),
        ("-2d", NOON - 2 * 86_400),
    ],
)
def test_moments(said: str, meant: float) -> None:
    assert parse_moment(said, NOON) == meant


def test_iso_moments_are_utc_unless_they_say_otherwise() -> None:
    assert parse_moment("2026-11-22T14:05", 1e11) == parse_moment("2026-11-22T15:05+01:00", 1e11)


@pytest.mark.parametrize("said", ["soon", "25:00", "-10x", "2999-01-01", ""])
def test_what_is_no_moment_of_the_past_is_refused(said: str) -> None:
    with pytest.raises(ValueError, match=r"no moment|not come yet"):
        parse_moment(said, NOON)


def a_tape() -> Tape:
    """The sample fleet; at +10 a session degrades, at +20 it moves, at +30 a node falls silent."""
    puts = [RecordPut(key, number, record) for number, (key, record) in enumerate(records(), 1)]
    degraded = msgspec.structs.replace(SESSIONS[0], state=SessionState.DEGRADED, since_s=-10)
    moved = msgspec.structs.replace(SESSIONS[0], node_id=NODES[1].node_id, epoch=2, since_s=-20)
    sid = moved.session_id
    given = dict(records())[assignment_key(sid)]
    told = SessionStateChanged(SessionState.DEGRADED, SessionState.ONLINE, "socket resumed")
    frames = [
        Frame(T0 - 1, (BusUp(0.0), ResyncBegan())),
        Frame(T0 - 1, tuple(puts)),
        Frame(T0, (ResyncDone(),)),
        *(Frame(T0 + s, pulses=tuple(past_pulse(n, s) for n in range(3))) for s in (0, 30)),
        Frame(T0 + 10, (RecordPut(observed_key(degraded.node_id, sid), 101, observed(degraded)),)),
        Frame(T0 + 10, (Happened(1, event(1, told, SESSIONS[0]), live=False),)),
        Frame(
            T0 + 20,
            (
                RecordPut(
                    assignment_key(sid),
                    102,
                    msgspec.structs.replace(given, node_id=moved.node_id, epoch=2),
                ),
                RecordPut(observed_key(moved.node_id, sid), 103, observed(moved)),
                RecordGone(observed_key(degraded.node_id, sid), 104),
            ),
        ),
        Frame(T0 + 200, pulses=(past_pulse(0, 200), past_pulse(1, 200))),
        Frame(T0 + 210, (Happened(2, event(2, told, SESSIONS[1]), live=False),)),
    ]
    return Tape(frames, T0, T0 + 600)


def past_pulse(number: int, sequence: int) -> PastPulse:
    node = NODES[number]
    return PastPulse(node.node_id, node.incarnation, sequence + 1, node.sessions_max)


class Shown:
    def __init__(self) -> None:
        self.tape, self.view = a_tape(), FleetView()
        self.roll = Roll(self.view, PAST_LIMITS)

    def at(self, at: float) -> Roll:
        for batch in self.tape.batches_to(at):
            fold(self.view, batch)
        self.roll.bring_up(at)
        return self.roll


def test_each_moment_is_shown_as_it_was_forward_and_back() -> None:
    sid, shown = SESSIONS[0].session_id, Shown()
    seen: dict[
        int, tuple[SessionState, str | None, int, Trust, tuple[tuple[str, NodeState], ...]]
    ] = {}
    for at in (5, 15, 25, 40, 250, 25, 15, 5, 250, 40):
        roll = shown.at(T0 + at)
        look = roll.looks[sid]
        healths = {node_id: health.state for node_id, health in roll.healths.items()}
        now = (look.state, look.node_id, look.epoch, look.trust, tuple(sorted(healths.items())))
        assert seen.setdefault(at, now) == now, "another way led to another past"
    assert seen[5][:4] == (SessionState.ONLINE, NODES[0].node_id, 1, Trust.CONFIRMED)
    assert seen[15][:2] == (SessionState.DEGRADED, NODES[0].node_id)
    assert seen[25][:3] == (SessionState.ONLINE, NODES[1].node_id, 2)
    assert dict(seen[40][4])[NODES[2].node_id] is NodeState.ALIVE
    assert dict(seen[250][4])[NODES[2].node_id] is NodeState.LOST
    assert dict(seen[250][4])[NODES[0].node_id] is NodeState.ALIVE


def test_steps_go_from_event_to_event() -> None:
    tape = a_tape()
    assert tape.event_after(T0) == T0 + 10
    assert tape.event_after(T0 + 10) == T0 + 210
    assert tape.event_after(T0 + 210) is None
    assert tape.event_before(T0 + 210) == T0 + 10
    assert tape.event_before(T0 + 10) is None


def test_going_back_forgets_what_had_not_happened_yet() -> None:
    shown = Shown()
    shown.at(T0 + 250)
    assert len(shown.view.events) == 2
    shown.at(T0 + 5)
    assert not shown.view.events
    assert observed_key(NODES[1].node_id, SESSIONS[0].session_id) not in shown.view.memory.known
    assert node_key(NODES[0].node_id) in shown.view.memory.known
    assert node_record(NODES[0]).node_id in shown.roll.healths
