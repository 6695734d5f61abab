"""The operator's screens driven by keys: real folding and drawing, an operator written down."""

from __future__ import annotations

import unicodedata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
import zxingcpp
from PIL import Image
from textual import events
from textual._xterm_parser import XTermParser

from schemas.api import QrView
from schemas.errors import BlazzError, ErrorCode
from schemas.keys import node_intent_key
from schemas.records import NodeIntent
from schemas.states import SessionState
from tests.tui.fleet_sample import (
    NOW_UNIX,
    PHONE,
    SECRET_TEXT,
    SESSIONS,
    FixedClock,
    ScriptedFeed,
    event_id,
    session_id,
    whole_fleet,
)
from tests.tui.operator_sample import (
    MESSAGE_IDS,
    QR_VALUE,
    WEBHOOK_ID,
    Told,
    WrittenDown,
)
from tests.tui.test_fleet_pilot import Driven
from tests.waiting import eventually
from tui.actions import EVERYWHERE, on_screen
from tui.app import SCREENS, FleetApp
from tui.changes import PastMoment, RecordPut
from tui.rows.qr import qr_lines, small_qr_lines
from tui.rows.words import clock_time
from tui.screens.frame import ViewScreen
from tui.screens.session import SessionScreen
from tui.settings import TuiSettings
from tui.themes import SKINS
from tui.widgets.table import VirtualTable


class Operated(Driven):
    """With an operator's hand and source."""

    actor: WrittenDown
    source: Told

    async def command(self, text: str) -> None:
        names = {" ": "space", "-": "minus", ".": "full_stop", "_": "underscore"}
        await self.press("colon", *(names.get(char, char) for char in text), "enter")
        await self.pilot.pause()

    async def shows(self, text: str) -> str:
        found: str = await eventually(lambda: self.line_with(text), timeout_s=5)
        return found

    async def acted(self, *wanted: tuple[str, str]) -> None:
        await eventually(lambda: sorted(self.actor.acts) == sorted(wanted), timeout_s=5)


@asynccontextmanager
async def operated(
    size: tuple[int, int] = (120, 40), *, key: bool = True, **settings: object
) -> AsyncIterator[Operated]:
    clock, feed = FixedClock(), ScriptedFeed([whole_fleet()])
    chosen = TuiSettings(servers=("nats://127.0.0.1:1",), context="prod-eu")
    actor, source = WrittenDown(), Told()
    app = FleetApp(
        msgspec.structs.replace(chosen, **settings),
        feed,
        clock,
        actor if key else None,
        source if key else None,
    )
    async with app.run_test(size=size, notifications=True) as pilot:
        await pilot.pause()
        under_test = Operated(app, feed, clock, pilot)
        under_test.actor, under_test.source = actor, source
        await under_test.settle()
        yield under_test


async def test_every_screen_opens_by_its_command_and_esc_comes_back() -> None:
    wanted = {"node": "node ovh", "session": f"session {session_id(3)[-6:]}"}
    wanted["dead-letters"] = "dl sales-sg"
    async with operated() as d:
        for name in SCREENS:
            await d.command(wanted.get(name, name))
            screen = d.app.screen
            assert isinstance(screen, ViewScreen)
            assert name == screen.VIEW
            assert len(d.app.screen_stack) == 3, "a command goes there, it does not pile up"
        await d.press("escape")
        assert d.app.screen is d.fleet


async def test_every_action_of_every_screen_is_there() -> None:
    async with operated() as d:
        kinds = {kind.VIEW: kind for kind in _kinds(ViewScreen) if hasattr(kind, "VIEW")}
        assert set(EVERYWHERE) == set(kinds)
        for name, kind in kinds.items():
            for action in on_screen(name):
                owner = FleetApp if action.name.startswith("app.") else kind
                method = f"action_{action.name.removeprefix('app.')}"
                assert callable(getattr(owner, method, None)), (name, method)
        await d.press("q")


