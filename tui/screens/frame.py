"""The frame of every view: header, banner, prompt, footer, the repaint, `:` and `/`.

Owns what all screens share. Draws at most once a period, never folds and never waits for the feed.
What is in the middle, and what the keys mean there, is the screen's own.
"""

from collections.abc import Iterable
from typing import ClassVar, Final

from rich.markup import escape
from textual import events, on
from textual.app import ComposeResult
from textual.screen import Screen
from textual.widget import Widget

from schemas.errors import BlazzError
from schemas.states import NodeState
from tui.actions import ACTIONS, footer_actions, on_screen, remapped
from tui.commands import Command, complete, parse_command
from tui.desk import Desk
from tui.model import FleetView
from tui.navigation import Go
from tui.rows import words
from tui.rows.header import FleetCounts, banner, counts_of, header_parts, role_cell
from tui.rows.listing import Now
from tui.rows.query import EVERYTHING, Query, parse
from tui.screens.detail import DetailScreen
from tui.screens.help import HelpScreen
from tui.widgets.bars import BannerBar, FooterBar, HeaderBar
from tui.widgets.prompt import Prompt
from tui.widgets.table import VirtualTable

REPAINT_PERIOD_S: Final = 1.0
LOW_BANDWIDTH_PERIOD_S: Final = 5.0


