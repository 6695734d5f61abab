"""A control plane's services with real nodes (loopback engine) and the sandbox's switch.

Owns the composition for tests. Nothing of ours is replaced: only the fleet is small and quick.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec
import pytest

from cli.embedded.identities import IdentityStore
from cli.embedded.identities import Role as Identity
from cli.embedded.server import EmbeddedNats
from control_plane.config import ControlPlaneSettings, DispatcherSettings, ReconcilerSettings, Role
from control_plane.core.delivery import DeliveryRules
from control_plane.core.liveness import LivenessRules
from control_plane.ports import Services
from control_plane.services import open_services
from sandbox.phone import Phone, PhoneBook
from sandbox.server import Sandbox
from schemas.api import NewSession, SessionView
from schemas.commands import QrAnswer
from schemas.errors import BlazzError, ErrorCode
from schemas.pacing import PacingRules
from schemas.states import EngineKind, NodeState, SessionState
from schemas.transport.connection import Bus
from swarm_node.app import run_node
from swarm_node.config import BusAccess, NodeSettings
from swarm_node.core.backoff import BackoffPolicy
from swarm_node.engines.loopback.settings import LoopbackFaults, LoopbackSettings
from swarm_node.session.timings import SessionTimings
from tests.integration.nats_fixture import QUICK
from tests.integration.nats_fixture import SETTINGS as NATS_SETTINGS
from tests.waiting import eventually

TENANT: Final = "acme"
SETTINGS: Final = ControlPlaneSettings(
    replica="cp-test",
    default_engine=EngineKind.LOOPBACK,
    default_region="ID",
    liveness=LivenessRules(
        suspect_after_s=1.5, thaw_after_s=1.0, lease_absent_grace_s=0.5, restart_grace_s=2.0
    ),
    reconciler=ReconcilerSettings(sweep_s=0.5, backoff_min_s=0.1, backoff_max_s=1.0, settle_s=1.0),
    pacing=PacingRules(enabled=False),
    dispatcher=DispatcherSettings(
        sweep_s=1.0,
        rules=DeliveryRules(attempts_max=4, backoff_min_s=0.05, backoff_max_s=0.3),
    ),
)
NO_DISPATCHER: Final = frozenset({Role.API, Role.RECONCILER})
NODES: Final = ("node-a", "node-b")


@pytest.fixture
async def nats(tmp_path: Path) -> AsyncIterator[EmbeddedNats]:
    """A server that knows the nodes from its start."""
    for node_id in NODES:
        IdentityStore(tmp_path / "nats" / "identities").ensure(Identity.NODE, node_id)
    async with EmbeddedNats(tmp_path / "nats", NATS_SETTINGS) as server:
        yield server


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """A switch with its phones' API."""
    async with Sandbox() as running:
        yield running


@pytest.fixture
async def book(sandbox: Sandbox) -> AsyncIterator[PhoneBook]:
    """Phones."""
    async with PhoneBook(sandbox.api_url) as phones:
        yield phones


@asynccontextmanager
async def control_plane(
    nats: EmbeddedNats, settings: ControlPlaneSettings = SETTINGS
) -> AsyncIterator[Services]:
    """Services over a connection of their own; the streams must exist."""
    async with (
        Bus.connect(nats.bus_settings(nats.control_plane, profile=QUICK)) as bus,
        open_services(bus, settings) as services,
    ):
        yield services


@asynccontextmanager
async def node(
    nats: EmbeddedNats,
    sandbox: Sandbox,
    data_dir: Path,
    *,
    node_id: str = "node-a",
    sessions_max: int = 5,
    faults: LoopbackFaults | None = None,
    backoff: BackoffPolicy | None = None,
) -> AsyncIterator[None]:
    """A real node with the loopback engine, until the block ends."""
    identity = await nats.add_node(node_id)
    settings = NodeSettings(
        node_id=node_id,
        data_dir=data_dir / node_id,
        sessions_max=sessions_max,
        engines=(EngineKind.LOOPBACK,),
        bus=BusAccess(servers=(nats.url,), nkey_seed_file=identity.seed_file),
        heartbeat_s=0.3,
        start_spacing_s=0.0,
        session=SessionTimings(
            probe_unsettled_s=0.1, probe_gap_s=0.05, backoff=backoff or BackoffPolicy()
        ),
        loopback=LoopbackSettings(
            link_url=sandbox.link_url,
            media_url=sandbox.media_base_url,
            ca_pem=sandbox.ca_pem,
            faults=faults or LoopbackFaults(),
        ),
    )
    stop, ready = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        node = run_node(settings, stop=stop, on_ready=lambda _: ready.set())
        running = tasks.create_task(node)
        try:
            await eventually(
                lambda: ready.is_set() or running.done(), timeout_s=15, what="the node is ready"
            )
            yield
        finally:
            stop.set()


async def node_is(services: Services, state: NodeState, node_id: str = "node-a") -> None:
    """Wait until a node is shown in a state."""

    async def look() -> bool:
        return state in [n.state for n in await services.fleet.nodes() if n.node_id == node_id]

    await eventually(look, timeout_s=10, what=f"{node_id} is {state}")


async def in_state(
    services: Services, view: SessionView, *states: SessionState, timeout_s: float = 15
) -> SessionView:
    """Wait until the session is shown in one of `states`."""

    async def look() -> SessionView | None:
        seen = await services.sessions.get(view.tenant_id, view.session_id)
        return seen if seen.state in states else None

    found = await eventually(look, timeout_s=timeout_s, what=f"{states}")
    assert found is not None
    return found


async def qr_of(services: Services, view: SessionView) -> QrAnswer:
    """Wait for a code to scan."""

    async def look() -> QrAnswer | None:
        try:
            return await services.sessions.qr(view.tenant_id, view.session_id, renew=False)
        except BlazzError as error:
            if not error.retryable:
                raise
            return None

    found = await eventually(look, timeout_s=15, what="a QR code")
    assert found is not None
    return found


async def linked(
    services: Services, book: PhoneBook, number: str, tenant: str = TENANT, **fields: object
) -> tuple[SessionView, Phone]:
    """A session that is online, and its phone."""
    new = msgspec.convert({"engine": "loopback", **fields}, NewSession)

    async def created() -> SessionView | None:
        try:
            return await services.sessions.create(tenant, new)
        except BlazzError as error:
            if error.code is not ErrorCode.NO_NODE_AVAILABLE:
                raise
            # Its node was begun a moment ago, and is not heard yet.
            return None

    view = await eventually(created)
    assert view is not None
    phone = await book.create(number, name=f"Owner of {number}")
    await phone.scan((await qr_of(services, view)).value)
    return await in_state(services, view, SessionState.ONLINE), phone
