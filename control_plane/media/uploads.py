"""Uploads in pieces: begun by what will come, gone on with from where they stopped.

Owns the offset, the pieces that do not fill a chunk, and the check of the whole. Everything stands
on the stream, so that any replica goes on; two that write at once are told apart by the server
(each chunk is written with compare-and-set). Never holds more than one chunk in memory.
"""

import hashlib
import time
from collections.abc import AsyncIterator
from typing import Final

import msgspec
import uuid_utils

from control_plane.core import media_kinds
from control_plane.media.store import (
    MEDIA_TTL_S,
    JetStreamMediaStore,
    content_sha256,
    expires_at,
)
from control_plane.media_ports import HeldMedia, Upload
from schemas import ids
from schemas.api_messages import NewUpload
from schemas.errors import BlazzError, ErrorCode
from schemas.ids import MediaId, TenantId
from schemas.messages import MEDIA_CHUNK_BYTES, MediaRef
from schemas.records import UploadRecord
from schemas.resources import MEDIA
from schemas.subjects import media_chunk, media_chunks, media_of_content, media_upload
from schemas.transport.connection import Bus
from schemas.transport.jetstream import EXPECT_SUBJECT_SEQ, Conflict, JetStream
from schemas.transport.typed import decode

_TRIES_MAX: Final = 4
_LIFE_LEFT_S: Final = MEDIA_TTL_S / 2
"""Media that is older is uploaded anew: it would be gone before a queue behind an outage is."""


class _Tail(msgspec.Struct):
    """The chunk that is being filled: its number, what is in it, and its sequence (0: none)."""

    index: int = 0
    data: bytes = b""
    sequence: int = 0

    @property
    def offset(self) -> int:
        return self.index * MEDIA_CHUNK_BYTES + len(self.data)


