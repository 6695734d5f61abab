"""On a real stack, in a real terminal: find, look, drain, watch them move, look back."""

from __future__ import annotations

import pytest

from tests.tui.pty_terminal import Terminal, animation
from tests.tui.story import stage_and_story

pytestmark = [pytest.mark.nats, pytest.mark.timeout(240)]


async def test_an_operator_drains_a_node_and_sees_its_sessions_move() -> None:
    told: list[str] = []

    def keep(what: str, terminal: Terminal) -> None:
        told.append(what)
        assert "fra-1" in terminal.picture()

    await stage_and_story(keep)
    assert told[-1] == "blazz tui --at: before the drain"


def test_an_animation_shows_each_frame_once() -> None:
    made = animation([("one & only", "<g/>"), ("two", "<g/>")], seconds=1.0)
    assert made.count('class="f"') == 2
    assert "one &amp; only" in made
