"""Needs: what one session asks for, whatever the others do.

Owns the step a session needs now, and how a step is told from another. Never chooses a place or
a turn: `core.reconcile` does, for all sessions together.
"""

from enum import StrEnum

import msgspec

from control_plane.core.fleet import FleetSnapshot, Kept, NodeSnapshot
from schemas.errors import ErrorCode
from schemas.records import Assignment, PlacementFailure, SessionObserved, SessionRecord
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
    REASSIGN = "reassign"
    """Its node is gone, or it has none: give it to another."""
    MOVE_OUT = "move_out"
    """Ask its node to let go of it, then give it to another."""
    UNPLACE = "unplace"
    """Its node is gone and no other takes it: give its place back and say so."""


class Step(msgspec.Struct, frozen=True):
    """One thing to do.

    - `epoch`: the one to put on the command: what the node holds when it is to stop something.
    - `running`: whether it is wanted running. `let_go`: its node has stopped it already.
      `overdue`: it must leave its node even for nowhere.
    - Set by the plan: `to`, where it goes; `lacking`, why nowhere; `instead`, what is done in
      place of `kind` because of that.
    """

    kind: StepKind
    session_id: str
    tenant_id: str
    node_id: str | None = None
    incarnation: str | None = None
    epoch: int = 0
    reason: str | None = None
    running: bool = True
    let_go: bool = False
    overdue: bool = False
    to: str | None = None
    lacking: str | None = None
    instead: StepKind | None = None

    @property
    def act(self) -> StepKind:
        """What is carried out."""
        return self.instead or self.kind

    @property
    def key(self) -> "Step":
        """What the session asked for, without the plan's choices: backoff is kept by it."""
        return msgspec.structs.replace(self, to=None, lacking=None, instead=None)


class Need(msgspec.Struct, frozen=True):
    """The step a session needs, if any; `again_in_s`: when time alone will change that.

    `meanwhile`: what it needs where it is, for as long as there is no place for `step`.
    """

    step: Step | None = None
    again_in_s: float | None = None
    meanwhile: Step | None = None


class NeedRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a session that failed is tried on another node, or one that was replaced again.

    - `failed_nodes_max`: after so many within `failed_window_s` it stays as it is, for people to
      see: the fault travels with it.
    - `failed_pause_s`: how long it rests before the first other node; doubles with each.
    """

    failed_nodes_max: int = 3
    failed_window_s: float = 3_600.0
    failed_pause_s: float = 20.0


REASON_LEASE_LOST = "lease_lost"
"""A fenced session with this reason was stopped by its own careful node, and may start again.
One that was replaced by another client rests first, and tries a few times only: mostly it was our
own, of a node that had been frozen and gives way by itself; else nobody knows who holds its keys,
and a quarrel over them helps nobody."""
NODE_LOST = "node_lost"
NODE_STOPPED = "node_stopped"
UNPLACED = "unplaced"
DRAIN = "drain"
MOVE = "move"
FAILED = "failed"

_ENDED = frozenset({SessionState.LOGGED_OUT, SessionState.FAILED, SessionState.FENCED})
_UNSTARTED = frozenset({SessionState.PENDING, SessionState.STOPPED})
_VAULT_AWAY = frozenset(
    {ErrorCode.VAULT_UNAVAILABLE, ErrorCode.NATS_UNAVAILABLE, ErrorCode.TIMEOUT}
)
_NOTHING = Need()


def need(fleet: FleetSnapshot, record: SessionRecord, rules: NeedRules) -> Need:
    """What this session asks for now."""
    assignment = fleet.assignments.get(record.session_id)
    if assignment is None:
        if record.desired is DesiredState.DELETED:
            return Need(Step(StepKind.FORGET, record.session_id, record.tenant_id))
        return _NOTHING
    node = fleet.node_of(assignment)
    if assignment.node_id is None or (node is not None and node.gone):
        return Need(_homeless(record, assignment, node))
    if node is None or node.state is not NodeState.ALIVE:
        return _NOTHING
    away = _away(fleet, record, assignment, node, rules)
    at_home = _at_home(fleet, record, assignment, node)
    if away.step is not None:
        return msgspec.structs.replace(away, meanwhile=at_home)
    if at_home is None and record.desired is DesiredState.RUNNING:
        seen = fleet.current(record.session_id)
        if seen is not None and replaced(seen):
            return _after_replacement(fleet, assignment, node, seen, rules)
    return Need(at_home, away.again_in_s)


def ended(seen: SessionObserved | None) -> bool:
    """Whether only a new epoch brings this session back: it ended for a reason people must see."""
    return seen is not None and seen.state in _ENDED and not _careful(seen)


def unlinked_epoch(assignment: Assignment, seen: SessionObserved | None) -> int:
    """`Assignment.unlinked_epoch` for what replaces this assignment. `seen`: what its node wrote
    last, by whichever run.

    A link ends the one before it, whether or not anybody saw that go: what is of epochs before it
    is of another device, though nothing of the new one be stored yet.
    """
    if unlinked_now(assignment, seen):
        return assignment.epoch
    linked = min(seen.linked_epoch, assignment.epoch) if seen is not None else 0
    return max(assignment.unlinked_epoch, linked - 1)


def unlinked_now(assignment: Assignment, seen: SessionObserved | None) -> bool:
    """Whether the account was unlinked under this very epoch."""
    return (
        seen is not None
        and (seen.node_id, seen.epoch) == (assignment.node_id, assignment.epoch)
        and seen.state is SessionState.LOGGED_OUT
    )


def goes_on_from(fleet: FleetSnapshot, session_id: str) -> Kept | None:
    """The snapshot that another node would begin from; None if there is none, or its device is no
    more."""
    kept, assignment = fleet.kept.get(session_id), fleet.assignments.get(session_id)
    if kept is None or assignment is None:
        return kept
    gone = unlinked_epoch(assignment, fleet.observed.get(session_id))
    return kept if kept.epoch > gone else None


def waits_for_vault(seen: SessionObserved) -> bool:
    """Whether a session that starts only waits for its saved state: nothing is launched yet, so it
    takes nobody's turn."""
    return seen.state is SessionState.STARTING and seen.reason in _VAULT_AWAY


