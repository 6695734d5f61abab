"""The contexts' file: what is written is read again, and what names a fleet wins in its order."""

from pathlib import Path

import pytest

from cli import contexts
from cli.contexts import Context, ContextFile
from cli.options import HERE, Target
from cli.target import find_fleet
from cli.view import TuiOptions, of_context
from schemas.errors import BlazzError, ErrorCode


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("BLAZZ_API_URL", "BLAZZ_API_KEY", "BLAZZ_API_KEY_FILE", "BLAZZ_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "blazz.toml"
    monkeypatch.setenv("BLAZZ_CONFIG", str(path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "nothing"))
    return path


def keep(tmp_path: Path, *names: str, **fields: str) -> None:
    made = {}
    for name in names:
        key = tmp_path / f"{name}.key"
        key.write_text(f"key-of-{name}\n")
        made[name] = Context(api_url=f"http://{name}", key_file=str(key), **fields)  # type: ignore[arg-type]
    contexts.write(ContextFile(current=names[0], contexts=made))


def test_what_is_written_is_read_again_with_what_others_put_there(config: Path) -> None:
    odd = Context(api_url='http://a"b\\c', skin="é ✓", production=True)
    file = ContextFile(
        current="a.b",
        contexts={"a.b": odd, "c": Context()},
        others={"colour": "blue", "tui": {"keys": {"fleet.drain": "ctrl+r"}, "wide": True}},
    )
    contexts.write(file)
    assert contexts.read() == file
    assert config.stat().st_mode & 0o777 == 0o600
    contexts.write(contexts.read())
    assert contexts.read() == file


def test_a_typo_in_the_file_is_an_error_with_its_place(config: Path) -> None:
    config.write_text("[contexts.a]\nread_onyl = true\n")
    with pytest.raises(BlazzError) as caught:
        contexts.read()
    assert caught.value.code is ErrorCode.CONFIG_INVALID
    assert "read_onyl" in caught.value.detail


def test_flags_win_over_the_environment_and_that_over_the_context(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BlazzError):
        find_fleet(HERE)
    keep(tmp_path, "one", "two")
    assert find_fleet(HERE).key == "key-of-one"
    monkeypatch.setenv("BLAZZ_CONTEXT", "two")
    assert find_fleet(HERE).name == "two"
    monkeypatch.setenv("BLAZZ_API_URL", "http://env")
    with pytest.raises(BlazzError):
        find_fleet(HERE)
    monkeypatch.setenv("BLAZZ_API_KEY", "env-key")
    assert find_fleet(HERE).api_url == "http://env"
    monkeypatch.setenv("BLAZZ_API_KEY_FILE", str(tmp_path / "two.key"))
    assert find_fleet(HERE).key == "key-of-two"
    assert find_fleet(Target(context="one")).api_url == "http://one"
    flags = Target(api_url="http://flag", key_file=tmp_path / "one.key", context="two")
    assert (find_fleet(flags).api_url, find_fleet(flags).key) == ("http://flag", "key-of-one")


def test_the_terminal_takes_the_bus_and_the_marks_of_its_context(
    config: Path, tmp_path: Path
) -> None:
    assert of_context(TuiOptions()) == TuiOptions()
    keep(tmp_path, "bare")
    with pytest.raises(BlazzError):
        of_context(TuiOptions())
    held = Context(bus_url="nats://n", bus_seed_file="/s", read_only=True, production=True)
    contexts.write(ContextFile(current="prod", contexts={"prod": held}))
    taken = of_context(TuiOptions())
    assert (taken.server, taken.context, str(taken.seed_file)) == ("nats://n", "prod", "/s")
    assert taken.production
    assert taken.read_only
    named = TuiOptions(server="nats://other")
    assert of_context(named).server == "nats://other"
    assert not of_context(named).production
