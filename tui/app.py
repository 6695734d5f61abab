"""The terminal application: one view, one feed, and the way between the screens.

Owns the fold (the only writer of the view), the feed's life, the theme and navigation. Never talks
to the bus or the API itself. `show` is the entry for `cli`.
"""

import asyncio
import gc
import os
from collections.abc import Callable, Mapping
from typing import ClassVar

from textual import on
from textual.app import App
from textual.binding import BindingType

from schemas.errors import BlazzError
from tui.actions import (
    AUDIT,
    DEAD,
    EVENTS,
    FLEET,
    MESSAGES,
    NODE,
    PAST_ACTIONS,
    REGIONS,
    SESSION,
    SESSIONS,
    WEBHOOKS,
)
from tui.acts import Actor
from tui.clock import Clock, SystemClock
from tui.commands import Command, the_one
from tui.desk import Desk
from tui.feed.bus_feed import BusFeed
from tui.feed.messages import FeedBatch
from tui.feed.port import Feed
from tui.fold import fold
from tui.model import FleetView
from tui.navigation import Go
from tui.past.deck import Deck
from tui.past.past_feed import PastFeed
from tui.screens.audit import AuditScreen
from tui.screens.fleet import FleetScreen
from tui.screens.frame import ViewScreen
from tui.screens.lists import EventsScreen, RegionsScreen, SessionsScreen
from tui.screens.messages import MessagesScreen
from tui.screens.node import NodeScreen
from tui.screens.sending import DeadLettersScreen, WebhooksScreen
from tui.screens.session import SessionScreen
from tui.settings import TuiSettings
from tui.source import Source
from tui.themes import DARK, LIGHT, SKINS

SCREENS: Mapping[str, Callable[[Desk, str], ViewScreen]] = {
    REGIONS: RegionsScreen,
    SESSIONS: SessionsScreen,
    NODE: NodeScreen,
    SESSION: SessionScreen,
    MESSAGES: MessagesScreen,
    DEAD: DeadLettersScreen,
    WEBHOOKS: WebhooksScreen,
    EVENTS: EventsScreen,
    AUDIT: AuditScreen,
}
_OF_ONE_SESSION = (SESSION, DEAD)


class FleetApp(App[None]):
    """`feed` is run for the application's life; its error, if any, ends it and is `failure`."""

    TITLE = "Blazz"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(
        self,
        settings: TuiSettings,
        feed: Feed,
        clock: Clock,
        actor: Actor | None = None,
        source: Source | None = None,
        deck: Deck | None = None,
    ) -> None:
        # Under NO_COLOR only the terminal's own two colours are used; Textual would send greys.
        super().__init__(ansi_color=True if os.environ.get("NO_COLOR") else None)
        self.view = FleetView()
        self.failure: BlazzError | None = None
        self.desk = Desk(self.view, settings, clock, actor, source)
        self._settings = settings
        self._feed = feed
        self._deck = deck
        self._fleet = FleetScreen(self.desk)
        if settings.low_bandwidth:
            self.animation_level = "none"
        for theme in SKINS.values():
            self.register_theme(theme)
        self.theme = SKINS[settings.skin or ("light" if settings.light else "dark")].name
        self._dark = self.theme if self.theme != LIGHT.name else DARK.name

    def on_mount(self) -> None:
        """Show the fleet and begin to listen."""
        self.set_keymap(self._settings.keymap)
        if self._deck is not None:
            for action in PAST_ACTIONS:
                keys = self._settings.keymap.get(action.id, action.keys)
                self.bind(keys, action.name, show=False)
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
        before = (self.view.whole, self.view.past)
        fold(self.view, message.batch)
        self._feed.taken()
        for screen in self.screen_stack:
            if isinstance(screen, ViewScreen):
                screen.data_changed()
        after = (self.view.whole, self.view.past)
        if self.view.whole and after != before and isinstance(self.screen, ViewScreen):
            # Nobody should wait for the next repaint to see the fleet for the first time, or where
            # a step through the past led.
            self.screen.repaint_now()

    def action_past_event(self, direction: int) -> None:
        """To the next event of the past, or the one before."""
        if self._deck is not None:
            self._deck.step_event(direction)

    def action_past_seconds(self, seconds: int) -> None:
        """On through the past, or back."""
        if self._deck is not None:
            self._deck.step_s(seconds)

    def action_past_play(self) -> None:
        """Let the past run, or hold it."""
        if self._deck is not None:
            self._deck.play()

    def action_theme(self) -> None:
        """Dark or light."""
        self.theme = self._dark if self.theme == LIGHT.name else LIGHT.name

    # Navigation ----------------------------------------------------------------------------------

    @on(Go)
    async def _go(self, message: Go) -> None:
        message.stop()
        command = message.command
        match command.name:
            case "back":
                if isinstance(self.screen, ViewScreen) and self.screen is not self._fleet:
                    await self.pop_screen()
            case "quit":
                self.exit()
            case "help":
                if isinstance(self.screen, ViewScreen):
                    self.screen.action_help()
            case _:
                await self._open(command, on_top=message.on_top)

    async def _open(self, command: Command, *, on_top: bool) -> None:
        try:
            argument = self._argument(command)
        except ValueError as error:
            self.notify(f":{command.name} {error}", severity="warning", markup=False)
            return
        if not on_top or command.name == FLEET:
            while self.screen is not self._fleet:
                await self.pop_screen()
        if command.name == FLEET:
            self._fleet.show_nodes(argument)
        elif command.name == DEAD and not argument:
            await self.push_screen(MessagesScreen(self.desk, dead_only=True))
        else:
            await self.push_screen(SCREENS[command.name](self.desk, argument))

    def _argument(self, command: Command) -> str:
        """The id that the words after a command mean. Raises ValueError with a sentence."""
        said = command.argument
        if command.name == NODE:
            if not said:
                raise ValueError("needs a node")
            return the_one(said, list(self.view.nodes), {})
        if command.name in _OF_ONE_SESSION:
            if not said and command.name == DEAD:
                return ""
            if not said:
                raise ValueError("needs a session")
            names = {
                session_id: entry.record.record.name or ""
                for session_id, entry in self.view.sessions.items()
                if entry.record
            }
            return the_one(said, list(self.view.sessions), names)
        return said


def spare_collector() -> None:
    """Full garbage collections over 100,000 records that live as long as the terminal would be
    felt at a key press. For a process that is nothing but the terminal."""
    gc.set_threshold(50_000, 20, 100)


async def show(
    settings: TuiSettings, actor: Actor | None = None, source: Source | None = None
) -> None:
    """Run until the person quits; without `actor` and `source` it only watches what the bus tells.

    Raises BlazzError if the bus refuses this identity.
    """
    spare_collector()
    clock = SystemClock()
    if settings.at is not None:
        past = PastFeed(settings.bus(), settings.at, clock)
        app = FleetApp(settings, past, past.clock, deck=past)
    else:
        feed = BusFeed(settings.bus(), clock, events_history=settings.events_history)
        app = FleetApp(settings, feed, clock, actor, source)
    await app.run_async()
    if app.failure is not None:
        raise app.failure


def run_tui(settings: TuiSettings) -> None:
    """`show` for a program that has no event loop and no key."""
    asyncio.run(show(settings))
