"""A person's taste: how the terminal looks, and which keys do what, in `tui.toml`.

Owns that file.
"""

import os
import tomllib
from pathlib import Path

import msgspec

from cli.toml_text import replace_file
from schemas.errors import BlazzError, ErrorCode
from tui.actions import unknown_ids
from tui.themes import SKINS


class Taste(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What `tui.toml` says. `keys`: by the id of the action, as in `tui/actions.py`."""

    light: bool = False
    low_bandwidth: bool = False
    read_only: bool = False
    keys: dict[str, str] = {}


def taste_file() -> Path:
    """`$XDG_CONFIG_HOME/blazz/tui.toml`, or `~/.config/blazz/tui.toml`."""
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "blazz" / "tui.toml"


def read(path: Path | None = None) -> Taste:
    """The file, or the defaults if there is none. Raises `config_invalid`."""
    path = path or taste_file()
    if not path.is_file():
        return Taste()
    try:
        taste = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Taste)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise BlazzError(ErrorCode.CONFIG_INVALID, f"{path}: {error}") from error
    return checked(taste, str(path))


def checked(taste: Taste, where: str) -> Taste:
    """The same. Raises `config_invalid` for keys of an action that there is not."""
    unknown = unknown_ids(taste.keys)
    if unknown:
        raise BlazzError(ErrorCode.CONFIG_INVALID, f"{where}: no such action: {', '.join(unknown)}")
    return taste


def checked_skin(skin: str, where: str) -> str:
    """The same. Raises `config_invalid` for a skin that there is not."""
    if skin not in SKINS:
        raise BlazzError(
            ErrorCode.CONFIG_INVALID, f"{where}: no skin {skin!r}; there are: {', '.join(SKINS)}"
        )
    return skin


def write(taste: Taste, path: Path | None = None) -> None:
    """Replace the file in one step."""
    replace_file(path or taste_file(), msgspec.to_builtins(taste))
