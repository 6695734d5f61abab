"""Contexts: the fleets a person operates, by name, in one file.

Owns that file: where it is, its shape and its permissions. It names files of secrets and never
holds one. What it has besides (`[tui]`, …) is kept as it is.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from cli.toml_text import replace_file
from schemas.errors import BlazzError, ErrorCode

CONFIG_VARIABLE: Final = "BLAZZ_CONFIG"
CONTEXT_VARIABLE: Final = "BLAZZ_CONTEXT"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


class Context(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """A fleet. The API and the key's file are for commands; the bus and its credentials for the
    terminal. `read_only` refuses every act, `production` is shown in red and asks more often."""

    api_url: str | None = None
    key_file: str | None = None
    bus_url: str | None = None
    bus_identity: str = "viewer"
    bus_seed_file: str | None = None
    bus_creds_file: str | None = None
    skin: str | None = None
    read_only: bool = False
    production: bool = False


class ContextFile(msgspec.Struct, frozen=True, kw_only=True):
    """The file: which context is used when none is named, all of them, and other tables."""

    current: str | None = None
    contexts: dict[str, Context] = {}
    others: dict[str, Any] = {}

    def named(self, name: str) -> Context:
        """Raises `not_found`."""
        found = self.contexts.get(name)
        if found is None:
            known = ", ".join(sorted(self.contexts)) or "none yet: `blazz context add`"
            raise BlazzError(ErrorCode.NOT_FOUND, f"no context {name!r}; there are: {known}")
        return found


def config_path(environ: Mapping[str, str] | None = None) -> Path:
    """`$BLAZZ_CONFIG`, or `blazz/config.toml` where configurations are kept."""
    env = os.environ if environ is None else environ
    if chosen := env.get(CONFIG_VARIABLE):
        return Path(chosen)
    base = env.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "blazz" / "config.toml"


def read(path: Path | None = None) -> ContextFile:
    """The file, empty if there is none. Raises `config_invalid` with what is wrong."""
    path = path or config_path()
    try:
        tree: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ContextFile()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BlazzError(ErrorCode.CONFIG_INVALID, f"{path}: {error}") from error
    try:
        current = msgspec.convert(tree.pop("current", None), str | None)
        contexts = msgspec.convert(tree.pop("contexts", {}), dict[str, Context])
    except msgspec.ValidationError as error:
        raise BlazzError(ErrorCode.CONFIG_INVALID, f"{path}: {error}") from error
    return ContextFile(current=current, contexts=contexts, others=tree)


def write(file: ContextFile, path: Path | None = None) -> Path:
    """Replace the file in one step; only its owner may read it."""
    path = path or config_path()
    tree: dict[str, Any] = {} if file.current is None else {"current": file.current}
    tree |= file.others
    tree["contexts"] = {
        name: msgspec.to_builtins(context) for name, context in sorted(file.contexts.items())
    }
    replace_file(path, tree)
    return path


def check_name(name: str) -> str:
    """Raises `config_invalid` for what can't be typed easily."""
    if _NAME.fullmatch(name) is None:
        raise BlazzError(
            ErrorCode.CONFIG_INVALID, f"{name!r} is no name: letters, digits, `.`, `_` and `-`"
        )
    return name
