"""What must hold of placement and reconciling whatever the fleet looks like."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.core import moves, reconcile
from control_plane.core.fleet import ENGINE_MEMORY_BYTES, FleetSnapshot, Kept, NodeSnapshot
from control_plane.core.needs import (
    Need,
    NeedRules,
    Step,
    StepKind,
    goes_on_from,
    need,
    unlinked_epoch,
)
from control_plane.core.placement import (
    Placement,
    Places,
    Reason,
    Unplaceable,
    Wanted,
    address_range,
)
from control_plane.core.reconcile import PlanRules, StaggerRules
from schemas.records import (
    Assignment,
    Heartbeat,
    NodeIntent,
    NodeRecord,
    PlacementFailure,
    SessionObserved,
    SessionRecord,
)
from schemas.states import DesiredState, EngineKind, NodeState, SessionState

RULES = PlanRules()
NEEDS = NeedRules()
ENDED = (SessionState.LOGGED_OUT, SessionState.FAILED, SessionState.FENCED)


NODE_IDS = ("node-0", "node-1", "node-2", "node-3")
BUILDS = (None, "156.0.1", "157.0.1")
snapshots = st.builds(
    Kept,
    epoch=st.integers(1, 3),
    node_id=st.sampled_from([None, *NODE_IDS]),
    chromium_build=st.sampled_from(BUILDS),
)


def session_id(number: int) -> str:
    return f"ses_{number:026d}"


def node(
    number: int,
    *,
    state: NodeState = NodeState.ALIVE,
    sessions_max: int = 5,
    reserved: int = 0,
    intent: NodeIntent | None = None,
    gone: bool = False,
    place: tuple[str, str, str] = ("local", "local", "127.0.0.1"),
    build: str | None = None,
) -> NodeSnapshot:
    name = f"node-{number}"
    region, provider, address = place
    record = NodeRecord(
        name,
        "i1",
        "1",
        sessions_max,
        (EngineKind.LOOPBACK,),
        0.0,
        region,
        provider,
        address,
        chromium_build=build,
    )
    pulse = Heartbeat(name, "i1", 1, sessions_max, ())
    return NodeSnapshot(record, state, reserved, pulse, 0.1, intent, gone)


@st.composite
def nodes(draw: st.DrawFn, number: int) -> NodeSnapshot:
    state = draw(st.sampled_from(NodeState))
    may_be_gone = state in (NodeState.LOST, NodeState.STOPPED)
    return node(
        number,
        state=state,
        sessions_max=draw(st.integers(0, 6)),
        build=draw(st.sampled_from(BUILDS)),
        gone=state is NodeState.LOST or (may_be_gone and draw(st.booleans())),
        intent=draw(
            st.sampled_from(
                [
                    None,
                    NodeIntent(f"node-{number}", cordoned=True),
                    NodeIntent(f"node-{number}", draining=True),
                    NodeIntent(f"node-{number}", draining=True, drain_deadline_at=50.0),
                ]
            )
        ),
    )


@st.composite
def fleets(draw: st.DrawFn) -> FleetSnapshot:
    """Any fleet: nodes in any state, sessions wanted, placed and seen in any way."""
    known = {}
    for number in range(draw(st.integers(0, 4))):
        made = draw(nodes(number))
        known[made.node_id] = made
    sessions, assignments, observed = {}, {}, {}
    for number in range(draw(st.integers(0, 12))):
        key = session_id(number)
        sessions[key] = SessionRecord(
            key, "acme", draw(st.sampled_from(DesiredState)), 0.0, EngineKind.LOOPBACK
        )
        if draw(st.integers(0, 9)) == 0:
            continue
        assignment = draw(_assignments(key))
        assignments[key] = assignment
        if assignment.node_id is not None and draw(st.booleans()):
            observed[key] = draw(_observations(key, assignment.node_id))
    reserved = Counter(a.node_id for a in assignments.values())
    for node_id, snapshot in known.items():
        known[node_id] = msgspec.structs.replace(snapshot, reserved=reserved[node_id])
    kept = draw(st.dictionaries(st.sampled_from(sorted(sessions)), snapshots)) if sessions else {}
    return FleetSnapshot(known, sessions, assignments, observed, kept, 100.0)


@st.composite
def _assignments(draw: st.DrawFn, key: str) -> Assignment:
    node_id = draw(st.sampled_from([None, "node-0", "node-1", "node-2", "node-3"]))
    return Assignment(
        key,
        "acme",
        node_id,
        draw(st.integers(1, 3)),
        moving_to=draw(st.sampled_from([None, None, "", "node-1"])),
        unplaceable="why" if node_id is None else None,
        reason=draw(st.sampled_from([None, "drain", "node_lost"])),
        ended=draw(st.sampled_from([None, None, SessionState.LOGGED_OUT])),
        failures=draw(st.sampled_from([(), (PlacementFailure("node-2", 0.0),)])),
    )


@st.composite
def _observations(draw: st.DrawFn, key: str, node_id: str) -> SessionObserved:
    return SessionObserved(
        key,
        "acme",
        draw(st.sampled_from([node_id, "node-0"])),
        draw(st.sampled_from(["i0", "i1"])),
        draw(st.integers(1, 3)),
        draw(st.sampled_from(SessionState)),
        draw(st.sampled_from([0.0, 95.0])),
        draw(st.sampled_from([None, "lease_lost", "stream_replaced"])),
        phone=draw(st.sampled_from([None, "628110000001"])),
    )


# Plans -------------------------------------------------------------------------------------------


@given(fleets(), st.integers(1, 3))
@settings(max_examples=400)
def test_a_plan_never_does_harm(fleet: FleetSnapshot, starting_max: int) -> None:
    rules = PlanRules(stagger=StaggerRules(loopback_starting_max=starting_max))
    plan = reconcile.plan(fleet, {}, {}, 0.0, rules)
    assert len({step.session_id for step in plan.steps}) == len(plan.steps), "two for one session"
    for step in plan.steps:
        assert reconcile.still_wanted(fleet, step, rules)
        _check(fleet, step)
    starts = Counter(step.node_id for step in plan.steps if step.act is StepKind.START)
    assert all(count <= starting_max for count in starts.values())


def _check(fleet: FleetSnapshot, step: Step) -> None:
    desired = fleet.sessions[step.session_id].desired
    assignment = fleet.assignments.get(step.session_id)
    owner = fleet.node_of(assignment)
    if assignment is None:
        assert (step.act, desired) == (StepKind.FORGET, DesiredState.DELETED)
        return
    if step.act in (StepKind.REASSIGN, StepKind.UNPLACE, StepKind.FORGET):
        # The one way to take a session without asking: nobody is there for sure.
        assert assignment.node_id is None or (owner is not None and owner.gone)
        if step.act is StepKind.FORGET:
            assert desired is DesiredState.DELETED
            return
        # One that is not wanted running costs nothing, unless its node is to be emptied.
        assert desired is DesiredState.RUNNING or (owner is not None and owner.draining)
    else:
        # Nothing is asked of a node that may not be there, nor of another than the owner.
        assert owner is not None
        assert (step.node_id, owner.state) == (owner.node_id, NodeState.ALIVE)
    if step.to is not None:
        target = fleet.nodes[step.to]
        assert step.to != assignment.node_id
        assert (target.state, target.cordoned) == (NodeState.ALIVE, False)
    seen = fleet.current(step.session_id)
    match step.act:
        case StepKind.START:
            assert desired is DesiredState.RUNNING
            assert step.epoch == assignment.epoch
            assert seen is None or seen.state in (SessionState.PENDING, SessionState.STOPPED)
            assert assignment.ended is None or seen is not None
        case StepKind.STOP:
            assert desired is DesiredState.STOPPED
        case StepKind.DESTROY:
            assert desired is DesiredState.DELETED
        case StepKind.RAISE_EPOCH:
            if seen is None:
                before = fleet.observed[step.session_id]
                assert (before.state, before.epoch) == (SessionState.LOGGED_OUT, assignment.epoch)
                return
            assert seen.state in (SessionState.MOVING, SessionState.FENCED)
            if seen.reason != "lease_lost" and seen.state is SessionState.FENCED:
                assert fleet.wall_now >= seen.since + RULES.needs.failed_pause_s
        case StepKind.MOVE_OUT:
            assert step.to is not None or step.overdue


@given(fleets())
@settings(max_examples=400)
def test_carrying_a_plan_out_oversubscribes_nobody_and_only_raises_epochs(
    fleet: FleetSnapshot,
) -> None:
    plan = reconcile.plan(fleet, {}, {}, 0.0, RULES)
    taken = Counter(step.to for step in plan.steps if step.to is not None)
    for node_id, count in taken.items():
        target = fleet.nodes[node_id]
        assert target.reserved + count <= target.sessions_max
    for step in plan.steps:
        if step.act not in (StepKind.REASSIGN, StepKind.UNPLACE, StepKind.MOVE_OUT):
            continue
        old = fleet.assignments[step.session_id]
        new = moves.next_assignment(fleet, step, NEEDS)
        assert new.epoch > old.epoch
        assert new.node_id == step.to
        assert (new.unplaceable is None) == (new.node_id is not None), "nowhere, and visibly so"
        assert new.moving_to is None
        assert new.unlinked_epoch in (old.unlinked_epoch, old.epoch)
        seen = fleet.current(step.session_id)
        if seen is not None and seen.state is SessionState.LOGGED_OUT:
            assert new.ended is SessionState.LOGGED_OUT, "only people bring it back"
            assert new.unlinked_epoch == old.epoch, "what was kept until then is dead"


@pytest.mark.parametrize(
    ("reason", "begun"), [(None, 0), ("browser_crashed", 0), ("vault_unavailable", 1)]
)
def test_a_session_that_waits_for_the_vault_takes_nobodys_turn(
    reason: str | None, begun: int
) -> None:
    first, second = session_id(1), session_id(2)
    wanted = [
        SessionRecord(key, "acme", DesiredState.RUNNING, 0.0, EngineKind.LOOPBACK)
        for key in (first, second)
    ]
    starting = SessionObserved(first, "acme", "node-0", "i1", 1, SessionState.STARTING, 0.0, reason)
    fleet = FleetSnapshot(
        {"node-0": node(0, reserved=2)},
        {record.session_id: record for record in wanted},
        {key: Assignment(key, "acme", "node-0", 1) for key in (first, second)},
        {first: starting},
    )
    rules = PlanRules(stagger=StaggerRules(loopback_starting_max=1))
    assert len(reconcile.plan(fleet, {}, {}, 0.0, rules).steps) == begun


@given(fleets())
def test_what_is_busy_or_held_is_left_alone(fleet: FleetSnapshot) -> None:
    first = reconcile.plan(fleet, {}, {}, 0.0, RULES)
    busy = {step.session_id: step for step in first.steps}
    again = reconcile.plan(fleet, busy, {}, 0.0, RULES)
    assert {step.session_id for step in again.steps}.isdisjoint(busy)
    held = dict.fromkeys((step.key for step in first.steps), 1.0)
    later = reconcile.plan(fleet, {}, held, 0.5, RULES)
    # What one wants instead, now that others wait, may be done.
    assert {step.key for step in later.steps}.isdisjoint(held)
    assert reconcile.plan(fleet, {}, held, 1.0, RULES).steps == first.steps


@given(fleets())
def test_a_running_session_whose_node_is_gone_is_placed_or_visibly_nowhere(
    fleet: FleetSnapshot,
) -> None:
    plan = reconcile.plan(fleet, {}, {}, 0.0, RULES)
    acts = {step.session_id: step.act for step in plan.steps}
    for key, assignment in fleet.assignments.items():
        owner = fleet.node_of(assignment)
        if fleet.sessions[key].desired is DesiredState.RUNNING and owner and owner.gone:
            assert acts.get(key) in (StepKind.REASSIGN, StepKind.UNPLACE)


@pytest.mark.parametrize("wish", ["move", "drain"])
def test_a_session_that_finds_no_other_place_is_started_where_it_is(wish: str) -> None:
    key = session_id(1)
    home = node(0, intent=NodeIntent("node-0", draining=True) if wish == "drain" else None)
    fleet = FleetSnapshot(
        {home.node_id: home},
        {key: SessionRecord(key, "acme", DesiredState.RUNNING, 0.0, EngineKind.LOOPBACK)},
        {key: Assignment(key, "acme", home.node_id, 5, moving_to="" if wish == "move" else None)},
        {},
    )
    plan = reconcile.plan(fleet, {}, {}, 0.0, RULES)
    assert [step.act for step in plan.steps] == [StepKind.START]
    assert plan.moves_waiting == 1
    assert reconcile.still_wanted(fleet, plan.steps[0], RULES)


@pytest.mark.parametrize("moving_to", [None, "", "node-0", "node-7"])
def test_a_drain_that_is_overdue_empties_its_node_whatever_else_was_wished(
    moving_to: str | None,
) -> None:
    key = session_id(1)
    home = node(0, intent=NodeIntent("node-0", draining=True, drain_deadline_at=99.0))
    fleet = FleetSnapshot(
        {home.node_id: home},
        {key: SessionRecord(key, "acme", DesiredState.RUNNING, 0.0, EngineKind.LOOPBACK)},
        {key: Assignment(key, "acme", home.node_id, 5, moving_to=moving_to)},
        {},
        wall_now=100.0,
    )
    (step,) = reconcile.plan(fleet, {}, {}, 0.0, RULES).steps
    assert step.act is StepKind.MOVE_OUT
    assert (step.to, bool(step.lacking)) == (None, True)


@given(st.integers(1, 4), st.floats(0, 500))
def test_a_session_that_fails_everywhere_stays_put_in_the_end(tried: int, waited_s: float) -> None:
    key = session_id(1)
    earlier = tuple(PlacementFailure(f"node-{10 + n}", 999.0) for n in range(tried - 1))
    fleet = FleetSnapshot(
        {n.node_id: n for n in (node(0), node(1))},
        {key: SessionRecord(key, "acme", DesiredState.RUNNING, 0.0, EngineKind.LOOPBACK)},
        {key: Assignment(key, "acme", "node-0", 5, failures=earlier)},
        {key: SessionObserved(key, "acme", "node-0", "i1", 5, SessionState.FAILED, 1000.0)},
        {key: Kept(5)},
        1000.0 + waited_s,
    )
    step = need(fleet, fleet.sessions[key], NEEDS).step
    rest_s = NEEDS.failed_pause_s * 2.0 ** (tried - 1)
    assert (step is not None) == (tried < NEEDS.failed_nodes_max and waited_s >= rest_s)
    if step is not None:
        moved = moves.next_assignment(fleet, step, NEEDS)
        assert [failure.node_id for failure in moved.failures][-1] == "node-0"
        assert moved.ended is None, "it is tried again"


@given(st.integers(1, 4), st.floats(0, 500))
def test_a_session_that_was_replaced_tries_again_where_it_is_but_not_for_ever(
    times: int, waited_s: float
) -> None:
    key = session_id(1)
    earlier = tuple(PlacementFailure("node-0", 999.0) for _ in range(times - 1))
    seen = SessionObserved(
        key, "acme", "node-0", "i1", 5, SessionState.FENCED, 1000.0, "stream_replaced"
    )
    fleet = FleetSnapshot(
        {n.node_id: n for n in (node(0), node(1))},
        {key: SessionRecord(key, "acme", DesiredState.RUNNING, 0.0, EngineKind.LOOPBACK)},
        {key: Assignment(key, "acme", "node-0", 5, failures=earlier)},
        {key: seen},
        {key: Kept(5)},
        1000.0 + waited_s,
    )
    found = need(fleet, fleet.sessions[key], NEEDS)
    left_s = NEEDS.failed_pause_s * 2.0 ** (times - 1) - waited_s
    if times >= NEEDS.failed_nodes_max:
        assert found == Need()
    elif left_s > 0:
        assert found.step is None
        assert found.again_in_s == pytest.approx(left_s)
    else:
        assert found.step is not None
        assert (found.step.kind, found.step.node_id) == (StepKind.RAISE_EPOCH, "node-0")
        raised = moves.raised_assignment(fleet, key, NEEDS)
        assert (raised.epoch, raised.node_id) == (6, "node-0")
        assert len(raised.failures) == times


# Placement ---------------------------------------------------------------------------------------

places = st.tuples(
    st.sampled_from(["sgp", "fra"]),
    st.sampled_from(["vultr", "hetzner"]),
    st.sampled_from(["10.0.1.1", "10.0.1.2", "10.0.2.1", "10.0.3.1"]),
)


@given(st.lists(places, min_size=1, max_size=6), st.integers(1, 12))
@settings(max_examples=300)
def test_a_tenants_sessions_are_spread_so_that_one_range_holds_the_fewest(
    where: list[tuple[str, str, str]], count: int
) -> None:
    known = {}
    for number, spot in enumerate(where):
        made = node(number, sessions_max=20, place=spot)
        known[made.node_id] = made
    fleet = FleetSnapshot(known, {}, {}, {})
    giving = Places(fleet)
    by_range: Counter[str] = Counter()
    by_node: Counter[str] = Counter()
    for _ in range(count):
        found = giving.choose(Wanted("acme", EngineKind.LOOPBACK))
        assert isinstance(found, Placement)
        giving.take(found.node_id, "acme")
        by_range[address_range(known[found.node_id].record.address)] += 1
        by_node[found.node_id] += 1
    ranges = {address_range(spot[2]) for spot in where}
    assert max(by_range.values()) - min(by_range[r] for r in ranges) <= 1
    for of_range in ranges:
        inside = [
            by_node[n] for n, s in known.items() if address_range(s.record.address) == of_range
        ]
        assert max(inside) - min(inside) <= 1


@pytest.mark.parametrize(
    ("engines_free", "reserved", "room"), [(2, 0, 2), (2, 1, 1), (1, 1, 0), (0.5, 0, 0)]
)
def test_measured_memory_bounds_what_a_node_is_given(
    engines_free: float, reserved: int, room: int
) -> None:
    """`reserved` places are given away and not yet running: their memory is promised."""
    made = node(0, sessions_max=50, reserved=reserved)
    free = int(engines_free * ENGINE_MEMORY_BYTES[EngineKind.LOOPBACK])
    assert made.heartbeat is not None
    pulse = msgspec.structs.replace(made.heartbeat, memory_free_bytes=free)
    giving = Places(
        FleetSnapshot({"node-0": msgspec.structs.replace(made, heartbeat=pulse)}, {}, {}, {})
    )
    for _ in range(room):
        assert isinstance(giving.choose(Wanted("acme", EngineKind.LOOPBACK)), Placement)
        giving.take("node-0", "acme")
    found = giving.choose(Wanted("acme", EngineKind.LOOPBACK))
    assert isinstance(found, Unplaceable)
    assert found.reason is Reason.NO_MEMORY


@given(st.lists(st.integers(0, 4), min_size=1, max_size=4), st.integers(0, 25))
def test_places_given_away_in_a_row_are_never_more_than_there_are(
    limits: list[int], count: int
) -> None:
    known = {f"node-{n}": node(n, sessions_max=limit) for n, limit in enumerate(limits)}
    giving = Places(FleetSnapshot(known, {}, {}, {}))
    given_away: Counter[str] = Counter()
    for _ in range(count):
        found = giving.choose(Wanted("acme", EngineKind.LOOPBACK))
        if isinstance(found, Unplaceable):
            break
        giving.take(found.node_id, "acme")
        given_away[found.node_id] += 1
    assert all(given_away[n] <= snapshot.sessions_max for n, snapshot in known.items())
    assert sum(given_away.values()) == min(count, sum(limits))


@given(st.lists(st.tuples(st.integers(1, 8), st.integers(0, 8)), min_size=1, max_size=5))
def test_evening_out_ends_and_never_makes_it_worse(shape: list[tuple[int, int]]) -> None:
    known: dict[str, NodeSnapshot] = {}
    sessions: dict[str, SessionRecord] = {}
    assignments: dict[str, Assignment] = {}
    for number, (limit, wished) in enumerate(shape):
        held = min(wished, limit)
        made = node(number, sessions_max=limit, reserved=held)
        known[made.node_id] = made
        for _ in range(held):
            key = session_id(len(sessions))
            sessions[key] = SessionRecord(
                key, f"t{len(sessions)}", DesiredState.RUNNING, 0.0, EngineKind.LOOPBACK
            )
            assignments[key] = Assignment(key, sessions[key].tenant_id, made.node_id, 1)
    fleet = FleetSnapshot(known, sessions, assignments, {})
    made_moves = moves.even_out(fleet, 1000)
    assert len(made_moves) < 1000, "it does not end"
    share = {n: s.reserved / s.sessions_max for n, s in known.items()}
    for move in made_moves:
        before = max(share[move.from_node], share[move.to_node])
        share[move.from_node] -= 1 / known[move.from_node].sessions_max
        share[move.to_node] += 1 / known[move.to_node].sessions_max
        assert max(share[move.from_node], share[move.to_node]) < before


@given(st.sampled_from(ENDED), st.booleans())
def test_how_a_session_ended_goes_along_and_only_people_bring_it_back(
    how: SessionState, lost: bool
) -> None:
    key = session_id(1)
    tried_out = tuple(PlacementFailure("node-9", 0.0) for _ in range(NEEDS.failed_nodes_max))
    home = node(0, state=NodeState.LOST, gone=True) if lost else node(0)
    fleet = FleetSnapshot(
        {n.node_id: n for n in (home, node(1))},
        {key: SessionRecord(key, "acme", DesiredState.RUNNING, 0.0, EngineKind.LOOPBACK)},
        {key: Assignment(key, "acme", "node-0", 5, None if lost else "", failures=tried_out)},
        {key: SessionObserved(key, "acme", "node-0", "i1", 5, how, 0.0, "why")},
    )
    (step,) = reconcile.plan(fleet, {}, {}, 0.0, RULES).steps
    moved = moves.next_assignment(fleet, step, NEEDS)
    assert (moved.node_id, moved.ended, moved.ended_reason) == ("node-1", how, "why")
    there = msgspec.structs.replace(fleet, assignments={key: moved}, observed={})
    assert reconcile.plan(there, {}, {}, 0.0, RULES).steps == ()


@given(st.lists(st.sampled_from(BUILDS), min_size=1, max_size=4), snapshots)
def test_a_session_goes_where_its_snapshot_opens_or_to_the_disk_that_has_it(
    builds: list[str | None], kept: Kept
) -> None:
    known = {f"node-{n}": node(n, build=build) for n, build in enumerate(builds)}
    wanted = Wanted("acme", EngineKind.LOOPBACK, kept=kept)
    found = Places(FleetSnapshot(known, {}, {}, {})).choose(wanted)
    alike = {
        name
        for name, one in known.items()
        if kept.chromium_build in (None, one.record.chromium_build)
    }
    if alike:
        assert isinstance(found, Placement)
        assert found.node_id in alike
    elif kept.node_id in known:
        # Updated in place, as a whole fleet may be: nobody is stranded.
        assert found == Placement(kept.node_id)
    else:
        assert isinstance(found, Unplaceable)
        assert (found.reason, found.detail) == (Reason.OTHER_BUILD, kept.chromium_build)
        assert str(kept.chromium_build) in found.words


@given(fleets())
@settings(max_examples=300)
def test_no_step_gives_a_session_to_a_browser_that_refuses_its_snapshot(
    fleet: FleetSnapshot,
) -> None:
    for step in reconcile.plan(fleet, {}, {}, 0.0, RULES).steps:
        kept = goes_on_from(fleet, step.session_id)
        if step.to is None or kept is None:
            continue
        record = fleet.nodes[step.to].record
        builds = (None, record.chromium_build)
        assert kept.chromium_build in builds or kept.node_id == record.node_id
        # What an unlinked device left ties nobody.
        assert kept.epoch > fleet.assignments[step.session_id].unlinked_epoch


@given(st.integers(1, 5), st.integers(0, 5), st.integers(0, 9), st.booleans())
def test_a_link_retires_the_epochs_before_it_and_never_its_own(
    epoch: int, unlinked: int, linked: int, logged_out: bool
) -> None:
    key = session_id(1)
    state = SessionState.LOGGED_OUT if logged_out else SessionState.ONLINE
    placed = Assignment(key, "acme", "node-0", epoch, unlinked_epoch=min(unlinked, epoch - 1))
    seen = SessionObserved(key, "acme", "node-0", "i1", epoch, state, 0.0, linked_epoch=linked)
    retired = unlinked_epoch(placed, seen)
    assert retired >= max(placed.unlinked_epoch, min(linked, epoch) - 1)
    assert (retired >= epoch) == logged_out