def _kinds(kind: type[ViewScreen]) -> list[type[ViewScreen]]:
    return [each for sub in kind.__subclasses__() for each in (sub, *_kinds(sub))]


# Acts ------------------------------------------------------------------------------------------


async def test_cordon_acts_at_once_and_again_undoes_it() -> None:
    async with operated() as d:
        await d.press("shift+tab", "u")
        await d.acted(("cordon", "hetzner-fsn-1"))
        intent = NodeIntent("hetzner-fsn-1", cordoned=True)
        d.feed.give(RecordPut(node_intent_key("hetzner-fsn-1"), 1_000, intent))
        await d.settle()
        assert "◫ cordoned" in d.line_with("hetzner-fsn-1")
        await d.press("u")
        await d.acted(("cordon", "hetzner-fsn-1"), ("uncordon", "hetzner-fsn-1"))


async def test_a_drain_tells_what_it_means_and_enter_is_no() -> None:
    async with operated() as d:
        await d.press("shift+tab", "down", "r")
        assert "Drain 1 node?" in d.text
        assert "2 sessions will move" in d.text
        await d.press("enter")
        assert "Drain 1 node?" not in d.text
        await d.press("r", "y")
        await d.acted(("drain", "ovh-gra-1"))
        await d.shows("Drain 1 node: asked for")


async def test_marked_rows_are_acted_on_together_and_each_refusal_is_told() -> None:
    async with operated() as d:
        await d.command("ses sales")
        keys = d.app.screen.active_table().keys  # type: ignore[attr-defined]
        assert len(keys) == 2
        d.actor.refused = {keys[1]}
        await d.press("space", "space")
        assert "2 marked" in d.text
        await d.press("R")
        assert "Restart 2 sessions?" in d.text
        await d.press("y")
        await d.acted(("restart", keys[0]))
        await d.shows("1 asked for, 1 refused")
        assert "(conflict)" in d.text


async def test_rows_that_a_filter_hides_are_never_acted_on() -> None:
    async with operated() as d:
        await d.command("sessions")
        await d.press("space", "space", "space", "slash", *"sales", "enter", "s")
        marked_and_seen = d.app.screen.active_table().selected  # type: ignore[attr-defined]
        assert len(marked_and_seen) < 3
        for key in marked_and_seen:
            assert "sales" in (d.app.desk.roll.looks[key].name or "")


async def test_a_range_is_marked_and_esc_unmarks() -> None:
    async with operated() as d:
        await d.command("sessions")
        await d.press("space", "down", "down", "ctrl+@")
        assert "4 marked" in d.text
        await d.press("escape")
        assert "marked" not in d.text
        assert "SESSIONS 10" in d.text


async def test_deleting_many_asks_for_the_fleets_name() -> None:
    async with operated() as d:
        await d.command("ses sales")
        keys = d.app.screen.active_table().keys  # type: ignore[attr-defined]
        await d.press("space", "space", "ctrl+d")
        assert "Delete 2 sessions?" in d.text
        await d.press("y", "enter")
        assert "Delete 2 sessions?" in d.text
        assert d.actor.acts == []
        await d.press(*"prod", "minus", *"eu", "enter")
        await d.acted(*(("delete", key) for key in keys))


async def test_one_session_is_deleted_after_one_yes() -> None:
    async with operated() as d:
        await d.command("session sales-sg")
        await d.press("ctrl+d", "y")
        await d.acted(("delete", session_id(3)))


async def test_acts_name_the_sessions_tenant() -> None:
    async with operated() as d:
        await d.command("session sales-sg")
        await d.press("s")
        await d.acted(("start", f"acme {session_id(3)}"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"key": False}, "no API key"), ({"read_only": True}, "Read-only, as asked for")],
)
async def test_read_only_refuses_every_act_and_says_so(
    settings: dict[str, bool], words: str
) -> None:
    async with operated(**settings) as d:  # type: ignore[arg-type]
        assert "read-only" in d.lines()[0]
        assert "Drain" not in d.lines()[-1]
        for screen, keys in (("fleet", ("r", "u")), ("sessions", ("S", "ctrl+d", "i"))):
            await d.command(screen)
            for key in keys:
                await d.press(key)
                assert "y yes" not in d.text
        await d.shows(words)
        assert d.actor.acts == []


