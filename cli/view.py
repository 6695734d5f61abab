"""`blazz tui`: finds the fleet's bus and API, and opens the terminal on them.

Owns only that finding. Without an API key the terminal watches and changes nothing.
"""

import asyncio
import os
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import msgspec

from cli import contexts, taste
from cli.actor import HttpActor
from cli.client import Api
from cli.exit_codes import Exit
from cli.options import Target
from cli.source import HttpSource
from cli.stack import StackInfo, read_info
from cli.target import chosen, find_fleet
from cli.taste import Taste
from cli.up import default_data_dir
from schemas.errors import BlazzError, ErrorCode
from tui.app import show
from tui.past.moments import parse_moment
from tui.settings import TuiSettings

_ACT_TIMEOUT_S: Final = 10.0


class TuiOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line said; None leaves it to `tui.toml`."""

    data_dir: Path | None = None
    server: str | None = None
    seed_file: Path | None = None
    creds_file: Path | None = None
    identity: str = "viewer"
    context: str | None = None
    """A context's name; by default that in use, where neither the bus nor a directory is named."""
    production: bool = False
    read_only: bool | None = None
    low_bandwidth: bool | None = None
    light: bool | None = None
    skin: str | None = None
    """The context's, unless the command line says dark or light."""
    at: str | None = None
    """A past moment, as a person says it."""


def run_tui_command(options: TuiOptions) -> Exit:
    """Open the terminal until the person quits. Raises `config_invalid` when there is no fleet."""
    asyncio.run(_show(options))
    return Exit.OK


def tui_words(options: TuiOptions) -> tuple[str, ...]:
    """The words of `blazz tui` that say the same, but for whether it may act."""
    said: tuple[tuple[str, object], ...] = (
        ("--data-dir", options.data_dir),
        ("--server", options.server),
        ("--seed-file", options.seed_file),
        ("--context", options.context),
        ("--at", options.at),
    )
    flags = (
        ("production", options.production or None),
        ("low-bandwidth", options.low_bandwidth),
        ("light", options.light),
    )
    return (
        *(word for flag, value in said if value is not None for word in (flag, str(value))),
        *(f"--{'' if on else 'no-'}{flag}" for flag, on in flags if on is not None),
    )


async def _show(options: TuiOptions) -> None:
    options = of_context(options)
    info = _stack(options)
    settings = tui_settings(options, info, taste.read())
    async with AsyncExitStack() as opened:
        api = _api(info, options)
        if api is None:
            await show(settings)
        else:
            await opened.enter_async_context(api)
            await show(settings, HttpActor(api), HttpSource(api))


def of_context(options: TuiOptions) -> TuiOptions:
    """The options with what their context says of the bus; without one, as they are. Raises
    `not_found`, and `config_invalid` for one without a bus."""
    if options.server is not None or options.data_dir is not None:
        return msgspec.structs.replace(options, context=None)
    name = chosen(options.context)
    if name is None:
        return options
    context = contexts.read().named(name)
    if context.bus_url is None:
        raise BlazzError(ErrorCode.CONFIG_INVALID, f"context {name} names no bus: --bus-url")
    return msgspec.structs.replace(
        options,
        context=name,
        server=context.bus_url,
        identity=context.bus_identity,
        seed_file=Path(context.bus_seed_file) if context.bus_seed_file else None,
        creds_file=Path(context.bus_creds_file) if context.bus_creds_file else None,
        production=options.production or context.production,
        read_only=True if context.read_only else options.read_only,
        skin=taste.checked_skin(context.skin, f"context {name}") if context.skin else None,
    )


def tui_settings(options: TuiOptions, info: StackInfo | None, taste: Taste) -> TuiSettings:
    """What is shown, from where, and how."""
    if options.server is not None:
        servers, identity = (options.server,), options.identity
        seed = str(options.seed_file) if options.seed_file else None
        context = options.context or options.server.rpartition("@")[2].removeprefix("nats://")
    else:
        assert info is not None, "_stack raises without one"
        servers, identity, seed = (info.nats_url,), info.viewer, info.viewer_seed_file
        context = "local"
    return TuiSettings(
        servers=servers,
        identity=identity,
        nkey_seed_file=seed,
        creds_file=str(options.creds_file) if options.creds_file else None,
        context=context,
        production=options.production,
        read_only=_first(options.read_only, taste.read_only),
        low_bandwidth=_first(options.low_bandwidth, taste.low_bandwidth),
        light=_first(options.light, taste.light),
        skin=(options.skin or "") if options.light is None else "",
        keymap=taste.keys,
        at=_moment(options.at),
    )


def _moment(text: str | None) -> float | None:
    """Raises `malformed_request` for what is no moment of the past."""
    if text is None:
        return None
    try:
        return parse_moment(text, time.time())
    except ValueError as error:
        raise BlazzError(ErrorCode.MALFORMED_REQUEST, str(error)) from error


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


def _api(info: StackInfo | None, options: TuiOptions) -> Api | None:
    """The stack's own API, the context's, or that of BLAZZ_API_URL and BLAZZ_API_KEY; None: only
    watch."""
    if info is not None:
        key = Path(info.api_key_file).read_text(encoding="utf-8").strip()
        return Api(info.api_url, key, timeout_s=_ACT_TIMEOUT_S)
    if options.context is not None and contexts.read().named(options.context).api_url is not None:
        fleet = find_fleet(Target(context=options.context))
        acts = {"refuse_acts": fleet.name} if fleet.read_only else {}
        return Api(fleet.api_url, fleet.key, timeout_s=_ACT_TIMEOUT_S, **acts)
    url, env_key = os.environ.get("BLAZZ_API_URL"), os.environ.get("BLAZZ_API_KEY")
    return Api(url, env_key, timeout_s=_ACT_TIMEOUT_S) if url and env_key else None
