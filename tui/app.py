"""The terminal application: one view, one feed, the fleet screen.

Owns the fold (the only writer of the view), the feed's life and the theme. Never talks to the bus
itself. `run_tui` is the entry for `cli`.
"""

import os
from typing import ClassVar

from textual import on
from textual.app import App
from textual.binding import BindingType

from schemas.errors import BlazzError
from tui.clock import Clock, SystemClock
from tui.feed.bus_feed import BusFeed
from tui.feed.messages import FeedBatch
from tui.feed.port import Feed
from tui.model import FleetView, fold
from tui.screens.fleet import FleetScreen
from tui.settings import TuiSettings
from tui.themes import DARK, LIGHT, THEMES


class FleetApp(App[None]):
    """`feed` is run for the application's life; its error, if any, ends it and is `failure`."""

    TITLE = "Blazz"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(self, settings: TuiSettings, feed: Feed, clock: Clock) -> None:
        # Under NO_COLOR only the terminal's own two colours are used; Textual would send greys.
        super().__init__(ansi_color=True if os.environ.get("NO_COLOR") else None)
        self.view = FleetView()
        self.failure: BlazzError | None = None
        self._settings = settings
        self._feed = feed
        self._fleet = FleetScreen(self.view, settings, clock)
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = (LIGHT if settings.light else DARK).name

    def on_mount(self) -> None:
        """Show the fleet and begin to listen."""
        self.push_screen(self._fleet)
        self.run_worker(self._listen(), name="feed", exit_on_error=True)

    async def _listen(self) -> None:
        try:
            await self._feed.run(lambda batch: self.post_message(FeedBatch(batch)))
        except BlazzError as error:
            self.failure = error
            self.exit(return_code=1)

    @on(FeedBatch)
    def _fold(self, message: FeedBatch) -> None:
        fold(self.view, message.batch)
        self._feed.taken()
        self._fleet.data_changed()

    def action_theme(self) -> None:
        """Dark or light."""
        self.theme = LIGHT.name if self.theme == DARK.name else DARK.name


def run_tui(settings: TuiSettings) -> None:
    """Run until the person quits. Raises BlazzError if the bus refuses this identity."""
    clock = SystemClock()
    feed = BusFeed(settings.bus(), clock, events_history=settings.events_history)
    app = FleetApp(settings, feed, clock)
    app.run()
    if app.failure is not None:
        raise app.failure
