"""Tenants' own settings in the access bucket.

Owns reading and changing them, and the short cache in front of the default region, which every
message asks for. Never decides what a setting means.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import msgspec

from schemas.api_accounts import TenantChange
from schemas.errors import BlazzError, ErrorCode
from schemas.ids import TenantId
from schemas.keys import tenant_key
from schemas.records import TenantRecord
from schemas.resources import ACCESS
from schemas.transport.connection import Bus
from schemas.transport.kv import Bucket, Conflict, Entry

_TRIES_MAX: Final = 8


class BucketTenants:
    """Implements `ports.Tenants`. A changed region is used by all replicas after `cache_s`."""

    def __init__(
        self,
        bus: Bus,
        *,
        default_region: str | None,
        check_retention: Callable[[float], object],
        cache_s: float,
        cache_max: int,
    ) -> None:
        self._check_retention = check_retention
        self._bucket = Bucket(bus, ACCESS)
        self._default_region = default_region
        self._cache_s = cache_s
        self._cache_max = cache_max
        self._regions: OrderedDict[str, tuple[float, str | None]] = OrderedDict()

    async def get(self, tenant: TenantId) -> TenantRecord:
        """See `ports.Tenants`."""
        return _record(await self._entry(tenant), tenant)

    async def change(self, tenant: TenantId, change: TenantChange) -> TenantRecord:
        """See `ports.Tenants`. Raises `conflict` when others write all the time,
        `validation_failed` for a retention that the ledger's store cannot keep."""
        if isinstance(change.message_retention_s, float):
            self._check_retention(change.message_retention_s)
        fields = {
            name: value
            for name in change.__struct_fields__
            if (value := getattr(change, name)) is not msgspec.UNSET
        }
        for _ in range(_TRIES_MAX):
            held = await self._entry(tenant)
            changed = msgspec.structs.replace(_record(held, tenant), **fields)
            try:
                await self._bucket.update(tenant_key(tenant), changed, held.revision)
            except Conflict:
                continue
            self._regions.pop(tenant, None)
            return changed
        raise BlazzError(ErrorCode.CONFLICT)

    async def region(self, tenant: TenantId) -> str | None:
        """See `ports.Tenants`."""
        now = time.monotonic()
        cached = self._regions.get(tenant)
        if cached is not None and cached[0] > now:
            return cached[1]
        region = (await self.get(tenant)).default_region or self._default_region
        self._regions.pop(tenant, None)
        self._regions[tenant] = (now + self._cache_s, region)
        while len(self._regions) > self._cache_max:
            self._regions.popitem(last=False)
        return region

    async def _entry(self, tenant: TenantId) -> Entry[TenantRecord]:
        return await self._bucket.get(tenant_key(tenant), TenantRecord)


def _record(held: Entry[TenantRecord], tenant: TenantId) -> TenantRecord:
    return held.value or TenantRecord(tenant_id=tenant, created_at=time.time())
