"""Which fleet a command is for: from its flags to an API and a key.

Owns the order in which a fleet is looked for: flags, then the environment, then the context in
use, then what `blazz up` left on this machine. A key comes from a file or the environment, never
from a flag.
"""

import os
from pathlib import Path
from typing import Final

import msgspec

from cli import contexts
from cli.client import Api
from cli.options import Target
from cli.stack import read_info
from cli.up import default_data_dir
from schemas.errors import BlazzError, ErrorCode

URL_VARIABLE: Final = "BLAZZ_API_URL"
KEY_VARIABLE: Final = "BLAZZ_API_KEY"
LOCAL: Final = "local"
"""The name of a fleet that runs on this machine."""
KEY_FILE_VARIABLE: Final = "BLAZZ_API_KEY_FILE"


class Fleet(msgspec.Struct, frozen=True):
    """Where a fleet's API is, with which key, and how careful to be. `name` is for people."""

    name: str
    api_url: str
    key: str
    read_only: bool = False
    production: bool = False


def open_api(target: Target) -> Api:
    """The API of the fleet. Raises as `find_fleet`."""
    fleet = find_fleet(target)
    return Api(
        fleet.api_url,
        fleet.key,
        refuse_acts=fleet.name if fleet.read_only else None,
        tenant=target.tenant,
    )


def find_fleet(target: Target) -> Fleet:
    """Raises `config_invalid` when none is named or what names it is incomplete, `not_found` for
    an unknown context."""
    env = os.environ
    if target.api_url is not None:
        if target.key_file is None and not _key_of_environment():
            raise _incomplete("--api-url", f"--key-file, {KEY_FILE_VARIABLE} or {KEY_VARIABLE}")
        key = read_key(target.key_file) if target.key_file else _key_of_environment()
        return Fleet(target.api_url, target.api_url, key)
    if target.data_dir is not None:
        return _local(target.data_dir)
    if target.context is not None:
        return _of_context(target.context, target.key_file)
    if url := env.get(URL_VARIABLE):
        key = read_key(target.key_file) if target.key_file else _key_of_environment()
        if not key:
            raise _incomplete(URL_VARIABLE, f"{KEY_VARIABLE} or {KEY_FILE_VARIABLE}")
        return Fleet(url, url, key)
    if name := chosen(None):
        return _of_context(name, target.key_file)
    return _local(default_data_dir())


def chosen(name: str | None) -> str | None:
    """The context of a flag, of the environment, or that in use."""
    return name or os.environ.get(contexts.CONTEXT_VARIABLE) or contexts.read().current


def read_key(path: Path | str) -> str:
    """A secret's file. Raises `config_invalid`."""
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BlazzError(ErrorCode.CONFIG_INVALID, f"{path} can't be read: {error}") from error
    if not text:
        raise BlazzError(ErrorCode.CONFIG_INVALID, f"{path} is empty")
    return text


def _key_of_environment() -> str:
    if path := os.environ.get(KEY_FILE_VARIABLE):
        return read_key(path)
    return os.environ.get(KEY_VARIABLE, "")


def _of_context(name: str, key_file: Path | None) -> Fleet:
    context = contexts.read().named(name)
    if context.api_url is None or (context.key_file is None and key_file is None):
        raise BlazzError(
            ErrorCode.CONFIG_INVALID,
            f"context {name} has no API: `blazz context add {name} --api-url … --key-file …`",
        )
    return Fleet(
        name,
        context.api_url,
        read_key(key_file or context.key_file or ""),
        context.read_only,
        context.production,
    )


def _local(folder: Path) -> Fleet:
    info = read_info(folder)
    if info is None:
        raise BlazzError(
            ErrorCode.CONFIG_INVALID,
            f"no fleet was started in {folder}: name one with --context or --data-dir, or set "
            f"{URL_VARIABLE} and {KEY_FILE_VARIABLE}",
        )
    return Fleet(LOCAL, info.api_url, read_key(info.api_key_file))


def _incomplete(what: str, needs: str) -> BlazzError:
    return BlazzError(ErrorCode.CONFIG_INVALID, f"{what} needs {needs} beside it")
