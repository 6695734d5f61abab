"""A session as customers see it: the wanted and the observed folded into one honest answer.

Owns what is shown when the node is silent, restarted or gone. Never a route or a record's write.
"""

from typing import Final

from control_plane.core.fleet import NodeSnapshot, current
from schemas.api import NodeView, SessionView
from schemas.records import Assignment, SessionObserved, SessionRecord
from schemas.states import DesiredState, NodeState, SessionState

REASON_NODE_SILENT: Final = "node_silent"
REASON_NODE_LOST: Final = "node_lost"
REASON_NODE_STOPPED: Final = "node_stopped"
REASON_UNPLACED: Final = "unplaced"
UNPLACEABLE: Final = "unplaceable"
_ON_THE_WAY: Final = frozenset({"drain", "move", "rebalance", "failed"})
"""Reasons of a placement that somebody asked for while the session ran."""


def shown_state(
    record: SessionRecord,
    assignment: Assignment | None,
    seen: SessionObserved | None,
    node: NodeSnapshot | None,
) -> tuple[SessionState, str | None]:
    """The state to show, and why. `seen` must be current (see `fleet.current`) or None.

    A state that needs an engine is believed only while its node is heard: no reader may call a
    session online on the word of a machine that fell silent.
    """
    silent = _silence_of(node)
    if seen is not None:
        if silent is not None and seen.state.holds_engine:
            return SessionState.DEGRADED, silent
        return seen.state, seen.reason
    if record.desired is not DesiredState.RUNNING:
        return SessionState.STOPPED, None
    if assignment is None:
        return SessionState.PENDING, silent
    if assignment.ended is not None:
        return assignment.ended, assignment.ended_reason
    if assignment.unplaceable is not None:
        return SessionState.PENDING, f"{UNPLACEABLE}: {assignment.unplaceable}"
    if silent is None and assignment.reason in _ON_THE_WAY:
        return SessionState.MOVING, assignment.reason
    return SessionState.PENDING, silent or assignment.reason


def _silence_of(node: NodeSnapshot | None) -> str | None:
    if node is None:
        return REASON_UNPLACED
    match node.state:
        case NodeState.ALIVE:
            return None
        case NodeState.SUSPECT:
            return REASON_NODE_SILENT
        case NodeState.LOST:
            return REASON_NODE_LOST
        case NodeState.STOPPED:
            return REASON_NODE_STOPPED


def session_view(
    record: SessionRecord,
    assignment: Assignment | None,
    observed: SessionObserved | None,
    node: NodeSnapshot | None,
    *,
    identity: SessionObserved | None = None,
) -> SessionView:
    """Everything shown of a session. `observed` may be stale: it is judged here. `identity`: the
    newest observation by any node; whose account it is stays true when a session moves or its node
    restarts, though its state does not."""
    seen = current(assignment, observed, lambda _node_id: node)
    state, reason = shown_state(record, assignment, seen, node)
    return SessionView(
        session_id=record.session_id,
        tenant_id=record.tenant_id,
        name=record.name,
        engine=record.engine,
        desired=record.desired,
        state=state,
        state_since=seen.since if seen else None,
        reason=reason,
        node_id=assignment.node_id if assignment else None,
        epoch=assignment.epoch if assignment else None,
        phone=identity.phone if identity else None,
        push_name=identity.push_name if identity else None,
        created_at=record.created_at,
        metadata=record.metadata,
        observed_age_s=node.age_s if node and seen else None,
    )


def node_view(node: NodeSnapshot) -> NodeView:
    """Everything shown of a node."""
    record, pulse = node.record, node.heartbeat
    return NodeView(
        node_id=record.node_id,
        state=node.state,
        region=record.region,
        provider=record.provider,
        sessions=len(pulse.sessions) if pulse else 0,
        sessions_max=node.sessions_max,
        reserved=node.reserved,
        memory_used_bytes=pulse.memory_used_bytes if pulse else 0,
        memory_free_bytes=pulse.memory_free_bytes if pulse else 0,
        cpu_load=pulse.cpu_load if pulse else 0.0,
        age_s=node.age_s,
        cordoned=node.cordoned,
        draining=node.draining,
        address=record.address,
        version=record.version,
        chromium_build=record.chromium_build,
        chromium_sandbox=record.chromium_sandbox,
    )
