"""The fleet for operators: nodes, everybody's sessions, readiness, and the gauges of both.

Owns what is shown across tenants. Every caller must have checked scope `operator`.
"""

import time
from collections import Counter
from collections.abc import AsyncIterator

from control_plane import metrics
from control_plane.core.session_view import node_view
from control_plane.feed.stream_feed import StreamFeed
from control_plane.ports import FeedGap, FeedItem
from control_plane.state.fleet_state import FleetState
from schemas.api import NodeView, SessionView
from schemas.transport.connection import Bus


class OperatorFleet:
    """Implements `ports.Fleet`."""

    def __init__(self, bus: Bus, state: FleetState, feed: StreamFeed) -> None:
        self._bus = bus
        self._state = state
        self._feed = feed

    async def nodes(self) -> list[NodeView]:
        """Every known node, by id."""
        return [node_view(node) for node in self._state.nodes(time.monotonic()).values()]

    async def sessions(self) -> list[SessionView]:
        """Everybody's sessions, oldest first."""
        now = time.monotonic()
        views = [self._state.view(record, now) for record in self._state.sessions(None)]
        return sorted(views, key=lambda view: (view.created_at, view.session_id))

    async def ready(self) -> dict[str, bool]:
        """Whether requests can be served: the bus answers and the records are known."""
        return {"bus": self._bus.connected, "fleet_state": self._state.synced}

    def follow(self) -> AsyncIterator[FeedItem | FeedGap]:
        """Everybody's events, from now."""
        return self._feed.follow_all()

    def set_gauges(self) -> None:
        """Bring the gauges up to date: linear in the number of sessions."""
        now = time.monotonic()
        nodes = self._state.nodes(now)
        metrics.NODES.clear()
        metrics.NODE_CAPACITY.clear()
        metrics.SESSIONS.clear()
        for state, count in Counter(node.state for node in nodes.values()).items():
            metrics.NODES.labels(state=state).set(count)
        for node_id, node in nodes.items():
            metrics.NODE_CAPACITY.labels(node=node_id).set(node.sessions_max)
        metrics.SESSIONS_UNPLACED.set(
            sum(
                1
                for record in self._state.sessions(None)
                if (held := self._state.assignment(record.session_id)) is not None
                and held.unplaceable is not None
            )
        )
        views = (self._state.view(record, now) for record in self._state.sessions(None))
        shown = Counter((view.node_id or "", view.state) for view in views)
        for (node_id, session_state), count in shown.items():
            metrics.SESSIONS.labels(node=node_id, state=session_state).set(count)
