"""The operator's screens, held still at three sizes: a fixed fleet, clock, operator and source.

After a change that is meant, look at it, then `pytest tests/tui --snapshot-update`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.tui.fleet_sample import FixedClock, ScriptedFeed, session_id, whole_fleet
from tests.tui.operator_sample import Told, WrittenDown
from tests.waiting import eventually
from tui.app import FleetApp
from tui.commands import parse_command
from tui.navigation import Go
from tui.screens.frame import ViewScreen
from tui.screens.loaded import LoadedScreen
from tui.settings import TuiSettings

Compare = Callable[..., bool]
SMALL, NORMAL, LARGE = (80, 24), (120, 40), (200, 60)
SIZES = [pytest.param(size, id=f"{size[0]}x{size[1]}") for size in (SMALL, NORMAL, LARGE)]


def make(**settings: Any) -> tuple[FleetApp, ScriptedFeed]:
    feed = ScriptedFeed([whole_fleet()])
    chosen = TuiSettings(servers=("nats://127.0.0.1:1",), context="prod-eu", **settings)
    return FleetApp(chosen, feed, FixedClock(), WrittenDown(), Told()), feed


def drawn(
    feed: ScriptedFeed, command: str, *keys: str, rows: int = 1
) -> Callable[[Pilot[Any]], Any]:
    """Go there, wait for the source's rows, press keys."""

    async def run(pilot: Pilot[Any]) -> None:
        await pilot.pause()
        await feed.all_folded()
        pilot.app.post_message(Go(parse_command(command)))
        await pilot.pause()
        screen = pilot.app.screen
        assert isinstance(screen, ViewScreen)
        await eventually(lambda: len(screen.active_table().keys) >= rows, timeout_s=20)
        if isinstance(screen, LoadedScreen):
            await eventually(lambda: screen.is_loaded, timeout_s=20)
        screen.relist()
        await pilot.press(*keys)
        await pilot.pause()

    return run


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("command", "keys"),
    [
        pytest.param("regions", (), id="regions"),
        pytest.param("sessions", (), id="sessions"),
        pytest.param("node ovh-gra-1", (), id="node"),
        pytest.param(f"session {session_id(2)}", ("tab",), id="session"),
        pytest.param("messages", (), id="messages"),
        pytest.param(f"dl {session_id(3)}", (), id="dead-letters"),
        pytest.param("webhooks", (), id="webhooks"),
        pytest.param("events", (), id="events"),
        pytest.param("audit", (), id="audit"),
    ],
)
def test_every_screen(
    snap_compare: Compare, size: tuple[int, int], command: str, keys: tuple[str, ...]
) -> None:
    app, feed = make()
    assert snap_compare(app, terminal_size=size, run_before=drawn(feed, command, *keys))


@pytest.mark.parametrize(
    ("size", "command", "keys", "settings"),
    [
        pytest.param(SMALL, "sessions", ("space", "space"), {}, id="sessions-marked"),
        pytest.param(LARGE, "sessions", ("o",), {"production": True}, id="sessions-production"),
        pytest.param(SMALL, "messages", (), {"light": True}, id="messages-light"),
        pytest.param(SMALL, "audit", ("d",), {}, id="audit-record"),
        pytest.param(NORMAL, f"dl {session_id(3)}", ("r",), {}, id="redrive-asked"),
        pytest.param(LARGE, "events", ("p",), {}, id="events-paused"),
    ],
)
def test_screen(
    snap_compare: Compare,
    size: tuple[int, int],
    command: str,
    keys: tuple[str, ...],
    settings: dict[str, bool],
) -> None:
    app, feed = make(**settings)
    assert snap_compare(app, terminal_size=size, run_before=drawn(feed, command, *keys))


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "200x60"])
def test_drain_asked(snap_compare: Compare, size: tuple[int, int]) -> None:
    app, feed = make()

    async def fleet(pilot: Pilot[Any]) -> None:
        await pilot.pause()
        await feed.all_folded()
        screen = pilot.app.screen
        assert isinstance(screen, ViewScreen)
        screen.relist()
        await pilot.press("shift+tab", "space", "space", "r")
        await pilot.pause()

    assert snap_compare(app, terminal_size=size, run_before=fleet)
