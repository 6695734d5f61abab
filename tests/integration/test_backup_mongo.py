"""Backups of a fleet whose snapshots and ledger are in MongoDB."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from cli.backup.folder import open_backup
from cli.backup.prove import drill_backup
from cli.backup.put_back import restore_backup
from cli.embedded.server import EmbeddedNats
from control_plane.ledger.mongo import MongoLedger
from control_plane.ledger.settings import LedgerSettings, LedgerStoreKind
from control_plane.mongo import GridFsCollections, open_database
from control_plane.vault.gridfs_store import GridFsSnapshotStore
from control_plane.vault.settings import StoreKind, VaultSettings
from control_plane.vault.store import SnapshotStore
from schemas.messages import ChatMessage
from schemas.snapshots import snapshot_name
from schemas.states import MessageDirection, MessageKind, MessageState
from schemas.transport.connection import Bus
from tests.integration.nats_fixture import QUICK
from tests.integration.test_backup import EPOCH, SESSIONS, Rig, empty_bus
from tests.integration.vault_fixture import TENANT
from tests.mongo_server import MongoServer, why_not

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]

DATABASE: Final = "blazz_backup_test"


class MongoRig(Rig):
    """The same fleet, with its snapshots in GridFS."""

    def __init__(self, bus: Bus, backup_bus: Bus, folder: Path, uri: str, database: Any) -> None:
        super().__init__(bus, backup_bus, folder)
        self.database = database
        uri_file = folder / "mongo-uri"
        uri_file.write_text(uri)
        services = msgspec.structs.replace(
            self.settings.services,
            vault=VaultSettings(
                store=StoreKind.MONGO,
                master_key_file=self.key_file,
                mongo_uri_file=uri_file,
                mongo_database=DATABASE,
            ),
            ledger=LedgerSettings(
                store=LedgerStoreKind.MONGO, mongo_uri_file=uri_file, mongo_database=DATABASE
            ),
        )
        self.settings = msgspec.structs.replace(self.settings, services=services)

    def snapshots(self) -> SnapshotStore:
        held = self.database
        return GridFsSnapshotStore(
            GridFsCollections(held["snapshots.files"], held["snapshots.chunks"])
        )

    async def write(self, message_id: str, text: str) -> None:
        """A message into the ledger, or another text of it."""
        message = ChatMessage(
            message_id,
            SESSIONS[0],
            MessageDirection.INBOUND,
            MessageKind.TEXT,
            MessageState.RECEIVED,
            "15550001@c.us",
            time.time(),
            text=text,
        )
        await self.ledger().change(TENANT, SESSIONS[0], message_id, lambda _old: message)

    def ledger(self) -> MongoLedger:
        async def retention(_tenant: str) -> float:
            return 3600.0

        return MongoLedger(self.database["messages"], self.bus, retention_of=retention)


@pytest.fixture
async def rig(nats: EmbeddedNats, bus: Bus, tmp_path: Path) -> AsyncIterator[MongoRig]:
    server = await asyncio.to_thread(MongoServer().__enter__)
    try:
        async with (
            Bus.connect(nats.bus_settings(nats.backup, profile=QUICK)) as backup_bus,
            open_database(server.uri, DATABASE) as database,
        ):
            rig = MongoRig(bus, backup_bus, tmp_path, server.uri, database)
            await GridFsSnapshotStore(
                GridFsCollections(database["snapshots.files"], database["snapshots.chunks"])
            ).prepare()
            await rig.fill()
            yield rig
    finally:
        await asyncio.to_thread(server.__exit__)


async def test_brings_back_what_is_missing_and_leaves_what_is_newer(
    rig: MongoRig, tmp_path: Path
) -> None:
    for number in range(30):
        await rig.write(f"3EB0{number:016d}", "as it was")
    taken = await rig.take()
    assert taken.manifest.findings == ()
    assert taken.manifest.counts.snapshots_opened == len(SESSIONS)
    assert taken.manifest.counts.ledger_messages == 30
    backup = open_backup(taken.folder, (rig.key,))
    drilled = await drill_backup(backup, (rig.key,))
    assert drilled.ok, drilled.findings

    gone = await rig.database["messages"].delete_many({"_id": {"$regex": "0[0-4]$"}})
    assert gone.deleted_count == 5
    await rig.write("3EB0" + "0" * 14 + "25", "edited since")
    lost = snapshot_name(SESSIONS[2], EPOCH, 1)
    await rig.snapshots().delete(lost)
    async with empty_bus(tmp_path) as target:
        done = await restore_backup(target, backup, rig.settings, (rig.key,))
    assert done.findings == ()
    assert await rig.snapshots().stat(lost) is not None
    ledger = rig.ledger()
    back = await ledger.get(TENANT, SESSIONS[0], "3EB0" + "0" * 16)
    newer = await ledger.get(TENANT, SESSIONS[0], "3EB0" + "0" * 14 + "25")
    assert back is not None
    assert newer is not None
    assert (back.text, newer.text) == ("as it was", "edited since")
    # A second one finds all of it there.
    async with empty_bus(tmp_path / "again") as target:
        again = await restore_backup(target, backup, rig.settings, (rig.key,))
    assert again.documents_added == 0


async def test_a_chunk_that_is_missing_is_a_finding(rig: MongoRig) -> None:
    await rig.database["snapshots.chunks"].delete_one({"n": 0})
    taken = await rig.take()
    assert not taken.manifest.complete
    assert any("would not come back" in each for each in taken.manifest.findings)
    assert taken.manifest.counts.snapshots_opened == len(SESSIONS) - 1
