"""The fleet's state in memory: folded from the fleet bucket and the nodes' pulses alone.

Owns the fold and the index by tenant; the signs of the nodes' life are `node_signs`'s. Never reads
the bus or a clock: entries, pulses and `now` (monotonic seconds) are handed in. A write of our own
is folded like any other, by revision, so that an answer to a caller does not wait for the watch.
"""

from collections.abc import Callable, Iterator
from typing import TypeVar

import msgspec
import structlog

from control_plane.core import fleet, session_view
from control_plane.core.liveness import LivenessRules
from control_plane.state.node_signs import NodeSigns
from schemas.api import SessionView
from schemas.keys import (
    ASSIGNMENTS_PREFIX,
    CAPACITY_PREFIX,
    DISPATCHER_LEASE,
    INTENTS_PREFIX,
    LEASES_PREFIX,
    NODES_PREFIX,
    OBSERVED_PREFIX,
    SESSIONS_PREFIX,
    SNAPSHOT_HEADS_PREFIX,
    assignment_key,
    lease_key,
)
from schemas.records import (
    Assignment,
    CapacityRecord,
    Heartbeat,
    LeaseRecord,
    NodeIntent,
    NodeRecord,
    SessionObserved,
    SessionRecord,
)
from schemas.snapshots import SnapshotHead
from schemas.speakers import speaks_for_itself
from schemas.states import DesiredState

log = structlog.get_logger()

T = TypeVar("T", bound=msgspec.Struct)

Listener = Callable[[str | None], None]
"""Told which session may have changed; None: perhaps any (a node's pulse, a resync)."""

_NODE_LEASES = lease_key("node", "")
_DISPATCHER_LEASES = lease_key(DISPATCHER_LEASE, "")


