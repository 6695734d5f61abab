"""Settings: file, then environment; a typo is an error that names it."""

from pathlib import Path

import msgspec
import pytest

from cli import settings_file
from schemas.errors import BlazzError, ErrorCode


class Http(msgspec.Struct, frozen=True):
    """Nested."""

    port: int = 8080
    host: str = "127.0.0.1"


class Settings(msgspec.Struct, frozen=True):
    """Of a process."""

    name: str = "x"
    http: Http | None = None
    tags: tuple[str, ...] = ()
    folder: Path = Path()


def test_a_file_then_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text('name = "from file"\n[http]\nport = 1\nhost = "h"\n')
    got = settings_file.load(
        Settings, path, {"BLAZZ_HTTP__PORT": "2", "BLAZZ_TAGS": '["a"]', "PATH": "/bin"}
    )
    assert got == Settings("from file", Http(2, "h"), ("a",))


def test_without_a_file_the_defaults_hold() -> None:
    assert settings_file.load(Settings, None, {"BLAZZ_WA_JS": "/x"}) == Settings()


def test_what_was_written_for_a_child_reads_back(tmp_path: Path) -> None:
    settings = Settings("child", Http(3), ("a", "b"), tmp_path)
    path = settings_file.write(tmp_path / "run" / "a.json", settings)
    assert settings_file.load(Settings, path, {}) == settings
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('nme = "typo"\n', "unknown setting `nme`"),
        ("[http]\nprot = 1\n", "unknown setting `prot`"),
        ('[http]\nport = "eighty"\n', "http.port"),
        ("name = \n", "a.toml"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text(text)
    with pytest.raises(BlazzError) as error:
        settings_file.load(Settings, path, {})
    assert error.value.code is ErrorCode.CONFIG_INVALID
    assert words in error.value.detail


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BlazzError, match=r"nowhere\.toml"):
        settings_file.load(Settings, tmp_path / "nowhere.toml", {})


def test_a_secret_can_be_a_credential_of_systemd(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(
        'folder = "$CREDENTIALS_DIRECTORY/key"\n[http]\nhost = "$CREDENTIALS_DIRECTORY/h"\n'
    )
    got = settings_file.load(
        Settings, path, {"CREDENTIALS_DIRECTORY": "/run/credentials/x.service"}
    )
    assert got.folder == Path("/run/credentials/x.service/key")
    assert got.http == Http(host="/run/credentials/x.service/h")
    with pytest.raises(BlazzError, match="LoadCredential="):
        settings_file.load(Settings, path, {})
