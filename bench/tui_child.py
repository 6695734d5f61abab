"""The process on the pty of `blazz bench tui`: Blazz's terminal, or a stock DataTable, on the
same made-up fleet.

Owns the two applications. Writes the moment when the data was at hand (monotonic
seconds, and CPU seconds until then) to the file it is given. Run as
`python -m bench.tui_child fleet|datatable NOTES NODES SESSIONS CHANGING`.
"""

import sys
import time
from pathlib import Path
from typing import Any, ClassVar

from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.widgets import DataTable

from bench.tui_fleet import FleetSize, MadeUpFeed, MadeUpFleet
from tui.app import FleetApp, spare_collector
from tui.changes import Batch
from tui.clock import SystemClock
from tui.fold import fold
from tui.health import FAST_LIMITS
from tui.model import FleetView
from tui.roll import Roll
from tui.rows.listing import Now, session_row_of
from tui.rows.session_rows import COLUMNS
from tui.settings import TuiSettings


class DataTableApp(App[None]):
    """The sessions as Textual's own table would show them, kindly: only cells of sessions that
    changed are written again, once a second, and widths are never measured anew."""

    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(self, feed: MadeUpFeed, clock: SystemClock) -> None:
        super().__init__()
        self._feed = feed
        self._clock = clock
        self._view = FleetView()
        self._roll = Roll(self._view, FAST_LIMITS)
        self._version = 0
        self._loaded = False

    def compose(self) -> ComposeResult:
        """One table."""
        yield DataTable(cursor_type="row")

    def on_mount(self) -> None:
        """Begin to listen."""
        table = self._table()
        for column in COLUMNS:
            table.add_column(column.title, key=column.id, width=column.width)
        table.focus()
        self.run_worker(self._feed.run(self._take), name="feed")
        self.set_interval(1.0, self._show)

    def _table(self) -> DataTable[Any]:
        return self.query_one(DataTable)

    def _take(self, batch: Batch) -> None:
        was_whole = self._view.whole
        fold(self._view, batch)
        self._feed.taken()
        if self._view.whole and not was_whole:
            self._show()

    def _show(self) -> None:
        if not self._view.whole:
            return
        now = self._clock.monotonic()
        self._roll.bring_up(now)
        moment = Now(now, self._clock.unix(), self._roll.healths)
        table = self._table()
        changed = self._roll.changed_after(self._version)
        self._version = self._roll.version
        if not self._loaded:
            self._loaded = True
            for session_id in sorted(self._roll.looks):
                cells = session_row_of(self._view, session_id, moment).cells
                table.add_row(*(cell.text for cell in cells), key=session_id)
            return
        for session_id in changed if changed is not None else self._roll.looks:
            row = session_row_of(self._view, session_id, moment)
            for column, cell in zip(COLUMNS, row.cells, strict=True):
                table.update_cell(session_id, column.id, cell.text)


def main() -> None:
    """See the module."""
    kind, notes, nodes, sessions, changing = sys.argv[1:]
    clock = SystemClock()

    def data_came() -> None:
        with Path(notes).open("a", encoding="ascii") as file:
            file.write(f"{time.monotonic()} {time.process_time()}\n")

    fleet = MadeUpFleet(FleetSize(int(nodes), int(sessions), float(changing)), clock.unix())
    feed = MadeUpFeed(fleet, clock, data_came)
    spare_collector()
    app: App[None]
    if kind == "fleet":
        settings = TuiSettings(servers=("nats://127.0.0.1:1",), context="bench")
        app = FleetApp(settings, feed, clock)
    else:
        app = DataTableApp(feed, clock)
    app.run()


if __name__ == "__main__":
    main()