# Screens ---------------------------------------------------------------------------------------


async def test_a_node_tells_why_its_sessions_are_still_there() -> None:
    async with operated() as d:
        await d.command("node ovh-gra-1")
        assert "no node has room" in await d.shows("no node has room")
        assert "sales-sg" in d.line_with("no node has room")
        assert "Drain" in d.line_with("↻ 1 sessions left")
        await d.press("u")
        await d.acted(("cordon", "ovh-gra-1"))


async def test_a_session_tells_its_lane_and_its_states_over_time() -> None:
    async with operated() as d:
        await d.command("session sales-id")
        lane = await d.shows("because of quiet_hours")
        assert "paced, 7 of 10000 wait, the oldest for 1m05s" in lane
        row = d.line_with("◐ degraded        1m15s")
        assert "socket resumed" in row
        await d.press("y")
        assert '"session_id"' in d.text
        assert PHONE not in d.text


async def test_a_session_tells_what_is_kept_of_its_state() -> None:
    async with operated() as d:
        await d.command("session sales-id")
        row = await d.shows("● current")
        assert row.split()[:5] == ["7", "●", "current", "3", "12"]
        assert "not yet" in row
        assert "✓ yes" in d.line_with("○ fallback")
        assert "SNAPSHOTS 3" in d.text
        await d.press("tab", "j", "enter")
        assert "Snapshot generation 6" in d.text
        assert '"proven": true' in d.text
        await d.press("escape", "d")
        assert "Snapshot generation 6" in d.text
        await d.press("escape", "tab", "d")
        assert "Snapshot generation" not in d.text


async def test_a_refused_lane_does_not_hide_the_snapshots() -> None:
    async with operated() as d:
        d.source.refused = {"outbox"}
        await d.command("session sales-id")
        await d.shows("● current")
        assert "forbidden" in d.text


async def test_dead_letters_are_redriven_and_the_unsure_ones_warned_of() -> None:
    async with operated() as d:
        await d.command("dl sales-sg")
        await d.shows("message_refused")
        assert SECRET_TEXT not in d.text
        await d.press("space", "space", "r")
        assert "1 may have gone out already" in d.text
        await d.press("y")
        await d.acted(("redrive", MESSAGE_IDS[0]), ("redrive forced", MESSAGE_IDS[1]))
        await d.press("escape", "d")
        assert "message_id" in d.text
        assert SECRET_TEXT not in d.text


async def test_webhooks_are_disabled_tested_and_their_deliveries_resent() -> None:
    async with operated() as d:
        await d.command("webhooks")
        row = await d.shows("● enabled")
        assert "https://hooks.example/blazz?…" in row
        assert "s3cret" not in d.text
        await d.press("v")
        await d.acted(("test", f"acme {WEBHOOK_ID}"))
        await d.press("e", "y")
        await eventually(lambda: ("disable", WEBHOOK_ID) in d.actor.acts)
        d.source.hooks = [msgspec.structs.replace(d.source.hooks[0], enabled=False)]
        await d.shows("■ disabled")
        await d.press("e")
        await eventually(lambda: ("enable", WEBHOOK_ID) in d.actor.acts)
        await d.press("enter")
        assert "✗ dead" in await d.shows("http_error")
        await d.press("r")
        await eventually(lambda: ("resend", event_id(9)) in d.actor.acts)


