"""Verdicts over the fleet view: is a node alive, and what may be said of a session now.

Owns the rule that silence never looks healthy. Pure: `now` is the receiver's monotonic clock.
Never changes the view.
"""

from enum import Enum
from typing import Final, NamedTuple

import msgspec

from schemas.records import SessionLoad, SessionObserved
from schemas.states import DesiredState, NodeState, SessionState
from schemas.timing import FAST, TimingProfile
from tui.model import FleetView, Kept, NodeEntry, SessionEntry


class HealthLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds of silence after which a node is doubted, then given up."""

    suspect_after_s: float
    lost_after_s: float

    @classmethod
    def of(cls, profile: TimingProfile) -> "HealthLimits":
        """Those by which the control plane judges: about three missed pulses, and the end of a
        lease that was renewed with the last pulse."""
        return cls(
            suspect_after_s=profile.suspect_after_s,
            lost_after_s=profile.lease_ttl_s + profile.lease_absent_grace_s,
        )


FAST_LIMITS = HealthLimits.of(FAST)
_SILENCES: Final = {
    NodeState.SUSPECT: "node silent",
    NodeState.LOST: "node lost",
    NodeState.STOPPED: "node stopped",
}


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
    """A session as it may be shown. `state` is the last one said, to be read with `trust`.

    `told_at`: when its owner last wrote of it in the bucket (monotonic seconds); its pulses may be
    younger, and `age_s` counts from whichever is.
    """

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
    told_at: float | None = None


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
    word = _word(view, session)
    state, since, reason = _last_word(session, word)
    trust, doubt = _trust(view, word, healths)
    said_at = _said_at(word)
    record = session.record.record if session.record else None
    return SessionLook(
        session_id=session.session_id,
        tenant_id=_tenant(session),
        name=record.name if record else None,
        state=state,
        trust=trust,
        desired=record.desired if record else None,
        node_id=word.node_id,
        epoch=word.epoch,
        since=since,
        age_s=None if said_at is None else max(0.0, now - said_at),
        reason="; ".join(part for part in (doubt, reason) if part),
        phone=word.observed.record.phone if word.observed else None,
        metadata=record.metadata if record else {},
        told_at=word.observed.at if word.observed else None,
    )


class _Word(NamedTuple):
    """What the owner of the highest epoch said: in the bucket, and in its last heartbeat."""

    node_id: str | None
    epoch: int
    observed: Kept[SessionObserved] | None
    load: SessionLoad | None
    load_at: float | None


def _word(view: FleetView, session: SessionEntry) -> _Word:
    observed = session.latest_observed
    epoch = session.epoch_seen
    if observed is not None and observed.record.epoch > epoch:
        epoch = observed.record.epoch
    node_id = session_node(session)
    if observed is not None:
        record = observed.record
        if record.epoch < epoch or record.node_id != node_id:
            observed = None
    node = view.nodes.get(node_id or "")
    pulse = node.pulse if node else None
    load = pulse.loads.get(session.session_id) if pulse else None
    if pulse is None or load is None or load.epoch != epoch:
        return _Word(node_id, epoch, observed, None, None)
    return _Word(node_id, epoch, observed, load, pulse.at)


def _said_at(word: _Word) -> float | None:
    if word.observed is None or word.load_at is None:
        return word.observed.at if word.observed else word.load_at
    return max(word.observed.at, word.load_at)


def _last_word(session: SessionEntry, word: _Word) -> tuple[SessionState, float | None, str]:
    observed, load = word.observed, word.load
    if load is not None and (observed is None or load.since > observed.record.since):
        return load.state, load.since, ""
    if observed is not None:
        return observed.record.state, observed.record.since, observed.record.reason or ""
    if session.observed:
        return SessionState.MOVING, None, "new owner has not reported"
    return SessionState.PENDING, None, ""


def _trust(view: FleetView, word: _Word, healths: dict[str, NodeHealth]) -> tuple[Trust, str]:
    observed = word.observed
    if observed is None and word.load is None:
        return Trust.AWAITED, "" if view.bus.up else "bus away"
    if not view.bus.up:
        return Trust.DOUBTED, "bus away"
    health = healths.get(word.node_id or "")
    node = view.nodes.get(word.node_id or "")
    if health is None or node is None:
        return Trust.DOUBTED, "node unknown"
    if health.state is not NodeState.ALIVE:
        return Trust.DOUBTED, _SILENCES[health.state]
    if word.load is not None or observed is None:
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
