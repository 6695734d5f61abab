"""A vault on a real bus, and nodes that speak to it with their own identities.

Owns the composition and the shapes that the vault's tests share. A node here is only its side of
the protocol: what it captures is bytes.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import pytest

from cli.embedded.server import EmbeddedNats
from control_plane.core.liveness import LivenessRules
from control_plane.state.fleet_state import FleetState
from control_plane.vault.data_keys import DataKeys
from control_plane.vault.jetstream_store import JetStreamSnapshotStore
from control_plane.vault.master_keys import MasterKeyRing, ensure_key_file
from control_plane.vault.pointers import Pointers
from control_plane.vault.pruner import Pruner
from control_plane.vault.server import VaultServer
from control_plane.vault.settings import VaultSettings
from control_plane.vault.store import PART_BYTES, SnapshotStore
from schemas.keys import assignment_key, session_key
from schemas.records import Assignment, SessionRecord
from schemas.resources import FLEET
from schemas.snapshot_requests import (
    CommitSnapshot,
    GetSnapshotChunk,
    PutSnapshotChunk,
    SnapshotChunk,
    SnapshotStored,
)
from schemas.snapshots import (
    SnapshotManifest,
    SnapshotObject,
    SnapshotPointer,
    snapshot_name,
)
from schemas.states import DesiredState, EngineKind
from schemas.subjects import node_vault
from schemas.transport import typed
from schemas.transport.connection import Bus
from schemas.transport.kv import Bucket
from tests.integration.nats_fixture import QUICK

T = TypeVar("T")
SESSION: Final = "ses_" + "0" * 25 + "1"
TENANT: Final = "acme"
MANIFEST: Final = SnapshotManifest(EngineKind.CHROMIUM, chromium_build="156")


def described(
    session_id: str, epoch: int, number: int, data: bytes, **fields: Any
) -> SnapshotObject:
    """What a node says of an object. The first number of an epoch is a baseline by default."""
    return SnapshotObject(
        name=snapshot_name(session_id, epoch, number),
        baseline=fields.pop("baseline", number == 1),
        size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        captured_at=time.time(),
        plain_bytes=2 * len(data),
        **fields,
    )


class VaultNode:
    """A node's side: puts, commits and gets over its own connection."""

    def __init__(self, bus: Bus, node_id: str, session_id: str = SESSION) -> None:
        self.bus = bus
        self.node_id = node_id
        self.session_id = session_id

    async def put(self, epoch: int, number: int, data: bytes, **fields: Any) -> SnapshotObject:
        name = snapshot_name(self.session_id, epoch, number)
        for offset in range(0, len(data), PART_BYTES):
            part = PutSnapshotChunk(
                node_id=self.node_id,
                session_id=self.session_id,
                epoch=epoch,
                name=name,
                offset=offset,
                data=data[offset : offset + PART_BYTES],
                last=offset + PART_BYTES >= len(data),
            )
            await self.ask("put", part, SnapshotStored)
        return described(self.session_id, epoch, number, data, **fields)

    async def commit(
        self, epoch: int, wanted: SnapshotObject, proven: int | None = None
    ) -> SnapshotStored:
        question = CommitSnapshot(
            self.node_id, self.session_id, epoch, wanted, MANIFEST, proven_generation=proven
        )
        return await self.ask("commit", question, SnapshotStored)

    async def keep(
        self, epoch: int, number: int, data: bytes | None = None, **fields: Any
    ) -> bytes:
        """Put and commit."""
        data = data or secrets.token_bytes(300)
        await self.commit(epoch, await self.put(epoch, number, data, **fields))
        return data

    async def get(self, epoch: int, name: str) -> bytes:
        data = b""
        while True:
            question = GetSnapshotChunk(self.node_id, self.session_id, epoch, name, len(data))
            chunk = await self.ask("get", question, SnapshotChunk)
            data += chunk.data
            if len(data) >= chunk.total_bytes:
                return data

    async def ask(self, act: str, question: msgspec.Struct, answer: type[T]) -> T:
        return await typed.request(
            self.bus, node_vault(self.node_id, act), question, answer, timeout_s=10
        )


class VaultRig:
    """A served vault. `store` may be replaced before it is served."""

    def __init__(self, bus: Bus, store: SnapshotStore, key_file: Path) -> None:
        self.bus = bus
        self.store = store
        self.key_file = key_file
        self.bucket = Bucket(bus, FLEET)
        self.pointers = Pointers(bus)
        self.keys = DataKeys(bus, MasterKeyRing(key_file))
        # Fed by nobody: every check then goes to the bus, as on a replica that lags.
        self.state = FleetState(LivenessRules.of(QUICK), now=time.monotonic())

    async def assign(self, node_id: str, epoch: int, session_id: str = SESSION) -> int:
        """Place a session; returns the assignment's revision."""
        record = SessionRecord(session_id, TENANT, DesiredState.RUNNING, time.time())
        await self.bucket.put(session_key(TENANT, session_id), record)
        assignment = Assignment(session_id, TENANT, node_id, epoch)
        return await self.bucket.put(assignment_key(session_id), assignment)

    async def pointer(self, session_id: str = SESSION) -> SnapshotPointer:
        return (await self.pointers.read(TENANT, session_id)).pointer

    def pruner(self, **settings: Any) -> Pruner:
        return Pruner(self.bus, self.store, self.pointers, self.keys, VaultSettings(**settings))


@asynccontextmanager
async def serving(rig: VaultRig) -> AsyncIterator[VaultRig]:
    async with rig.pointers, VaultServer(rig.bus, rig.state, rig.store, rig.pointers).serve():
        yield rig


@pytest.fixture
async def rig(bus: Bus, tmp_path: Path) -> AsyncIterator[VaultRig]:
    """A vault on the embedded store, with the session assigned to node-a under epoch 1."""
    key_file = tmp_path / "master-key"
    ensure_key_file(key_file)
    made = VaultRig(bus, JetStreamSnapshotStore(bus), key_file)
    await made.assign("node-a", 1)
    async with serving(made):
        yield made


@asynccontextmanager
async def vault_node(nats: EmbeddedNats, node_id: str) -> AsyncIterator[VaultNode]:
    """A node with its own identity: the server lets it publish its own subjects alone."""
    identity = await nats.add_node(node_id)
    async with Bus.connect(nats.bus_settings(identity, profile=QUICK)) as bus:
        yield VaultNode(bus, node_id)


@pytest.fixture
async def node_a(nats: EmbeddedNats, rig: VaultRig) -> AsyncIterator[VaultNode]:
    async with vault_node(nats, "node-a") as node:
        yield node


@pytest.fixture
async def node_b(nats: EmbeddedNats, rig: VaultRig) -> AsyncIterator[VaultNode]:
    async with vault_node(nats, "node-b") as node:
        yield node
