"""Opening the ledger that the settings name, with each tenant's retention.

Owns the choice of the adapter and a small cache of how long tenants keep messages. Never a query.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from control_plane.ledger.jetstream import JetStreamLedger
from control_plane.ledger.port import Ledger
from control_plane.ledger.settings import LedgerSettings, LedgerStoreKind
from schemas.errors import BlazzError
from schemas.records import TenantRecord
from schemas.resources import ACCESS
from schemas.subjects import tenant_key
from schemas.transport.connection import Bus
from schemas.transport.kv import Bucket

_CACHE_S: Final = 30.0
_CACHE_MAX: Final = 10_000


class TenantRetention:
    """How long each tenant's messages are kept; up to 30 s behind a change."""

    def __init__(self, bus: Bus, default_s: float) -> None:
        self._bucket = Bucket(bus, ACCESS)
        self._default_s = default_s
        self._known: dict[str, tuple[float, float]] = {}

    async def __call__(self, tenant_id: str) -> float:
        """In seconds. While the bus is away, what was known last, or the default."""
        now = time.monotonic()
        until, known_s = self._known.get(tenant_id, (0.0, self._default_s))
        if until > now:
            return known_s
        try:
            held = (await self._bucket.get(tenant_key(tenant_id), TenantRecord)).value
        except BlazzError:
            return known_s
        wanted = held.message_retention_s if held is not None else None
        if len(self._known) >= _CACHE_MAX:
            self._known.clear()
        self._known[tenant_id] = (now + _CACHE_S, wanted or self._default_s)
        return wanted or self._default_s


@asynccontextmanager
async def open_ledger(bus: Bus, settings: LedgerSettings) -> AsyncIterator[Ledger]:
    """The ledger for the block; its `follow` must run beside it. motor is loaded only where it is
    used. Raises `config_invalid`, `ledger_unavailable`."""
    retention_of = TenantRetention(bus, settings.checked(settings.retention_s))
    match settings.store:
        case LedgerStoreKind.JETSTREAM:
            yield JetStreamLedger(
                bus, index_entries_max=settings.index_max, retention_of=retention_of
            )
        case LedgerStoreKind.MONGO:
            from control_plane.ledger.mongo import MongoLedger
            from control_plane.mongo import open_database, read_uri

            uri = await asyncio.to_thread(read_uri, settings.mongo_uri_file, "ledger")
            async with open_database(uri, settings.mongo_database) as database:
                collection = database[settings.mongo_collection]
                ledger = MongoLedger(collection, bus, retention_of=retention_of)
                await ledger.prepare()
                yield ledger
