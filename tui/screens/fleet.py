"""The fleet screen: nodes, sessions and events of one fleet on one screen.

Owns what is selected: the scope drilled into, each table's filter and sort, the pause. Draws at
most once a second from the view; never folds and never waits for the feed. Sends no commands.
"""

from collections.abc import Callable, Sequence
from typing import ClassVar, Final

from rich.markup import escape
from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Vertical
from textual.screen import Screen

from schemas.states import NodeState
from tui.actions import bindings, footer_actions
from tui.changes import Happened
from tui.clock import Clock
from tui.health import HealthLimits
from tui.model import FleetView
from tui.roll import Roll
from tui.rows import event_rows, node_rows, session_rows, words
from tui.rows.cells import Row
from tui.rows.event_rows import event_row
from tui.rows.header import FleetCounts, banner, counts_of, header_parts
from tui.rows.listing import (
    Now,
    Scope,
    Sort,
    list_events,
    list_nodes,
    node_row_of,
    session_row_of,
)
from tui.rows.order import SessionOrder
from tui.rows.query import EVERYTHING, Query, parse
from tui.screens.help import HelpScreen
from tui.settings import TuiSettings
from tui.widgets.bars import BannerBar, FooterBar, HeaderBar
from tui.widgets.prompt import Prompt
from tui.widgets.table import VirtualTable

REPAINT_PERIOD_S: Final = 1.0
NODES: Final = "nodes"
SESSIONS: Final = "sessions"
EVENTS: Final = "events"
PANES: Final = (NODES, SESSIONS, EVENTS)
COMMANDS: Final = (*PANES, "help", "quit")
_SORTS: Final = {NODES: node_rows.SORTS, SESSIONS: session_rows.SORTS}


