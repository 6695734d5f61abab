"""Listings: which rows each table shows, in which order, for a scope, a filter and a sort.

Pure. Owns the walk over the fleet view; rows themselves are made when they are drawn.
"""

from collections.abc import Iterable, Sequence

import msgspec

from tui.changes import Happened
from tui.health import NodeHealth, session_look
from tui.model import FleetView
from tui.rows.cells import Row, gone_row
from tui.rows.event_rows import event_row
from tui.rows.node_rows import COLUMNS as NODE_COLUMNS
from tui.rows.node_rows import node_row, node_sort_key
from tui.rows.query import EVERYTHING, Query, passes
from tui.rows.session_rows import COLUMNS as SESSION_COLUMNS
from tui.rows.session_rows import session_row


class Sort(msgspec.Struct, frozen=True):
    """By which column, and whether turned round."""

    column: str
    reverse: bool = False

    def next(self, columns: Sequence[str]) -> "Sort":
        """By the column after this one, in its own direction."""
        place = columns.index(self.column) if self.column in columns else -1
        return Sort(columns[(place + 1) % len(columns)])


class Scope(msgspec.Struct, frozen=True):
    """What was drilled into: one node's sessions, one session's events; None is all."""

    node_id: str | None = None
    session_id: str | None = None


class Now(msgspec.Struct, frozen=True):
    """One moment: both clocks (seconds), every node's verdict at it, and what may be shown."""

    monotonic: float
    unix: float
    healths: dict[str, NodeHealth]
    show_phones: bool = False


def list_nodes(view: FleetView, now: Now, sort: Sort, query: Query = EVERYTHING) -> list[str]:
    """Node ids in order."""
    nodes = [
        node
        for node in view.nodes.values()
        if query is EVERYTHING
        or passes(query, node_row(node, now.healths[node.node_id], bus_up=view.bus.up))
    ]
    nodes.sort(
        key=lambda node: node_sort_key(node, now.healths[node.node_id], sort.column),
        reverse=sort.reverse,
    )
    return [node.node_id for node in nodes]


def list_events(
    events: Iterable[Happened], now: Now, scope: Scope, query: Query = EVERYTHING
) -> list[Happened]:
    """Events in stream order."""
    return [
        happened
        for happened in events
        if (scope.session_id is None or happened.event.session_id == scope.session_id)
        and (
            scope.node_id is None
            or scope.session_id is not None
            or happened.event.node_id == scope.node_id
        )
        and (query is EVERYTHING or passes(query, event_row(happened, show_phones=now.show_phones)))
    ]


def session_row_of(view: FleetView, session_id: str, now: Now) -> Row:
    """One session's row at one moment; an empty one if it has just gone."""
    session = view.sessions.get(session_id)
    if session is None:
        return gone_row(session_id, len(SESSION_COLUMNS))
    look = session_look(view, session, now.healths, now.monotonic)
    return session_row(look, now.unix, show_phones=now.show_phones)


def node_row_of(view: FleetView, node_id: str, now: Now) -> Row:
    """One node's row at one moment; an empty one if it has just gone."""
    node = view.nodes.get(node_id)
    if node is None or node_id not in now.healths:
        return gone_row(node_id, len(NODE_COLUMNS))
    return node_row(node, now.healths[node_id], bus_up=view.bus.up)