class ViewScreen(Screen[None]):
    """`VIEW` is the screen's name in the action registry."""

    VIEW: ClassVar[str]
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012 - Textual declares it as an instance's
        (0, "-narrow"),
        (100, "-normal"),
        (160, "-wide"),
    ]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (32, "-tall")]  # noqa: RUF012 - likewise
    DEFAULT_CSS = """
    ViewScreen {
        #body { layout: vertical; height: 1fr; }
        VirtualTable {
            border-top: solid $panel; border-title-color: $text-muted;
            border-title-style: bold; padding: 0; height: 1fr;
        }
        VirtualTable:focus { border-top: solid $primary; border-title-color: $primary; }
    }
    """

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk = desk
        self.counts = FleetCounts()
        keys = {action.id: action.keys for action in remapped(ACTIONS, desk.settings.keymap)}
        self._prompt_keys = {
            keys["command"]: self.action_command,
            keys["filter"]: self.action_filter,
        }
        self._dirty = True
        self._verdicts: dict[str, NodeState] = {}

    # What a screen brings ----------------------------------------------------------------------

    def compose_body(self) -> Iterable[Widget]:
        """The middle."""
        raise NotImplementedError

    def draw(self, now: Now, *, anew: bool) -> None:
        """Draw the middle; `anew`: something came, so rows must be listed again."""
        raise NotImplementedError

    def active_table(self) -> VirtualTable:
        """The table that has the keys."""
        raise NotImplementedError

    def query_of(self) -> Query:
        """The active table's filter."""
        return EVERYTHING

    def set_query(self, query: Query) -> None:
        """Filter the active table."""

    # Building ----------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """Header, banner, the middle, prompt, footer."""
        settings = self.desk.settings
        read_only = self.desk.actor is None
        yield HeaderBar(production=settings.production and not read_only, id="header")
        yield BannerBar(id="banner")
        yield from self.compose_body()
        yield Prompt(self._completed, id="prompt")
        shown = footer_actions(self.VIEW, read_only=read_only)
        yield FooterBar(remapped(shown, settings.keymap), id="footer")

    def on_mount(self) -> None:
        """Begin to draw."""
        slow = self.desk.settings.low_bandwidth
        self.set_interval(LOW_BANDWIDTH_PERIOD_S if slow else REPAINT_PERIOD_S, self._tick)
        self.active_table().focus()
        self.repaint_now()

    def on_screen_resume(self) -> None:
        """Shown again: what it says may be old."""
        self.relist()

    def data_changed(self) -> None:
        """The view was folded: the next repaint lists anew."""
        self._dirty = True

    def _tick(self) -> None:
        if self.is_current:
            self.repaint_now()

    # Drawing -----------------------------------------------------------------------------------

    def repaint_now(self) -> None:
        """Draw what the view says at this moment. Ages run on even when nothing came; rows are
        listed anew only when something came or a node's silence changed its verdict."""
        now = self.desk.now()
        verdicts = {health.node_id: health.state for health in now.healths.values()}
        anew = self._dirty or verdicts != self._verdicts
        if anew:
            self._verdicts = verdicts
            self._dirty = False
            self.counts = counts_of(self.desk.roll)
        self.draw(now, anew=anew)
        self._show_header(now)

    def relist(self) -> None:
        """Draw at once, whatever came."""
        self._dirty = True
        if self.is_mounted:
            self.repaint_now()

    def title_table(self, table: VirtualTable, title: str, query: Query) -> None:
        """Say above a table what it shows, how many rows are marked, and its filter."""
        if table.marks:
            title += f"  {len(table.marks)} marked"
        if query is not EVERYTHING:
            title += f"  /{query.text}"
        # Markup in a border's title is content of ours only after escaping.
        title = escape(title)
        if table.border_title != title:
            table.border_title = title

    def _show_header(self, now: Now) -> None:
        settings = self.desk.settings
        parts = header_parts(
            self.desk.view,
            self.counts,
            context=settings.context,
            role=role_cell(read_only=self.desk.actor is None, production=settings.production),
            now=now.monotonic,
            stale_after_s=self.desk.limits.suspect_after_s,
        )
        self.query_one(HeaderBar).show(parts)
        self.query_one(BannerBar).show(banner(self.desk.view, now.monotonic, self.desk.limits))

    # Actions that every screen has ---------------------------------------------------------------

    def action_help(self) -> None:
        """Show the keys and the signs."""
        self.app.push_screen(HelpScreen(self.VIEW, self.desk))

    def action_filter(self) -> None:
        """Type a filter for the table that has the keys."""
        self.query_one(Prompt).open("filter", self.query_of().text)

    def action_command(self) -> None:
        """Type a command."""
        self.query_one(Prompt).open("command")

    def action_back(self) -> None:
        """One step back: marks, the filter, then whatever the screen has."""
        table = self.active_table()
        if table.marks:
            table.clear_marks()
            self.relist()
        elif self.query_of() is not EVERYTHING:
            self.set_query(EVERYTHING)
            self.relist()
        else:
            self.leave()

    def leave(self) -> None:
        """To the screen below."""
        self.app.post_message(Go(Command("back")))

    def action_mark(self) -> None:
        """Mark the row."""
        self.active_table().toggle_mark()
        self.relist()

    def action_mark_range(self) -> None:
        """Mark from the last mark to here."""
        self.active_table().mark_range()
        self.relist()

    def action_copy(self) -> None:
        """Copy what the row is called."""
        text = self.copied()
        if text:
            self.app.copy_to_clipboard(text)
            self.notify(f"Copied {text}", timeout=3)

    def copied(self) -> str:
        """What `c` copies: the row's key."""
        return self.active_table().cursor_key or ""

    def action_describe(self) -> None:
        """All that is known of the row."""
        self._show_detail("describe")

    def action_raw(self) -> None:
        """The row's records."""
        self._show_detail("raw")

    def detail(self, key: str, *, raw: bool) -> str:
        """A row's description, or its records as JSON; empty if there is none."""
        del key, raw
        return ""

    def _show_detail(self, kind: str) -> None:
        key = self.active_table().cursor_key
        if key:
            self.show_text(key, self.detail(key, raw=kind == "raw"))

    def show_text(self, title: str, text: str) -> None:
        """A page to read, if there is anything to say."""
        if text:
            self.app.push_screen(DetailScreen(title, text))

    def action_sort(self) -> None:
        """By the next column."""

    def action_reverse(self) -> None:
        """Turn the order round."""

    def action_drill(self) -> None:
        """Into what is behind the row."""

    def go(self, name: str, argument: str = "") -> None:
        """Another screen, on top of this one."""
        self.app.post_message(Go(Command(name, argument), on_top=True))

    def tell(self, error: BlazzError) -> None:
        """Say why something was refused."""
        said = error.detail or error.spec.title
        self.notify(f"{said} ({error.code})", severity="error", markup=False)

    def on_key(self, event: events.Key) -> None:
        """Keys on a slow line may arrive before the prompt that they were typed for has the keys.
        They are its own; none of them may become an act."""
        prompt = self.query_one(Prompt)
        if prompt.is_open:
            if prompt.catch_up(event):
                event.stop()
        elif event.key in self._prompt_keys:
            # Here and not by the binding, which comes later: the next key may be on its way.
            event.stop()
            self._prompt_keys[event.key]()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """No action of the screen while something is being typed."""
        del parameters
        actions = {each.name for each in on_screen(self.VIEW)}
        return not (action in actions and self.is_mounted and self.query_one(Prompt).is_open)

    def _completed(self, text: str) -> str | None:
        view = self.desk.view
        tenants = {
            entry.record.record.tenant_id for entry in view.sessions.values() if entry.record
        }
        known = {"node": sorted(view.nodes), "session": view.sessions, "tenant": sorted(tenants)}
        return complete(text, known)

    # The prompt ----------------------------------------------------------------------------------

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
        try:
            command = parse_command(event.text)
        except ValueError as error:
            self.query_one(Prompt).say(str(error))
            return
        self._close_prompt()
        self.app.post_message(Go(command))

    @on(Prompt.Cancelled)
    def _cancelled(self, event: Prompt.Cancelled) -> None:
        event.stop()
        if event.purpose == "filter":
            self.set_query(EVERYTHING)
            self.relist()
        self._close_prompt()

    def _apply_filter(self, text: str) -> bool:
        try:
            query = parse(text)
        except ValueError as error:
            self.query_one(Prompt).say(str(error))
            return False
        self.query_one(Prompt).say("")
        if query != self.query_of():
            self.set_query(query)
            self.relist()
        return True

    def _close_prompt(self) -> None:
        self.query_one(Prompt).close()
        self.active_table().focus()


def live_word(view: FleetView) -> str:
    """What events that are not held do: they run, or end at a moment of the past."""
    return "live" if view.past is None else f"until {words.clock_time(view.past.at)}"


def of(shown: int, total: int) -> str:
    """`7`, or `3 of 7`."""
    return str(total) if shown == total else f"{shown} of {total}"
