"""Settings of a process: a TOML (or JSON) file, overridden by the environment.

Owns the reading, the merging and the errors' words. `BLAZZ_HTTP__PORT=8080` sets `port` in the
table `http`; lists and tables are JSON. An unknown key is refused by name: a typo must not be a
silence. Secrets are named by file, never written into settings; a text that begins with
`$CREDENTIALS_DIRECTORY/` is below the directory that systemd made for this process's credentials.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from schemas.errors import BlazzError, ErrorCode

T = TypeVar("T", bound=msgspec.Struct)

PREFIX: Final = "BLAZZ_"
NOT_SETTINGS: Final = frozenset({"BLAZZ_WA_JS", "BLAZZ_CHROMIUM"})
"""Read where they are used: they say where a tool is, for every command."""
CREDENTIALS_ENV: Final = "CREDENTIALS_DIRECTORY"
_CREDENTIALS: Final = f"${CREDENTIALS_ENV}/"


def load(kind: type[T], path: Path | None, environ: Mapping[str, str] | None = None) -> T:
    """Read, merge and check. Raises `config_invalid` with the file, the key and the reason."""
    environ = os.environ if environ is None else environ
    tree = _read(path) if path is not None else {}
    fields = {field.encode_name for field in msgspec.structs.fields(kind)}
    for name, value in sorted(environ.items()):
        keys = name.removeprefix(PREFIX).lower().split("__")
        if name.startswith(PREFIX) and name not in NOT_SETTINGS and keys[0] in fields:
            _put(tree, keys, _parsed(name, value))
    source = str(path) if path is not None else "the environment"
    _refuse_unknown(kind, tree, source)
    found = _with_credentials(tree, environ.get(CREDENTIALS_ENV), source)
    try:
        return msgspec.convert(found, kind, strict=False, dec_hook=_path_from_text)
    except msgspec.ValidationError as error:
        raise BlazzError(ErrorCode.CONFIG_INVALID, f"{source}: {error}") from error


def write(path: Path, settings: msgspec.Struct) -> Path:
    """Write settings for a child, readable by us alone."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(mode=0o600)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(settings, enc_hook=str)))
    return path


def _with_credentials(value: Any, directory: str | None, source: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _with_credentials(below, directory, source) for key, below in value.items()}
    if not isinstance(value, str) or not value.startswith(_CREDENTIALS):
        return value
    if not directory:
        raise BlazzError(
            ErrorCode.CONFIG_INVALID,
            f"{source}: {value} is for a process that systemd started with LoadCredential=",
        )
    return str(Path(directory) / value.removeprefix(_CREDENTIALS))


def _path_from_text(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise msgspec.ValidationError(f"Expected `{kind.__name__}`")


def _parsed(name: str, value: str) -> Any:
    if not value.startswith(("[", "{")):
        return value
    try:
        return msgspec.json.decode(value)
    except msgspec.DecodeError as error:
        raise BlazzError(ErrorCode.CONFIG_INVALID, f"{name} is not JSON: {error}") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BlazzError(
            ErrorCode.CONFIG_INVALID, f"{path} can't be read: {error.strerror}"
        ) from error
    try:
        tree = msgspec.json.decode(text) if path.suffix == ".json" else tomllib.loads(text)
    except (msgspec.DecodeError, tomllib.TOMLDecodeError) as error:
        raise BlazzError(ErrorCode.CONFIG_INVALID, f"{path}: {error}") from error
    if not isinstance(tree, dict):
        raise BlazzError(ErrorCode.CONFIG_INVALID, f"{path} is not a table of settings")
    return tree


def _put(tree: dict[str, Any], keys: list[str], value: str) -> None:
    for key in keys[:-1]:
        below = tree.setdefault(key, {})
        if not isinstance(below, dict):
            raise BlazzError(ErrorCode.CONFIG_INVALID, f"{'.'.join(keys)}: {key} is not a table")
        tree = below
    tree[keys[-1]] = value


def _refuse_unknown(kind: type[msgspec.Struct], tree: Mapping[str, Any], source: str) -> None:
    """Walk down into nested structs; msgspec alone would name only the innermost key."""
    types = {
        field.encode_name: field.type
        for field in msgspec.inspect.type_info(kind).fields  # type: ignore[attr-defined]
    }
    for key, value in tree.items():
        if key not in types:
            known = ", ".join(sorted(types))
            raise BlazzError(
                ErrorCode.CONFIG_INVALID, f"{source}: unknown setting `{key}`; there are: {known}"
            )
        nested = types[key]
        options = getattr(nested, "types", (nested,))
        for option in options:
            if isinstance(option, msgspec.inspect.StructType) and isinstance(value, Mapping):
                _refuse_unknown(option.cls, value, f"{source}, {key}")
