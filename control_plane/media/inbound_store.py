"""The store of media that arrived: whole, beside its message, for as long as that is kept.

Owns the port, and its adapter on the stream INBOUND_MEDIA. Never decides what is kept. When the
stream is full the oldest chunks go: media that lacks one is as good as not kept.
"""

from typing import Protocol

import msgspec

from control_plane.core.contacts import chat_digest
from schemas.commands import MediaChunk
from schemas.messages import MEDIA_CHUNK_BYTES, ChatMessage
from schemas.records import StoredMedia
from schemas.resources import INBOUND_MEDIA
from schemas.subjects import inbound_media_chunk, inbound_media_of, inbound_media_seal
from schemas.transport.connection import Bus
from schemas.transport.jetstream import TTL, JetStream
from schemas.transport.typed import decode


class MediaPlace(msgspec.Struct, frozen=True):
    """Which message's media."""

    tenant_id: str
    session_id: str
    chat_id: str
    message_id: str

    @classmethod
    def of(cls, tenant_id: str, session_id: str, message: ChatMessage) -> "MediaPlace":
        """A message's."""
        return cls(tenant_id, session_id, message.chat_id, message.message_id)

    @property
    def parts(self) -> tuple[str, str, str, str]:
        """As it is named on the bus."""
        return self.tenant_id, self.session_id, chat_digest(self.chat_id), self.message_id


class InboundMediaStore(Protocol):
    """Media by message. Writes are safe to repeat; media exists once it is sealed. All raise
    `nats_unavailable` or `timeout` when the store is away."""

    async def put(self, place: MediaPlace, index: int, data: bytes, *, life_s: float) -> None:
        """Write a chunk: `MEDIA_CHUNK_BYTES`, but for the last one."""
        ...

    async def seal(self, place: MediaPlace, stored: StoredMedia, *, life_s: float) -> None:
        """All chunks are there."""
        ...

    async def stat(self, place: MediaPlace) -> StoredMedia | None: ...

    async def read(self, place: MediaPlace, offset: int) -> MediaChunk | None:
        """The chunk that begins at `offset`; None if it is not kept."""
        ...

    async def remove(self, place: MediaPlace) -> None:
        """Forget one message's, under whatever name its chat goes."""
        ...

    async def erase(self, tenant_id: str, session_id: str, *, chat: str | None = None) -> None:
        """Forget a session's, or one of its chats'. What is written meanwhile may stay."""
        ...


class StreamInboundMedia:
    """Implements `InboundMediaStore`."""

    def __init__(self, bus: Bus) -> None:
        self._jetstream = JetStream(bus)

    async def put(self, place: MediaPlace, index: int, data: bytes, *, life_s: float) -> None:
        """See `InboundMediaStore`."""
        subject = inbound_media_chunk(*place.parts, index)
        await self._jetstream.publish(subject, data, headers=_life(life_s))

    async def seal(self, place: MediaPlace, stored: StoredMedia, *, life_s: float) -> None:
        """See `InboundMediaStore`."""
        subject = inbound_media_seal(*place.parts)
        payload = msgspec.json.encode(stored)
        await self._jetstream.publish(subject, payload, headers=_life(life_s))

    async def stat(self, place: MediaPlace) -> StoredMedia | None:
        """See `InboundMediaStore`."""
        subject = inbound_media_seal(*place.parts)
        found = await self._jetstream.last_by_subject(INBOUND_MEDIA, subject)
        return decode(found.data, StoredMedia) if found is not None else None

    async def read(self, place: MediaPlace, offset: int) -> MediaChunk | None:
        """See `InboundMediaStore`."""
        stored = await self.stat(place)
        if stored is None or offset % MEDIA_CHUNK_BYTES:
            return None
        subject = inbound_media_chunk(*place.parts, offset // MEDIA_CHUNK_BYTES)
        found = await self._jetstream.last_by_subject(INBOUND_MEDIA, subject)
        if found is None:
            return None
        return MediaChunk(found.data, offset, stored.size_bytes, stored.mimetype)

    async def remove(self, place: MediaPlace) -> None:
        """See `InboundMediaStore`."""
        subject = inbound_media_of(place.tenant_id, place.session_id, message_id=place.message_id)
        await self._jetstream.purge(INBOUND_MEDIA, subject)

    async def erase(self, tenant_id: str, session_id: str, *, chat: str | None = None) -> None:
        """See `InboundMediaStore`."""
        digest = "*" if chat is None else chat_digest(chat)
        subject = inbound_media_of(tenant_id, session_id, chat_digest=digest)
        await self._jetstream.purge(INBOUND_MEDIA, subject)


def _life(life_s: float) -> dict[str, str]:
    return {TTL: f"{max(1, int(life_s))}s"}
