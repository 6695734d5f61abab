"""What is kept up from repaint to repaint is what counting and sorting everything would say."""

from __future__ import annotations

from collections import Counter

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.keys import assignment_key, node_key, observed_key, session_key
from schemas.records import (
    Assignment,
    Heartbeat,
    NodeRecord,
    SessionLoad,
    SessionObserved,
    SessionRecord,
)
from schemas.states import DesiredState, EngineKind, SessionState
from tests.tui.fleet_sample import session_id
from tui.changes import (
    Batch,
    BusDown,
    BusUp,
    Change,
    FleetRecord,
    Pulse,
    RecordGone,
    RecordPut,
    ResyncBegan,
    ResyncDone,
)
from tui.fold import fold
from tui.health import FAST_LIMITS, SessionLook, Trust, all_node_health, session_look, session_node
from tui.model import FleetView
from tui.roll import Roll
from tui.rows.listing import Now, Scope, Sort
from tui.rows.order import SessionOrder
from tui.rows.query import Query, parse, passes_text
from tui.rows.session_rows import SORTS, session_sort_key, session_words

NODE_IDS = ("a", "b")
SESSION_IDS = tuple(session_id(number) for number in range(3))
STATES = (SessionState.ONLINE, SessionState.SYNCING, SessionState.STOPPED, SessionState.FAILED)
QUERIES = ("", "online", "!was", "-l tier=gold", "-f nm1", "node silent")

nodes, sessions, states = (
    st.sampled_from(NODE_IDS),
    st.sampled_from(SESSION_IDS),
    st.sampled_from(STATES),
)
lives = st.sampled_from(("one", "one", "one", "two"))


def a_node(node_id: str, life: str, *, stopped: bool = False) -> NodeRecord:
    return NodeRecord(
        node_id=node_id,
        incarnation=life,
        version="1",
        sessions_max=9,
        engines=(EngineKind.LOOPBACK,),
        started_at=0.0,
        stopped=stopped,
    )


@st.composite
def puts(draw: st.DrawFn) -> Change:
    node_id, sid, life = draw(nodes), draw(sessions), draw(lives)
    epoch, since = draw(st.integers(1, 3)), float(draw(st.integers(0, 3)))
    node = a_node(node_id, life, stopped=draw(st.sampled_from((False, False, True))))
    wish = SessionRecord(
        session_id=sid,
        tenant_id="acme",
        desired=DesiredState.RUNNING,
        created_at=0.0,
        name=draw(st.sampled_from(("nm1", "nm2", None))),
        metadata=draw(st.sampled_from(({}, {"tier": "gold"}))),
    )
    seen = SessionObserved(sid, "acme", node_id, life, epoch, draw(states), since)
    found: tuple[tuple[str, FleetRecord], ...] = (
        (node_key(node_id), node),
        (session_key("acme", sid), wish),
        (assignment_key(sid), Assignment(sid, "acme", node_id, epoch)),
        (observed_key(node_id, sid), seen),
    )
    key, record = draw(st.sampled_from(found))
    gone = draw(st.integers(0, 3)) == 0
    return RecordGone(key, 0) if gone else RecordPut(key, 0, record)


@st.composite
def pulses(draw: st.DrawFn) -> Change:
    lines = tuple(
        SessionLoad(sid, "acme", draw(st.integers(1, 3)), draw(states), 1.0)
        for sid in SESSION_IDS
        if draw(st.booleans())
    )
    return Pulse(Heartbeat(draw(nodes), draw(lives), 0, 9, lines))


OTHERS: tuple[Change, ...] = (BusUp(0.001), BusDown("gone"), ResyncBegan(), ResyncDone())
changes_drawn = st.one_of(*(puts(), pulses()) * 3, st.sampled_from(OTHERS))
"""Made once: strategies made anew for each draw were called inconsistent by a busy machine."""


def at_revision(change: Change, revision: int) -> Change:
    """Its place in the order of all."""
    if isinstance(change, RecordPut | RecordGone):
        return msgspec.structs.replace(change, revision=revision)
    if isinstance(change, Pulse):
        pulse = msgspec.structs.replace(change.heartbeat, sequence=revision)
        return msgspec.structs.replace(change, heartbeat=pulse)
    return change


@st.composite
def runs(draw: st.DrawFn) -> list[tuple[float, tuple[Change, ...]]]:
    """(seconds that pass, what comes then); with nothing coming, only silence changes things."""
    run: list[tuple[float, tuple[Change, ...]]] = []
    revision = 2
    for _ in range(draw(st.integers(1, 12))):
        changes: list[Change] = []
        for _ in range(draw(st.integers(0, 6))):
            revision += 1
            changes.append(at_revision(draw(changes_drawn), revision))
        run.append((draw(st.sampled_from((0.0, 1.0, 1.0, 2.9, 4.0))), tuple(changes)))
    return run


def list_sessions(view: FleetView, now: Now, sort: Sort, scope: Scope, query: Query) -> list[str]:
    looks = []
    for session in view.sessions.values():
        if scope.node_id is not None and session_node(session) != scope.node_id:
            continue
        look = session_look(view, session, now.healths, now.monotonic)
        said = session_words(look, show_phones=False)
        if passes_text(query, said, look.metadata):
            looks.append(look)
    looks.sort(key=lambda look: session_sort_key(look, sort.column), reverse=sort.reverse)
    return [look.session_id for look in looks]


