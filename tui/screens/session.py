"""The session screen: one session, its lane, and its states over time.

Owns the joining of what the bus tells (states) and what the API tells (the outbox).
"""

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from schemas.api_sending import OutboxView
from tui.actions import SESSION, bindings
from tui.desk import Desk
from tui.rows import facts, history_rows, words
from tui.rows.card_facts import lane_fact, session_facts
from tui.rows.cells import Row
from tui.rows.listing import Now
from tui.screens.loaded import LoadedScreen
from tui.widgets.card import Card


class SessionScreen(LoadedScreen):
    """`session_id` need not be known yet."""

    VIEW = SESSION
    WORD = "STATES"
    EMPTY = "no change of state in the events that are kept here"
    COLUMNS = history_rows.COLUMNS
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(SESSION)]

    def __init__(self, desk: Desk, session_id: str) -> None:
        super().__init__(desk)
        self.session_id = session_id
        self._outbox: OutboxView | None = None

    async def load(self) -> None:
        """The session's lane."""
        ref = self.desk.session_ref(self.session_id)
        if self.desk.source is not None and ref is not None:
            self._outbox = await self.desk.source.outbox(ref)

    def compose_body(self) -> Iterable[Widget]:
        """The session, then its states."""
        yield Card(id="card")
        yield from super().compose_body()

    def draw(self, now: Now, *, anew: bool) -> None:
        """The card and the table; how long a state has lasted goes on."""
        told = session_facts(self.view, self.session_id, now)
        if self._outbox is not None:
            told.append(lane_fact(self._outbox, now.unix))
        self.query_one(Card).show(told)
        super().draw(now, anew=True)

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

    def chosen_sessions(self) -> Sequence[str]:
        """This one."""
        return (self.session_id,)

    def copied(self) -> str:
        """The session's id."""
        return self.session_id

    def action_describe(self) -> None:
        """All that is known of the session."""
        self.show_text(self.session_id, self.detail(self.session_id, raw=False))

    def action_raw(self) -> None:
        """Its records."""
        self.show_text(self.session_id, self.detail(self.session_id, raw=True))

    def detail(self, key: str, *, raw: bool) -> str:
        """The session."""
        return facts.session(self.view, key, self.desk.now(), raw=raw)

    def action_drill(self) -> None:
        """Its events."""
        self.go("events", self.session_id)

    def action_row_events(self) -> None:
        """Its events."""
        self.go("events", self.session_id)