def replaced(seen: SessionObserved) -> bool:
    """Whether another client took its device: WhatsApp lets the newest one in."""
    return seen.state is SessionState.FENCED and not _careful(seen)


def failures_of(
    assignment: Assignment, seen: SessionObserved, rules: NeedRules
) -> tuple[PlacementFailure, ...]:
    """Where a session failed, or was replaced, within the window; this time included."""
    earlier = tuple(
        failure
        for failure in assignment.failures
        if failure.at > seen.since - rules.failed_window_s
    )
    return (*earlier, PlacementFailure(seen.node_id, seen.since))


def _homeless(
    record: SessionRecord, assignment: Assignment, node: NodeSnapshot | None
) -> Step | None:
    """Nothing runs it, for sure."""
    if record.desired is DesiredState.DELETED:
        return Step(StepKind.FORGET, record.session_id, record.tenant_id)
    running = record.desired is DesiredState.RUNNING
    if not running and (node is None or not node.draining):
        # It costs nothing where it is, and is placed when it is wanted again.
        return None
    if node is None:
        reason = UNPLACED
    else:
        reason = NODE_STOPPED if node.state is NodeState.STOPPED else NODE_LOST
    return Step(
        StepKind.REASSIGN,
        assignment.session_id,
        assignment.tenant_id,
        assignment.node_id,
        node.record.incarnation if node else None,
        assignment.epoch,
        reason,
        running=running,
    )


def _away(
    fleet: FleetSnapshot,
    record: SessionRecord,
    assignment: Assignment,
    node: NodeSnapshot,
    rules: NeedRules,
) -> Need:
    """Whether it is to leave a node that is alive."""
    if record.desired is DesiredState.DELETED:
        return _NOTHING
    seen = fleet.current(record.session_id)
    deadline_at = node.intent.drain_deadline_at if node.intent and node.draining else None
    overdue = deadline_at is not None and fleet.wall_now >= deadline_at
    if assignment.moving_to not in (None, node.node_id):
        reason = assignment.reason or MOVE
    elif node.draining:
        reason = DRAIN
    elif record.desired is DesiredState.RUNNING and seen is not None:
        return _after_failure(fleet, assignment, node, seen, rules)
    else:
        return _NOTHING
    return Need(_move_out(fleet, record, assignment, node, reason, overdue=overdue))


