"""The room that a tenant's media may take: by number and by bytes.

Owns counting and refusing. What lies there is read from the bus at most every few seconds, and
what this replica adds meanwhile is added: with several replicas a tenant may go a little over.
"""

import time
from collections import OrderedDict
from typing import Final

import msgspec

from schemas.errors import BlazzError, ErrorCode
from schemas.ids import MediaId, TenantId
from schemas.resources import MEDIA
from schemas.subjects import media_use, media_uses, size_of_media_use
from schemas.transport.jetstream import JetStream

_FRESH_S: Final = 3.0
_TENANTS_MAX: Final = 10_000


class MediaLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one tenant may have lying there, unfinished uploads included."""

    uploads_max: int = 5_000
    bytes_max: int = 512 * 1024 * 1024
    """Half of the stream at scale 1."""


class _Used(msgspec.Struct):
    read_at: float
    uploads: int
    bytes: int


class MediaQuota:
    """Takes and gives back room."""

    def __init__(self, jetstream: JetStream, limits: MediaLimits) -> None:
        self._jetstream = jetstream
        self._limits = limits
        self._used: OrderedDict[TenantId, _Used] = OrderedDict()

    async def check(self, tenant: TenantId, size_bytes: int) -> None:
        """Raise `media_quota_exceeded` unless so much more has room."""
        used = await self._read(tenant)
        if used.uploads + 1 > self._limits.uploads_max:
            raise _exceeded(f"{self._limits.uploads_max} uploads")
        if used.bytes + size_bytes > self._limits.bytes_max:
            raise _exceeded(f"{self._limits.bytes_max} bytes in all")

    async def take(self, tenant: TenantId, media_id: MediaId, size_bytes: int) -> None:
        """Take room for a media. Raises `media_quota_exceeded`."""
        await self.check(tenant, size_bytes)
        # Counted before it is written, so that requests at the same time see each other.
        used = self._used[tenant]
        used.uploads += 1
        used.bytes += size_bytes
        await self._jetstream.publish(media_use(tenant, media_id, size_bytes), b"")

    async def give_back(self, tenant: TenantId, media_id: MediaId) -> None:
        """A media is gone."""
        await self._jetstream.purge(MEDIA, media_uses(tenant, media_id))
        self._used.pop(tenant, None)

    async def _read(self, tenant: TenantId) -> _Used:
        known = self._used.get(tenant)
        if known is not None and time.monotonic() - known.read_at < _FRESH_S:
            return known
        sizes = [
            size_of_media_use(subject)
            for subject in await self._jetstream.subjects(MEDIA, media_uses(tenant))
        ]
        self._used[tenant] = _Used(time.monotonic(), len(sizes), sum(sizes))
        while len(self._used) > _TENANTS_MAX:
            self._used.popitem(last=False)
        return self._used[tenant]


def _exceeded(limit: str) -> BlazzError:
    return BlazzError(ErrorCode.MEDIA_QUOTA_EXCEEDED, f"A tenant may have {limit}.")
