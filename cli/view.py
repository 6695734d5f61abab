"""`blazz tui`: finds the fleet's bus and API, and opens the terminal on them.

Owns only that finding. Without an API key the terminal watches and changes nothing.
"""

import asyncio
import os
import tomllib
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import msgspec

from cli.actor import HttpActor
from cli.client import Api
from cli.exit_codes import Exit
from cli.source import HttpSource
from cli.stack import StackInfo, read_info
from cli.up import default_data_dir
from schemas.errors import BlazzError, ErrorCode
from tui.actions import unknown_ids
from tui.app import show
from tui.settings import TuiSettings

_ACT_TIMEOUT_S: Final = 10.0


class Taste(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A person's own settings, in `tui.toml`: how it looks, and which keys do what."""

    light: bool = False
    low_bandwidth: bool = False
    read_only: bool = False
    keys: dict[str, str] = {}


class TuiOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line said; None leaves it to `tui.toml`."""

    data_dir: Path | None = None
    server: str | None = None
    seed_file: Path | None = None
    production: bool = False
    read_only: bool | None = None
    low_bandwidth: bool | None = None
    light: bool | None = None


def run_tui_command(options: TuiOptions) -> Exit:
    """Open the terminal until the person quits. Raises `config_invalid` when there is no fleet."""
    asyncio.run(_show(options))
    return Exit.OK


async def _show(options: TuiOptions) -> None:
    info = _stack(options)
    settings = tui_settings(options, info, read_taste(taste_file()))
    async with AsyncExitStack() as opened:
        api = _api(info)
        if api is None:
            await show(settings)
        else:
            await opened.enter_async_context(api)
            await show(settings, HttpActor(api), HttpSource(api))


def taste_file() -> Path:
    """`$XDG_CONFIG_HOME/blazz/tui.toml`, or `~/.config/blazz/tui.toml`."""
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "blazz" / "tui.toml"


def read_taste(path: Path) -> Taste:
    """The file, or the defaults if there is none. Raises `config_invalid`."""
    if not path.is_file():
        return Taste()
    try:
        taste = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Taste)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise BlazzError(ErrorCode.CONFIG_INVALID, f"{path}: {error}") from error
    unknown = unknown_ids(taste.keys)
    if unknown:
        raise BlazzError(ErrorCode.CONFIG_INVALID, f"{path}: no such action: {', '.join(unknown)}")
    return taste


def tui_settings(options: TuiOptions, info: StackInfo | None, taste: Taste) -> TuiSettings:
    """What is shown, from where, and how."""
    if options.server is not None:
        servers, identity = (options.server,), "viewer"
        seed = str(options.seed_file) if options.seed_file else None
        context = options.server.rpartition("@")[2].removeprefix("nats://")
    else:
        assert info is not None, "_stack raises without one"
        servers, identity, seed = (info.nats_url,), info.viewer, info.viewer_seed_file
        context = "local"
    return TuiSettings(
        servers=servers,
        identity=identity,
        nkey_seed_file=seed,
        context=context,
        production=options.production,
        read_only=_first(options.read_only, taste.read_only),
        low_bandwidth=_first(options.low_bandwidth, taste.low_bandwidth),
        light=_first(options.light, taste.light),
        keymap=taste.keys,
    )


def _first(said: bool | None, otherwise: bool) -> bool:
    return otherwise if said is None else said


def _stack(options: TuiOptions) -> StackInfo | None:
    if options.server is not None:
        return None
    folder = options.data_dir or default_data_dir()
    info = read_info(folder)
    if info is None:
        raise BlazzError(
            ErrorCode.CONFIG_INVALID,
            f"no fleet was started in {folder}: run `blazz up`, or name one with "
            "--data-dir or --server",
        )
    return info


def _api(info: StackInfo | None) -> Api | None:
    """The stack's own API, or that of BLAZZ_API_URL and BLAZZ_API_KEY; None: only watch."""
    if info is not None:
        key = Path(info.api_key_file).read_text(encoding="utf-8").strip()
        return Api(info.api_url, key, timeout_s=_ACT_TIMEOUT_S)
    url, env_key = os.environ.get("BLAZZ_API_URL"), os.environ.get("BLAZZ_API_KEY")
    return Api(url, env_key, timeout_s=_ACT_TIMEOUT_S) if url and env_key else None