def _after_failure(
    fleet: FleetSnapshot,
    assignment: Assignment,
    node: NodeSnapshot,
    seen: SessionObserved,
    rules: NeedRules,
) -> Need:
    """A session that its node gave up is tried elsewhere, a few times, ever later."""
    if seen.state is not SessionState.FAILED:
        return _NOTHING
    if seen.phone is not None and assignment.session_id not in fleet.kept:
        # Its link is on this node alone.
        return _NOTHING
    left_s = _rest_s(fleet, assignment, seen, rules)
    if left_s is None:
        return _NOTHING
    if left_s > 0:
        return Need(None, left_s)
    record = fleet.sessions[assignment.session_id]
    return Need(_move_out(fleet, record, assignment, node, FAILED, overdue=False))


def _after_replacement(
    fleet: FleetSnapshot,
    assignment: Assignment,
    node: NodeSnapshot,
    seen: SessionObserved,
    rules: NeedRules,
) -> Need:
    """Its own node takes its device up again, a few times, ever later."""
    left_s = _rest_s(fleet, assignment, seen, rules)
    if left_s is None:
        return _NOTHING
    if left_s > 0:
        return Need(None, left_s)
    return Need(
        Step(
            StepKind.RAISE_EPOCH,
            assignment.session_id,
            assignment.tenant_id,
            node.node_id,
            node.record.incarnation,
            assignment.epoch,
        )
    )


def _rest_s(
    fleet: FleetSnapshot, assignment: Assignment, seen: SessionObserved, rules: NeedRules
) -> float | None:
    """How long it still rests; None when it was tried often enough."""
    tried = len(failures_of(assignment, seen, rules))
    if tried >= rules.failed_nodes_max:
        return None
    rest_s = rules.failed_pause_s * 2.0 ** (tried - 1)
    return max(0.0, seen.since + rest_s - fleet.wall_now)


def _move_out(
    fleet: FleetSnapshot,
    record: SessionRecord,
    assignment: Assignment,
    node: NodeSnapshot,
    reason: str,
    *,
    overdue: bool,
) -> Step:
    seen = fleet.current(record.session_id)
    return Step(
        StepKind.MOVE_OUT,
        assignment.session_id,
        assignment.tenant_id,
        node.node_id,
        node.record.incarnation,
        fleet.held_epoch(record.session_id) or assignment.epoch,
        reason,
        running=record.desired is DesiredState.RUNNING,
        let_go=seen is not None and seen.state is SessionState.MOVING,
        overdue=overdue,
    )


def _at_home(
    fleet: FleetSnapshot, record: SessionRecord, assignment: Assignment, node: NodeSnapshot
) -> Step | None:
    """What its own node, which is alive, is to do."""
    held = fleet.held_epoch(record.session_id)
    if record.desired is not DesiredState.RUNNING and held not in (None, assignment.epoch):
        # It was to be restarted, and is not wanted any more before the node heard of that.
        seen = fleet.observed.get(record.session_id)
    else:
        seen = fleet.current(record.session_id)
    kind = _kind_for(record.desired, assignment, seen)
    if kind is StepKind.START and unlinked_now(assignment, fleet.observed.get(record.session_id)):
        # By a run that is gone. A link and the next one never share an epoch.
        kind = StepKind.RAISE_EPOCH
    if kind is None:
        return None
    tells_old_run = kind in (StepKind.STOP, StepKind.DESTROY) and held is not None
    return Step(
        kind,
        assignment.session_id,
        assignment.tenant_id,
        node.node_id,
        node.record.incarnation,
        held if tells_old_run and held is not None else assignment.epoch,
        running=record.desired is DesiredState.RUNNING,
    )


def _kind_for(
    desired: DesiredState, assignment: Assignment, seen: SessionObserved | None
) -> StepKind | None:
    match desired:
        case DesiredState.DELETED:
            return StepKind.DESTROY
        case DesiredState.STOPPED:
            return StepKind.STOP if seen is not None and seen.state.holds_engine else None
        case DesiredState.RUNNING:
            if seen is None:
                return None if assignment.ended is not None else StepKind.START
            if seen.state in _UNSTARTED:
                return StepKind.START
            # It was let go for a move that is not wanted any more, or stopped by its own node.
            if seen.state is SessionState.MOVING or _careful(seen):
                return StepKind.RAISE_EPOCH
            return None


def _careful(seen: SessionObserved) -> bool:
    return seen.state is SessionState.FENCED and seen.reason == REASON_LEASE_LOST