class FleetState:
    """What is known now. `synced`: the watch has told everything at least once and is not stale."""

    def __init__(self, rules: LivenessRules, *, now: float) -> None:
        self.rules = rules
        self.synced = False
        self.signs = NodeSigns(rules, now=now)
        self._revisions: dict[str, int] = {}
        self._nodes: dict[str, NodeRecord] = {}
        self._intents: dict[str, NodeIntent] = {}
        self._kept: dict[str, fleet.Kept] = {}
        self._reserved: dict[str, int] = {}
        self._sessions: dict[str, SessionRecord] = {}
        self._of_tenant: dict[str, dict[str, SessionRecord]] = {}
        self._assignments: dict[str, Assignment] = {}
        self._dispatchers: dict[str, tuple[LeaseRecord, float]] = {}
        self._observed: dict[str, dict[str, SessionObserved]] = {}
        self._listeners: list[Listener] = []

    # Folding -----------------------------------------------------------------------------------

    def fold(self, key: str, raw: bytes | None, revision: int, *, now: float) -> None:
        """Take in a key's value (None: deleted). An older revision than known changes nothing;
        revision 0 says that the key was found gone."""
        if revision and revision <= self._revisions.get(key, 0):
            return
        if raw is None:
            self._revisions.pop(key, None)
        else:
            self._revisions[key] = revision
        try:
            if key.startswith(LEASES_PREFIX):
                self._fold_lease(key, raw, now)
                return
            session_id = self._fold_value(key, raw, now)
        except msgspec.MsgspecError:
            log.warning("fleet.record_malformed", key=key)
            return
        self.tell(session_id)

    def _fold_lease(self, key: str, raw: bytes | None, now: float) -> None:
        if key.startswith(_DISPATCHER_LEASES):
            record = _decode(raw, LeaseRecord)
            come_or_gone = (record is None) == (key in self._dispatchers)
            _set(self._dispatchers, key, None if record is None else (record, now))
            if come_or_gone:
                self.tell(None)
            return
        if not key.startswith(_NODE_LEASES):
            return
        # A renewal is no news to anybody: only coming and going is told.
        if self.signs.lease_seen(key.removeprefix(_NODE_LEASES), raw is not None, now):
            self.tell(None)

    def _fold_value(self, key: str, raw: bytes | None, now: float) -> str | None:
        last = key.rpartition(".")[2]
        if key.startswith(SESSIONS_PREFIX):
            self._fold_session(last, _decode(raw, SessionRecord))
            return last
        if key.startswith(ASSIGNMENTS_PREFIX):
            _set(self._assignments, last, _decode(raw, Assignment))
            return last
        if key.startswith(OBSERVED_PREFIX):
            node_id = key.split(".")[1]
            observed = _own(key, _decode(raw, SessionObserved))
            of_session = self._observed.setdefault(last, {})
            _set(of_session, node_id, observed)
            if not of_session:
                del self._observed[last]
            return last
        if key.startswith(NODES_PREFIX):
            record = _own(key, _decode(raw, NodeRecord))
            _set(self._nodes, last, record)
            self.signs.record_seen(last, record, now)
        elif key.startswith(INTENTS_PREFIX):
            _set(self._intents, last, _decode(raw, NodeIntent))
        elif key.startswith(SNAPSHOT_HEADS_PREFIX):
            head = _decode(raw, SnapshotHead)
            _set(self._kept, last, _kept(head))
        elif key.startswith(CAPACITY_PREFIX):
            capacity = _decode(raw, CapacityRecord)
            _set(self._reserved, last, capacity.reserved if capacity else None)
        return None

    def _fold_session(self, session_id: str, record: SessionRecord | None) -> None:
        old = self._sessions.get(session_id)
        if old is not None and record is None:
            self._of_tenant[old.tenant_id].pop(session_id, None)
        _set(self._sessions, session_id, record)
        if record is not None:
            self._of_tenant.setdefault(record.tenant_id, {})[session_id] = record

    def hear(self, pulse: Heartbeat, now: float) -> None:
        """Take in a heartbeat; one no newer than the last of its incarnation is dropped."""
        self.signs.hear(pulse, now)

    # Listening ---------------------------------------------------------------------------------

    def on_change(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` (quick, never raising) after each change. Returns the undo."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def tell(self, session_id: str | None) -> None:
        """Tell the listeners."""
        for listener in list(self._listeners):
            listener(session_id)

    # Reading -----------------------------------------------------------------------------------

    def node(self, node_id: str, now: float) -> fleet.NodeSnapshot | None:
        """A node as it stands, or None if it is not known."""
        record = self._nodes.get(node_id)
        if record is None:
            return None
        judged = self.signs.judge(record, now)
        return fleet.NodeSnapshot(
            record=record,
            state=judged.state,
            reserved=self._reserved.get(node_id, 0),
            heartbeat=judged.heartbeat,
            age_s=judged.age_s,
            intent=self._intents.get(node_id),
            gone=judged.gone,
            gone_in_s=judged.gone_in_s,
        )

    def nodes(self, now: float) -> dict[str, fleet.NodeSnapshot]:
        """All nodes."""
        found = {node_id: self.node(node_id, now) for node_id in sorted(self._nodes)}
        return {node_id: node for node_id, node in found.items() if node is not None}

    def session(self, tenant_id: str, session_id: str) -> SessionRecord | None:
        """A tenant's session; None for another's, and for one that is being deleted."""
        record = self._sessions.get(session_id)
        if record is None or record.tenant_id != tenant_id:
            return None
        return None if record.desired is DesiredState.DELETED else record

    def sessions(self, tenant_id: str | None) -> Iterator[SessionRecord]:
        """A tenant's sessions, or (None) everybody's, without those being deleted."""
        of = self._sessions if tenant_id is None else self._of_tenant.get(tenant_id, {})
        return (record for record in of.values() if record.desired is not DesiredState.DELETED)

    def assignment(self, session_id: str) -> Assignment | None:
        """Which node should run it."""
        return self._assignments.get(session_id)

    def assignment_revision(self, session_id: str) -> int:
        """The revision of what `assignment` answers; 0 if there is none."""
        return self._revisions.get(assignment_key(session_id), 0)

    def observed(self, session_id: str, now: float) -> SessionObserved | None:
        """What its node saw of it, if that is of the current epoch and incarnation."""
        assignment = self._assignments.get(session_id)
        return fleet.current(
            assignment, self._last_observed(assignment), lambda node_id: self.node(node_id, now)
        )

    def observed_nodes(self, session_id: str) -> tuple[str, ...]:
        """Every node that has an observation of it lying about."""
        return tuple(self._observed.get(session_id, ()))

    def view(self, record: SessionRecord, now: float) -> SessionView:
        """A session as customers see it."""
        assignment = self._assignments.get(record.session_id)
        node = self._node_of(assignment, now)
        newest = max(
            self._observed.get(record.session_id, {}).values(),
            key=lambda seen: seen.epoch,
            default=None,
        )
        return session_view.session_view(
            record, assignment, self._last_observed(assignment), node, identity=newest
        )

    def snapshot(self, now: float, wall_now: float) -> fleet.FleetSnapshot:
        """A frozen copy of all of it: linear in the number of sessions."""
        observed = {}
        for session_id, assignment in self._assignments.items():
            seen = self._last_observed(assignment)
            if seen is not None:
                observed[session_id] = seen
        return fleet.FleetSnapshot(
            nodes=self.nodes(now),
            sessions=dict(self._sessions),
            assignments=dict(self._assignments),
            observed=observed,
            kept=dict(self._kept),
            wall_now=wall_now,
        )

    def snapshot_of(self, session_id: str, now: float, wall_now: float) -> fleet.FleetSnapshot:
        """A frozen copy of what concerns one session."""
        record, assignment = self._sessions.get(session_id), self._assignments.get(session_id)
        node = self._node_of(assignment, now)
        seen, kept = self._last_observed(assignment), self._kept.get(session_id)
        return fleet.FleetSnapshot(
            nodes={node.node_id: node} if node else {},
            sessions={session_id: record} if record else {},
            assignments={session_id: assignment} if assignment else {},
            observed={session_id: seen} if seen else {},
            kept={session_id: kept} if kept else {},
            wall_now=wall_now,
        )

    def placement_snapshot(self, tenant_id: str, now: float) -> fleet.FleetSnapshot:
        """Only what placing a tenant's session looks at: all nodes, and where its others are."""
        own = self._of_tenant.get(tenant_id, {})
        assignments = {key: self._assignments[key] for key in own if key in self._assignments}
        return fleet.FleetSnapshot(self.nodes(now), {}, assignments, {})

    def assigned_to(self, node_id: str) -> list[Assignment]:
        """Every session whose place is on a node: linear in the number of sessions."""
        return [held for held in self._assignments.values() if held.node_id == node_id]

    def dispatchers(self, heard_since: float) -> list[LeaseRecord]:
        """The replicas that dispatch, as they announced themselves since then (monotonic s)."""
        return [record for record, heard in self._dispatchers.values() if heard >= heard_since]

    def intent(self, node_id: str) -> NodeIntent | None:
        """What operators want of a node."""
        return self._intents.get(node_id)

    def _node_of(self, assignment: Assignment | None, now: float) -> fleet.NodeSnapshot | None:
        if assignment is None or assignment.node_id is None:
            return None
        return self.node(assignment.node_id, now)

    def _last_observed(self, assignment: Assignment | None) -> SessionObserved | None:
        if assignment is None or assignment.node_id is None:
            return None
        return self._observed.get(assignment.session_id, {}).get(assignment.node_id)


def _decode(raw: bytes | None, kind: type[T]) -> T | None:
    return None if raw is None else msgspec.json.decode(raw, type=kind)


def _own(key: str, record: T | None) -> T | None:
    if not speaks_for_itself(key, record):
        raise msgspec.ValidationError("it speaks for another")
    return record


def _kept(head: SnapshotHead | None) -> fleet.Kept | None:
    if head is None or head.generations == 0:
        return None
    return fleet.Kept(head.epoch, head.node_id, head.chromium_build)


V = TypeVar("V")


def _set(mapping: dict[str, V], key: str, value: V | None) -> None:
    if value is None:
        mapping.pop(key, None)
    else:
        mapping[key] = value
