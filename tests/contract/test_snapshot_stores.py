"""One suite on every snapshot store: the embedded one and MongoDB's GridFS.

MongoDB is a real server where `BLAZZ_TEST_MONGO_URI` names one, else a wire-compatible one in a
process of its own.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorGridFSBucket

from cli.embedded.server import EmbeddedNats
from control_plane.mongo import open_gridfs
from control_plane.vault import store as stores
from control_plane.vault.gridfs_store import GridFsSnapshotStore
from control_plane.vault.jetstream_store import JetStreamSnapshotStore
from control_plane.vault.store import PART_BYTES, SnapshotStore, StoredObject
from schemas.errors import BlazzError, ErrorCode
from schemas.resources import VAULT
from schemas.subjects import vault_part
from schemas.transport.connection import Bus
from schemas.transport.ensure import ensure_all
from schemas.transport.jetstream import JetStream
from tests.integration.nats_fixture import QUICK, SCALE
from tests.integration.nats_fixture import SETTINGS as NATS_SETTINGS
from tests.mongo_server import URI_VARIABLE, MongoServer, why_not

pytestmark = [pytest.mark.nats, pytest.mark.xdist_group("snapshot-stores")]
SESSION = "ses_" + "0" * 25 + "1"
OTHER = "ses_" + "0" * 25 + "2"
NAME = f"{SESSION}/1-1"


@pytest.fixture(params=["jetstream", "gridfs"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SnapshotStore]:
    async with AsyncExitStack() as stack:
        if request.param == "jetstream":
            nats = await stack.enter_async_context(EmbeddedNats(tmp_path / "nats", NATS_SETTINGS))
            bus = await stack.enter_async_context(
                Bus.connect(nats.bus_settings(nats.control_plane, profile=QUICK))
            )
            await ensure_all(bus, scale=SCALE)
            yield JetStreamSnapshotStore(bus)
        else:
            uri: str = request.getfixturevalue("mongo")
            database = f"blazz_test_{secrets.token_hex(6)}"
            collections = await stack.enter_async_context(open_gridfs(uri, database, "snapshots"))
            stack.push_async_callback(_drop, uri, database)
            found = GridFsSnapshotStore(collections)
            await found.prepare()
            yield found


async def _drop(uri: str, database: str) -> None:
    client: Any = AsyncIOMotorClient(uri)
    await client.drop_database(database)
    client.close()


async def chunked(data: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def whole(store: SnapshotStore, name: str = NAME, offset: int = 0) -> bytes:
    return b"".join([part async for part in stores.read(store, name, offset)])


def stored(name: str, data: bytes) -> StoredObject:
    return StoredObject(name, len(data), hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize(
    "size", [1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES, 3 * PART_BYTES + 7]
)
async def test_reads_back_what_was_put(store: SnapshotStore, size: int) -> None:
    data = secrets.token_bytes(size)
    assert await stores.put(store, NAME, chunked(data)) == stored(NAME, data)
    assert await store.stat(NAME) == stored(NAME, data)
    assert await whole(store) == data
    await stores.read_back(store, stored(NAME, data))


async def test_reads_from_an_offset(store: SnapshotStore) -> None:
    data = secrets.token_bytes(2 * PART_BYTES + 10)
    await stores.put(store, NAME, chunked(data))
    assert await whole(store, offset=PART_BYTES) == data[PART_BYTES:]


@pytest.mark.parametrize("size", [100, PART_BYTES + 100])
async def test_a_second_put_changes_nothing(store: SnapshotStore, size: int) -> None:
    data = secrets.token_bytes(size)
    await stores.put(store, NAME, chunked(data))
    await stores.put(store, NAME, chunked(data, 77_777))
    other = bytes([data[0] ^ 1]) + data[1:]
    with pytest.raises(BlazzError) as refused:
        await stores.put(store, NAME, chunked(other))
    assert refused.value.code is ErrorCode.CONFLICT
    assert await whole(store) == data


async def test_two_writers_at_once_end_with_one_object(store: SnapshotStore) -> None:
    candidates = [secrets.token_bytes(2000) for _ in range(6)]
    results = await asyncio.gather(
        *(store.write_whole(NAME, data) for data in candidates), return_exceptions=True
    )
    won = [data for data, error in zip(candidates, results, strict=True) if error is None]
    lost = [error for error in results if error is not None]
    assert all(isinstance(error, BlazzError) and error.code == "conflict" for error in lost)
    assert len(won) == 1
    assert await whole(store) == won[0]


async def test_an_object_does_not_exist_before_its_seal(store: SnapshotStore) -> None:
    parts = [secrets.token_bytes(PART_BYTES), b"tail"]
    for index, part in enumerate(parts):
        await store.write_part(NAME, index, part)
    assert await store.stat(NAME) is None
    with pytest.raises(BlazzError) as missing:
        await whole(store)
    assert missing.value.code is ErrorCode.SNAPSHOT_NOT_FOUND
    # Parts can be read back before the seal: that is the check that comes before it.
    sealed = stored(NAME, b"".join(parts))
    await stores.read_back(store, sealed)
    await store.seal(sealed)
    await store.seal(sealed)
    assert await whole(store) == b"".join(parts)


async def test_a_seal_can_not_be_changed(store: SnapshotStore) -> None:
    await store.write_part(NAME, 0, b"abc")
    await store.seal(stored(NAME, b"abc"))
    with pytest.raises(BlazzError) as refused:
        await store.seal(stored(NAME, b"abcd"))
    assert refused.value.code is ErrorCode.CONFLICT


async def test_reading_back_tells_a_wrong_or_missing_part(store: SnapshotStore) -> None:
    await store.write_part(NAME, 0, b"x" * PART_BYTES)
    with pytest.raises(BlazzError) as missing:
        await stores.read_back(store, stored(NAME, b"x" * (PART_BYTES + 5)))
    assert missing.value.code is ErrorCode.SNAPSHOT_NOT_FOUND
    await store.write_part(NAME, 1, b"yyyyy")
    with pytest.raises(BlazzError) as wrong:
        await stores.read_back(store, stored(NAME, b"x" * (PART_BYTES + 5)))
    assert wrong.value.code is ErrorCode.SNAPSHOT_CORRUPT


async def test_what_was_never_put_is_not_found(store: SnapshotStore) -> None:
    assert await store.stat(NAME) is None
    assert await store.names(SESSION) == set()
    with pytest.raises(BlazzError) as missing:
        await store.read_part(NAME, 0)
    assert missing.value.code is ErrorCode.SNAPSHOT_NOT_FOUND
    await store.delete(NAME)


async def test_deletes_an_object_and_nothing_else(store: SnapshotStore) -> None:
    for name in (NAME, f"{SESSION}/1-10", f"{SESSION}/11-1", f"{OTHER}/1-1"):
        await stores.put(store, name, chunked(secrets.token_bytes(PART_BYTES + 1)))
    await store.write_part(f"{SESSION}/2-1", 0, b"never sealed")
    assert await store.names(SESSION) == {
        NAME,
        f"{SESSION}/1-10",
        f"{SESSION}/11-1",
        f"{SESSION}/2-1",
    }
    assert await store.sessions() == {SESSION, OTHER}
    await store.delete(NAME)
    await store.delete(NAME)
    assert await store.stat(NAME) is None
    await store.delete(f"{SESSION}/2-1")
    assert await store.names(SESSION) == {f"{SESSION}/1-10", f"{SESSION}/11-1"}
    # The name is free again, with other bytes.
    await stores.put(store, NAME, chunked(b"new"))
    assert await whole(store) == b"new"


async def test_too_large_an_object_leaves_nothing(
    store: SnapshotStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "OBJECT_BYTES_MAX", 2 * PART_BYTES)
    with pytest.raises(BlazzError) as refused:
        await stores.put(store, NAME, chunked(secrets.token_bytes(2 * PART_BYTES + 1)))
    assert refused.value.code is ErrorCode.SNAPSHOT_TOO_LARGE
    assert await store.names(SESSION) == set()


# What is each adapter's own --------------------------------------------------------------------


async def test_a_full_stream_refuses_and_loses_nothing(tmp_path: Path) -> None:
    async with (
        EmbeddedNats(tmp_path / "nats", NATS_SETTINGS) as nats,
        Bus.connect(nats.bus_settings(nats.control_plane, profile=QUICK)) as bus,
    ):
        await ensure_all(bus, scale=0.0001)  # 1 MiB, the least
        store = JetStreamSnapshotStore(bus)
        await store.write_whole(NAME, b"first")
        await store.write_part(f"{SESSION}/1-2", 0, secrets.token_bytes(PART_BYTES))
        with pytest.raises(BlazzError) as full:
            await store.write_part(f"{SESSION}/1-2", 1, secrets.token_bytes(PART_BYTES))
        assert full.value.code is ErrorCode.VAULT_UNAVAILABLE
        assert full.value.retryable
        assert await whole(store) == b"first"


async def test_a_stream_away_is_vault_unavailable(tmp_path: Path) -> None:
    async with (
        EmbeddedNats(tmp_path / "nats", NATS_SETTINGS) as nats,
        Bus.connect(nats.bus_settings(nats.control_plane, profile=QUICK)) as bus,
    ):
        store = JetStreamSnapshotStore(bus)  # nothing was ensured
        for call in (store.write_whole(NAME, b"x"), store.stat(NAME), store.names(SESSION)):
            with pytest.raises(BlazzError) as away:
                await call
            assert away.value.code is ErrorCode.VAULT_UNAVAILABLE


async def test_a_missing_first_part_is_not_an_empty_one(tmp_path: Path) -> None:
    async with (
        EmbeddedNats(tmp_path / "nats", NATS_SETTINGS) as nats,
        Bus.connect(nats.bus_settings(nats.control_plane, profile=QUICK)) as bus,
    ):
        await ensure_all(bus, scale=SCALE)
        store = JetStreamSnapshotStore(bus)
        data = secrets.token_bytes(PART_BYTES + 1)
        await stores.put(store, NAME, chunked(data))
        await JetStream(bus).purge(VAULT, vault_part(NAME, 0))
        with pytest.raises(BlazzError) as missing:
            await stores.read_back(store, stored(NAME, data))
        assert missing.value.code is ErrorCode.SNAPSHOT_NOT_FOUND


async def test_gridfs_tools_read_our_objects(mongo: str) -> None:
    database = f"blazz_test_{secrets.token_hex(6)}"
    data = secrets.token_bytes(2 * PART_BYTES + 5)
    client: Any = AsyncIOMotorClient(mongo)
    try:
        async with open_gridfs(mongo, database, "snapshots") as collections:
            store = GridFsSnapshotStore(collections)
            await store.prepare()
            await stores.put(store, NAME, chunked(data))
        bucket: Any = AsyncIOMotorGridFSBucket(client[database], "snapshots")
        stream = await bucket.open_download_stream_by_name(NAME)
        assert await stream.read() == data
    finally:
        await client.drop_database(database)
        client.close()


@pytest.mark.skipif(bool(os.environ.get(URI_VARIABLE)), reason="kills its server")
async def test_gridfs_survives_the_death_of_its_server() -> None:
    reason = why_not()
    if reason:
        pytest.skip(reason)
    data = secrets.token_bytes(PART_BYTES + 5)
    server = await asyncio.to_thread(MongoServer().__enter__)
    try:
        async with open_gridfs(server.uri, "blazz_test", "snapshots") as collections:
            store = GridFsSnapshotStore(collections)
            await store.prepare()
            await stores.put(store, NAME, chunked(data))
            await asyncio.to_thread(server.kill)
            with pytest.raises(BlazzError) as away:
                await store.stat(NAME)
            assert away.value.code is ErrorCode.VAULT_UNAVAILABLE
            assert "127.0.0.1" not in str(away.value)
            await asyncio.to_thread(server.restart)
            assert await whole(store) == data
    finally:
        await asyncio.to_thread(server.__exit__, None, None, None)
