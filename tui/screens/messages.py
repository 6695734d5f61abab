"""The messages screen: what each session sends and receives, how fast, and what died.

Owns the joining of what the bus tells (traffic) and what the API tells (dead letters).
"""

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import BindingType

from schemas.api_sending import DeadLetterCount
from tui.actions import MESSAGES, bindings
from tui.desk import Desk
from tui.rows import facts, message_rows
from tui.rows.cells import Row, gone_row
from tui.rows.listing import Now, Sort
from tui.rows.query import EVERYTHING, Query, passes
from tui.screens.loaded import LoadedScreen


class MessagesScreen(LoadedScreen):
    """Rates and latencies by session; with `dead_only` those that have dead letters."""

    VIEW = MESSAGES
    WORD = "MESSAGES"
    EMPTY = "no messages in the last minutes"
    COLUMNS = message_rows.COLUMNS
    SORTS = message_rows.SORTS
    # The server looks through all dead letters for it.
    PERIOD_S = 15.0
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(MESSAGES)]

    def __init__(self, desk: Desk, filter_text: str = "", *, dead_only: bool = False) -> None:
        super().__init__(desk, filter_text)
        self._flow = message_rows.Flow({}, 0.0)
        self._counts: list[DeadLetterCount] = []
        self._dead_only = dead_only
        if dead_only:
            self.sort_by = Sort("dead")

    async def load(self) -> None:
        """The dead letters' numbers."""
        if self.desk.source is not None:
            self._counts = await self.desk.source.dead_letter_counts()

    def list_keys(self, now: Now, query: Query) -> Sequence[str]:
        """By the chosen column."""
        self._flow = message_rows.add_up(self.view.events, now.unix)
        if self.is_loaded:
            self._flow = message_rows.with_dead(self._flow, self._counts)
        shown = [
            traffic
            for traffic in self._flow.by_session.values()
            if (traffic.dead or not self._dead_only)
            and (query is EVERYTHING or passes(query, self.row_of(traffic.session_id, now)))
        ]
        shown.sort(
            key=lambda each: message_rows.traffic_sort_key(
                each, self._name_of(each.session_id), self.sort_by.column
            ),
            reverse=self.sort_by.reverse,
        )
        return [traffic.session_id for traffic in shown]

    def row_of(self, key: str, now: Now) -> Row:
        """A session's traffic; events stay true however old the API's answer is."""
        traffic = self._flow.by_session.get(key)
        if traffic is None:
            return gone_row(key, len(self.COLUMNS))
        return message_rows.traffic_row(traffic, self._name_of(key), self._flow.span_s, now.unix)

    def total(self) -> int:
        """Sessions with traffic."""
        return len(self._flow.by_session)

    def why_empty(self) -> str:
        """The bus tells the traffic, the API what died."""
        return (
            self.why_none_loaded("no dead letters: nothing failed")
            if (self._dead_only)
            else self.EMPTY
        )

    def title_words(self) -> str:
        """Which."""
        return "SESSIONS with dead letters" if self._dead_only else self.WORD

    def title_end(self, now: Now) -> str:
        """The fleet's sums, and what is wrong with the API's answer."""
        told = super().title_end(now)
        sums = message_rows.totals(self._flow)
        return f"{sums}; dead letters: {told}" if told else sums

    def chosen_sessions(self) -> Sequence[str]:
        """The cursor's."""
        return self.active_table().selected

    def detail(self, key: str, *, raw: bool) -> str:
        """The session."""
        return facts.session(self.view, key, self.desk.now(), raw=raw)

    def action_drill(self) -> None:
        """Its dead letters."""
        self.action_letters()

    def _name_of(self, session_id: str) -> str | None:
        look = self.desk.roll.looks.get(session_id)
        return look.name if look else None
