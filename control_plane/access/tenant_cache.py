"""Tenants' records as those read them who ask at every message.

Owns a small cache. Never changes a record.
"""

import time
from typing import Final

from schemas.errors import BlazzError
from schemas.keys import tenant_key
from schemas.records import TenantRecord
from schemas.resources import ACCESS
from schemas.transport.connection import Bus
from schemas.transport.kv import Bucket

_CACHE_S: Final = 30.0
_CACHE_MAX: Final = 10_000


class TenantCache:
    """Up to 30 s behind a change; while the bus is away, what was known last."""

    def __init__(self, bus: Bus) -> None:
        self._bucket = Bucket(bus, ACCESS)
        self._known: dict[str, tuple[float, TenantRecord | None]] = {}

    async def get(self, tenant_id: str) -> TenantRecord | None:
        """None: nobody has set anything, or nothing is known of it now."""
        now = time.monotonic()
        until, record = self._known.get(tenant_id, (0.0, None))
        if until > now:
            return record
        try:
            record = (await self._bucket.get(tenant_key(tenant_id), TenantRecord)).value
        except BlazzError:
            return record
        if len(self._known) >= _CACHE_MAX:
            self._known.clear()
        self._known[tenant_id] = (now + _CACHE_S, record)
        return record
