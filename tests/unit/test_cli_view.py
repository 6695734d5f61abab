"""`blazz tui`'s own settings: the file, and what wins over it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli import taste
from cli.stack import StackInfo
from cli.taste import Taste
from cli.view import TuiOptions, tui_settings
from schemas.errors import BlazzError, ErrorCode

INFO = StackInfo("http://127.0.0.1:1", "key", "nats://127.0.0.1:2", "viewer-1", "seed")


def test_no_file_is_no_taste(tmp_path: Path) -> None:
    assert taste.read(tmp_path / "none.toml") == Taste()


def test_the_file_says_how_it_looks_and_which_keys(tmp_path: Path) -> None:
    path = tmp_path / "tui.toml"
    path.write_text('light = true\nread_only = true\n[keys]\ndrain = "D"\n')
    settings = tui_settings(TuiOptions(read_only=False), INFO, taste.read(path))
    assert (settings.light, settings.read_only, settings.keymap) == (True, False, {"drain": "D"})
    assert (settings.servers, settings.identity) == (("nats://127.0.0.1:2",), "viewer-1")


@pytest.mark.parametrize("text", ["light = 1", "colour = true", "[keys]\ndrian = 'D'", "light ="])
def test_a_wrong_file_is_told_and_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tui.toml"
    path.write_text(text)
    with pytest.raises(BlazzError, match=r"tui\.toml") as refused:
        taste.read(path)
    assert refused.value.code is ErrorCode.CONFIG_INVALID


def test_a_named_server_is_the_context_without_its_password() -> None:
    options = TuiOptions(server="nats://me:secret@bus.example:4222", production=True)
    settings = tui_settings(options, None, Taste())
    assert settings.context == "bus.example:4222"
    assert settings.production
