"""The node's settings: one frozen record, checked once.

Owns the record and its defaults. Unknown keys are refused, at every depth. Never reads a file or
the environment: `cli/settings_file.py` does (file < environment < arguments), for every process
alike.
"""

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from schemas.ids import NodeId
from schemas.permissions import JETSTREAM_API, inbox_prefix
from schemas.states import EngineKind
from schemas.subjects import NODE_API
from schemas.timing import PROFILES
from schemas.transport.connection import BusSettings, TlsSettings
from swarm_node.engines.chromium.settings import ChromiumSettings
from swarm_node.engines.loopback.settings import LoopbackSettings
from swarm_node.session.timings import SessionTimings
from swarm_node.vault.settings import VaultSettings


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
    - `heartbeat_s`: None is the timing profile's.
    - `start_spacing_s`, `starts_at_once_max`: how starts of browsers are staggered; the loopback
      engine starts nothing.
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
    heartbeat_s: Annotated[float, Meta(gt=0)] | None = None
    memory_period_s: Annotated[float, Meta(ge=10)] = 10.0
    start_spacing_s: Annotated[float, Meta(ge=0)] = 0.5
    starts_at_once_max: Annotated[int, Meta(ge=1)] = 2
    stops_at_once_max: Annotated[int, Meta(ge=1)] = 8
    session: SessionTimings = SessionTimings()
    vault: VaultSettings = VaultSettings()
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
            # Who signs in with a JWT has an account of its own; see `schemas.permissions`.
            jetstream_api=NODE_API if self.bus.creds_file else JETSTREAM_API,
            profile=PROFILES[self.timing],
        )
