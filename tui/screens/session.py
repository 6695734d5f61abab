"""The session screen: one session, its lane, its states over time, and what is kept of it.

Owns the joining of what the bus tells (states) and what the API tells (outbox, snapshots).
"""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Final

from textual import events, on
from textual.binding import BindingType
from textual.widget import Widget

from schemas.api_sending import OutboxView
from schemas.api_snapshots import GenerationView
from schemas.errors import BlazzError
from tui.actions import SESSION, bindings
from tui.desk import Desk
from tui.rows import facts, history_rows, snapshot_rows, words
from tui.rows.card_facts import lane_fact, session_facts
from tui.rows.cells import Row, gone_row
from tui.rows.listing import Now
from tui.rows.query import EVERYTHING
from tui.rows.raw import raw_json
from tui.screens.loaded import LoadedScreen
from tui.widgets.card import Card
from tui.widgets.table import VirtualTable

STATES: Final = "table"
SNAPSHOTS: Final = "snapshots"
PANES: Final = (STATES, SNAPSHOTS)


class SessionScreen(LoadedScreen):
    """`session_id` need not be known yet."""

    VIEW = SESSION
    WORD = "STATES"
    EMPTY = "no change of state in the events that are kept here"
    COLUMNS = history_rows.COLUMNS
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(SESSION)]
    DEFAULT_CSS = """
    SessionScreen {
        #table { min-height: 3; }
        #snapshots { height: auto; min-height: 3; max-height: 7; }
    }
    """

    def __init__(self, desk: Desk, session_id: str) -> None:
        super().__init__(desk)
        self.session_id = session_id
        self._outbox: OutboxView | None = None
        self._snapshots: dict[str, GenerationView] = {}
        self._pane = STATES

    async def load(self) -> None:
        """The session's lane and its snapshots: one that is refused does not hide the other."""
        source, ref = self.desk.source, self.desk.session_ref(self.session_id)
        if source is None or ref is None:
            return
        refused: BlazzError | None = None
        try:
            self._outbox = await source.outbox(ref)
        except BlazzError as error:
            refused = error
        found = await source.snapshots(ref)
        self._snapshots = {str(each.generation): each for each in found}
        if refused is not None:
            raise refused

    # Drawing -----------------------------------------------------------------------------------

    def compose_body(self) -> Iterable[Widget]:
        """The session, its states, its snapshots."""
        yield Card(id="card")
        yield from super().compose_body()
        yield VirtualTable(snapshot_rows.COLUMNS, empty="", id=SNAPSHOTS)

    def draw(self, now: Now, *, anew: bool) -> None:
        """The card and the tables; how long a state has lasted goes on."""
        told = session_facts(self.view, self.session_id, now)
        if self._outbox is not None:
            told.append(lane_fact(self._outbox, now.unix))
        self.query_one(Card).show(told)
        super().draw(now, anew=True)
        self._draw_snapshots(now)

    def _draw_snapshots(self, now: Now) -> None:
        table = self.query_one(f"#{SNAPSHOTS}", VirtualTable)
        table.show_rows(
            list(self._snapshots),
            lambda key: self._snapshot_row(key, now),
            empty=self.why_none_loaded("nothing was kept yet, or this fleet keeps no snapshots"),
        )
        self.title_table(table, f"SNAPSHOTS {len(self._snapshots)}", EVERYTHING)

    def _snapshot_row(self, key: str, now: Now) -> Row:
        kept = self._snapshots.get(key)
        if kept is None:
            return gone_row(key, len(snapshot_rows.COLUMNS))
        return self.aged(snapshot_rows.snapshot_row(kept, now.unix), now)

    def rows(self, now: Now) -> Sequence[Row]:
        """From the events."""
        return history_rows.history_rows(
            self.view.events, self.session_id, now.unix, show_phones=now.show_phones
        )

    def row_of(self, key: str, now: Now) -> Row:
        """What happened stays true however old the lane's answer is."""
        del now
        return self._rows[key]

    def why_empty(self) -> str:
        """The bus tells the states."""
        return self.EMPTY

    def title_words(self) -> str:
        """Whose states."""
        return f"STATES of {words.short_id(self.session_id)}"

    # Panes -------------------------------------------------------------------------------------

    def active_table(self) -> VirtualTable:
        """The pane that has the keys."""
        return self.query_one(f"#{self._pane}", VirtualTable)

    @on(events.DescendantFocus)
    def _pane_focused(self, event: events.DescendantFocus) -> None:
        if event.widget.id in PANES:
            self._pane = event.widget.id

    def action_next_pane(self) -> None:
        """Give the keys to the other table."""
        self._pane = PANES[1 - PANES.index(self._pane)]
        self.active_table().focus()

    def action_previous_pane(self) -> None:
        """The same: there are two."""
        self.action_next_pane()

    # Actions -----------------------------------------------------------------------------------

    def chosen_sessions(self) -> Sequence[str]:
        """This one."""
        return (self.session_id,)

    def copied(self) -> str:
        """The session's id."""
        return self.session_id

    def action_describe(self) -> None:
        """All that is known of the session, or of the snapshot."""
        self._tell_of_chosen(raw=False)

    def action_raw(self) -> None:
        """The records."""
        self._tell_of_chosen(raw=True)

    def _tell_of_chosen(self, *, raw: bool) -> None:
        kept = self._snapshots.get(self.active_table().cursor_key or "")
        if self._pane == SNAPSHOTS and kept is not None:
            text = raw_json(kept, show_phones=self.desk.settings.show_phones)
            self.show_text(f"Snapshot generation {kept.generation}", text)
        else:
            self.show_text(self.session_id, self.detail(self.session_id, raw=raw))

    def detail(self, key: str, *, raw: bool) -> str:
        """The session."""
        return facts.session(self.view, key, self.desk.now(), raw=raw)

    def action_drill(self) -> None:
        """Its events; of a snapshot, the record."""
        if self._pane == SNAPSHOTS and self._snapshots:
            self.action_raw()
        else:
            self.go("events", self.session_id)

    def action_row_events(self) -> None:
        """Its events."""
        self.go("events", self.session_id)
