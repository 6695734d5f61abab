"""Uploads in pieces and the room they take, on a real bus; two stores stand for two replicas."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable

import msgspec
import pytest

from cli.embedded.server import EmbeddedNats
from control_plane.media.quota import MediaLimits
from control_plane.media.store import JetStreamMediaStore
from control_plane.media.uploads import StreamUploads
from control_plane.media_ports import Upload
from schemas.api_messages import NewUpload
from schemas.errors import BlazzError, ErrorCode
from schemas.messages import MEDIA_CHUNK_BYTES
from schemas.resources import MEDIA
from schemas.subjects import media_ref
from schemas.transport.connection import Bus
from tests.integration.nats_fixture import QUICK
from tests.waiting import eventually

TENANT = "acme"
RIVAL = "rival"
DATA = b"%PDF-1.7 " + bytes(range(256)) * 6_000  # three chunks, the last not full
HALF = MEDIA_CHUNK_BYTES + 1_000


class Replica(msgspec.Struct, frozen=True):
    store: JetStreamMediaStore
    uploads: StreamUploads
    bus: Bus

    async def subjects(self, tenant: str = TENANT) -> dict[str, int]:
        """What lies on the stream for a tenant."""
        return await self.store._jetstream.subjects(MEDIA, f"blazz.media.{tenant}.>")


def replica(bus: Bus, limits: MediaLimits | None = None) -> Replica:
    store = JetStreamMediaStore(bus, limits)
    return Replica(store, StreamUploads(bus, store), bus)


@pytest.fixture
async def other(nats: EmbeddedNats, bus: Bus) -> AsyncIterator[Replica]:
    del bus  # it makes the streams
    async with Bus.connect(nats.bus_settings(nats.control_plane, profile=QUICK)) as connected:
        yield replica(connected)


def announced(data: bytes = DATA, **fields: object) -> NewUpload:
    values = {
        "sha256": hashlib.sha256(data).hexdigest(),
        "size_bytes": len(data),
        "mimetype": "application/pdf",
        **fields,
    }
    return msgspec.convert(values, NewUpload)


async def body(data: bytes, *, piece: int = 100_000, broken: bool = False) -> AsyncIterator[bytes]:
    for start in range(0, len(data), piece):
        yield data[start : start + piece]
    if broken:
        raise ConnectionResetError


async def read(replica: Replica, upload: Upload) -> bytes:
    data = b""
    while len(data) < upload.size_bytes:
        data += (await replica.store.read(TENANT, upload.upload_id, len(data))).data
    return data


async def test_a_broken_upload_goes_on_at_another_replica(bus: Bus, other: Replica) -> None:
    one = replica(bus)
    begun = await one.uploads.begin(TENANT, announced())
    with pytest.raises(ConnectionResetError):
        await one.uploads.append(TENANT, begun.upload_id, 0, body(DATA[:HALF], broken=True))
    found = await other.uploads.begin(TENANT, announced())
    assert (found.upload_id, found.offset, found.held) == (begun.upload_id, HALF, None)
    with pytest.raises(BlazzError) as unfinished:
        await other.store.ref(TENANT, begun.upload_id)
    assert unfinished.value.code is ErrorCode.MEDIA_NOT_FOUND
    done = await other.uploads.append(TENANT, begun.upload_id, HALF, body(DATA[HALF:]))
    assert done.held is not None
    assert done.held.ref.sha256 == hashlib.sha256(DATA).hexdigest()
    assert await read(one, done) == DATA
    # What is there needs no upload; another tenant's is not known.
    assert (await one.uploads.begin(TENANT, announced())).held == done.held
    assert (await one.uploads.begin(RIVAL, announced())).upload_id != done.upload_id
    for call in (other.uploads.upload, other.store.delete):
        with pytest.raises(BlazzError) as foreign:
            await call(RIVAL, begun.upload_id)
        assert foreign.value.code is ErrorCode.MEDIA_NOT_FOUND


async def test_small_pieces_leave_nothing_behind(bus: Bus) -> None:
    one = replica(bus)
    small = DATA[:400]
    upload = await one.uploads.begin(TENANT, announced(small))
    for at in range(0, len(small), 40):
        upload = await one.uploads.append(TENANT, upload.upload_id, at, body(small[at : at + 40]))
    assert upload.held is not None
    assert await read(one, upload) == small
    assert set((await one.subjects()).values()) == {1}


async def test_one_who_was_overtaken_writes_nothing_more(bus: Bus, other: Replica) -> None:
    one = replica(bus)
    begun = await one.uploads.begin(TENANT, announced())
    overtaken = asyncio.Event()

    async def hangs() -> AsyncIterator[bytes]:
        yield DATA[:MEDIA_CHUNK_BYTES]
        await overtaken.wait()
        yield b"?" * (len(DATA) - MEDIA_CHUNK_BYTES)

    async def stored() -> bool:
        now = await other.uploads.upload(TENANT, begun.upload_id)
        return now.offset == MEDIA_CHUNK_BYTES

    async with asyncio.TaskGroup() as group:
        slow = group.create_task(_code_of(one.uploads.append(TENANT, begun.upload_id, 0, hangs())))
        await eventually(stored, what="the first chunk is stored")
        rest = body(DATA[MEDIA_CHUNK_BYTES:])
        done = await other.uploads.append(TENANT, begun.upload_id, MEDIA_CHUNK_BYTES, rest)
        overtaken.set()
    assert slow.result() is ErrorCode.UPLOAD_OFFSET_MISMATCH
    assert await read(one, done) == DATA


async def _code_of(call: Awaitable[object]) -> ErrorCode | None:
    try:
        await call
    except BlazzError as error:
        return error.code
    return None


async def test_two_who_begin_at_once_share_one_upload(bus: Bus, other: Replica) -> None:
    one = replica(bus)
    both = await asyncio.gather(
        *(r.uploads.begin(TENANT, announced()) for r in (one, other) for _ in range(3))
    )
    assert len({upload.upload_id for upload in both}) == 1
    assert len([s for s in await one.subjects() if ".use." in s]) == 1


@pytest.mark.parametrize(
    "sent",
    [DATA[:-1] + b"!", b"<html>" + DATA[6:]],
    ids=["other bytes", "not what the mimetype says"],
)
async def test_a_whole_that_is_not_what_was_announced_is_forgotten(bus: Bus, sent: bytes) -> None:
    one = replica(bus)
    sha256 = announced(sent).sha256 if sent.startswith(b"<") else announced().sha256
    begun = await one.uploads.begin(TENANT, announced(sha256=sha256))
    with pytest.raises(BlazzError) as caught:
        await one.uploads.append(TENANT, begun.upload_id, 0, body(sent))
    assert caught.value.code is ErrorCode.MEDIA_CORRUPT
    left = await one.subjects()
    assert [s for s in left if ".content." not in s] == []
    assert (await one.uploads.begin(TENANT, announced(sha256=sha256))).offset == 0


async def test_more_than_announced_is_refused_and_the_upload_stays(bus: Bus) -> None:
    one = replica(bus)
    begun = await one.uploads.begin(TENANT, announced(DATA[:1_000]))
    with pytest.raises(BlazzError) as caught:
        await one.uploads.append(TENANT, begun.upload_id, 0, body(DATA[:1_001], piece=600))
    assert caught.value.code is ErrorCode.MEDIA_TOO_LARGE
    assert (await one.uploads.upload(TENANT, begun.upload_id)).offset == 600


async def test_an_upload_whose_writer_died_before_its_end_is_ended(bus: Bus) -> None:
    one = replica(bus)
    begun = await one.uploads.begin(TENANT, announced())
    await one.uploads.append(TENANT, begun.upload_id, 0, body(DATA))
    # As if the process had died between the last chunk and the media's record.
    await one.store._jetstream.purge(MEDIA, media_ref(TENANT, begun.upload_id))
    found = await one.uploads.upload(TENANT, begun.upload_id)
    assert found.held is not None
    assert await read(one, found) == DATA


async def test_a_tenant_has_room_for_so_many_and_so_much(bus: Bus) -> None:
    one = replica(bus, MediaLimits(uploads_max=3, bytes_max=2_000))
    small = DATA[:900]

    async def put(tenant: str = TENANT, size: int = 900) -> str:
        held = await one.store.put(
            tenant, body(DATA[:size]), mimetype="application/pdf", filename=None
        )
        return held.ref.media_id

    async def refused(size: int) -> bool:
        try:
            await put(size=size)
        except BlazzError as error:
            return error.code is ErrorCode.MEDIA_QUOTA_EXCEEDED
        return False

    first = await put()
    # An upload takes its room when it begins; the same content is found instead.
    assert (await one.uploads.begin(TENANT, announced(small))).held is not None
    begun = await one.uploads.begin(TENANT, announced(small, filename="b.pdf"))
    assert await refused(300)
    assert not [s for s in await one.subjects() if s.endswith(".2")]
    await put(RIVAL)
    await put(size=100)
    assert await refused(50)
    await one.store.delete(TENANT, begun.upload_id)
    await put(size=100)
    await one.store.delete(TENANT, first)
    with pytest.raises(BlazzError) as gone:
        await one.store.ref(TENANT, first)
    assert gone.value.code is ErrorCode.MEDIA_NOT_FOUND
    # Another replica reads what lies there.
    fresh = replica(bus, MediaLimits(uploads_max=2, bytes_max=2_000))
    with pytest.raises(BlazzError) as full:
        await fresh.uploads.begin(TENANT, announced())
    assert full.value.code is ErrorCode.MEDIA_QUOTA_EXCEEDED
