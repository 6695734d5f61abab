"""`blazz config`: keys over the contexts' file and the terminal's."""

from pathlib import Path

import pytest

from cli import configuration, contexts, taste
from cli.contexts import Context, ContextFile
from schemas.errors import BlazzError, ErrorCode


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("BLAZZ_CONFIG", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    made = {"eu.prod": Context(api_url="https://eu"), "lab": Context(read_only=True)}
    contexts.write(ContextFile(current="lab", contexts=made, others={"mine": {"kept": 1}}))
    return tmp_path


def told() -> dict[str, object]:
    return {setting.key: setting.value for setting in configuration.all_set()}


def test_every_key_is_set_and_unset_and_nothing_else_changes() -> None:
    before = told()
    assert before == {
        "current": "lab",
        "contexts.eu.prod.api_url": "https://eu",
        "contexts.lab.read_only": True,
    }
    for key, value in (
        ("current", "eu.prod"),
        ("contexts.eu.prod.production", "true"),
        ("contexts.eu.prod.skin", "light"),
        ("tui.light", "true"),
        ("tui.keys.drain", "D"),
    ):
        configuration.change(key, value)
        assert configuration.get(key).value in (value, True)
    assert contexts.read().named("eu.prod") == Context(
        api_url="https://eu", production=True, skin="light"
    )
    assert contexts.read().others == {"mine": {"kept": 1}}
    assert taste.read() == taste.Taste(light=True, keys={"drain": "D"})
    for key in ("contexts.eu.prod.production", "contexts.eu.prod.skin", "tui.light"):
        configuration.change(key, None)
    configuration.change("tui.keys.drain", None)
    configuration.change("current", "lab")
    assert told() == before


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("colour", "blue", ErrorCode.CONFIG_INVALID),
        ("tui", "true", ErrorCode.CONFIG_INVALID),
        ("tui.keys", "x", ErrorCode.CONFIG_INVALID),
        ("tui.keys.drian", "D", ErrorCode.CONFIG_INVALID),
        ("tui.light", "perhaps", ErrorCode.CONFIG_INVALID),
        ("contexts.lab.skin", "tartan", ErrorCode.CONFIG_INVALID),
        ("contexts.lab.key", "blz_secret", ErrorCode.CONFIG_INVALID),
        ("contexts.nowhere.api_url", "https://x", ErrorCode.NOT_FOUND),
        ("current", "nowhere", ErrorCode.NOT_FOUND),
    ],
)
def test_what_the_readers_would_refuse_is_never_kept(key: str, value: str, code: ErrorCode) -> None:
    before = told()
    with pytest.raises(BlazzError) as refused:
        configuration.change(key, value)
    assert refused.value.code is code
    assert told() == before


def test_what_is_not_set_is_not_found() -> None:
    with pytest.raises(BlazzError) as refused:
        configuration.get("contexts.lab.skin")
    assert refused.value.code is ErrorCode.NOT_FOUND
