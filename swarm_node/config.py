"""The node's settings: one frozen record, read once, from file < environment < arguments.

Owns the record, the order of the sources and the refusal of unknown keys (`config_invalid`, with
the key's name). Never reads the process environment by itself: callers pass it in.

In the environment a field is `BLAZZ_<FIELD>`, a nested one `BLAZZ_<FIELD>__<FIELD>`; lists are
JSON. Other `BLAZZ_…` variables belong to other programs and are left alone.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from schemas.errors import BlazzError, ErrorCode
from schemas.ids import NodeId
from schemas.permissions import inbox_prefix
from schemas.states import EngineKind
from schemas.timing import PROFILES
from schemas.transport.connection import BusSettings, TlsSettings
from swarm_node.engines.chromium.settings import EXECUTABLE_ENV, WA_JS_ENV, ChromiumSettings
from swarm_node.engines.loopback.settings import LoopbackSettings
from swarm_node.session.timings import SessionTimings

_PREFIX: Final = "BLAZZ_"
_ALIASES: Final = {EXECUTABLE_ENV: "CHROMIUM__EXECUTABLE", WA_JS_ENV: "CHROMIUM__WA_JS_PATH"}


class BusAccess(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the bus is and how to sign in; the name and the inbox follow from the node id."""

    servers: tuple[str, ...] = ("nats://127.0.0.1:4222",)
    nkey_seed_file: str | None = None
    creds_file: str | None = None
    tls: TlsSettings | None = None


class NodeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be set about a node.

    - `data_dir`: profiles and scratch files; one process at a time.
    - `engines`: the kinds it offers. `sessions_max`: engines at the same time.
    - `http_port`: `/livez`, `/readyz`, `/metrics`; 0 takes a free one.
    - `timing`: `fast` (one server or region) or `cluster` (replicated NATS).
    - `start_spacing_s`, `starts_at_once_max`: how engine starts are staggered.
    """

    node_id: NodeId
    data_dir: Path
    region: str = "local"
    provider: str = "local"
    address: str = "127.0.0.1"
    sessions_max: Annotated[int, Meta(ge=0)] = 30
    engines: tuple[EngineKind, ...] = (EngineKind.CHROMIUM,)
    bus: BusAccess = BusAccess()
    http_host: str = "127.0.0.1"
    http_port: Annotated[int, Meta(ge=0, le=65_535)] = 0
    timing: Annotated[str, Meta(pattern="^(" + "|".join(PROFILES) + ")$")] = "fast"
    heartbeat_s: Annotated[float, Meta(gt=0)] = 2.0
    memory_period_s: Annotated[float, Meta(ge=10)] = 10.0
    start_spacing_s: Annotated[float, Meta(ge=0)] = 0.5
    starts_at_once_max: Annotated[int, Meta(ge=1)] = 2
    stops_at_once_max: Annotated[int, Meta(ge=1)] = 8
    session: SessionTimings = SessionTimings()
    chromium: ChromiumSettings = ChromiumSettings()
    loopback: LoopbackSettings = LoopbackSettings()

    def bus_settings(self) -> BusSettings:
        """How this node connects."""
        return BusSettings(
            servers=self.bus.servers,
            name=self.node_id,
            inbox_prefix=inbox_prefix(self.node_id),
            nkey_seed_file=self.bus.nkey_seed_file,
            creds_file=self.bus.creds_file,
            tls=self.bus.tls,
            profile=PROFILES[self.timing],
        )


def load_settings(
    *,
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> NodeSettings:
    """Read the settings; a later source wins, field by field. Raises `config_invalid`."""
    merged: dict[str, Any] = {}
    for layer in (_from_file(file), _from_environ(environ or {}), dict(arguments or {})):
        merged = _merge(merged, layer)
    return settings_from(merged)


def settings_from(fields: Mapping[str, Any]) -> NodeSettings:
    """Check plain fields. Raises `config_invalid` naming the wrong or unknown key."""
    try:
        return msgspec.convert(fields, NodeSettings, strict=False, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise BlazzError(ErrorCode.CONFIG_INVALID, f"node settings: {error}") from None


def _from_file(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BlazzError(ErrorCode.CONFIG_INVALID, f"{file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BlazzError(ErrorCode.CONFIG_INVALID, f"{file}: not TOML: {error}") from error


def _from_environ(environ: Mapping[str, str]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for variable, text in sorted(environ.items()):
        name = _ALIASES.get(variable, variable.removeprefix(_PREFIX))
        if variable not in _ALIASES and not variable.startswith(_PREFIX):
            continue
        *groups, field = name.lower().split("__")
        if (groups or [field])[0] not in NodeSettings.__struct_fields__:
            continue
        place = fields
        for group in groups:
            place = place.setdefault(group, {})
        place[field] = _value(variable, text)
    return fields


def _value(variable: str, text: str) -> Any:
    if not text.startswith(("[", "{")):
        return text
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise BlazzError(ErrorCode.CONFIG_INVALID, f"{variable} is not JSON") from error


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        both = isinstance(under, Mapping) and isinstance(value, Mapping)
        merged[key] = _merge(under, value) if both else value  # type: ignore[arg-type]
    return merged


def _decode(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise msgspec.ValidationError(f"Expected `{kind.__name__}`")