async def test_messages_add_up_and_lead_to_the_dead_letters() -> None:
    async with operated() as d:
        await d.command("messages")
        assert "1 failed" in d.line_with("MESSAGES 2")
        assert "message_refused 1" in d.line_with("MESSAGES 2")
        await d.press("enter")
        await d.shows("DEAD LETTERS of")


async def test_dead_letters_without_a_session_lists_those_that_have_any() -> None:
    async with operated() as d:
        await d.command("messages")
        await d.shows("2 dead letters")
        await d.command("dl")
        await d.shows("SESSIONS with dead letters 1")
        assert "sales-sg" in d.text
        await d.press("enter")
        await d.shows("message_refused")
        await d.press("escape", "escape")
        d.source.error = BlazzError(ErrorCode.FORBIDDEN)
        await d.command("dl")
        await d.shows("(forbidden)")
        assert "nothing failed" not in d.text


async def test_regions_add_nodes_up_and_lead_to_them() -> None:
    async with operated() as d:
        await d.command("regions")
        row = d.line_with("ap-southeast")
        assert "1/1" in row
        assert "1 cordoned" in row
        await d.press("enter")
        assert "NODES 1 of 3" in d.text
        assert "vultr-sgp-1" in d.text


async def test_events_are_searched_and_held() -> None:
    async with operated() as d:
        await d.command("events failed")
        assert "EVENTS 1 of 5  live  /failed" in d.text
        await d.press("p")
        assert "PAUSED, 0 new" in d.text
        await d.press("enter")
        assert '"error_code": "message_refused"' in d.text


async def test_audit_tells_what_ended_how() -> None:
    async with operated() as d:
        await d.command("audit")
        await d.shows("drainNode")
        assert "● 202" in d.line_with("drainNode")
        assert "✗ forbidden" in d.line_with("deleteSession")
        assert "? not ended" in d.line_with("moveSession")
        assert "nadia" in d.line_with("moveSession")


async def test_an_api_that_does_not_answer_leaves_no_fresh_looking_rows() -> None:
    async with operated() as d:
        await d.command("audit")
        await d.shows("drainNode")
        d.source.error = BlazzError(ErrorCode.TIMEOUT, "GET /v1/audit took too long")
        d.clock.pass_(60)
        await d.shows("took too long (timeout)")
        assert "1m00s old" in d.text
        screen = d.app.screen
        assert isinstance(screen, ViewScreen)
        row_of = screen.active_table()._row_of
        assert row_of is not None
        assert all(row_of(key).stale for key in screen.active_table().keys)


# The QR page -----------------------------------------------------------------------------------


async def test_a_code_is_shown_while_it_lives_and_not_a_moment_longer() -> None:
    async with operated(size=(120, 50)) as d:
        await d.command("session sales-sg")
        d.source.qr_codes = [QrView(QR_VALUE, 1, 6, 20.0)]
        pair = msgspec.structs.replace(SESSIONS[2], state=SessionState.PAIRING)
        await _observe(d, pair)
        await d.press("i")
        drawn = qr_lines(QR_VALUE)
        await eventually(lambda: drawn[10].rstrip() in d.text, timeout_s=5)
        assert "code 1/6" in d.text
        d.clock.pass_(19.6)
        await eventually(lambda: drawn[10].rstrip() not in d.text, timeout_s=5)
        await eventually(lambda: "the codes ran out" in d.text, timeout_s=20)
        d.source.qr_codes = [QrView(QR_VALUE, 1, 6, 60.0)]
        await d.press("r")
        await eventually(lambda: drawn[10].rstrip() in d.text, timeout_s=5)
        assert "qr renewed" in d.source.asked
        await _observe(d, msgspec.structs.replace(pair, state=SessionState.ONLINE, epoch=9))
        await d.shows("linked, online")
        assert drawn[10].rstrip() not in d.text


