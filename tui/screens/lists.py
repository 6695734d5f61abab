"""The screens that show the view's own lists: regions, all sessions, events.

Own nothing but which list it is and what is behind a row.
"""

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import BindingType

from tui.actions import EVENTS, REGIONS, SESSIONS, bindings
from tui.changes import Happened
from tui.desk import Desk
from tui.rows import event_rows, facts, region_rows, session_rows, words
from tui.rows.cells import Row, gone_row
from tui.rows.listing import Now, Scope, list_events, session_row_of
from tui.rows.order import SessionOrder
from tui.rows.query import EVERYTHING, Query, passes
from tui.screens.frame import live_word
from tui.screens.listing import ListScreen


class RegionsScreen(ListScreen):
    """Nodes added up."""

    VIEW = REGIONS
    WORD = "REGIONS"
    EMPTY = "no nodes yet"
    COLUMNS = region_rows.COLUMNS
    SORTS = region_rows.SORTS
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(REGIONS)]

    def __init__(self, desk: Desk, filter_text: str = "") -> None:
        super().__init__(desk, filter_text)
        self._sums: dict[str, region_rows.RegionSum] = {}

    def list_keys(self, now: Now, query: Query) -> Sequence[str]:
        """By the chosen column."""
        self._sums = region_rows.region_sums(self.view, now.healths)
        shown = [
            each
            for each in self._sums.values()
            if query is EVERYTHING or passes(query, region_rows.region_row(each))
        ]
        shown.sort(
            key=lambda each: region_rows.region_sort_key(each, self.sort_by.column),
            reverse=self.sort_by.reverse,
        )
        return [each.key for each in shown]

    def row_of(self, key: str, now: Now) -> Row:
        """A region's sum."""
        del now
        total = self._sums.get(key)
        return region_rows.region_row(total) if total else gone_row(key, len(self.COLUMNS))

    def total(self) -> int:
        """All of them."""
        return len(self._sums)

    def action_drill(self) -> None:
        """The nodes of this region."""
        total = self._sums.get(self.active_table().cursor_key or "")
        if total is not None:
            self.go("fleet", f"{total.region}.*{total.provider}")


class SessionsScreen(ListScreen):
    """All sessions."""

    VIEW = SESSIONS
    WORD = "SESSIONS"
    EMPTY = "no sessions yet"
    COLUMNS = session_rows.COLUMNS
    SORTS = session_rows.SORTS
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(SESSIONS)]

    def __init__(self, desk: Desk, filter_text: str = "") -> None:
        super().__init__(desk, filter_text)
        self._order = SessionOrder()

    def list_keys(self, now: Now, query: Query) -> Sequence[str]:
        """By the chosen column."""
        return self._order.listed(
            self.desk.roll,
            now.monotonic,
            self.sort_by,
            Scope(),
            query,
            show_phones=now.show_phones,
        )

    def row_of(self, key: str, now: Now) -> Row:
        """A session."""
        return session_row_of(self.view, key, now)

    def total(self) -> int:
        """All of them."""
        return len(self.view.sessions)

    def chosen_sessions(self) -> Sequence[str]:
        """The marked ones, or the cursor's."""
        return self.active_table().selected

    def detail(self, key: str, *, raw: bool) -> str:
        """A session."""
        return facts.session(self.view, key, self.desk.now(), raw=raw)

    def action_drill(self) -> None:
        """The session."""
        key = self.active_table().cursor_key
        if key:
            self.go("session", key)


class EventsScreen(ListScreen):
    """What happens, the newest last; of one node or session if it was opened from there."""

    VIEW = EVENTS
    WORD = "EVENTS"
    EMPTY = "no events yet"
    COLUMNS = event_rows.COLUMNS
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(EVENTS)]

    def __init__(self, desk: Desk, argument: str = "") -> None:
        known = argument in desk.view.nodes or argument in desk.view.sessions
        super().__init__(desk, "" if known else argument)
        self._scope = Scope(
            node_id=argument if argument in desk.view.nodes else None,
            session_id=argument if argument in desk.view.sessions else None,
        )
        self._held: tuple[Happened, ...] | None = None
        self._held_total = 0
        self._shown: dict[str, Happened] = {}

    def on_mount(self) -> None:
        """Follow from the start."""
        self.active_table().follow = True
        super().on_mount()

    def list_keys(self, now: Now, query: Query) -> Sequence[str]:
        """In the order they happened."""
        held = self.view.events if self._held is None else self._held
        shown = list_events(held, now, self._scope, query)
        self._shown = {str(happened.sequence): happened for happened in shown}
        return list(self._shown)

    def row_of(self, key: str, now: Now) -> Row:
        """An event."""
        happened = self._shown.get(key)
        if happened is None:
            return gone_row(key, len(self.COLUMNS))
        return event_rows.event_row(happened, show_phones=now.show_phones)

    def total(self) -> int:
        """Those that the terminal holds."""
        return len(self.view.events if self._held is None else self._held)

    def title_words(self) -> str:
        """Whose they are."""
        whose = self._scope.node_id or words.short_id(self._scope.session_id or "")
        return f"EVENTS of {whose}" if whose else "EVENTS"

    def title_end(self, now: Now) -> str:
        """Whether they run."""
        del now
        if self._held is None:
            return live_word(self.view)
        return f"PAUSED, {self.view.events_total - self._held_total} new"

    def detail(self, key: str, *, raw: bool) -> str:
        """The event."""
        happened = self._shown.get(key)
        if happened is None:
            return ""
        return facts.event(happened, show_phones=self.desk.settings.show_phones, raw=raw)

    def action_drill(self) -> None:
        """The event."""
        self.action_describe()

    def action_pause(self) -> None:
        """Hold them, or let them run again from the end."""
        if self._held is None:
            self._held = tuple(self.view.events)
            self._held_total = self.view.events_total
        else:
            self._held = None
            table = self.active_table()
            table.move_to(len(table.keys) - 1, told=False)
        self.relist()
