"""Screens of one table: what they all do with its filter, its sort and its rows.

Owns the table's life on such a screen. What the rows are is the screen's own.
"""

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual.widget import Widget

from tui.desk import Desk
from tui.rows.cells import Column, Row
from tui.rows.listing import Now, Sort
from tui.rows.query import EVERYTHING, Query, parse
from tui.screens.acting import ActingScreen
from tui.screens.frame import of
from tui.widgets.table import VirtualTable


class ListScreen(ActingScreen):
    """`SORTS`: the columns it can be sorted by, the first one at the start; none: never sorted."""

    COLUMNS: ClassVar[tuple[Column, ...]]
    SORTS: ClassVar[tuple[str, ...]] = ()
    WORD: ClassVar[str]
    """What the rows are, in capitals."""
    EMPTY: ClassVar[str] = "nothing here yet"

    def __init__(self, desk: Desk, filter_text: str = "") -> None:
        super().__init__(desk)
        self.view = desk.view
        self.sort_by = Sort(self.SORTS[0] if self.SORTS else "")
        self._query = parse(filter_text)

    # What a screen brings ----------------------------------------------------------------------

    def list_keys(self, now: Now, query: Query) -> Sequence[str]:
        """The keys of the rows that pass, in order."""
        raise NotImplementedError

    def row_of(self, key: str, now: Now) -> Row:
        """One row at one moment."""
        raise NotImplementedError

    def total(self) -> int:
        """How many rows there were without a filter."""
        raise NotImplementedError

    def title_words(self) -> str:
        """What stands above the table, before the count."""
        return self.WORD

    def title_end(self, now: Now) -> str:
        """What stands after it."""
        del now
        return ""

    def why_empty(self) -> str:
        """What is said instead of rows."""
        return self.EMPTY

    # Drawing -----------------------------------------------------------------------------------

    def compose_body(self) -> Iterable[Widget]:
        """The table."""
        yield VirtualTable(self.COLUMNS, empty=self.EMPTY, id="table")

    def list_table(self) -> VirtualTable:
        """That of the rows."""
        return self.query_one("#table", VirtualTable)

    def active_table(self) -> VirtualTable:
        """The one."""
        return self.list_table()

    def query_of(self) -> Query:
        """Its filter."""
        return self._query

    def set_query(self, query: Query) -> None:
        """Filter it."""
        self._query = query

    def draw(self, now: Now, *, anew: bool) -> None:
        """The table and its title."""
        table = self.list_table()
        keys = self.list_keys(now, self._query) if anew else table.keys
        filtered = self._query is not EVERYTHING and self.total() > 0
        table.show_rows(
            keys,
            lambda key: self.row_of(key, now),
            empty="nothing passes the filter" if filtered else self.why_empty(),
            sorted_by=self.sort_by.column,
            descending=self.sort_by.reverse,
        )
        count = of(len(keys), self.total())
        end = self.title_end(now)
        title = f"{self.title_words()} {count}{'  ' if end else ''}{end}"
        self.title_table(table, title, self._query)

    # Actions -----------------------------------------------------------------------------------

    def action_sort(self) -> None:
        """By the next column."""
        if self.SORTS:
            self.sort_by = self.sort_by.next(self.SORTS)
            self.relist()

    def action_reverse(self) -> None:
        """Turn the order round."""
        if self.SORTS:
            self.sort_by = Sort(self.sort_by.column, not self.sort_by.reverse)
            self.relist()
