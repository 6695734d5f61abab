"""Operations: what operators ask of nodes and of single sessions' places.

Owns the meaning of cordon, drain, move and rebalance as written wishes, and the honest report of
how far a drain is. Never moves anything itself: the reconciler wakes on the wish, so an operator
who goes away stops nothing. Every caller must have checked scope `operator`.
"""

import time
from collections.abc import Callable

import msgspec

from control_plane.core.fleet import FleetSnapshot, NodeSnapshot
from control_plane.core.moves import even_out
from control_plane.core.needs import goes_on_from
from control_plane.core.placement import Places, Unplaceable, Wanted
from control_plane.core.session_view import node_view
from control_plane.state.fleet_state import FleetState
from control_plane.state.placement_writer import PlacementWriter
from schemas.api import (
    NodeDetail,
    NodeSession,
    NodeView,
    PlannedMove,
    RebalanceView,
    SessionView,
)
from schemas.errors import BlazzError, ErrorCode
from schemas.records import Assignment, NodeIntent, SessionRecord
from schemas.states import NodeState

_MOVE = "move"
_REBALANCE = "rebalance"


class FleetOperations:
    """Implements `ports.Operations`."""

    def __init__(self, state: FleetState, placements: PlacementWriter) -> None:
        self._state = state
        self._placements = placements

    async def node(self, node_id: str) -> NodeDetail:
        """A node, what is on it, and why that is still there. Raises `node_not_found`."""
        node = self._node(node_id)
        fleet = self._state.snapshot(time.monotonic(), time.time())
        left = [a for a in fleet.assignments.values() if a.node_id == node_id]
        places = Places(fleet)
        sessions = [
            self._left(fleet, places, node, record, assignment)
            for assignment in sorted(left, key=lambda held: held.session_id)
            if (record := fleet.sessions.get(assignment.session_id)) is not None
        ]
        return NodeDetail(
            node=node_view(node),
            sessions=sessions,
            drained=node.draining and not sessions,
            drain_deadline_at=node.intent.drain_deadline_at if node.intent else None,
        )

    async def cordon(self, node_id: str, reason: str | None) -> NodeView:
        """No new session goes there. Raises `node_not_found`."""
        return await self._intend(node_id, lambda old: _marked(old, old.draining, reason))

    async def uncordon(self, node_id: str) -> NodeView:
        """New sessions go there again; a drain that has not ended is given up."""

        def undo(old: NodeIntent) -> NodeIntent:
            return NodeIntent(old.node_id)

        return await self._intend(node_id, undo)

    async def drain(
        self, node_id: str, *, deadline_s: float | None, reason: str | None
    ) -> NodeDetail:
        """Its sessions move away, and none comes. Repeating it sets the deadline anew."""
        deadline_at = None if deadline_s is None else time.time() + deadline_s

        def begin(old: NodeIntent) -> NodeIntent:
            marked = _marked(old, True, reason)
            return msgspec.structs.replace(marked, drain_deadline_at=deadline_at)

        await self._intend(node_id, begin)
        return await self.node(node_id)

    async def move(self, session_id: str, to: str | None) -> SessionView:
        """Have a session move: to a node, or to the best other one.

        Raises `session_not_found`, `session_not_running` (it has no node), `node_not_found`,
        `no_node_available` (with what is lacking).
        """
        now = time.monotonic()
        fleet = self._state.snapshot(now, time.time())
        record, held = fleet.sessions.get(session_id), fleet.assignments.get(session_id)
        if record is None or self._state.session(record.tenant_id, session_id) is None:
            raise BlazzError(ErrorCode.SESSION_NOT_FOUND)
        if held is None or held.node_id is None:
            raise BlazzError(ErrorCode.SESSION_NOT_RUNNING, "the session has no node")
        if to is not None:
            self._node(to)
        if to != held.node_id:
            wanted = _wanted(fleet, record, held, to)
            found = Places(fleet).choose(wanted)
            if isinstance(found, Unplaceable):
                raise BlazzError(ErrorCode.NO_NODE_AVAILABLE, found.words)
            await self._placements.want_move(session_id, to or "", _MOVE)
        return self._state.view(record, time.monotonic())

    async def rebalance(self, max_moves: int) -> RebalanceView:
        """Have sessions move from the fuller nodes to the emptier ones."""
        fleet = self._state.snapshot(time.monotonic(), time.time())
        moves = even_out(fleet, max_moves)
        for move in moves:
            await self._placements.want_move(move.session_id, move.to_node, _REBALANCE)
        return RebalanceView(
            [PlannedMove(move.session_id, move.from_node, move.to_node) for move in moves]
        )

    def _node(self, node_id: str) -> NodeSnapshot:
        node = self._state.node(node_id, time.monotonic())
        if node is None:
            raise BlazzError(ErrorCode.NODE_NOT_FOUND)
        return node

    async def _intend(self, node_id: str, change: Callable[[NodeIntent], NodeIntent]) -> NodeView:
        self._node(node_id)
        await self._placements.intend(node_id, change)
        return node_view(self._node(node_id))

    def _left(
        self,
        fleet: FleetSnapshot,
        places: Places,
        node: NodeSnapshot,
        record: SessionRecord,
        assignment: Assignment,
    ) -> NodeSession:
        view = self._state.view(record, time.monotonic())
        waits_for = _waits_for(fleet, places, node, record, assignment) if node.draining else None
        return NodeSession(record.session_id, record.tenant_id, view.state, waits_for)


def _waits_for(
    fleet: FleetSnapshot,
    places: Places,
    node: NodeSnapshot,
    record: SessionRecord,
    assignment: Assignment,
) -> str | None:
    if node.state is not NodeState.ALIVE and not node.gone:
        return "its node does not answer"
    found = places.choose(_wanted(fleet, record, assignment, assignment.moving_to or None))
    return found.words if isinstance(found, Unplaceable) else None


def _wanted(
    fleet: FleetSnapshot, record: SessionRecord, held: Assignment, to: str | None
) -> Wanted:
    avoid = frozenset({held.node_id} if held.node_id else ())
    kept = goes_on_from(fleet, record.session_id)
    return Wanted(
        record.tenant_id, record.engine, record.region, avoid, to, record.session_id, kept
    )


def _marked(old: NodeIntent, draining: bool, reason: str | None) -> NodeIntent:
    return msgspec.structs.replace(
        old, cordoned=True, draining=draining, reason=reason or old.reason
    )