def timeless(look: SessionLook) -> SessionLook:
    return msgspec.structs.replace(look, age_s=None)


@given(
    runs(),
    st.lists(
        st.tuples(
            st.sampled_from(SORTS),
            st.booleans(),
            st.sampled_from((None, "a")),
            st.sampled_from(QUERIES),
        ),
        min_size=1,
        max_size=2,
    ),
)
@settings(max_examples=300, deadline=None)
def test_the_roll_is_what_a_look_at_everything_would_give(
    run: list[tuple[float, tuple[Change, ...]]],
    asked: list[tuple[str, bool, str | None, str]],
) -> None:
    view, now = FleetView(), 100.0
    named = (RecordPut(node_key(n), 1, a_node(n, "one")) for n in NODE_IDS)
    spoke = (Pulse(Heartbeat(n, "one", 1, 9, ())) for n in NODE_IDS)
    fold(view, Batch(now, (BusUp(0.001), *named, *spoke)))
    roll, order = Roll(view, FAST_LIMITS), SessionOrder()
    for number, (passed_s, changes) in enumerate(run):
        now += passed_s
        fold(view, Batch(now, changes))
        roll.bring_up(now)
        healths = all_node_health(view, now, FAST_LIMITS)
        wanted = {
            sid: session_look(view, session, healths, now) for sid, session in view.sessions.items()
        }
        assert roll.healths == healths
        assert {sid: timeless(look) for sid, look in roll.looks.items()} == {
            sid: timeless(look) for sid, look in wanted.items()
        }
        sure = Counter(look.state for look in wanted.values() if look.trust is not Trust.DOUBTED)
        assert +roll.states == sure
        assert roll.doubted == len(wanted) - sum(sure.values())
        for node_id in NODE_IDS:
            assert roll.sessions_of(node_id) == {
                sid for sid, look in wanted.items() if look.node_id == node_id
            }
        column, reverse, of_node, text = asked[number % len(asked)]
        sort, scope, query = Sort(column, reverse), Scope(of_node), parse(text)
        moment = Now(now, 0.0, healths)
        listed = order.listed(roll, now, sort, scope, query)
        assert list(listed) == list_sessions(view, moment, sort, scope, query)


def test_a_pulse_that_passes_over_a_session_takes_its_health() -> None:
    view, sid = FleetView(), SESSION_IDS[0]
    seen = SessionObserved(sid, "acme", "a", "one", 1, SessionState.ONLINE, 1.0)
    told: tuple[Change, ...] = (
        BusUp(0.001),
        RecordPut(node_key("a"), 1, a_node("a", "one")),
        Pulse(Heartbeat("a", "one", 1, 9, ())),
        RecordPut(observed_key("a", sid), 2, seen),
    )
    fold(view, Batch(1.0, told))
    roll = Roll(view, FAST_LIMITS)
    roll.bring_up(1.0)
    assert roll.looks[sid].trust is Trust.CONFIRMED
    fold(view, Batch(2.0, (Pulse(Heartbeat("a", "one", 2, 9, ())),)))
    roll.bring_up(2.0)
    assert roll.looks[sid].trust is Trust.DOUBTED
    assert roll.doubted == 1
    assert roll.states[SessionState.ONLINE] == 0


def test_a_version_of_long_ago_is_not_known() -> None:
    view = fold(FleetView(), Batch(1.0, (BusUp(0.001),)))
    roll = Roll(view, FAST_LIMITS)
    sid = SESSION_IDS[0]
    for revision in range(1, 100):
        fold(view, Batch(1.0, (RecordPut(assignment_key(sid), revision, assigned(sid, revision)),)))
        roll.bring_up(1.0)
    assert roll.changed_after(roll.version) == set()
    assert roll.changed_after(roll.version - 1) == {sid}
    assert roll.changed_after(1) is None


def assigned(sid: str, epoch: int) -> Assignment:
    return Assignment(sid, "acme", "a", epoch)


def test_another_life_of_a_node_takes_back_what_the_one_before_said() -> None:
    view, sid = FleetView(), SESSION_IDS[0]
    stopped = SessionLoad(sid, "acme", 3, SessionState.STOPPED, 1.0)
    told: tuple[Change, ...] = (
        BusUp(0.001),
        RecordPut(assignment_key(sid), 1, assigned(sid, 3)),
        Pulse(Heartbeat("a", "two", 1, 9, (stopped,))),
    )
    fold(view, Batch(1.0, told))
    roll = Roll(view, FAST_LIMITS)
    roll.bring_up(1.0)
    assert roll.looks[sid].trust is Trust.CONFIRMED
    fold(view, Batch(2.0, (Pulse(Heartbeat("a", "one", 1, 9, ())),)))
    roll.bring_up(2.0)
    assert roll.looks[sid].trust is Trust.AWAITED
    assert roll.states[SessionState.STOPPED] == 0
