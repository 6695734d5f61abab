"""Ports of media: uploads, whole or in pieces, and files from customers' addresses.

Owns these protocols between `http` and the services behind it, by the rules of `ports`: the tenant
comes first, and nothing of another's is ever answered.
"""

from collections.abc import AsyncIterator
from typing import Protocol

import msgspec

from schemas.api_messages import NewUpload
from schemas.ids import MediaId, TenantId
from schemas.messages import MediaRef


class RemoteFile(msgspec.Struct, frozen=True):
    """A file that was fetched; `mimetype` is what its server said, or what its bytes say."""

    data: bytes
    mimetype: str
    filename: str | None


class HeldMedia(msgspec.Struct, frozen=True):
    """Media in the store, until `expires_at` (Unix seconds)."""

    ref: MediaRef
    expires_at: float


class Upload(msgspec.Struct, frozen=True):
    """An upload in pieces: `offset` bytes of `size_bytes` are stored; `held` once it is whole."""

    upload_id: MediaId
    offset: int
    size_bytes: int
    expires_at: float
    held: HeldMedia | None = None


class MediaStore(Protocol):
    """Uploads waiting to be sent; they expire, and a tenant has room for only so many."""

    async def put(
        self,
        tenant: TenantId,
        data: AsyncIterator[bytes],
        *,
        mimetype: str,
        filename: str | None,
    ) -> HeldMedia:
        """Store it; `media_too_large` stops the upload as soon as the limit is passed. Raises
        `media_quota_exceeded`."""
        ...

    async def ref(self, tenant: TenantId, media: MediaId) -> MediaRef: ...
    async def held(self, tenant: TenantId, media: MediaId) -> HeldMedia: ...
    async def delete(self, tenant: TenantId, media: MediaId) -> None:
        """Forget it, or an upload of it. Raises `media_not_found`."""
        ...


class Uploads(Protocol):
    """Uploads in pieces, which go on where they stopped, on any replica."""

    async def begin(self, tenant: TenantId, new: NewUpload) -> Upload:
        """An upload of exactly this content: the one there is (whole, or as far as it is), else a
        new one. Raises `media_quota_exceeded`."""
        ...

    async def upload(self, tenant: TenantId, upload: MediaId) -> Upload:
        """How far it is. Raises `media_not_found`."""
        ...

    async def append(
        self, tenant: TenantId, upload: MediaId, offset: int, data: AsyncIterator[bytes]
    ) -> Upload:
        """Store what comes next; what arrived before `data` broke off stays. Raises
        `upload_offset_mismatch`, and `media_corrupt` for a whole that is not what was announced,
        which is then forgotten."""
        ...


class RemoteMedia(Protocol):
    """Media at an address that a customer names."""

    async def fetch(self, tenant: TenantId, url: str) -> RemoteFile:
        """The whole file, bounded in size and time. Raises `url_not_allowed`,
        `media_not_fetched`, `media_too_large`, `media_unsupported`."""
        ...
