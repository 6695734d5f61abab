"""The fleet screen driven by keys, with real folding and drawing and a scripted feed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from textual.pilot import Pilot

from schemas.events import SessionStateChanged
from schemas.states import SessionState
from tests.tui.fleet_sample import (
    NODES,
    PHONE,
    SECRET_TEXT,
    SESSIONS,
    FixedClock,
    ScriptedFeed,
    event,
    heartbeat,
    session_id,
    whole_fleet,
)
from tui.actions import FLEET, on_screen
from tui.app import FleetApp
from tui.changes import BusDown, Happened, Pulse
from tui.commands import COMMANDS
from tui.screens.fleet import FleetScreen
from tui.settings import TuiSettings


class Driven:
    """An application under test: keys in, text out."""

    def __init__(self, app: FleetApp, feed: ScriptedFeed, clock: FixedClock, pilot: Pilot[None]):
        self.app, self.feed, self.clock, self.pilot = app, feed, clock, pilot

    @property
    def fleet(self) -> FleetScreen:
        screen = self.app.screen_stack[1]
        assert isinstance(screen, FleetScreen)
        return screen

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def settle(self) -> None:
        await self.feed.all_folded()
        self.fleet.repaint_now()
        await self.pilot.pause()

    def lines(self) -> list[str]:
        strips = self.app.screen._compositor.render_strips()
        return [strip.text.rstrip() for strip in strips]

    def line_with(self, text: str) -> str:
        found = [line for line in self.lines() if text in line]
        assert found, f"{text!r} is not on the screen:\n" + "\n".join(self.lines())
        return found[0]

    @property
    def text(self) -> str:
        return "\n".join(self.lines())


@asynccontextmanager
async def driven(size: tuple[int, int] = (120, 40), **settings: bool) -> AsyncIterator[Driven]:
    clock, feed = FixedClock(), ScriptedFeed([whole_fleet()])
    chosen = TuiSettings(servers=("nats://127.0.0.1:1",), context="prod-eu")
    app = FleetApp(msgspec.structs.replace(chosen, **settings), feed, clock)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        under_test = Driven(app, feed, clock, pilot)
        await under_test.settle()
        yield under_test


async def test_all_three_tables_show_the_fleet() -> None:
    async with driven() as d:
        assert "● alive" in d.line_with("hetzner-fsn-1")
        assert "◫ cordoned" in d.line_with("vultr-sgp-1")
        assert "● online" in d.line_with("sales-sg")
        assert "✗ failed" in d.line_with("billing")
        assert "message_refused" in d.line_with("message.failed")
        header = d.lines()[0]
        for said in ("prod-eu", "read-only", "0.4ms", "data 2s", "nodes 3/3", "online 3/10"):
            assert said in header


async def test_a_silent_node_takes_the_health_of_its_sessions_with_it() -> None:
    async with driven() as d:
        d.clock.pass_(3)
        for node in NODES[:1]:
            d.feed.give(Pulse(heartbeat(node, 2)), at=d.clock.mono)
        await d.settle()
        assert "? suspect" in d.line_with("ovh-gra-1 ")
        assert "? was online" in d.line_with("sales-sg")
        assert "● online" in d.line_with("support")
        assert "online 1/10" in d.lines()[0]


async def test_silence_alone_is_enough_without_any_message() -> None:
    async with driven() as d:
        d.clock.pass_(60)
        d.fleet.repaint_now()
        await d.pilot.pause()
        assert "● online" not in d.text
        assert "● alive" not in d.text
        assert "Nothing heard" in d.text


async def test_a_lost_bus_is_told_and_everything_reads_as_past() -> None:
    async with driven() as d:
        d.feed.give(BusDown("closed by the server"))
        await d.settle()
        d.clock.pass_(5)
        d.fleet.repaint_now()
        await d.pilot.pause()
        assert "BUS AWAY 5s" in d.text
        assert "✗ bus away" in d.lines()[0]
        assert "● online" not in d.text


async def test_enter_drills_into_a_node_then_a_session_and_esc_comes_back() -> None:
    async with driven() as d:
        await d.press("shift+tab", "down", "enter")
        assert "SESSIONS of ovh-gra-1 3 of 10" in d.text
        assert "support" not in d.text
        await d.press("j", "l")
        assert d.app.focused is d.fleet.table("events")
        assert "EVENTS of ses_" in d.text
        await d.press("escape")
        assert d.app.focused is d.fleet.table("sessions")
        await d.press("escape")
        assert d.app.focused is d.fleet.table("nodes")
        assert "SESSIONS 10" in d.text


@pytest.mark.parametrize(
    ("typed", "there", "not_there"),
    [
        ("sales", "sales-sg", "billing"),
        ("!sales", "billing", "sales-sg"),
        ("-l tier=gold", "sales-sg", "billing"),
        ("-f frdk", "front desk", "billing"),
    ],
)
async def test_a_filter_narrows_while_typed(typed: str, there: str, not_there: str) -> None:
    async with driven() as d:
        await d.press("slash", *("space" if char == " " else char for char in typed))
        names = [line for line in d.lines() if "ses_" in line and "." not in line]
        assert any(there in line for line in names)
        assert not any(not_there in line for line in names)
        await d.press("enter")
        assert f"/{typed}" in d.text
        await d.press("escape")
        assert "SESSIONS 10" in d.text


async def test_a_bad_filter_says_why_and_keeps_the_last_good_one() -> None:
    async with driven() as d:
        await d.press("slash", "s", "a", "l", "left_square_bracket")
        assert "not a regular expression" in d.text
        assert "SESSIONS 2 of 10" in d.text


async def test_sorting_by_state_brings_the_worst_first() -> None:
    async with driven() as d:
        await d.press("o")
        assert "STATE↓" in d.text
        keys = list(d.fleet.table("sessions").keys)
        assert set(keys[:2]) == {session_id(5), session_id(7)}
        await d.press("O")
        assert list(d.fleet.table("sessions").keys) == keys[::-1]


async def test_pause_holds_the_events_and_counts_what_is_new() -> None:
    async with driven() as d:
        await d.press("p")
        change = SessionStateChanged(SessionState.FAILED, SessionState.ONLINE, "later on")
        d.feed.give(Happened(6, event(6, change, SESSIONS[2])))
        await d.settle()
        assert "PAUSED, 1 new" in d.text
        assert "later on" not in d.text
        await d.press("p")
        assert "later on" in d.text


async def test_the_cursor_stays_on_its_row_when_rows_come_before_it() -> None:
    async with driven() as d:
        await d.press("down", "down", "down")
        table = d.fleet.table("sessions")
        key = table.cursor_key
        before = table.cursor
        await d.press("O")
        assert table.cursor_key == key
        assert table.cursor != before


async def test_commands_go_to_tables_and_quit() -> None:
    async with driven() as d:
        await d.press("colon", "e", "v", "enter")
        assert "EVENTS 5  live" in d.text
        await d.press("colon", "x", "enter")
        assert "one of: fleet, regions" in d.text
        await d.press("escape", "colon", "q", "enter")
        assert not d.app.is_running


async def test_help_names_every_action_and_says_read_only() -> None:
    async with driven(size=(120, 90)) as d:
        await d.press("question_mark")
        assert "Read-only: no API key was given" in d.text
        for action in on_screen(FLEET):
            assert action.explanation in d.text
        for command in COMMANDS:
            assert f":{command.name}" in d.text
        await d.press("escape")
        assert "SESSIONS 10" in d.text


async def test_numbers_are_masked_and_bodies_never_shown() -> None:
    async with driven(size=(220, 50)) as d:
        assert PHONE not in d.text
        assert "62••••••••89" in d.text
        assert SECRET_TEXT not in d.text
    async with driven(size=(220, 50), show_phones=True) as d:
        assert PHONE in d.text
        assert SECRET_TEXT not in d.text


async def test_zoom_gives_one_table_the_screen() -> None:
    async with driven(size=(80, 24)) as d:
        await d.press("z")
        assert "NODES" not in d.text
        assert "EVENTS" not in d.text
        await d.press("tab")
        assert "EVENTS" in d.text
        assert "SESSIONS" not in d.text
        await d.press("z")
        assert "NODES 3" in d.text


async def test_no_color_sends_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with driven() as d:
        for strip in d.app.screen._compositor.render_strips():
            for segment in strip.apply_filter(
                d.app._filters[-1], d.app.screen.background_colors[1]
            ):
                style = segment.style
                assert style is None or style.color is None or style.color.is_default
        assert "▌" in d.text


@pytest.mark.parametrize("size", [(80, 24), (100, 30), (120, 40), (160, 50), (200, 60)])
async def test_every_size_keeps_what_matters(size: tuple[int, int]) -> None:
    async with driven(size=size) as d:
        assert "● alive" in d.line_with("hetzner-fsn-1")
        assert "SESSIONS 10" in d.text
        assert "EVENTS live" in d.text
        assert "? Help" in d.lines()[-1]
        assert all(len(line) <= size[0] for line in d.lines())


async def test_drawing_asks_only_for_rows_on_the_screen() -> None:
    async with driven(size=(80, 24)) as d:
        table = d.fleet.table("sessions")
        asked: list[str] = []
        row_of = table._row_of
        assert row_of is not None

        def counted(key: str):  # type: ignore[no-untyped-def]
            asked.append(key)
            return row_of(session_id(1))

        table.show_rows([str(number) for number in range(10_000)], counted)
        await d.press("end")
        assert len(asked) < 100
        assert asked[-1] == "9999" or "9999" in asked


async def test_q_quits() -> None:
    async with driven() as d:
        await d.press("q")
        assert not d.app.is_running


async def test_t_switches_between_the_two_themes() -> None:
    async with driven() as d:
        assert d.app.theme == "blazz-dark"
        await d.press("t")
        assert d.app.theme == "blazz-light"
        await d.press("t")
        assert d.app.theme == "blazz-dark"
