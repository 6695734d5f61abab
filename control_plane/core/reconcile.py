"""Reconcile: what must be done so that the observed becomes the desired.

Owns `plan`, pure: the same fleet, busy set and time give the same plan. Never sends or writes;
the loop does, and checks every step against newer state first. A lost node's sessions are left
where they are: nobody may start them elsewhere while the old node may still run them.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum

import msgspec

from control_plane.core.fleet import FleetSnapshot, NodeSnapshot
from schemas.records import Assignment, SessionObserved, SessionRecord
from schemas.states import DesiredState, NodeState, SessionState


class StepKind(StrEnum):
    """What to do for a session."""

    START = "start"
    STOP = "stop"
    DESTROY = "destroy"
    RAISE_EPOCH = "raise_epoch"
    """Place it anew on the same node: a start under the old epoch would not be heard."""
    FORGET = "forget"
    """Drop the records: nothing runs anywhere."""


class Step(msgspec.Struct, frozen=True):
    """One thing to do. Equal steps are the same step: the loop's backoff is kept by it."""

    kind: StepKind
    session_id: str
    tenant_id: str
    node_id: str | None = None
    incarnation: str | None = None
    epoch: int = 0
    """The epoch to put on the command: what the node holds when it is to stop something."""


class Plan(msgspec.Struct, frozen=True):
    """Steps to take now, in order, and how many starts wait for their turn."""

    steps: tuple[Step, ...] = ()
    starts_waiting: int = 0


class StaggerRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many sessions one node may have in `starting` at once."""

    starting_max_per_node: int = 3


REASON_LEASE_LOST = "lease_lost"
"""A fenced session with this reason was stopped by its own careful node, and may start again.
One that was replaced by another client must not: nobody knows who holds its keys."""

_ENDED = frozenset({SessionState.LOGGED_OUT, SessionState.FAILED, SessionState.FENCED})
_UNSTARTED = frozenset({SessionState.PENDING, SessionState.STOPPED, SessionState.MOVING})


def plan(
    fleet: FleetSnapshot,
    busy: Mapping[str, Step],
    held: Mapping[Step, float],
    now: float,
    rules: StaggerRules,
) -> Plan:
    """What to do now.

    `busy` are the steps being carried out, by session; `held` the steps that may not be repeated
    before a time (backoff after an error, or time for the result to be observed).
    """
    starting = _starting_by_node(fleet, busy.values())
    steps: list[Step] = []
    starts_waiting = 0
    for session_id in sorted(fleet.sessions):
        if session_id in busy:
            continue
        step = _step_for(fleet, fleet.sessions[session_id])
        if step is None or held.get(step, now) > now:
            continue
        if step.kind is StepKind.START and step.node_id is not None:
            if starting.get(step.node_id, 0) >= rules.starting_max_per_node:
                starts_waiting += 1
                continue
            starting[step.node_id] = starting.get(step.node_id, 0) + 1
        steps.append(step)
    return Plan(tuple(steps), starts_waiting)


def still_wanted(fleet: FleetSnapshot, step: Step) -> bool:
    """Whether newer state asks for the same step: checked right before it is carried out."""
    record = fleet.sessions.get(step.session_id)
    return record is not None and _step_for(fleet, record) == step


def _step_for(fleet: FleetSnapshot, record: SessionRecord) -> Step | None:
    assignment = fleet.assignments.get(record.session_id)
    if assignment is None:
        if record.desired is DesiredState.DELETED:
            return Step(StepKind.FORGET, record.session_id, record.tenant_id)
        return None
    node = fleet.nodes.get(assignment.node_id or "")
    if node is None or node.state is not NodeState.ALIVE:
        return None
    held = fleet.held_epoch(record.session_id)
    if record.desired is not DesiredState.RUNNING and held not in (None, assignment.epoch):
        # It was to be restarted, and is not wanted any more before the node heard of that.
        seen = fleet.observed.get(record.session_id)
    else:
        seen = fleet.current(record.session_id)
    kind = _kind_for(record.desired, seen)
    if kind is None:
        return None
    tells_old_run = kind in (StepKind.STOP, StepKind.DESTROY) and held is not None
    return _step(kind, assignment, node, held if tells_old_run else assignment.epoch)


def _kind_for(desired: DesiredState, seen: SessionObserved | None) -> StepKind | None:
    match desired:
        case DesiredState.DELETED:
            return StepKind.DESTROY
        case DesiredState.STOPPED:
            return StepKind.STOP if seen is not None and seen.state.holds_engine else None
        case DesiredState.RUNNING:
            if seen is None or seen.state in _UNSTARTED:
                return StepKind.START
            if seen.state is SessionState.FENCED and seen.reason == REASON_LEASE_LOST:
                return StepKind.RAISE_EPOCH
            return None


def ended(seen: SessionObserved | None) -> bool:
    """Whether only a new epoch brings this session back: it ended for a reason people must see."""
    return seen is not None and seen.state in _ENDED


def _step(kind: StepKind, assignment: Assignment, node: NodeSnapshot, epoch: int | None) -> Step:
    return Step(
        kind,
        assignment.session_id,
        assignment.tenant_id,
        assignment.node_id,
        node.record.incarnation,
        epoch or assignment.epoch,
    )


def _starting_by_node(fleet: FleetSnapshot, busy: Iterable[Step]) -> dict[str, int]:
    counted: set[tuple[str, str]] = set()
    for step in busy:
        if step.kind is StepKind.START and step.node_id is not None:
            counted.add((step.node_id, step.session_id))
    for session_id in fleet.observed:
        seen = fleet.current(session_id)
        if seen is not None and seen.state is SessionState.STARTING:
            counted.add((seen.node_id, session_id))
    starting: dict[str, int] = {}
    for node_id, _session_id in counted:
        starting[node_id] = starting.get(node_id, 0) + 1
    return starting
