"""A world with a real vault: nodes hand their snapshots to the control plane's own server.

Owns the vault's setup and what a reconciler would do: assigning a session and starting it with its
key and generations. Import `vault_world` and the fixtures it stands on.
"""

# ruff: noqa: F811 - fixtures are imported and named again as arguments

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

import msgspec
import pytest

from control_plane.core.liveness import LivenessRules
from control_plane.core.snapshot_retention import of_last_link
from control_plane.state.fleet_state import FleetState
from control_plane.vault.jetstream_store import JetStreamSnapshotStore
from control_plane.vault.pointers import Pointers
from control_plane.vault.server import VaultServer
from schemas import commands as c
from schemas.keys import assignment_key
from schemas.records import Assignment
from schemas.resources import FLEET
from schemas.snapshots import SnapshotGeneration
from schemas.states import EngineKind, SessionState
from schemas.subjects import node_vault
from schemas.timing import FAST
from schemas.transport.kv import Bucket
from schemas.transport.typed import request
from swarm_node.core.snapshot_rules import CapturePolicy
from swarm_node.vault.settings import VaultSettings
from tests.integration.node_fixture import (  # noqa: F401
    NODE,
    TENANT,
    World,
    bus,
    nats,
    new_session_id,
    world,
)
from tests.waiting import eventually

T = TypeVar("T")
QUICK_VAULT = VaultSettings(
    policy=CapturePolicy(busy_s=0.4, idle_s=1.0, settle_s=0.05, first_s=0.2),
    request_timeout_s=2.0,
)


class VaultWorld:
    """The control plane's seat at the vault."""

    def __init__(self, world: World, pointers: Pointers) -> None:
        self.world = world
        self.pointers = pointers
        self.served = AsyncExitStack()
        self.key = secrets.token_bytes(32)
        self._fleet = Bucket(world.bus, FLEET)

    @asynccontextmanager
    async def node(self, node_id: str = NODE, **changes: Any) -> AsyncIterator[asyncio.Task[None]]:
        async with self.world.node(node_id, **{"vault": QUICK_VAULT, **changes}) as task:
            yield task

    async def open(self) -> None:
        """Serve nodes. What `VaultServer` keeps in memory begins anew each time."""
        state = FleetState(LivenessRules.of(FAST), now=time.monotonic())
        store = JetStreamSnapshotStore(self.world.bus)
        server = VaultServer(self.world.bus, state, store, self.pointers)
        await self.served.enter_async_context(server.serve())

    async def close(self) -> None:
        """Be away: nobody answers nodes."""
        await self.served.aclose()

    async def assign(self, session: str, node_id: str, epoch: int) -> int:
        made = Assignment(session_id=session, tenant_id=TENANT, node_id=node_id, epoch=epoch)
        return await self._fleet.put(assignment_key(session), made)

    async def generations(self, session: str) -> tuple[SnapshotGeneration, ...]:
        return (await self.pointers.read(TENANT, session)).pointer.generations

    async def start(
        self,
        session: str,
        *,
        node_id: str = NODE,
        epoch: int = 1,
        generations: tuple[SnapshotGeneration, ...] | None = None,
        key: bytes | None = None,
    ) -> c.SessionAnswer:
        """Assign the session and start it, as the reconciler does."""
        revision = await self.assign(session, node_id, epoch)
        stored = of_last_link(await self.generations(session))
        found = stored if generations is None else generations
        command = c.StartSession(
            session_id=session,
            epoch=epoch,
            tenant_id=TENANT,
            engine=EngineKind.LOOPBACK,
            assignment_revision=revision,
            data_key=self.key if key is None else key,
            generations=found,
        )
        answer: c.SessionAnswer = await self.world.ask("start", command, node_id=node_id)
        return answer

    async def stored_since(self, session: str, at: float) -> SnapshotGeneration:
        """The newest generation, once it holds a capture begun after `at` (Unix seconds)."""

        async def there() -> SnapshotGeneration | None:
            found = await self.generations(session)
            if found and found[0].objects[-1].captured_at > at:
                return found[0]
            return None

        return await eventually(there, timeout_s=10, what="a newer snapshot")

    async def stored(self, session: str) -> SnapshotGeneration:
        """The newest generation, once it holds all that has happened until now."""
        return await self.stored_since(session, time.time())

    async def ask_as(self, node_id: str, act: str, question: msgspec.Struct, answer: type[T]) -> T:
        return await request(
            self.world.bus, node_vault(node_id, act), question, answer, timeout_s=5.0
        )


async def linked(vault: VaultWorld, number: str = "15550001") -> str:
    """A session that a phone has linked, online on the first node."""
    session, phone = new_session_id(), await vault.world.phone(number)
    await vault.start(session)
    await vault.world.reaches(session, SessionState.PAIRING)
    await phone.scan((await vault.world.qr(session)).value)
    await vault.world.reaches(session, SessionState.ONLINE)
    return session


async def killed(task: asyncio.Task[None]) -> None:
    """What `kill -9` does to what a node holds: nothing is flushed, nobody is told."""
    task.cancel()
    await asyncio.wait({task})


@pytest.fixture
async def vault_world(world: World) -> AsyncIterator[VaultWorld]:
    async with Pointers(world.bus) as pointers:
        made = VaultWorld(world, pointers)
        await made.open()
        try:
            yield made
        finally:
            await made.close()
