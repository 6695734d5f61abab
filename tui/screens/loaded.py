"""Screens whose rows are asked of the API: again and again, while they are looked at.

Owns the asking and the age of what came. Old rows are drawn dim: an answer that does not come
never leaves a screen that looks fresh.
"""

import asyncio
from collections.abc import Sequence
from typing import ClassVar, Final

import msgspec

from schemas.errors import BlazzError
from tui.desk import Desk
from tui.rows import words
from tui.rows.cells import Row, gone_row
from tui.rows.listing import Now
from tui.rows.query import EVERYTHING, Query, passes
from tui.rows.sorting import natural
from tui.screens.listing import ListScreen

LOW_BANDWIDTH_PERIOD_S: Final = 15.0
_OLD_PERIODS: Final = 3.0


class LoadedScreen(ListScreen):
    """Rows are made anew of each answer; they are few, so they are sorted by their own cells."""

    PERIOD_S: ClassVar[float] = 3.0
    """Between two questions."""

    def __init__(self, desk: Desk, filter_text: str = "") -> None:
        super().__init__(desk, filter_text)
        self._period_s = LOW_BANDWIDTH_PERIOD_S if desk.settings.low_bandwidth else self.PERIOD_S
        self._rows: dict[str, Row] = {}
        self._loaded_at: float | None = None
        self._trouble = "" if desk.source is not None else desk.why_not_asked
        self._again = asyncio.Event()

    async def load(self) -> None:
        """Ask. Raises BlazzError."""
        raise NotImplementedError

    def rows(self, now: Now) -> Sequence[Row]:
        """Rows of the last answer."""
        raise NotImplementedError

    def on_mount(self) -> None:
        """Begin to draw and to ask."""
        super().on_mount()
        if self.desk.source is not None:
            self.run_worker(self._load_on(), name=f"load {self.VIEW}", exit_on_error=True)

    @property
    def is_loaded(self) -> bool:
        """Whether anything was answered yet."""
        return self._loaded_at is not None

    def load_again(self) -> None:
        """Ask at once."""
        self._again.set()

    async def _load_on(self) -> None:
        while True:
            if self.is_current:
                await self._load_once()
            self._again.clear()
            try:
                async with asyncio.timeout(self._period_s):
                    await self._again.wait()
            except TimeoutError:
                continue

    async def _load_once(self) -> None:
        try:
            await self.load()
        except BlazzError as error:
            self._trouble = f"{error.detail or error.spec.title} ({error.code})"
        else:
            self._trouble = ""
            self._loaded_at = self.desk.clock.monotonic()
        self.relist()

    def on_screen_resume(self) -> None:
        """Shown again: ask at once."""
        super().on_screen_resume()
        self.load_again()

    # The table ---------------------------------------------------------------------------------

    def list_keys(self, now: Now, query: Query) -> Sequence[str]:
        """Those that pass, in the chosen order."""
        made = self.rows(now)
        self._rows = {row.key: row for row in made}
        shown = [row for row in made if query is EVERYTHING or passes(query, row)]
        place = next(
            (n for n, column in enumerate(self.COLUMNS) if column.id == self.sort_by.column), None
        )
        if place is not None:
            shown.sort(
                key=lambda row: (natural(row.cells[place].text), row.key),
                reverse=self.sort_by.reverse,
            )
        return [row.key for row in shown]

    def row_of(self, key: str, now: Now) -> Row:
        """Dim when the answer is old."""
        row = self._rows.get(key)
        return gone_row(key, len(self.COLUMNS)) if row is None else self.aged(row, now)

    def aged(self, row: Row, now: Now) -> Row:
        """The row, dim when the answer is old."""
        return msgspec.structs.replace(row, stale=True) if self._is_old(now) else row

    def total(self) -> int:
        """Rows of the last answer."""
        return len(self._rows)

    def title_end(self, now: Now) -> str:
        """The answer's age, where it tells something, and what went wrong."""
        age = ""
        if self._loaded_at is not None and self._is_old(now):
            age = f"{words.age(now.monotonic - self._loaded_at)} old"
        return ", ".join(part for part in (age, self._trouble) if part)

    def why_empty(self) -> str:
        """While nothing came, that nothing came."""
        return self.why_none_loaded(self.EMPTY)

    def why_none_loaded(self, empty: str) -> str:
        """The trouble, that nothing came yet, or that there is nothing."""
        if self._trouble:
            return self._trouble
        return empty if self._loaded_at is not None else "asking…"

    def _is_old(self, now: Now) -> bool:
        since = self._loaded_at
        return since is None or now.monotonic - since > _OLD_PERIODS * self._period_s
