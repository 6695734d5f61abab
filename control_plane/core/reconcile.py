"""Reconcile: what must be done so that the observed becomes the desired.

Owns `plan`, pure: the same fleet, busy set and time give the same plan. Never sends or writes;
the loop does, and checks every step against newer state first.

A session leaves its node in two ways alone: the node is gone for sure (`core.failover`), or it is
alive and is asked to let go first. Nobody may start it elsewhere while it may still run there.
What a single session needs is `core.needs`; this module gives places and turns away.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from control_plane.core.fleet import FleetSnapshot
from control_plane.core.needs import (
    FAILED,
    NeedRules,
    Step,
    StepKind,
    goes_on_from,
    need,
    waits_for_vault,
)
from control_plane.core.placement import Placement, Places, Unplaceable, Wanted
from schemas.records import SessionRecord
from schemas.states import EngineKind, SessionState

_PLACES = frozenset({StepKind.REASSIGN, StepKind.MOVE_OUT})


class Plan(msgspec.Struct, frozen=True):
    """Steps to take now, in order, and what waits.

    - `starts_waiting`, `moves_waiting`: held back by the stagger, or (moves) for room.
    - `look_again_in_s`: when time alone will ask for more; None if only news can.
    """

    steps: tuple[Step, ...] = ()
    starts_waiting: int = 0
    moves_waiting: int = 0
    look_again_in_s: float | None = None


class StaggerRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much one node is asked to do at once; a browser that starts takes a core for seconds.

    `placed_max`: sessions given a place in one plan, so that none runs long.
    """

    chromium_starting_max: int = 2
    loopback_starting_max: int = 16
    chromium_moving_max: int = 2
    loopback_moving_max: int = 8
    placed_max: int = 128

    def starting_max(self, engine: EngineKind) -> int:
        """How many sessions of an engine may be in `starting` on a node at once."""
        chromium = engine is EngineKind.CHROMIUM
        return self.chromium_starting_max if chromium else self.loopback_starting_max

    def moving_max(self, engine: EngineKind) -> int:
        """How many sessions of an engine may be leaving a node that is alive at once."""
        chromium = engine is EngineKind.CHROMIUM
        return self.chromium_moving_max if chromium else self.loopback_moving_max


class PlanRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything a plan is bounded by."""

    stagger: StaggerRules = StaggerRules()
    needs: NeedRules = NeedRules()


_Load = Counter[tuple[str, EngineKind]]
"""How many sessions of each engine are starting on, or leaving, a node."""


class _Draft:
    """A plan in the making: what has been given away already counts for what comes after."""

    def __init__(self, fleet: FleetSnapshot, busy: Mapping[str, Step], rules: StaggerRules) -> None:
        self.fleet = fleet
        self.rules = rules
        self.places = Places(fleet)
        self.starting: _Load = _starting(fleet, busy.values())
        self.leaving: _Load = Counter()
        self.steps: list[Step] = []
        self.placed = self.starts_waiting = self.moves_waiting = 0
        for step in busy.values():
            if step.to is not None:
                self.places.take(step.to, step.tenant_id)
            if step.kind is StepKind.MOVE_OUT and step.node_id is not None:
                self.leaving[step.node_id, _engine(fleet, step)] += 1

    def add_plain(self, step: Step) -> None:
        """A step that needs no place; a start waits for its turn."""
        if step.kind is StepKind.START and step.node_id is not None:
            engine = _engine(self.fleet, step)
            if self.starting[step.node_id, engine] >= self.rules.starting_max(engine):
                self.starts_waiting += 1
                return
            self.starting[step.node_id, engine] += 1
        self.steps.append(step)

    def add_placed(self, step: Step, record: SessionRecord, meanwhile: Step | None) -> None:
        """A step that needs a place: on the node that was asked for, or on the best one.
        `meanwhile` is done if it must stay where it is."""
        if self.placed >= self.rules.placed_max:
            self.moves_waiting += 1
            return
        found = self.places.choose(wanted_of(self.fleet, record, step))
        if step.kind is StepKind.REASSIGN:
            self._reassign(step, found)
        else:
            self._move_out(step, record, found, meanwhile)

    def _reassign(self, step: Step, found: Placement | Unplaceable) -> None:
        if isinstance(found, Placement):
            self._place(step, found.node_id)
        elif step.node_id is not None:
            self._instead(step, StepKind.UNPLACE, found.words)

    def _move_out(
        self,
        step: Step,
        record: SessionRecord,
        found: Placement | Unplaceable,
        meanwhile: Step | None,
    ) -> None:
        assert step.node_id is not None
        source = (step.node_id, record.engine)
        if isinstance(found, Unplaceable):
            if step.overdue:
                # Its node must be left, and no other takes it: visibly nowhere.
                self._instead(step, StepKind.MOVE_OUT, found.words)
            elif step.let_go:
                # It was stopped for a place that is not there any more: back to where it was.
                self._instead(step, StepKind.RAISE_EPOCH, found.words)
            else:
                self.moves_waiting += 1
                if meanwhile is not None:
                    self.add_plain(meanwhile)
            return
        target = (found.node_id, record.engine)
        starts = not step.let_go and step.running
        if starts and (
            self.leaving[source] >= self.rules.moving_max(record.engine)
            or self.starting[target] >= self.rules.starting_max(record.engine)
        ):
            self.moves_waiting += 1
            return
        self.leaving[source] += 1
        self.starting[target] += 1
        self._place(step, found.node_id)

    def _instead(self, step: Step, act: StepKind, lacking: str) -> None:
        self.placed += 1
        self.steps.append(msgspec.structs.replace(step, instead=act, lacking=lacking))

    def _place(self, step: Step, node_id: str) -> None:
        self.places.take(node_id, step.tenant_id)
        self.placed += 1
        self.steps.append(msgspec.structs.replace(step, to=node_id))


def plan(
    fleet: FleetSnapshot,
    busy: Mapping[str, Step],
    held: Mapping[Step, float],
    now: float,
    rules: PlanRules,
) -> Plan:
    """What to do now.

    `busy` are the steps being carried out, by session; `held` the steps (as `Step.key`) that may
    not be repeated before a time (backoff after an error, or time for the result to be observed).
    """
    draft = _Draft(fleet, busy, rules.stagger)
    placing: list[tuple[Step, SessionRecord, Step | None]] = []
    look_again = [node.gone_in_s for node in fleet.nodes.values() if node.gone_in_s is not None]
    for session_id in sorted(fleet.sessions):
        if session_id in busy:
            continue
        record = fleet.sessions[session_id]
        found = need(fleet, record, rules.needs)
        if found.again_in_s is not None:
            look_again.append(found.again_in_s)
        step = found.step
        if step is None or held.get(step.key, now) > now:
            continue
        if step.kind in _PLACES:
            meanwhile = found.meanwhile
            if meanwhile is not None and held.get(meanwhile.key, now) > now:
                meanwhile = None
            placing.append((step, record, meanwhile))
        else:
            draft.add_plain(step)
    # Those whose node is gone are down; those that are to move are not.
    placing.sort(key=lambda item: item[0].kind is not StepKind.REASSIGN)
    for step, record, meanwhile in placing:
        draft.add_placed(step, record, meanwhile)
    return Plan(
        tuple(draft.steps),
        draft.starts_waiting,
        draft.moves_waiting,
        min(look_again, default=None),
    )


def still_wanted(fleet: FleetSnapshot, step: Step, rules: PlanRules) -> bool:
    """Whether newer state asks for the same step: checked right before it is carried out."""
    record = fleet.sessions.get(step.session_id)
    if record is None:
        return False
    newer = need(fleet, record, rules.needs)
    wanted = (newer.step, newer.meanwhile)
    return any(each is not None and each.key == step.key for each in wanted)


def wanted_of(fleet: FleetSnapshot, record: SessionRecord, step: Step) -> Wanted:
    """What a session that must be placed anew looks for."""
    assignment = fleet.assignments.get(record.session_id)
    only = (assignment.moving_to or None) if assignment else None
    if step.kind is StepKind.REASSIGN:
        # Its node is gone: any place is better than the one it was asked to go to.
        only = None
    avoid: set[str] = set()
    if step.node_id is not None:
        avoid.add(step.node_id)
    if assignment is not None and step.reason == FAILED:
        avoid.update(failure.node_id for failure in assignment.failures)
    return Wanted(
        record.tenant_id,
        record.engine,
        record.region,
        frozenset(avoid),
        only,
        record.session_id,
        goes_on_from(fleet, record.session_id),
    )


def _engine(fleet: FleetSnapshot, step: Step) -> EngineKind:
    record = fleet.sessions.get(step.session_id)
    return record.engine if record else EngineKind.CHROMIUM


def _starting(fleet: FleetSnapshot, busy: Iterable[Step]) -> _Load:
    counted: set[tuple[str, str]] = set()
    for step in busy:
        if step.kind is StepKind.START and step.node_id is not None:
            counted.add((step.node_id, step.session_id))
        elif step.kind is StepKind.MOVE_OUT and step.to is not None:
            counted.add((step.to, step.session_id))
    for session_id in fleet.observed:
        seen = fleet.current(session_id)
        if seen is not None and seen.state is SessionState.STARTING and not waits_for_vault(seen):
            counted.add((seen.node_id, session_id))
    load: _Load = Counter()
    for node_id, session_id in counted:
        found = fleet.sessions.get(session_id)
        load[node_id, found.engine if found else EngineKind.CHROMIUM] += 1
    return load
