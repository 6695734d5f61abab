"""What the fold takes and what it refuses."""

from __future__ import annotations

import msgspec
import pytest

from schemas.events import SessionSync
from schemas.keys import assignment_key, node_key, observed_key, session_key
from schemas.records import Assignment
from tests.tui.fleet_sample import (
    NODES,
    NOW_MONO,
    SESSIONS,
    event,
    heartbeat,
    node_record,
    observed,
    session_id,
    whole_fleet,
)
from tui.changes import (
    Batch,
    BusDown,
    BusUp,
    Change,
    EventsGap,
    Happened,
    Pulse,
    RecordGone,
    RecordPut,
    ResyncBegan,
    ResyncDone,
    Trouble,
)
from tui.fold import fold
from tui.model import EVENTS_KEPT, FleetView

SID = session_id(1)


def told(*changes: Change, view: FleetView | None = None, at: float = NOW_MONO) -> FleetView:
    return fold(view or FleetView(), Batch(at, changes))


def assigned(node_id: str, epoch: int) -> Assignment:
    return Assignment(SID, "acme", node_id, epoch)


def test_an_assignment_of_an_older_epoch_is_refused_whatever_its_revision() -> None:
    key = assignment_key(SID)
    view = told(RecordPut(key, 5, assigned("b", 3)), RecordPut(key, 9, assigned("a", 2)))
    kept = view.sessions[SID].assignment
    assert kept is not None
    assert kept.record.node_id == "b"
    assert view.rejected["old epoch"] == 1


def test_an_epoch_is_remembered_beyond_the_assignments_deletion() -> None:
    key = assignment_key(SID)
    view = told(
        RecordPut(key, 5, assigned("b", 3)),
        RecordGone(key, 6),
        RecordPut(key, 9, assigned("a", 2)),
    )
    assert SID not in view.sessions


def test_a_key_follows_its_revision() -> None:
    first, second = observed(SESSIONS[0]), msgspec.structs.replace(observed(SESSIONS[0]), epoch=2)
    key = observed_key(first.node_id, SID)
    view = told(RecordPut(key, 7, second), RecordPut(key, 6, first), RecordGone(key, 5))
    assert view.sessions[SID].epoch == 2
    assert view.rejected["old revision"] == 2


def test_only_the_pulse_of_the_life_that_the_record_names_counts() -> None:
    node = NODES[0]
    old_life = msgspec.structs.replace(heartbeat(node, 900), incarnation="before")
    view = told(RecordPut(node_key(node.node_id), 1, node_record(node)), Pulse(old_life))
    assert view.nodes[node.node_id].pulse is None
    told(Pulse(heartbeat(node, 1)), view=view)
    pulse = view.nodes[node.node_id].pulse
    assert pulse is not None
    assert pulse.heartbeat.sequence == 1


def test_a_heartbeat_that_does_not_rise_is_refused() -> None:
    node = NODES[0]
    view = told(Pulse(heartbeat(node, 5)), at=10.0)
    told(Pulse(heartbeat(node, 5)), Pulse(heartbeat(node, 4)), view=view, at=20.0)
    pulse = view.nodes[node.node_id].pulse
    assert pulse is not None
    assert pulse.at == 10.0
    assert view.rejected["old heartbeat"] == 2


def test_a_resync_drops_what_did_not_come_again() -> None:
    view = fold(FleetView(), whole_fleet())
    kept = SESSIONS[0]
    put = RecordPut(assignment_key(kept.session_id), 3, assigned(kept.node_id, kept.epoch))
    told(ResyncBegan(), put, view=view)
    assert len(view.sessions) == len(SESSIONS), "until the end, the old rows stay on the screen"
    told(ResyncDone(), view=view)
    assert set(view.sessions) == {kept.session_id}
    assert not view.nodes
    entry = view.sessions[kept.session_id]
    assert entry.record is None
    assert not entry.observed


def test_a_resync_takes_a_bucket_whose_revisions_began_anew() -> None:
    view = fold(FleetView(), whole_fleet())
    node = NODES[0]
    moved = msgspec.structs.replace(node_record(node), region="elsewhere")
    told(ResyncBegan(), RecordPut(node_key(node.node_id), 1, moved), ResyncDone(), view=view)
    record = view.nodes[node.node_id].record
    assert record is not None
    assert record.record.region == "elsewhere"


def test_what_a_resync_repeats_does_not_look_younger() -> None:
    node = NODES[0]
    put = RecordPut(node_key(node.node_id), 4, node_record(node))
    view = told(put, at=10.0)
    told(ResyncBegan(), put, ResyncDone(), view=view, at=50.0)
    record = view.nodes[node.node_id].record
    assert record is not None
    assert record.at == 10.0


def test_the_view_is_whole_only_between_a_resync_and_the_next_doubt() -> None:
    view = told(BusUp(0.001), ResyncBegan())
    assert not view.whole
    assert told(ResyncDone(), view=view).whole
    assert told(ResyncBegan(sweep=True), view=view).whole
    assert not told(BusDown("gone"), view=view).whole


def test_events_are_kept_in_stream_order_once_and_not_for_ever() -> None:
    happened = [
        Happened(number, event(number, SessionSync(1), SESSIONS[0]))
        for number in range(1, EVENTS_KEPT + 11)
    ]
    view = told(*happened, happened[-1], happened[3])
    assert len(view.events) == EVENTS_KEPT
    assert view.events[-1].sequence == EVENTS_KEPT + 10
    assert view.events_total == EVENTS_KEPT + 10
    assert view.rejected["old event"] == 2


def test_a_live_event_of_an_older_epoch_is_refused_but_history_is_not() -> None:
    old = event(1, SessionSync(1), SESSIONS[1])
    old = msgspec.structs.replace(old, epoch=1)
    put = RecordPut(
        assignment_key(SESSIONS[1].session_id),
        1,
        Assignment(SESSIONS[1].session_id, "acme", "x", 2),
    )
    assert len(told(put, Happened(1, old, live=False)).events) == 1
    view = told(put, Happened(1, old, live=True))
    assert not view.events
    assert view.rejected["old epoch"] == 1


def test_a_stream_that_was_set_back_is_read_on() -> None:
    view = told(Happened(50, event(1, SessionSync(1), SESSIONS[0])))
    told(EventsGap(51, 10), Happened(11, event(2, SessionSync(2), SESSIONS[0])), view=view)
    assert [happened.sequence for happened in view.events] == [50, 11]


def test_trouble_stays_until_it_ends() -> None:
    view = told(Trouble("events", "not there yet"))
    assert view.troubles == {"events": "not there yet"}
    assert not told(Trouble("events"), view=view).troubles


@pytest.mark.parametrize("prefix", ["session", "assignment", "observed"])
def test_a_session_goes_when_its_last_record_does(prefix: str) -> None:
    view = fold(FleetView(), whole_fleet())
    session = SESSIONS[0]
    keys = {
        "session": session_key(session.tenant_id, session.session_id),
        "assignment": assignment_key(session.session_id),
        "observed": observed_key(session.node_id, session.session_id),
    }
    last = keys.pop(prefix)
    told(*(RecordGone(key, 900 + place) for place, key in enumerate(keys.values())), view=view)
    assert session.session_id in view.sessions
    told(RecordGone(last, 950), view=view)
    assert session.session_id not in view.sessions
