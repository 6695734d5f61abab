"""The media store: media in chunks on the stream MEDIA, until the stream's age removes them.

Owns cutting, checking, hashing, reading and forgetting. Never holds more than one chunk of an
upload in memory, and never looks into a picture beyond its first bytes. A media exists once its
`MediaRef` is written, after all chunks; its id says since when. Uploads in pieces are in `uploads`.
"""

import hashlib
from collections.abc import AsyncIterator
from typing import Final

import msgspec
import uuid_utils

from control_plane.core import media_kinds
from control_plane.media.quota import MediaLimits, MediaQuota
from control_plane.media_ports import HeldMedia
from schemas import ids
from schemas.commands import MediaChunk
from schemas.errors import BlazzError, ErrorCode
from schemas.ids import MediaId, TenantId
from schemas.messages import MEDIA_CHUNK_BYTES, MediaRef
from schemas.resources import MEDIA, STREAMS
from schemas.subjects import (
    media_chunk,
    media_chunks,
    media_of_content,
    media_ref,
    media_upload,
)
from schemas.transport.connection import Bus
from schemas.transport.jetstream import JetStream, StoredMessage
from schemas.transport.typed import decode

MEDIA_TTL_S: Final = next(spec.max_age_s for spec in STREAMS if spec.name == MEDIA)


class JetStreamMediaStore:
    """Implements `ports.MediaStore`, and reading for nodes."""

    def __init__(self, bus: Bus, limits: MediaLimits | None = None) -> None:
        self._jetstream = JetStream(bus)
        self.quota = MediaQuota(self._jetstream, limits or MediaLimits())

    async def put(
        self,
        tenant: TenantId,
        data: AsyncIterator[bytes],
        *,
        mimetype: str,
        filename: str | None,
    ) -> HeldMedia:
        """See `ports.MediaStore.put`. Raises `media_unsupported`, `media_corrupt`,
        `media_too_large`, `media_quota_exceeded`, `nats_unavailable`; then nothing is left."""
        wanted = media_kinds.media_type(mimetype)
        await self.quota.check(tenant, 1)
        media_id = ids.media_id(uuid_utils.uuid7().bytes)
        try:
            size, sha256 = await self._write_chunks(tenant, media_id, data, wanted)
            await self.quota.take(tenant, media_id, size)
        except BaseException:
            await self._remove(tenant, media_id)
            raise
        ref = MediaRef(media_id, mimetype, size, sha256, filename)
        content = media_of_content(tenant, content_sha256(sha256, size, mimetype, filename))
        await self._jetstream.publish(content, media_id.encode())
        return await self.publish_ref(tenant, ref)

    async def publish_ref(self, tenant: TenantId, ref: MediaRef) -> HeldMedia:
        """Make media exist whose chunks are all there."""
        await self._jetstream.publish(media_ref(tenant, ref.media_id), msgspec.json.encode(ref))
        return _held(ref)

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
            await self.remove(tenant, media_id)

    async def remove(self, tenant: TenantId, media_id: MediaId) -> None:
        """Leave nothing of a media or an upload; a content that named it leads nowhere then."""
        await self._jetstream.purge(MEDIA, media_chunks(tenant, media_id))
        await self.quota.give_back(tenant, media_id)

    async def delete(self, tenant: TenantId, media: MediaId) -> None:
        """See `ports.MediaStore`."""
        checked = _checked(media)
        for subject in (media_ref(tenant, checked), media_upload(tenant, checked)):
            if await self._jetstream.last_by_subject(MEDIA, subject) is not None:
                await self.remove(tenant, checked)
                return
        raise BlazzError(ErrorCode.MEDIA_NOT_FOUND)

    async def ref(self, tenant: TenantId, media: MediaId) -> MediaRef:
        """Raises `media_not_found`, for another tenant's too."""
        stored = await self._last(media_ref(tenant, _checked(media)))
        return decode(stored.data, MediaRef)

    async def held(self, tenant: TenantId, media: MediaId) -> HeldMedia:
        """Raises `media_not_found`."""
        return _held(await self.ref(tenant, media))

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


def content_sha256(sha256: str, size_bytes: int, mimetype: str, filename: str | None) -> str:
    """What makes two media the same: what `MediaRef` says of them."""
    return hashlib.sha256(msgspec.json.encode((sha256, size_bytes, mimetype, filename))).hexdigest()


def expires_at(media: MediaId) -> float:
    """When the stream begins to forget it (Unix seconds)."""
    return ids.media_made_at(media) + MEDIA_TTL_S


def _held(ref: MediaRef) -> HeldMedia:
    return HeldMedia(ref, expires_at(ref.media_id))


def _checked(media: str) -> MediaId:
    try:
        return msgspec.convert(media, MediaId)
    except msgspec.ValidationError:
        raise BlazzError(ErrorCode.MEDIA_NOT_FOUND) from None