class StreamUploads:
    """Implements `ports.Uploads`."""

    def __init__(self, bus: Bus, store: JetStreamMediaStore) -> None:
        self._jetstream = JetStream(bus)
        self._store = store

    async def begin(self, tenant: TenantId, new: NewUpload) -> Upload:
        """See `ports.Uploads`. Raises `media_unsupported`, `media_too_large`."""
        kind = media_kinds.media_type(new.mimetype)
        if new.size_bytes > kind.bytes_max:
            raise BlazzError(
                ErrorCode.MEDIA_TOO_LARGE,
                f"at most {kind.bytes_max} bytes for {kind.kind}",
                bytes_max=kind.bytes_max,
            )
        digest = content_sha256(new.sha256, new.size_bytes, new.mimetype, new.filename)
        content = media_of_content(tenant, digest)
        for _ in range(_TRIES_MAX):
            named = await self._jetstream.last_by_subject(MEDIA, content)
            if named is not None:
                known = await self._known(tenant, named.data.decode())
                if known is not None and known.expires_at - time.time() > _LIFE_LEFT_S:
                    return known
            made = await self._make(tenant, new)
            expected = {EXPECT_SUBJECT_SEQ: str(named.seq if named else 0)}
            try:
                await self._jetstream.publish(content, made.upload_id.encode(), headers=expected)
            except Conflict:
                # Somebody began the same: go on with theirs.
                await self._store.remove(tenant, made.upload_id)
                continue
            return made
        raise BlazzError(ErrorCode.CONFLICT)

    async def _known(self, tenant: TenantId, media_id: str) -> Upload | None:
        try:
            return await self.upload(tenant, media_id)
        except BlazzError as error:
            if error.code is not ErrorCode.MEDIA_NOT_FOUND:
                raise
            return None

    async def _make(self, tenant: TenantId, new: NewUpload) -> Upload:
        media_id = ids.media_id(uuid_utils.uuid7().bytes)
        await self._store.quota.take(tenant, media_id, new.size_bytes)
        record = UploadRecord(media_id, new.mimetype, new.size_bytes, new.sha256, new.filename)
        await self._jetstream.publish(media_upload(tenant, media_id), msgspec.json.encode(record))
        return Upload(media_id, 0, new.size_bytes, expires_at(media_id))

    async def upload(self, tenant: TenantId, upload: MediaId) -> Upload:
        """See `ports.Uploads`. One whose last piece is there, but whose writer died, is ended."""
        held = await self._held(tenant, upload)
        if held is not None:
            return _done(held)
        record = await self._record(tenant, upload)
        tail = await self._tail(tenant, upload)
        if tail.offset == record.size_bytes:
            return _done(await self._finish(tenant, record))
        return _under_way(record, tail)

    async def append(
        self, tenant: TenantId, upload: MediaId, offset: int, data: AsyncIterator[bytes]
    ) -> Upload:
        """See `ports.Uploads`. Raises also `media_too_large` for more than was announced."""
        now = await self.upload(tenant, upload)
        if offset != now.offset:
            raise _elsewhere(now.offset)
        if now.held is not None:
            return now
        record = await self._record(tenant, upload)
        tail = await self._tail(tenant, upload)
        try:
            broken = await self._take(tenant, record, tail, data)
        except Conflict:
            raise _elsewhere((await self._tail(tenant, upload)).offset) from None
        except BlazzError as error:
            if error.code is ErrorCode.MEDIA_CORRUPT:
                await self._store.remove(tenant, upload)
            raise
        if broken is not None:
            raise broken
        if tail.offset == record.size_bytes:
            return _done(await self._finish(tenant, record))
        return _under_way(record, tail)

    async def _take(
        self, tenant: TenantId, record: UploadRecord, tail: _Tail, data: AsyncIterator[bytes]
    ) -> Exception | None:
        """Store what comes, up to the end or to where it breaks off, which is answered."""
        buffer, stored, broken = bytearray(tail.data), len(tail.data), None
        pieces = aiter(data)
        while True:
            try:
                piece = await anext(pieces)
            except StopAsyncIteration:
                break
            except Exception as error:  # noqa: BLE001 - whatever it is, it is raised in the end
                broken = error
                break
            if tail.index * MEDIA_CHUNK_BYTES + len(buffer) + len(piece) > record.size_bytes:
                broken = BlazzError(
                    ErrorCode.MEDIA_TOO_LARGE,
                    f"{record.size_bytes} bytes were announced",
                    bytes_max=record.size_bytes,
                )
                break
            buffer += piece
            while len(buffer) >= MEDIA_CHUNK_BYTES:
                tail.data = bytes(buffer[:MEDIA_CHUNK_BYTES])
                del buffer[:MEDIA_CHUNK_BYTES]
                await self._write(tenant, record, tail)
                tail.index, tail.data, tail.sequence, stored = tail.index + 1, b"", 0, 0
        if len(buffer) > stored:
            tail.data = bytes(buffer)
            await self._write(tenant, record, tail)
        return broken

    async def _write(self, tenant: TenantId, record: UploadRecord, tail: _Tail) -> None:
        """Write the tail over what it was; the older version would only take room."""
        whole = tail.offset == record.size_bytes
        if tail.index == 0 and (whole or len(tail.data) >= media_kinds.HEAD_BYTES):
            kind = media_kinds.media_type(record.mimetype)
            media_kinds.check_head(kind, tail.data[: media_kinds.HEAD_BYTES])
        before = tail.sequence
        ack = await self._jetstream.publish(
            media_chunk(tenant, record.media_id, tail.index),
            tail.data,
            headers={EXPECT_SUBJECT_SEQ: str(before)},
        )
        tail.sequence = ack.seq
        if before:
            await self._jetstream.delete_message(MEDIA, before)

    async def _finish(self, tenant: TenantId, record: UploadRecord) -> HeldMedia:
        """Read the whole back and let it exist; else forget it."""
        digest = hashlib.sha256()
        for index in range(-(-record.size_bytes // MEDIA_CHUNK_BYTES)):
            subject = media_chunk(tenant, record.media_id, index)
            stored = await self._jetstream.last_by_subject(MEDIA, subject)
            digest.update(stored.data if stored is not None else b"")
        if digest.hexdigest() != record.sha256:
            await self._store.remove(tenant, record.media_id)
            raise BlazzError(
                ErrorCode.MEDIA_CORRUPT, "the bytes do not have the sha256 that was announced"
            )
        ref = MediaRef(
            record.media_id, record.mimetype, record.size_bytes, record.sha256, record.filename
        )
        return await self._store.publish_ref(tenant, ref)

    async def _held(self, tenant: TenantId, media_id: MediaId) -> HeldMedia | None:
        try:
            return await self._store.held(tenant, media_id)
        except BlazzError as error:
            if error.code is not ErrorCode.MEDIA_NOT_FOUND:
                raise
            return None

    async def _record(self, tenant: TenantId, media_id: MediaId) -> UploadRecord:
        stored = await self._jetstream.last_by_subject(MEDIA, media_upload(tenant, media_id))
        if stored is None:
            raise BlazzError(ErrorCode.MEDIA_NOT_FOUND, "no such upload, or it has expired")
        return decode(stored.data, UploadRecord)

    async def _tail(self, tenant: TenantId, media_id: MediaId) -> _Tail:
        subjects = await self._jetstream.subjects(MEDIA, media_chunks(tenant, media_id))
        parts = (subject.rpartition(".")[2] for subject in subjects)
        last = max((int(part) for part in parts if part.isdecimal()), default=None)
        if last is None:
            return _Tail()
        stored = await self._jetstream.last_by_subject(MEDIA, media_chunk(tenant, media_id, last))
        if stored is None:
            raise BlazzError(ErrorCode.MEDIA_NOT_FOUND, "the upload has just expired")
        if len(stored.data) == MEDIA_CHUNK_BYTES:
            return _Tail(last + 1)
        return _Tail(last, stored.data, stored.seq)


def _under_way(record: UploadRecord, tail: _Tail) -> Upload:
    return Upload(record.media_id, tail.offset, record.size_bytes, expires_at(record.media_id))


def _done(held: HeldMedia) -> Upload:
    size = held.ref.size_bytes
    return Upload(held.ref.media_id, size, size, held.expires_at, held)


def _elsewhere(offset: int) -> BlazzError:
    return BlazzError(ErrorCode.UPLOAD_OFFSET_MISMATCH, f"{offset} bytes are stored", offset=offset)
