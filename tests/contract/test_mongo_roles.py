"""What control planes ask of MongoDB is what their role allows, on every collection.

The wire server of the tests checks no roles, so the commands are watched on their way instead. With
`BLAZZ_TEST_MONGO_URI` it is a real server; that the role itself is obeyed is MongoDB's to keep.
"""

import hashlib
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import monitoring

from cli.embedded.server import EmbeddedNats
from control_plane.access.tenant_cache import TenantCache
from control_plane.core.mongo_roles import mongo_roles
from control_plane.ledger.opening import TenantRetention, open_ledger
from control_plane.ledger.port import LedgerQuery
from control_plane.ledger.settings import LedgerSettings, LedgerStoreKind
from control_plane.mongo import open_gridfs
from control_plane.vault.gridfs_store import GridFsSnapshotStore
from control_plane.vault.store import PART_BYTES, StoredObject
from schemas.errors import BlazzError
from schemas.messages import ChatMessage
from schemas.transport.connection import Bus
from schemas.transport.ensure import ensure_all
from tests.contract.test_ledgers import SESSION, message
from tests.integration.nats_fixture import QUICK, SCALE
from tests.integration.nats_fixture import SETTINGS as NATS_SETTINGS

ACTIONS = {
    "find": {"find"},
    "distinct": {"find"},
    "count": {"find"},
    "aggregate": {"find"},
    "getMore": {"find"},
    "insert": {"insert"},
    "update": {"update"},
    "delete": {"remove"},
    "createIndexes": {"createIndex"},
    "listIndexes": {"listIndexes"},
    "findAndModify": {"find", "update", "remove"},
}
TENANT = "acme"
HARMLESS = {"hello", "isMaster", "ismaster", "ping", "endSessions", "buildInfo", "killCursors"}


class Watcher(monitoring.CommandListener):
    """Which actions were needed on which collection."""

    def __init__(self) -> None:
        self.on = False
        self.needed: dict[str, set[str]] = {}

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if not self.on or event.command_name in HARMLESS:
            return
        name = event.command_name
        collection = event.command["collection" if name == "getMore" else name]
        self.needed.setdefault(str(collection), set()).update(ACTIONS.get(name, {name}))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None: ...

    def failed(self, event: monitoring.CommandFailedEvent) -> None: ...


WATCHER = Watcher()
monitoring.register(WATCHER)


@pytest.fixture
def watched() -> Iterator[Watcher]:
    WATCHER.on, WATCHER.needed = True, {}
    yield WATCHER
    WATCHER.on = False


@pytest.fixture
async def database(mongo: str) -> AsyncIterator[str]:
    name = f"blazz_test_{secrets.token_hex(6)}"
    yield name
    client: Any = AsyncIOMotorClient(mongo)
    await client.drop_database(name)
    client.close()


async def test_the_vault_needs_no_more_than_its_role(
    mongo: str, database: str, watched: Watcher
) -> None:
    data, name = secrets.token_bytes(PART_BYTES + 9), "ses_1/1-1"
    whole = StoredObject(name, len(data), hashlib.sha256(data).hexdigest())
    async with open_gridfs(mongo, database, "snapshots") as collections:
        store = GridFsSnapshotStore(collections)
        await store.prepare()
        await store.write_part(name, 0, data[:PART_BYTES])
        await store.write_part(name, 1, data[PART_BYTES:])
        await store.write_part(name, 1, data[PART_BYTES:])
        with pytest.raises(BlazzError):
            await store.write_part(name, 1, b"other bytes")
        await store.seal(whole)
        await store.write_whole("ses_1/1-2", b"small")
        assert await store.stat(name) == whole
        assert await store.read_part(name, 0) == data[:PART_BYTES]
        assert await store.names("ses_1") == {name, "ses_1/1-2"}
        assert await store.sessions() == {"ses_1"}
        await store.delete(name)
    assert watched.needed.keys() == {"snapshots.files", "snapshots.chunks"}
    for collection, needed in watched.needed.items():
        assert needed <= set(mongo_roles()[0].actions[collection])
        assert "update" not in needed


async def test_the_ledger_needs_no_more_than_its_role(
    mongo: str, database: str, watched: Watcher, tmp_path: Path
) -> None:
    uri_file = tmp_path / "uri"
    uri_file.write_text(mongo)
    settings = LedgerSettings(
        store=LedgerStoreKind.MONGO, mongo_uri_file=uri_file, mongo_database=database
    )
    made = message()

    def begin(_held: ChatMessage | None) -> ChatMessage:
        return made

    async with (
        EmbeddedNats(tmp_path / "nats", NATS_SETTINGS) as nats,
        Bus.connect(nats.bus_settings(nats.control_plane, profile=QUICK)) as bus,
    ):
        await ensure_all(bus, scale=SCALE)
        retention_of = TenantRetention(TenantCache(bus), settings.retention_s)
        async with open_ledger(bus, settings, retention_of) as ledger:
            for _ in range(2):
                await ledger.change(TENANT, SESSION, made.message_id, begin)
            assert await ledger.get(TENANT, SESSION, made.message_id) == made
            assert (await ledger.list(TENANT, SESSION, LedgerQuery())).data
            await ledger.erase(TENANT, session_id=SESSION)
    assert watched.needed["messages"] <= set(mongo_roles()[0].actions["messages"])
    assert watched.needed.keys() == {"messages"}