class FleetScreen(Screen[None]):
    """See the module."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings()]
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012 - Textual declares it as an instance's
        (0, "-narrow"),
        (100, "-normal"),
        (160, "-wide"),
    ]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (32, "-tall")]  # noqa: RUF012 - likewise
    DEFAULT_CSS = """
    FleetScreen {
        #body { layout: vertical; height: 1fr; }
        #main { height: 1fr; width: 1fr; }
        VirtualTable {
            border-top: solid $panel; border-title-color: $text-muted;
            border-title-style: bold; padding: 0;
        }
        VirtualTable:focus { border-top: solid $primary; border-title-color: $primary; }
        #nodes { height: auto; min-height: 4; max-height: 7; }
        #sessions { height: 1fr; min-height: 4; }
        #events { height: 6; }
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

    def __init__(self, view: FleetView, settings: TuiSettings, clock: Clock) -> None:
        super().__init__()
        self._view = view
        self._settings = settings
        self._clock = clock
        self._limits = HealthLimits.of(settings.profile)
        self._roll = Roll(view, self._limits)
        self._order = SessionOrder()
        self._scope = Scope()
        self._queries: dict[str, Query] = dict.fromkeys(PANES, EVERYTHING)
        self._sorts = {NODES: Sort("node"), SESSIONS: Sort("name")}
        self._held: tuple[Happened, ...] | None = None
        self._held_total = 0
        self._counts = FleetCounts()
        self._pane = SESSIONS
        self._dirty = True
        self._verdicts: dict[str, NodeState] = {}

    # Building ----------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """Header, banner, three tables, prompt, footer."""
        yield HeaderBar(id="header")
        yield BannerBar(id="banner")
        with Container(id="body"):
            with Vertical(id="main"):
                yield VirtualTable(node_rows.COLUMNS, empty="no nodes yet", id=NODES)
                yield VirtualTable(session_rows.COLUMNS, empty="no sessions yet", id=SESSIONS)
            yield VirtualTable(event_rows.COLUMNS, empty="no events yet", id=EVENTS)
        yield Prompt(id="prompt")
        yield FooterBar(footer_actions(), id="footer")

    def on_mount(self) -> None:
        """Begin to draw."""
        self.table(EVENTS).follow = True
        self.table(self._pane).focus()
        self.set_interval(REPAINT_PERIOD_S, self.repaint_now)
        self.repaint_now()

    def table(self, pane: str) -> VirtualTable:
        """One of the three tables."""
        return self.query_one(f"#{pane}", VirtualTable)

    def data_changed(self) -> None:
        """The view was folded: the next repaint lists anew."""
        self._dirty = True

    # Drawing -----------------------------------------------------------------------------------

    def repaint_now(self) -> None:
        """Draw what the view says at this moment. Ages run on even when nothing came; rows are
        listed anew only when something came or a node's silence changed its verdict."""
        now = self._now()
        verdicts = {health.node_id: health.state for health in now.healths.values()}
        if self._dirty or verdicts != self._verdicts:
            self._verdicts = verdicts
            self._dirty = False
            self._counts = counts_of(self._roll)
            nodes, sessions = NODES, SESSIONS
            node_ids: Sequence[str] = list_nodes(
                self._view, now, self._sorts[nodes], self._queries[nodes]
            )
            session_ids: Sequence[str] = self._order.listed(
                self._roll,
                now.monotonic,
                self._sorts[sessions],
                self._scope,
                self._queries[sessions],
                show_phones=now.show_phones,
            )
            self._list_events(now)
        else:
            node_ids, session_ids = self.table(NODES).keys, self.table(SESSIONS).keys
        self._show(NODES, node_ids, lambda key: node_row_of(self._view, key, now))
        self._show(SESSIONS, session_ids, lambda key: session_row_of(self._view, key, now))
        self._show_header(now)
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

    def _now(self) -> Now:
        monotonic = self._clock.monotonic()
        self._roll.bring_up(monotonic)
        return Now(monotonic, self._clock.unix(), self._roll.healths, self._settings.show_phones)

    def _show_header(self, now: Now) -> None:
        parts = header_parts(
            self._view,
            self._counts,
            context=self._settings.context,
            role="read-only" if self._settings.read_only else "operator",
            now=now.monotonic,
            stale_after_s=self._limits.suspect_after_s,
        )
        self.query_one(HeaderBar).show(parts)
        self.query_one(BannerBar).show(banner(self._view, now.monotonic, self._limits))

    def _show_titles(self) -> None:
        shown = {pane: len(self.table(pane).keys) for pane in PANES}
        node_scope = f" of {self._scope.node_id}" if self._scope.node_id else ""
        self._title(NODES, f"NODES {_of(shown[NODES], len(self._view.nodes))}")
        self._title(
            SESSIONS, f"SESSIONS{node_scope} {_of(shown[SESSIONS], len(self._view.sessions))}"
        )
        session_scope = self._scope.session_id
        scope = f" of {words.short_id(session_scope)}" if session_scope else node_scope
        if self._held is None:
            self._title(EVENTS, f"EVENTS{scope} live")
        else:
            new = self._view.events_total - self._held_total
            self._title(EVENTS, f"EVENTS{scope} PAUSED, {new} new")

    def _title(self, pane: str, title: str) -> None:
        query = self._queries[pane]
        if query is not EVERYTHING:
            title += f"  /{query.text}"
        # Markup in a border's title is content of ours only after escaping.
        title = escape(title)
        table = self.table(pane)
        if table.border_title != title:
            table.border_title = title

    def _place_words(self) -> str:
        if self._scope.session_id or self._scope.node_id:
            return "here"
        return "yet"

    def _relist(self) -> None:
        self._dirty = True
        self.repaint_now()

    # Actions -----------------------------------------------------------------------------------

    @on(events.DescendantFocus)
    def _pane_focused(self, event: events.DescendantFocus) -> None:
        if isinstance(event.widget, VirtualTable) and event.widget.id in PANES:
            self._pane = event.widget.id
            for pane in PANES:
                self.set_class(pane == self._pane, f"-on-{pane}")

    def action_help(self) -> None:
        """Show the keys and the signs."""
        self.app.push_screen(HelpScreen())

    def action_filter(self) -> None:
        """Type a filter for the table that has the keys."""
        self.query_one(Prompt).open("filter", self._queries[self._pane].text)

    def action_command(self) -> None:
        """Type a command."""
        self.query_one(Prompt).open("command")

    def action_drill(self) -> None:
        """Into a node's sessions, or a session's events."""
        key = self.table(self._pane).cursor_key
        if key is None or self._pane == EVENTS:
            return
        if self._pane == NODES:
            self._scope = Scope(node_id=key)
            target = SESSIONS
        else:
            self._scope = Scope(node_id=self._scope.node_id, session_id=key)
            target = EVENTS
        self.go_to(target)
        self._relist()

    def action_back(self) -> None:
        """One step back: the filter, then the scope, then the zoom."""
        if self._queries[self._pane] is not EVERYTHING:
            self._queries[self._pane] = EVERYTHING
        elif self._scope.session_id is not None:
            self._scope = Scope(node_id=self._scope.node_id)
            self.go_to(SESSIONS)
        elif self._scope.node_id is not None:
            self._scope = Scope()
            self.go_to(NODES)
        else:
            self.remove_class("-zoomed")
        self._relist()

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
            self._relist()

    def action_reverse(self) -> None:
        """Turn the order round."""
        if self._pane in self._sorts:
            sort = self._sorts[self._pane]
            self._sorts[self._pane] = Sort(sort.column, not sort.reverse)
            self._relist()

    def action_pause(self) -> None:
        """Hold the events, or let them run again from the end."""
        if self._held is None:
            self._held = tuple(self._view.events)
            self._held_total = self._view.events_total
        else:
            self._held = None
            events_table = self.table(EVENTS)
            events_table.move_to(len(events_table.keys) - 1, told=False)
        self._relist()

    def action_zoom(self) -> None:
        """One table over the whole screen, or all three."""
        self.toggle_class("-zoomed")

    def go_to(self, pane: str) -> None:
        """Give the keys to a table; under zoom that also shows it."""
        for each in PANES:
            self.set_class(each == pane, f"-on-{each}")
        self._pane = pane
        self.call_after_refresh(self.table(pane).focus)

    # Messages from the widgets -----------------------------------------------------------------

    @on(VirtualTable.Chosen)
    def _chosen(self, event: VirtualTable.Chosen) -> None:
        event.stop()
        self.action_drill()

    @on(Prompt.Typed)
    def _typed(self, event: Prompt.Typed) -> None:
        event.stop()
        if event.purpose == "filter":
            self._apply_filter(event.text)

    @on(Prompt.Given)
    def _given(self, event: Prompt.Given) -> None:
        event.stop()
        if event.purpose == "filter":
            if self._apply_filter(event.text):
                self._close_prompt()
            return
        self._obey(event.text.strip().casefold())

    @on(Prompt.Cancelled)
    def _cancelled(self, event: Prompt.Cancelled) -> None:
        event.stop()
        if event.purpose == "filter":
            self._queries[self._pane] = EVERYTHING
            self._relist()
        self._close_prompt()

    def _apply_filter(self, text: str) -> bool:
        try:
            query = parse(text)
        except ValueError as error:
            self.query_one(Prompt).say(str(error))
            return False
        self.query_one(Prompt).say("")
        if query != self._queries[self._pane]:
            self._queries[self._pane] = query
            self._relist()
        return True

    def _obey(self, command: str) -> None:
        found = [name for name in COMMANDS if command and name.startswith(command)]
        if len(found) != 1:
            self.query_one(Prompt).say(f"one of: {', '.join(COMMANDS)}")
            return
        self._close_prompt()
        if found[0] == "quit":
            self.app.exit()
        elif found[0] == "help":
            self.action_help()
        else:
            self.go_to(found[0])

    def _close_prompt(self) -> None:
        self.query_one(Prompt).close()
        self.table(self._pane).focus()


def _of(shown: int, total: int) -> str:
    return str(total) if shown == total else f"{shown} of {total}"
