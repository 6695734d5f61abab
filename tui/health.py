"""Verdicts over the fleet view: is a node alive, and what may be said of a session now.

Owns the rule that silence never looks healthy. Pure: `now` is the receiver's monotonic clock.
Never changes the view.
"""

from enum import Enum

import msgspec

from schemas.records import SessionLoad
from schemas.states import DesiredState, NodeState, SessionState
from schemas.timing import FAST, TimingProfile
from tui.model import FleetView, NodeEntry, SessionEntry


class HealthLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds of silence after which a node is doubted, then given up."""

    suspect_after_s: float
    lost_after_s: float

    @classmethod
    def of(cls, profile: TimingProfile) -> "HealthLimits":
        """A node without a pulse for one lease's life is suspect; for two, its lease has ended and
        others may have taken over."""
        return cls(suspect_after_s=profile.lease_ttl_s, lost_after_s=2 * profile.lease_ttl_s)


FAST_LIMITS = HealthLimits.of(FAST)


class NodeHealth(msgspec.Struct, frozen=True):
    """A verdict. `silent_s` is the age of the last pulse, None if none was heard yet."""

    node_id: str
    state: NodeState
    silent_s: float | None
    why: str = ""


class Trust(Enum):
    """How far a session's state may be believed."""

    CONFIRMED = "confirmed"
    """Its node is alive and says so, under the current epoch."""
    AWAITED = "awaited"
    """The current owner has not said anything yet."""
    DOUBTED = "doubted"
    """It was said once; whoever said it is silent, restarted, or cannot be heard."""


class SessionLook(msgspec.Struct, frozen=True):
    """A session as it may be shown. `state` is the last one said, to be read with `trust`."""

    session_id: str
    tenant_id: str
    name: str | None
    state: SessionState
    trust: Trust
    desired: DesiredState | None
    node_id: str | None
    epoch: int
    since: float | None
    age_s: float | None
    reason: str
    phone: str | None
    metadata: dict[str, str]


def node_health(view: FleetView, node: NodeEntry, now: float, limits: HealthLimits) -> NodeHealth:
    """Judge one node by the silence since its last pulse.

    While the bus is away nobody can be heard, so nobody newly becomes lost; after its return each
    node gets a full period to speak. `suspect` needs no such care: it only withholds trust, and
    does so at once when nobody can be heard.
    """
    pulse = node.pulse
    silent_s = None if pulse is None else max(0.0, now - pulse.at)
    if node.record is not None and node.record.record.stopped:
        return NodeHealth(node.node_id, NodeState.STOPPED, silent_s, "stopped cleanly")
    if pulse is not None:
        heard_at = pulse.at
    else:
        heard_at = node.first_seen_at if node.record is None else node.record.at
    listening_since = max(heard_at, view.bus.since) if view.bus.up else heard_at
    listened_until = now if view.bus.up else view.bus.since
    if listened_until - listening_since > limits.lost_after_s:
        return NodeHealth(node.node_id, NodeState.LOST, silent_s, "no pulse")
    if pulse is None:
        return NodeHealth(node.node_id, NodeState.SUSPECT, None, "no pulse yet")
    if not view.bus.up:
        return NodeHealth(node.node_id, NodeState.SUSPECT, silent_s, "bus away")
    if now - pulse.at > limits.suspect_after_s:
        return NodeHealth(node.node_id, NodeState.SUSPECT, silent_s, "pulse late")
    return NodeHealth(node.node_id, NodeState.ALIVE, silent_s)


def all_node_health(view: FleetView, now: float, limits: HealthLimits) -> dict[str, NodeHealth]:
    """Every node's verdict at one moment."""
    return {node.node_id: node_health(view, node, now, limits) for node in view.nodes.values()}


def session_node(session: SessionEntry) -> str | None:
    """Which node runs the session, by the highest epoch known."""
    assignment, observed = session.assignment, session.latest_observed
    if assignment is None:
        return observed.record.node_id if observed else None
    if observed is not None and observed.record.epoch > assignment.record.epoch:
        return observed.record.node_id
    return assignment.record.node_id


