"""The fleet screen: nodes, sessions and events of one fleet on one screen.

Owns what is selected: the scope drilled into, each table's filter and sort, the pause.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar, Final

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Vertical
from textual.widget import Widget

from tui.actions import FLEET, bindings
from tui.changes import Happened
from tui.desk import Desk
from tui.rows import event_rows, facts, node_rows, session_rows, words
from tui.rows.cells import Cell, Row, Severity
from tui.rows.event_rows import event_row
from tui.rows.listing import (
    Now,
    Scope,
    Sort,
    list_events,
    list_nodes,
    node_row_of,
    session_row_of,
)
from tui.rows.mix import History, mix_cells, sparkline
from tui.rows.order import SessionOrder
from tui.rows.query import EVERYTHING, Query, parse
from tui.screens.acting import ActingScreen
from tui.screens.frame import live_word, of
from tui.widgets.bars import MixBar
from tui.widgets.table import VirtualTable

NODES: Final = "nodes"
SESSIONS: Final = "sessions"
EVENTS: Final = "events"
PANES: Final = (NODES, SESSIONS, EVENTS)
_SORTS: Final = {NODES: node_rows.SORTS, SESSIONS: session_rows.SORTS}
_SPARKLINE_CELLS: Final = 30


class FleetScreen(ActingScreen):
    """See the module."""

    VIEW = FLEET
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(FLEET)]
    DEFAULT_CSS = """
    FleetScreen {
        #main { height: 1fr; width: 1fr; }
        #mix { display: none; }
        #nodes { height: auto; min-height: 4; max-height: 7; }
        #sessions { height: 1fr; min-height: 4; }
        #events { height: 6; }
        &.-tall #mix { display: block; }
        &.-tall #nodes { max-height: 13; }
        &.-tall #events { height: 12; }
        &.-wide #body { layout: horizontal; }
        &.-wide #main { width: 3fr; }
        &.-wide #events { width: 2fr; height: 1fr; }
        &.-zoomed #main { display: none; }
        &.-zoomed #events { display: none; }
        &.-zoomed.-on-nodes #main, &.-zoomed.-on-sessions #main { display: block; }
        &.-zoomed.-on-nodes #sessions, &.-zoomed.-on-sessions #nodes { display: none; }
        &.-zoomed.-on-nodes #nodes { height: 1fr; max-height: 100%; }
        &.-zoomed.-on-events #events { display: block; height: 1fr; width: 1fr; }
    }
    """

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._view = desk.view
        self._order = SessionOrder()
        self._scope = Scope()
        self._queries: dict[str, Query] = dict.fromkeys(PANES, EVERYTHING)
        self._sorts = {NODES: Sort("node"), SESSIONS: Sort("name")}
        self._held: tuple[Happened, ...] | None = None
        self._held_total = 0
        self._online = History()
        self._pane = SESSIONS

    # Building ----------------------------------------------------------------------------------

    def compose_body(self) -> Iterable[Widget]:
        """The state mix and three tables."""
        yield MixBar(id="mix")
        yield _Tables(id="body")

    def on_mount(self) -> None:
        """Begin to draw."""
        self.table(EVENTS).follow = True
        super().on_mount()

    def table(self, pane: str) -> VirtualTable:
        """One of the three tables."""
        return self.query_one(f"#{pane}", VirtualTable)

    def active_table(self) -> VirtualTable:
        """The pane that has the keys."""
        return self.table(self._pane)

    def query_of(self) -> Query:
        """The pane's filter."""
        return self._queries[self._pane]

    def set_query(self, query: Query) -> None:
        """Filter the pane."""
        self._queries[self._pane] = query

    # Drawing -----------------------------------------------------------------------------------

    def draw(self, now: Now, *, anew: bool) -> None:
        """All three tables and the mix."""
        if anew:
            node_ids: Sequence[str] = list_nodes(
                self._view, now, self._sorts[NODES], self._queries[NODES]
            )
            session_ids: Sequence[str] = self._order.listed(
                self.desk.roll,
                now.monotonic,
                self._sorts[SESSIONS],
                self._scope,
                self._queries[SESSIONS],
                show_phones=now.show_phones,
            )
            self._list_events(now)
        else:
            node_ids, session_ids = self.table(NODES).keys, self.table(SESSIONS).keys
        self._show(NODES, node_ids, lambda key: node_row_of(self._view, key, now))
        self._show(SESSIONS, session_ids, lambda key: session_row_of(self._view, key, now))
        self._show_mix(now)
        self._show_titles()

    def _show(self, pane: str, keys: Sequence[str], row_of: Callable[[str], Row]) -> None:
        sort = self._sorts[pane]
        empty = "nothing passes the filter" if self._queries[pane] is not EVERYTHING else ""
        self.table(pane).show_rows(
            keys,
            row_of,
            empty=empty or f"no {pane} {self._place_words()}",
            sorted_by=sort.column,
            descending=sort.reverse,
        )

    def _list_events(self, now: Now) -> None:
        held = self._view.events if self._held is None else self._held
        shown = list_events(held, now, self._scope, self._queries[EVENTS])
        by_key = {str(happened.sequence): happened for happened in shown}
        self.table(EVENTS).show_rows(
            list(by_key),
            lambda key: event_row(by_key[key], show_phones=now.show_phones),
            empty=f"no events {self._place_words()}",
        )

    def _show_mix(self, now: Now) -> None:
        cells = mix_cells(self.counts)
        if self._view.whole:
            self._online.add(now.monotonic, self.counts.sessions_online)
        if not self.desk.settings.low_bandwidth and len(self._online.samples) > 1:
            line = sparkline(self._online.samples, _SPARKLINE_CELLS)
            cells.append(Cell(f"online {line}", Severity.MUTED))
        self.query_one(MixBar).show(cells)

    def _show_titles(self) -> None:
        shown = {pane: len(self.table(pane).keys) for pane in PANES}
        node_scope = f" of {self._scope.node_id}" if self._scope.node_id else ""
        self._title(NODES, f"NODES {of(shown[NODES], len(self._view.nodes))}")
        self._title(
            SESSIONS, f"SESSIONS{node_scope} {of(shown[SESSIONS], len(self._view.sessions))}"
        )
        session_scope = self._scope.session_id
        scope = f" of {words.short_id(session_scope)}" if session_scope else node_scope
        if self._held is None:
            self._title(EVENTS, f"EVENTS{scope} {live_word(self._view)}")
        else:
            new = self._view.events_total - self._held_total
            self._title(EVENTS, f"EVENTS{scope} PAUSED, {new} new")

    def _title(self, pane: str, title: str) -> None:
        self.title_table(self.table(pane), title, self._queries[pane])

    def _place_words(self) -> str:
        return "here" if self._scope.session_id or self._scope.node_id else "yet"

    # What is chosen ------------------------------------------------------------------------------

    def chosen_nodes(self) -> Sequence[str]:
        """In the nodes' pane."""
        return self.table(NODES).selected if self._pane == NODES else ()

    def chosen_sessions(self) -> Sequence[str]:
        """In the sessions' pane."""
        return self.table(SESSIONS).selected if self._pane == SESSIONS else ()

    def detail(self, key: str, *, raw: bool) -> str:
        """Of the pane's row."""
        now = self.desk.now()
        if self._pane == NODES:
            return facts.node(self._view, key, now, raw=raw)
        if self._pane == SESSIONS:
            return facts.session(self._view, key, now, raw=raw)
        found = next((each for each in self._view.events if str(each.sequence) == key), None)
        return facts.event(found, show_phones=now.show_phones, raw=raw) if found else ""

    # Actions -----------------------------------------------------------------------------------

    @on(events.DescendantFocus)
    def _pane_focused(self, event: events.DescendantFocus) -> None:
        if isinstance(event.widget, VirtualTable) and event.widget.id in PANES:
            self._pane = event.widget.id
            for pane in PANES:
                self.set_class(pane == self._pane, f"-on-{pane}")

    def action_drill(self) -> None:
        """Into a node's sessions, then into a session."""
        key = self.active_table().cursor_key
        if key is None:
            return
        if self._pane == NODES:
            self._scope = Scope(node_id=key)
            self.go_to(SESSIONS)
            self.relist()
        elif self._pane == SESSIONS:
            self.go("session", key)
        else:
            self.action_describe()

    def action_row_events(self) -> None:
        """The events pane shows only the row's."""
        key = self.active_table().cursor_key
        if key is None or self._pane == EVENTS:
            return
        if self._pane == NODES:
            self._scope = Scope(node_id=key)
        else:
            self._scope = Scope(node_id=self._scope.node_id, session_id=key)
        self.go_to(EVENTS)
        self.relist()

    def leave(self) -> None:
        """Out of the scope, then out of the zoom."""
        if self._scope.session_id is not None:
            self._scope = Scope(node_id=self._scope.node_id)
            self.go_to(SESSIONS)
        elif self._scope.node_id is not None:
            self._scope = Scope()
            self.go_to(NODES)
        else:
            self.remove_class("-zoomed")
        self.relist()

    def action_next_pane(self) -> None:
        """Give the keys to the next table."""
        self.go_to(PANES[(PANES.index(self._pane) + 1) % len(PANES)])

    def action_previous_pane(self) -> None:
        """Give the keys to the table before."""
        self.go_to(PANES[PANES.index(self._pane) - 1])

    def action_sort(self) -> None:
        """By the next column; events stay in the order they happened."""
        if self._pane in self._sorts:
            self._sorts[self._pane] = self._sorts[self._pane].next(_SORTS[self._pane])
            self.relist()

    def action_reverse(self) -> None:
        """Turn the order round."""
        if self._pane in self._sorts:
            sort = self._sorts[self._pane]
            self._sorts[self._pane] = Sort(sort.column, not sort.reverse)
            self.relist()

    def action_pause(self) -> None:
        """Hold the events, or let them run again from the end."""
        if self._held is None:
            self._held = tuple(self._view.events)
            self._held_total = self._view.events_total
        else:
            self._held = None
            events_table = self.table(EVENTS)
            events_table.move_to(len(events_table.keys) - 1, told=False)
        self.relist()

    def action_zoom(self) -> None:
        """One table over the whole screen, or all three."""
        self.toggle_class("-zoomed")

    def show_nodes(self, filter_text: str = "") -> None:
        """Come here by a command: all of it, or only the nodes that pass a filter."""
        if filter_text:
            self._queries[NODES] = parse(filter_text)
        self._scope = Scope()
        self.go_to(NODES)
        self.relist()

    def go_to(self, pane: str) -> None:
        """Give the keys to a table; under zoom that also shows it."""
        for each in PANES:
            self.set_class(each == pane, f"-on-{each}")
        self._pane = pane
        self.call_after_refresh(self.table(pane).focus)


class _Tables(Container):
    """The three tables; beside each other where there is room."""

    def compose(self) -> ComposeResult:
        """Nodes and sessions in one column, events after them."""
        with Vertical(id="main"):
            yield VirtualTable(node_rows.COLUMNS, empty="no nodes yet", id=NODES)
            yield VirtualTable(session_rows.COLUMNS, empty="no sessions yet", id=SESSIONS)
        yield VirtualTable(event_rows.COLUMNS, empty="no events yet", id=EVENTS)
