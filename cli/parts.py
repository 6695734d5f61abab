"""The parts of a fleet as processes: `blazz node` and `blazz control-plane`.

Owns their composition from a settings file: who connects as whom, what is served where, and the
ready file. Never a part's logic.
"""

import asyncio
import os
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Final

import msgspec
import structlog
from msgspec import Meta

from cli import settings_file
from cli.exit_codes import Exit
from cli.processes import write_ready
from cli.self_ask import SelfAsk
from cli.service import Service, Vitals
from cli.systemd import Notifier
from control_plane.access.keys import SCOPES, BucketAccess
from control_plane.app import create_app, serve
from control_plane.config import ControlPlaneSettings
from control_plane.core.rate_limit import RatePolicy
from control_plane.http.settings import HttpSettings
from control_plane.metrics import BUILD, render
from control_plane.services import open_services
from schemas.permissions import control_plane_inbox_prefix
from schemas.timing import PROFILES
from schemas.transport.background import Background
from schemas.transport.connection import Bus, BusSettings, TlsSettings
from schemas.transport.ensure import ensure_all
from swarm_node.app import run_node
from swarm_node.config import NodeSettings
from swarm_node.vitals import NodeVitals

log = structlog.get_logger()

VERSION: Final = version("blazz")
BOOTSTRAP_TENANT: Final = "default"


class BusAccess(msgspec.Struct, frozen=True, kw_only=True):
    """Where the bus is and how to sign in; `identity` is the bus user's name."""

    servers: tuple[str, ...] = ("nats://127.0.0.1:4222",)
    identity: str = "control-plane"
    nkey_seed_file: str | None = None
    creds_file: str | None = None
    tls: TlsSettings | None = None


class Listen(msgspec.Struct, frozen=True, kw_only=True):
    """Where the API and the link page are served; `public_url` is how customers reach them, `rate`
    what one API key may ask of one replica."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535)] = 8080
    public_url: str | None = None
    rate: RatePolicy = HttpSettings().rate
    socket_origins: tuple[str, ...] = HttpSettings().socket_origins


class ControlPlaneFile(msgspec.Struct, frozen=True, kw_only=True):
    """A control plane's settings file.

    - `timing`: `fast` (one server or region) or `cluster` (replicated NATS).
    - `replicas`, `store_scale`: copies of each stream, and a factor on every stream's byte limit.
    - `bootstrap_key_file`: while it is not there, a key with every scope is made and written to
      it, readable by this user alone; leave it out where keys are handed out otherwise.
    """

    bus: BusAccess = BusAccess()
    http: Listen = Listen()
    services: ControlPlaneSettings = ControlPlaneSettings()
    timing: Annotated[str, Meta(pattern="^(" + "|".join(PROFILES) + ")$")] = "fast"
    replicas: Annotated[int, Meta(ge=1, le=5)] = 1
    store_scale: Annotated[float, Meta(gt=0)] = 1.0
    bootstrap_key_file: Path | None = None

    def bus_settings(self) -> BusSettings:
        """How this process connects."""
        return BusSettings(
            servers=self.bus.servers,
            name=self.services.replica,
            inbox_prefix=control_plane_inbox_prefix(self.bus.identity),
            nkey_seed_file=self.bus.nkey_seed_file,
            creds_file=self.bus.creds_file,
            tls=self.bus.tls,
            profile=PROFILES[self.timing],
        )


async def run_node_process(
    config: Path | None, ready_file: Path | None, stop: asyncio.Event
) -> Exit:
    """Run a node until `stop`."""
    settings = settings_file.load(NodeSettings, config)
    structlog.contextvars.bind_contextvars(node_id=settings.node_id)
    service = Service(Notifier.from_environment(), stop=stop)

    def ready(vitals: Callable[[], NodeVitals]) -> None:
        service.ready(lambda: _of_node(vitals()))
        write_ready(ready_file, {"node_id": settings.node_id, "pid": os.getpid()})

    async with Background() as tasks:
        tasks.start(service.run(), name="service")
        await run_node(settings, stop=stop, on_ready=ready)
    return Exit.OK


def _of_node(now: NodeVitals) -> Vitals:
    bus = "bus connected" if now.bus_connected else "bus away"
    lease = "lease held" if now.lease_held else "no lease"
    return Vitals(
        f"{now.sessions} of {now.sessions_max} sessions, {now.online} online; {bus}, {lease}",
        now.turns,
        left=now.sessions,
    )


async def run_control_plane_process(
    config: Path | None, ready_file: Path | None, stop: asyncio.Event
) -> Exit:
    """Run a control plane until `stop`."""
    settings = settings_file.load(ControlPlaneFile, config)
    service = Service(Notifier.from_environment(), stop=stop)
    async with Background() as tasks, Bus.connect(settings.bus_settings()) as bus:
        tasks.start(service.run(), name="service")
        await ensure_all(bus, replicas=settings.replicas, scale=settings.store_scale)
        if settings.bootstrap_key_file is not None:
            await ensure_key_file(bus, settings.bootstrap_key_file)
        BUILD.labels(VERSION).set(1)

        def started(port: int) -> None:
            host = settings.http.host
            log.info("control_plane.started", host=host, port=port)
            ask = SelfAsk(host, port)
            tasks.start(ask.run(), name="self ask")
            service.ready(lambda: _of_control_plane(bus, ask, port))
            write_ready(ready_file, {"port": port, "pid": os.getpid()})

        async with open_services(bus, settings.services) as services:
            http = HttpSettings(
                metrics=render,
                version=VERSION,
                public_url=settings.http.public_url,
                rate=settings.http.rate,
                socket_origins=settings.http.socket_origins,
            )
            await serve(
                create_app(services, http),
                settings.http.host,
                settings.http.port,
                stop,
                started,
            )
    return Exit.OK


def _of_control_plane(bus: Bus, ask: SelfAsk, port: int) -> Vitals:
    words = f"serving on port {port}; {'bus connected' if bus.connected else 'bus away'}"
    return Vitals(words, (bus.turn, ask.turn))


async def ensure_key_file(bus: Bus, path: Path) -> None:
    """Make a key with every scope and write it to `path`, unless that is there already.

    Who can delete the file already owns the machine, so making another one gives nothing away.
    """
    if await asyncio.to_thread(path.exists):
        return
    access = BucketAccess(bus, cache_s=0.0, cache_max=1)
    _record, text = await access.create_key(
        BOOTSTRAP_TENANT, name="bootstrap", scopes=SCOPES, expires_in_s=None
    )
    await asyncio.to_thread(write_private, path, text + "\n")
    log.info("access.bootstrap_key_written", path=str(path))


def write_private(path: Path, text: str) -> None:
    """Write a secret into a file that only its owner may read."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_suffix(".draft")
    draft.touch(mode=0o600)
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
