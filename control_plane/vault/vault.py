"""The vault's composition: a store, its keys and pointers, and what runs on them.

Owns who is built from what, and the lifetimes. Never a decision.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import structlog

from control_plane.state.fleet_state import FleetState
from control_plane.vault.admission import VaultAdmission
from control_plane.vault.data_keys import DataKeys
from control_plane.vault.jetstream_store import JetStreamSnapshotStore
from control_plane.vault.master_keys import MasterKeyRing, find_key_file
from control_plane.vault.pointers import Pointers
from control_plane.vault.pruner import Pruner
from control_plane.vault.server import VaultServer
from control_plane.vault.settings import StoreKind, VaultSettings
from control_plane.vault.store import SnapshotStore
from schemas.errors import BlazzError, ErrorCode
from schemas.records import LeaseRecord
from schemas.transport.background import Background
from schemas.transport.connection import Bus

log = structlog.get_logger()


class Vault(msgspec.Struct, frozen=True):
    """An open vault."""

    store: SnapshotStore
    pointers: Pointers
    keys: DataKeys
    admission: VaultAdmission


@asynccontextmanager
async def open_vault(bus: Bus, settings: VaultSettings) -> AsyncIterator[Vault]:
    """The vault for the block, serving nobody. Raises `master_key_missing`, `config_invalid`,
    `vault_unavailable`."""
    ring = MasterKeyRing(key_file(settings))
    # At the start, not at the first session: a fleet that can't open its keys must say so.
    await ring.active()
    keys = DataKeys(bus, ring, cache_s=settings.data_key_cache_s)
    async with open_store(bus, settings) as store, Pointers(bus) as pointers:
        yield Vault(store, pointers, keys, VaultAdmission(keys, pointers))


@asynccontextmanager
async def serve_vault(
    bus: Bus, state: FleetState, vault: Vault, settings: VaultSettings, me: LeaseRecord
) -> AsyncIterator[None]:
    """For the block, answer nodes, and prune whenever this replica holds the lease."""
    pruner = Pruner(bus, vault.store, vault.pointers, vault.keys, settings)
    async with (
        VaultServer(bus, state, vault.store, vault.pointers).serve(),
        Background() as tasks,
    ):
        tasks.start(pruner.run(me), name="vault pruner")
        log.info("vault.opened", store=settings.store)
        yield


@asynccontextmanager
async def open_store(bus: Bus, settings: VaultSettings) -> AsyncIterator[SnapshotStore]:
    """The store that the settings name. motor is loaded only where it is used."""
    match settings.store:
        case StoreKind.JETSTREAM:
            yield JetStreamSnapshotStore(bus)
        case StoreKind.MONGO:
            from control_plane.mongo import open_gridfs, read_uri
            from control_plane.vault.gridfs_store import GridFsSnapshotStore

            uri = await asyncio.to_thread(read_uri, settings.mongo_uri_file, "vault")
            async with open_gridfs(
                uri, settings.mongo_database, settings.mongo_bucket
            ) as collections:
                store = GridFsSnapshotStore(collections)
                await store.prepare()
                yield store


def key_file(settings: VaultSettings, environ: Mapping[str, str] | None = None) -> Path:
    """Where the master keys are. Raises `master_key_missing`."""
    found = find_key_file(settings.master_key_file, os.environ if environ is None else environ)
    if found is None:
        raise BlazzError(
            ErrorCode.MASTER_KEY_MISSING,
            "neither `services.vault.master_key_file` nor a systemd credential `master-key` is set",
        )
    return found