async def test_a_small_terminal_shows_a_smaller_code_and_the_smallest_says_what_to_do() -> None:
    async with operated(size=(80, 24)) as d:
        await d.command("session orders")
        await d.press("i")
        await eventually(lambda: small_qr_lines(QR_VALUE)[10].rstrip() in d.text, timeout_s=15)
        assert "Not a clean square? Needs" in d.text
        assert len([line for line in d.lines() if line.strip()]) == 24
    async with operated(size=(80, 20)) as d:
        await d.command("session orders")
        await d.press("i")
        await d.shows("The code needs")


@pytest.mark.parametrize("across", [1, 2])
def test_both_sizes_of_a_code_decode_to_the_value(across: int) -> None:
    lines = qr_lines(QR_VALUE) if across == 1 else small_qr_lines(QR_VALUE)
    down = across + 1
    dark = {glyph: bits for bits, glyph in enumerate(" ▀▄█")} if across == 1 else _SEXTANTS
    # A terminal's cell is twice as high as wide.
    wide, high = 12 // across, 24 // down
    picture = Image.new("L", (12 * len(lines[0]) + 60, 24 * len(lines) + 60), 255)
    for y, line in enumerate(lines):
        for x, glyph in enumerate(line):
            for place in range(across * down):
                if dark[glyph] >> place & 1:
                    left = 30 + 12 * x + wide * (place % across)
                    top = 30 + 24 * y + high * (place // across)
                    picture.paste(0, (left, top, left + wide, top + high))
    [found] = zxingcpp.read_barcodes(picture)
    assert found.text == QR_VALUE


_SEXTANTS = {" ": 0, "▌": 0b010101, "▐": 0b101010, "█": 0b111111} | {
    # By their Unicode names: BLOCK SEXTANT-1346 has the first, third, fourth and sixth part.
    chr(code): sum(1 << int(part) - 1 for part in unicodedata.name(chr(code)).rpartition("-")[2])
    for code in range(0x1FB00, 0x1FB3C)
}


async def _observe(d: Operated, session: object) -> None:
    from schemas.keys import assignment_key, observed_key
    from schemas.records import Assignment
    from tests.tui.fleet_sample import Session, observed

    assert isinstance(session, Session)
    d.feed.give(
        RecordPut(
            assignment_key(session.session_id),
            2_000 + session.epoch,
            Assignment(session.session_id, session.tenant_id, session.node_id, session.epoch),
        ),
        RecordPut(
            observed_key(session.node_id, session.session_id),
            3_000 + session.epoch,
            msgspec.structs.replace(observed(session), since=NOW_UNIX + session.epoch),
        ),
    )
    await d.feed.all_folded()


# Words, keys and looks -------------------------------------------------------------------------


async def test_commands_are_completed_with_nodes_and_sessions() -> None:
    async with operated() as d:
        await d.press("colon", *"nod", "tab")
        await d.press("space", *"het", "tab", "enter")
        assert "SESSIONS of hetzner-fsn-1" in d.text
        await d.command("session nobody")
        await d.shows("there is no 'nobody'")


async def test_keys_typed_in_one_burst_are_words_and_never_acts() -> None:
    """As over a slow line: all keys are there before the first one is handled."""
    async with operated() as d:
        for key in ("colon", *"messages", "enter"):
            d.app.post_message(events.Key(key, ":" if key == "colon" else key))
        await eventually(lambda: "MESSAGES 2" in d.text, timeout_s=5)
        assert d.actor.acts == []
        assert "y yes" not in d.text


async def test_keys_are_remapped_by_the_actions_id() -> None:
    async with operated(keymap={"cordon": "f6", "command": "f2"}) as d:
        await d.press("shift+tab", "u")
        await d.press("f6")
        await d.acted(("cordon", "hetzner-fsn-1"))
        await d.press("f2", *"audit", "enter")
        await d.shows("drainNode")
        await d.press("question_mark")
        await d.pilot.pause()
        assert " f2 " in d.text


async def test_production_that_can_be_changed_is_red_and_says_so() -> None:
    async with operated(production=True) as d:
        assert "▲ PRODUCTION operator" in d.lines()[0]
        assert d.app.screen.query_one("#header").has_class("-production")
    async with operated(production=True, read_only=True) as d:
        assert "read-only production" in d.lines()[0]
        assert not d.app.screen.query_one("#header").has_class("-production")


async def test_a_skin_frames_a_fleet_and_t_comes_back_to_it() -> None:
    frames = set()
    for skin in SKINS:
        async with operated(skin=skin) as d:
            assert d.app.theme == SKINS[skin].name
            frames.add((d.app.current_theme.primary, d.app.current_theme.panel))
            # How things are doing reads the same in every dark skin.
            assert d.app.current_theme.error in ("#FF7F50", "#B33A00")
            await d.press("t", "t")
            assert d.app.theme == SKINS[skin].name
    assert len(frames) == len(SKINS)


async def test_low_bandwidth_has_no_sparkline() -> None:
    for slow in (False, True):
        async with operated(low_bandwidth=slow) as d:
            d.clock.pass_(6)
            d.app.screen.repaint_now()  # type: ignore[attr-defined]
            await d.pilot.pause()
            assert ("online █" in d.text) is not slow


async def test_the_mouse_chooses_a_row_and_a_double_click_opens_it() -> None:
    async with operated() as d:
        await d.command("sessions")
        table = d.app.screen.query_one("#table", VirtualTable)
        # The title, the heading, the first row.
        await d.pilot.click("#table", offset=(5, 3))
        assert table.cursor == 1
        wanted = table.cursor_key
        await d.pilot.click("#table", offset=(5, 3), times=2)
        await d.pilot.pause()
        assert isinstance(d.app.screen, SessionScreen)
        assert d.app.screen.session_id == wanted


async def test_copy_takes_the_rows_id() -> None:
    async with operated() as d:
        await d.command("session sales-sg")
        await d.press("c")
        assert d.app.clipboard == session_id(3)


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
async def test_every_screen_fits(size: tuple[int, int]) -> None:
    async with operated(size=size) as d:
        for name in ("regions", "messages", "webhooks", "audit", "node ovh", "session sales-sg"):
            await d.command(name)
            await d.pilot.pause()
            assert all(len(line) <= size[0] for line in d.lines())
            assert "? Help" in d.lines()[-1], name


# The past --------------------------------------------------------------------------------------


class Moved:
    """A deck that writes down what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    def step_event(self, direction: int) -> None:
        self.asked.append(("event", direction))

    def step_s(self, seconds: float) -> None:
        self.asked.append(("seconds", int(seconds)))

    def play(self) -> None:
        self.asked.append(("play", 0))


async def test_the_past_is_moved_through_by_its_keys_and_never_called_live() -> None:
    clock, feed, deck = FixedClock(), ScriptedFeed([whole_fleet()]), Moved()
    settings = TuiSettings(servers=("nats://127.0.0.1:1",), at=NOW_UNIX)
    app = FleetApp(settings, feed, clock, WrittenDown(), None, deck)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await pilot.pause()
        d = Operated(app, feed, clock, pilot)
        d.actor = WrittenDown()
        await d.settle()
        app.view.past = PastMoment(NOW_UNIX, 60.0)
        for typed in "[]{}P":
            # As a terminal sends them.
            heard = XTermParser().feed(typed)
            await d.press(*(event.key for event in heard if isinstance(event, events.Key)))
        assert deck.asked == [
            ("event", -1), ("event", 1), ("seconds", -60), ("seconds", 60), ("play", 0),
        ]  # fmt: skip
        d.fleet.relist()
        assert f"EVENTS until {clock_time(NOW_UNIX)}" in d.text
        await d.command("events")
        await d.press("right_square_bracket")
        assert deck.asked[-1] == ("event", 1)
        assert "live" not in d.text
        await d.command("audit")
        assert "not known of the past" in d.text
