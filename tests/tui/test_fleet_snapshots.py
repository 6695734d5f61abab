"""The fleet screen's looks, held still: a fixed fleet, a fixed clock, no feed but the sample.

After a change that is meant, look at it, then `pytest tests/tui --snapshot-update`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.tui.fleet_sample import FixedClock, ScriptedFeed, whole_fleet
from tui.app import FleetApp
from tui.changes import Batch, BusDown
from tui.screens.fleet import FleetScreen
from tui.settings import TuiSettings

SIZES = [pytest.param((80, 24), id="80x24"), pytest.param((120, 40), id="120x40")]
Compare = Callable[..., bool]


def make(clock: FixedClock, *more: Batch, light: bool = False) -> tuple[FleetApp, ScriptedFeed]:
    feed = ScriptedFeed([whole_fleet(), *more])
    settings = TuiSettings(servers=("nats://127.0.0.1:1",), context="prod-eu", light=light)
    return FleetApp(settings, feed, clock), feed


def drawn(feed: ScriptedFeed, *keys: str) -> Callable[[Pilot[Any]], Any]:
    async def run(pilot: Pilot[Any]) -> None:
        await pilot.pause()
        await feed.all_folded()
        screen = pilot.app.screen
        assert isinstance(screen, FleetScreen)
        screen.repaint_now()
        await pilot.press(*keys)
        await pilot.pause()

    return run


@pytest.mark.parametrize("size", SIZES)
def test_fleet(snap_compare: Compare, size: tuple[int, int]) -> None:
    app, feed = make(FixedClock())
    assert snap_compare(app, terminal_size=size, run_before=drawn(feed))


@pytest.mark.parametrize("size", SIZES)
def test_bus_away(snap_compare: Compare, size: tuple[int, int]) -> None:
    clock = FixedClock()
    app, feed = make(clock, Batch(clock.mono - 4, (BusDown("closed by the server"),)))
    assert snap_compare(app, terminal_size=size, run_before=drawn(feed))


def test_wide(snap_compare: Compare) -> None:
    app, feed = make(FixedClock())
    assert snap_compare(app, terminal_size=(200, 60), run_before=drawn(feed))


def test_light_theme(snap_compare: Compare) -> None:
    app, feed = make(FixedClock(), light=True)
    assert snap_compare(app, terminal_size=(120, 40), run_before=drawn(feed))


def test_help(snap_compare: Compare) -> None:
    app, feed = make(FixedClock())
    assert snap_compare(app, terminal_size=(80, 24), run_before=drawn(feed, "question_mark"))