def session_look(
    view: FleetView, session: SessionEntry, healths: dict[str, NodeHealth], now: float
) -> SessionLook:
    """What may be said of a session: its last word, and whether to believe it."""
    node_id = session_node(session)
    epoch = session.epoch
    observed = session.latest_observed
    if observed is not None and (
        observed.record.epoch < epoch or observed.record.node_id != node_id
    ):
        observed = None
    load, load_at = _line(view, session.session_id, node_id, epoch)
    state, since, reason = _last_word(session, load)
    trust, doubt = _trust(view, session, node_id, load, healths)
    said_at = [at for at in (load_at, observed.at if observed else None) if at is not None]
    record = session.record.record if session.record else None
    return SessionLook(
        session_id=session.session_id,
        tenant_id=_tenant(session),
        name=record.name if record else None,
        state=state,
        trust=trust,
        desired=record.desired if record else None,
        node_id=node_id,
        epoch=epoch,
        since=since,
        age_s=max(0.0, now - max(said_at)) if said_at else None,
        reason="; ".join(part for part in (doubt, reason) if part),
        phone=observed.record.phone if observed else None,
        metadata=record.metadata if record else {},
    )


def _line(
    view: FleetView, session_id: str, node_id: str | None, epoch: int
) -> tuple[SessionLoad | None, float | None]:
    node = view.nodes.get(node_id or "")
    pulse = node.pulse if node else None
    load = pulse.loads.get(session_id) if pulse else None
    if pulse is None or load is None or load.epoch != epoch:
        return None, None
    return load, pulse.at


def _last_word(
    session: SessionEntry, load: SessionLoad | None
) -> tuple[SessionState, float | None, str]:
    observed = session.latest_observed
    if observed is not None and observed.record.epoch < session.epoch:
        observed = None
    if load is not None and (observed is None or load.since > observed.record.since):
        return load.state, load.since, ""
    if observed is not None:
        return observed.record.state, observed.record.since, observed.record.reason or ""
    if session.observed:
        return SessionState.MOVING, None, "new owner has not reported"
    return SessionState.PENDING, None, ""


def _trust(
    view: FleetView,
    session: SessionEntry,
    node_id: str | None,
    load: SessionLoad | None,
    healths: dict[str, NodeHealth],
) -> tuple[Trust, str]:
    observed = session.latest_observed
    spoke = observed is not None and observed.record.epoch >= session.epoch
    if not spoke and load is None:
        return Trust.AWAITED, "" if view.bus.up else "bus away"
    if not view.bus.up:
        return Trust.DOUBTED, "bus away"
    health = healths.get(node_id or "")
    node = view.nodes.get(node_id or "")
    if health is None or node is None:
        return Trust.DOUBTED, "node unknown"
    if health.state is not NodeState.ALIVE:
        silence = "" if health.silent_s is None else f" {health.silent_s:.0f} s"
        words = {
            NodeState.SUSPECT: f"node silent{silence}",
            NodeState.LOST: f"node lost{silence}",
            NodeState.STOPPED: "node stopped",
        }
        return Trust.DOUBTED, words[health.state]
    if load is not None or observed is None:
        return Trust.CONFIRMED, ""
    return _trust_in_record(node, observed.record.incarnation, observed.at, observed.record.state)


def _trust_in_record(
    node: NodeEntry, incarnation: str, observed_at: float, state: SessionState
) -> tuple[Trust, str]:
    """A record without a line in the heartbeat: right only if it is newer than the pulse, or if
    nothing need run."""
    if node.record is not None and node.record.record.incarnation != incarnation:
        return Trust.DOUBTED, "node restarted"
    pulse = node.pulse
    if state.holds_engine and pulse is not None and pulse.at > observed_at:
        return Trust.DOUBTED, "not in its node's heartbeat"
    return Trust.CONFIRMED, ""


def _tenant(session: SessionEntry) -> str:
    if session.record is not None:
        return session.record.record.tenant_id
    if session.assignment is not None:
        return session.assignment.record.tenant_id
    observed = session.latest_observed
    return observed.record.tenant_id if observed else "?"
