"""Cells, words, columns and filters."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from schemas.states import NodeState, SessionState
from tests.tui.fleet_sample import NOW_MONO, NOW_UNIX, whole_fleet
from tui.actions import (
    ACTIONS,
    EVERYWHERE,
    footer_actions,
    on_screen,
    remapped,
    unknown_ids,
)
from tui.fold import fold
from tui.health import FAST_LIMITS, all_node_health, session_look
from tui.model import FleetView
from tui.rows import event_rows, node_rows, session_rows, words
from tui.rows.cells import GAP, Cell, Row, fit, place
from tui.rows.query import EVERYTHING, parse, passes
from tui.rows.state_words import NODE_WORDS, SESSION_WORDS

ALL_COLUMNS = (node_rows.COLUMNS, session_rows.COLUMNS, event_rows.COLUMNS)


def test_every_state_has_its_own_glyph_and_word() -> None:
    assert set(SESSION_WORDS) == set(SessionState)
    assert set(NODE_WORDS) == set(NodeState)
    for table in (SESSION_WORDS, NODE_WORDS):
        for part in (0, 1):
            said = [word[part] for word in table.values()]
            assert len(set(said)) == len(said)
        assert all(cell_len(word.glyph) == 1 for word in table.values())


@pytest.mark.parametrize("columns", ALL_COLUMNS)
@pytest.mark.parametrize("width", [78, 98, 118, 158, 198])
def test_columns_fit_and_keep_the_ones_that_matter(columns: tuple, width: int) -> None:  # type: ignore[type-arg]
    placed = place(columns, width)
    assert sum(each.width for each in placed) + GAP * (len(placed) - 1) <= width
    kept = {each.column.id for each in placed}
    assert {column.id for column in columns if column.rank == 0} <= kept


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("abc", 5, "abc  "),
        ("abcdef", 4, "abc…"),
        ("日本語", 5, "日本…"),
        ("a\x1b[31mb", 8, "a·[31mb "),
        ("x", 0, ""),
    ],
)
def test_text_fits_exactly_and_cannot_steer_the_terminal(text: str, width: int, shown: str) -> None:
    assert fit(text, width) == shown
    assert cell_len(fit(text, width)) == width


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "-"), (0, "0s"), (59.9, "59s"), (200, "3m20s"), (1_900, "31m"), (18_720, "5h12m"),
     (777_600, "9d"), (-3, "0s")],
)  # fmt: skip
def test_ages(seconds: float | None, shown: str) -> None:
    assert words.age(seconds) == shown


def test_numbers_are_masked_in_any_text() -> None:
    assert words.mask_numbers("to 628123456789@c.us, 12 s") == "to 62••••••••89@c.us, 12 s"
    assert words.phone("628123456789", shown=False) == "+62••••••••89"
    assert words.mask_numbers("120363041234567890@g.us").startswith("12••")
    assert not any(char.isdigit() for char in words.mask_numbers("1234567890123456789")[2:-2])


def test_a_bar_shows_a_little_as_something() -> None:
    assert words.bar(0, 8) == "░" * 8
    assert words.bar(0.01, 8) == "█" + "░" * 7
    assert words.bar(2, 8) == "█" * 8


ROW = Row("ses_1", (Cell("acme"), Cell("sales-id"), Cell("● online")))


@pytest.mark.parametrize(
    ("typed", "passed"),
    [
        ("", True), ("ACME", True), ("sal.*id", True), ("nothing", False), ("!nothing", True),
        ("!acme", False), ("-l tier=gold", True), ("-l tier=tin", False), ("-l no=gold", False),
        ("-f acnl", True), ("-f zz", False),
    ],
)  # fmt: skip
def test_filters(typed: str, *, passed: bool) -> None:
    assert passes(parse(typed), ROW, {"tier": "gold"}) is passed


@pytest.mark.parametrize("typed", ["[", "-l nothing", "x" * 200])
def test_a_bad_filter_is_explained(typed: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse(typed)


def test_an_empty_filter_is_no_filter() -> None:
    assert parse("  ") is EVERYTHING


def test_action_ids_are_unique_and_no_screen_has_a_key_twice() -> None:
    assert len({action.id for action in ACTIONS}) == len(ACTIONS)
    for screen in EVERYWHERE:
        keys = [key for action in on_screen(screen) for key in action.keys.split(",")]
        assert len(set(keys)) == len(keys), screen


def test_read_only_footers_offer_no_act() -> None:
    for screen in EVERYWHERE:
        assert not any(action.changes for action in footer_actions(screen, read_only=True))


def test_remapped_keys_are_the_ones_that_are_told() -> None:
    told = {action.id: action.shown for action in remapped(ACTIONS, {"drain": "ctrl+r"})}
    assert (told["drain"], told["cordon"]) == ("C-r", "u")
    assert unknown_ids({"drain": "x", "drian": "y"}) == ["drian"]


def test_a_filter_finds_what_a_session_s_row_says_but_not_its_ages() -> None:
    view = fold(FleetView(), whole_fleet())
    healths = all_node_health(view, NOW_MONO, FAST_LIMITS)
    for session in view.sessions.values():
        look = session_look(view, session, healths, NOW_MONO)
        for shown in (False, True):
            row = session_rows.session_row(look, NOW_UNIX, show_phones=shown)
            said = [c.text for c, at in zip(row.cells, session_rows.COLUMNS, strict=True)
                    if at.id not in session_rows.AGES]  # fmt: skip
            assert session_rows.session_words(look, show_phones=shown) == " ".join((row.key, *said))
