"""Media, uploads and files elsewhere, kept in dicts.

Owns their state for tests. Must never be imported outside tests.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import AsyncIterator

from control_plane.core.media_kinds import HEAD_BYTES, check_head, media_type
from control_plane.media_ports import HeldMedia, RemoteFile, Upload
from schemas.api_messages import NewUpload
from schemas.errors import BlazzError, ErrorCode
from schemas.ids import media_id
from schemas.messages import MediaRef

DAY_S = 86_400


class MemoryMedia:
    def __init__(self) -> None:
        self.all: dict[tuple[str, str], tuple[MediaRef, bytes]] = {}
        self.received = 0

    async def put(
        self, tenant: str, data: AsyncIterator[bytes], *, mimetype: str, filename: str | None
    ) -> HeldMedia:
        raw = b""
        async for chunk in data:
            raw += chunk
            self.received += len(chunk)
        if not raw:
            raise BlazzError(ErrorCode.MEDIA_CORRUPT, "It is empty.")
        return self.keep(tenant, raw, mimetype, filename)

    def keep(self, tenant: str, raw: bytes, mimetype: str, filename: str | None) -> HeldMedia:
        made = media_id(secrets.token_bytes(16))
        ref = MediaRef(made, mimetype, len(raw), hashlib.sha256(raw).hexdigest(), filename)
        self.all[tenant, made] = ref, raw
        return HeldMedia(ref, time.time() + DAY_S)

    async def ref(self, tenant: str, media: str) -> MediaRef:
        return (await self.held(tenant, media)).ref

    async def held(self, tenant: str, media: str) -> HeldMedia:
        try:
            return HeldMedia(self.all[tenant, media][0], time.time() + DAY_S)
        except KeyError:
            raise BlazzError(ErrorCode.MEDIA_NOT_FOUND) from None

    async def delete(self, tenant: str, media: str) -> None:
        await self.held(tenant, media)
        del self.all[tenant, media]


class MemoryUploads:
    def __init__(self, media: MemoryMedia) -> None:
        self._media = media
        self.all: dict[tuple[str, str], tuple[NewUpload, bytearray]] = {}

    async def begin(self, tenant: str, new: NewUpload) -> Upload:
        for (owner, upload_id), (known, _) in self.all.items():
            if (owner, known) == (tenant, new):
                return await self.upload(tenant, upload_id)
        upload_id = media_id(secrets.token_bytes(16))
        self.all[tenant, upload_id] = new, bytearray()
        return await self.upload(tenant, upload_id)

    async def upload(self, tenant: str, upload: str) -> Upload:
        try:
            new, data = self.all[tenant, upload]
        except KeyError:
            raise BlazzError(ErrorCode.MEDIA_NOT_FOUND) from None
        held = self._media.all.get((tenant, upload))
        done = None if held is None else HeldMedia(held[0], time.time() + DAY_S)
        return Upload(upload, len(data), new.size_bytes, time.time() + DAY_S, done)

    async def append(
        self, tenant: str, upload: str, offset: int, data: AsyncIterator[bytes]
    ) -> Upload:
        at = (await self.upload(tenant, upload)).offset
        if offset != at:
            raise BlazzError(ErrorCode.UPLOAD_OFFSET_MISMATCH, offset=at)
        new, stored = self.all[tenant, upload]
        async for chunk in data:
            if len(stored) + len(chunk) > new.size_bytes:
                raise BlazzError(ErrorCode.MEDIA_TOO_LARGE)
            stored += chunk
        if len(stored) == new.size_bytes:
            raw = bytes(stored)
            check_head(media_type(new.mimetype), raw[:HEAD_BYTES])
            if hashlib.sha256(raw).hexdigest() != new.sha256:
                del self.all[tenant, upload]
                raise BlazzError(ErrorCode.MEDIA_CORRUPT)
            ref = MediaRef(upload, new.mimetype, len(raw), new.sha256, new.filename)
            self._media.all[tenant, upload] = ref, raw
        return await self.upload(tenant, upload)


class MemoryWeb:
    """The files that can be fetched, by address; and what each other address is refused with."""

    def __init__(self) -> None:
        self.files: dict[str, RemoteFile] = {}
        self.fetched: list[tuple[str, str]] = []
        self.refusal = ErrorCode.MEDIA_NOT_FETCHED

    async def fetch(self, tenant: str, url: str) -> RemoteFile:
        self.fetched.append((tenant, url))
        found = self.files.get(url)
        if found is None:
            raise BlazzError(self.refusal, "It answered 404.")
        return found
