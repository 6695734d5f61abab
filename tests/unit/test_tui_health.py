"""Verdicts: silence never looks healthy, and deafness is not a node's fault."""

from __future__ import annotations

import msgspec
import pytest

from schemas.keys import assignment_key, node_key, observed_key
from schemas.records import Assignment
from schemas.states import NodeState, SessionState
from tests.tui.fleet_sample import NODES, NOW_MONO, SESSIONS, heartbeat, node_record, whole_fleet
from tui.changes import Batch, BusDown, BusUp, Change, Pulse, RecordGone, RecordPut
from tui.fold import fold
from tui.health import (
    FAST_LIMITS,
    SessionLook,
    Trust,
    all_node_health,
    node_health,
    session_look,
)
from tui.model import FleetView
from tui.rows.cells import Severity
from tui.rows.state_words import session_severity, session_state_cell

NODE = NODES[0]
ONLINE = SESSIONS[0]
HEARD_AT = NOW_MONO - 2
SUSPECT_S, LOST_S = FAST_LIMITS.suspect_after_s, FAST_LIMITS.lost_after_s


@pytest.fixture
def view() -> FleetView:
    return fold(FleetView(), whole_fleet(HEARD_AT))


def told(view: FleetView, *changes: Change, at: float) -> None:
    fold(view, Batch(at, changes))


def state_of(view: FleetView, now: float) -> NodeState:
    return node_health(view, view.nodes[NODE.node_id], now, FAST_LIMITS).state


def look_of(view: FleetView, now: float, session_id: str = ONLINE.session_id) -> SessionLook:
    healths = all_node_health(view, now, FAST_LIMITS)
    return session_look(view, view.sessions[session_id], healths, now)


def test_silence_makes_suspect_then_lost(view: FleetView) -> None:
    assert state_of(view, HEARD_AT + SUSPECT_S) is NodeState.ALIVE
    assert state_of(view, HEARD_AT + SUSPECT_S + 0.1) is NodeState.SUSPECT
    assert state_of(view, HEARD_AT + LOST_S + 0.1) is NodeState.LOST


def test_a_clean_stop_is_believed_at_once(view: FleetView) -> None:
    stopped = msgspec.structs.replace(node_record(NODE), stopped=True)
    told(view, RecordPut(node_key(NODE.node_id), 900, stopped), at=NOW_MONO)
    assert state_of(view, NOW_MONO) is NodeState.STOPPED
    assert look_of(view, NOW_MONO).trust is Trust.DOUBTED


def test_a_bus_outage_loses_no_node_however_long(view: FleetView) -> None:
    told(view, BusDown("closed"), at=NOW_MONO)
    assert state_of(view, NOW_MONO) is NodeState.SUSPECT
    assert state_of(view, NOW_MONO + 3_600) is NodeState.SUSPECT
    told(view, BusUp(0.001), at=NOW_MONO + 3_600)
    assert state_of(view, NOW_MONO + 3_600 + LOST_S) is NodeState.SUSPECT
    assert state_of(view, NOW_MONO + 3_600 + LOST_S + 0.1) is NodeState.LOST


def test_a_node_that_restarted_gets_its_time_to_speak(view: FleetView) -> None:
    told(view, Pulse(heartbeat(NODE, 2)), at=NOW_MONO + 500)
    born = msgspec.structs.replace(node_record(NODE), incarnation="second")
    told(view, RecordPut(node_key(NODE.node_id), 900, born), at=NOW_MONO + 501)
    assert state_of(view, NOW_MONO + 502) is NodeState.SUSPECT
    look = look_of(view, NOW_MONO + 502)
    assert look.trust is Trust.DOUBTED


@pytest.mark.parametrize("silent_s", [SUSPECT_S + 0.1, LOST_S + 0.1, 86_400.0])
def test_a_session_on_a_silent_node_never_looks_healthy(view: FleetView, silent_s: float) -> None:
    for session in SESSIONS:
        look = look_of(view, HEARD_AT + silent_s, session.session_id)
        assert look.trust is Trust.DOUBTED
        assert session_severity(look) in (Severity.WARN, Severity.BAD)
        assert session_state_cell(look).text.startswith("? was ")


def test_an_online_session_on_a_living_node_is_confirmed(view: FleetView) -> None:
    look = look_of(view, NOW_MONO)
    assert look.trust is Trust.CONFIRMED
    assert look.state is SessionState.ONLINE
    assert look.age_s == 2.0
    assert session_severity(look) is Severity.GOOD


def test_a_moved_session_is_moving_until_its_new_node_speaks(view: FleetView) -> None:
    target = NODES[2].node_id
    moved = Assignment(ONLINE.session_id, ONLINE.tenant_id, target, ONLINE.epoch + 1)
    told(view, RecordPut(assignment_key(ONLINE.session_id), 900, moved), at=NOW_MONO)
    look = look_of(view, NOW_MONO)
    assert (look.state, look.trust) == (SessionState.MOVING, Trust.AWAITED)
    assert (look.node_id, look.epoch) == (target, ONLINE.epoch + 1)
    assert look.age_s is None


def test_the_old_owners_word_does_not_count_after_a_move(view: FleetView) -> None:
    target = NODES[2].node_id
    moved = Assignment(ONLINE.session_id, ONLINE.tenant_id, target, ONLINE.epoch + 1)
    told(
        view,
        RecordPut(assignment_key(ONLINE.session_id), 900, moved),
        Pulse(heartbeat(NODE, 2)),
        at=NOW_MONO,
    )
    assert look_of(view, NOW_MONO).state is SessionState.MOVING


def test_an_engine_that_its_node_no_longer_reports_is_doubted(view: FleetView) -> None:
    told(view, Pulse(msgspec.structs.replace(heartbeat(NODE, 2), sessions=())), at=NOW_MONO)
    look = look_of(view, NOW_MONO)
    assert look.trust is Trust.DOUBTED
    assert "heartbeat" in look.reason


def test_a_newer_line_in_the_heartbeat_is_the_state(view: FleetView) -> None:
    pulse = heartbeat(NODE, 2)
    lines = [
        msgspec.structs.replace(load, state=SessionState.DEGRADED, since=load.since + 9)
        if load.session_id == ONLINE.session_id
        else load
        for load in pulse.sessions
    ]
    told(view, Pulse(msgspec.structs.replace(pulse, sessions=tuple(lines))), at=NOW_MONO)
    assert look_of(view, NOW_MONO).state is SessionState.DEGRADED


def test_a_session_that_nobody_runs_yet_is_pending(view: FleetView) -> None:
    told(
        view,
        RecordGone(assignment_key(ONLINE.session_id), 900),
        RecordGone(observed_key(ONLINE.node_id, ONLINE.session_id), 901),
        at=NOW_MONO,
    )
    look = look_of(view, NOW_MONO)
    assert (look.state, look.trust, look.node_id) == (SessionState.PENDING, Trust.AWAITED, None)
