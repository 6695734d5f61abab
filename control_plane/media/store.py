"""The media store: uploads in chunks on the stream MEDIA, until the stream's age removes them.

Owns cutting, checking, hashing and reading. Never holds more than one chunk of an upload in
memory, and never looks into a picture beyond its first bytes. An upload exists once its
`MediaRef` is written, after all chunks.
"""

import hashlib
from collections.abc import AsyncIterator

import msgspec
import uuid_utils

from control_plane.core import media_kinds
from schemas import ids
from schemas.commands import MediaChunk
from schemas.errors import BlazzError, ErrorCode
from schemas.ids import MediaId, TenantId
from schemas.messages import MEDIA_CHUNK_BYTES, MediaRef
from schemas.resources import MEDIA
from schemas.subjects import media_chunk, media_chunks, media_ref
from schemas.transport.connection import Bus
from schemas.transport.jetstream import JetStream, StoredMessage
from schemas.transport.typed import decode


class JetStreamMediaStore:
    """Implements `ports.MediaStore`, and reading for nodes."""

    def __init__(self, bus: Bus) -> None:
        self._jetstream = JetStream(bus)

    async def put(
        self,
        tenant: TenantId,
        data: AsyncIterator[bytes],
        *,
        mimetype: str,
        filename: str | None,
    ) -> MediaRef:
        """See `ports.MediaStore.put`. Raises `media_unsupported`, `media_corrupt`,
        `media_too_large`, `nats_unavailable`; then nothing is left behind."""
        wanted = media_kinds.media_type(mimetype)
        media_id = ids.media_id(uuid_utils.uuid7().bytes)
        try:
            size, sha256 = await self._write_chunks(tenant, media_id, data, wanted)
        except BaseException:
            await self._remove(tenant, media_id)
            raise
        ref = MediaRef(media_id, mimetype, size, sha256, filename)
        await self._jetstream.publish(media_ref(tenant, media_id), msgspec.json.encode(ref))
        return ref

    async def _write_chunks(
        self,
        tenant: TenantId,
        media_id: MediaId,
        data: AsyncIterator[bytes],
        wanted: media_kinds.MediaType,
    ) -> tuple[int, str]:
        digest = hashlib.sha256()
        buffer = bytearray()
        size = index = 0
        async for piece in data:
            size += len(piece)
            if size > wanted.bytes_max:
                raise BlazzError(
                    ErrorCode.MEDIA_TOO_LARGE,
                    f"at most {wanted.bytes_max} bytes for {wanted.kind}",
                    bytes_max=wanted.bytes_max,
                )
            digest.update(piece)
            buffer += piece
            while len(buffer) >= MEDIA_CHUNK_BYTES:
                chunk = bytes(buffer[:MEDIA_CHUNK_BYTES])
                del buffer[:MEDIA_CHUNK_BYTES]
                await self._write(tenant, media_id, index, chunk, wanted)
                index += 1
        if buffer or size == 0:
            await self._write(tenant, media_id, index, bytes(buffer), wanted)
        return size, digest.hexdigest()

    async def _write(
        self,
        tenant: TenantId,
        media_id: MediaId,
        index: int,
        chunk: bytes,
        wanted: media_kinds.MediaType,
    ) -> None:
        if index == 0:
            media_kinds.check_head(wanted, chunk[: media_kinds.HEAD_BYTES])
        await self._jetstream.publish(media_chunk(tenant, media_id, index), chunk)

    async def _remove(self, tenant: TenantId, media_id: MediaId) -> None:
        if self._jetstream.bus.connected:
            await self._jetstream.purge(MEDIA, media_chunks(tenant, media_id))

    async def ref(self, tenant: TenantId, media: MediaId) -> MediaRef:
        """Raises `media_not_found`, for another tenant's too."""
        try:
            msgspec.convert(media, MediaId)
        except msgspec.ValidationError:
            raise BlazzError(ErrorCode.MEDIA_NOT_FOUND) from None
        stored = await self._last(media_ref(tenant, media))
        return decode(stored.data, MediaRef)

    async def read(self, tenant: TenantId, media: MediaId, offset: int) -> MediaChunk:
        """The chunk that begins at `offset`, a multiple of `MEDIA_CHUNK_BYTES`.

        Raises `media_not_found`, `validation_failed`.
        """
        ref = await self.ref(tenant, media)
        if offset % MEDIA_CHUNK_BYTES or offset >= ref.size_bytes:
            raise BlazzError(ErrorCode.VALIDATION_FAILED, "no chunk begins at this offset")
        stored = await self._last(media_chunk(tenant, media, offset // MEDIA_CHUNK_BYTES))
        return MediaChunk(stored.data, offset, ref.size_bytes, ref.mimetype)

    async def _last(self, subject: str) -> StoredMessage:
        stored = await self._jetstream.last_by_subject(MEDIA, subject)
        if stored is None:
            raise BlazzError(ErrorCode.MEDIA_NOT_FOUND, "it was never uploaded, or has expired")
        return stored
