"""Opening the ledger that the settings name, with each tenant's retention.

Owns the choice of the adapter and how long tenants keep messages. Never a query.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from control_plane.access.tenant_cache import TenantCache
from control_plane.ledger.jetstream import JetStreamLedger
from control_plane.ledger.port import Ledger, RetentionOf
from control_plane.ledger.settings import LedgerSettings, LedgerStoreKind
from schemas.transport.connection import Bus


class TenantRetention:
    """How long each tenant's messages are kept."""

    def __init__(self, tenants: TenantCache, default_s: float) -> None:
        self._tenants = tenants
        self._default_s = default_s

    async def __call__(self, tenant_id: str) -> float:
        """In seconds."""
        record = await self._tenants.get(tenant_id)
        return (record.message_retention_s if record is not None else None) or self._default_s


@asynccontextmanager
async def open_ledger(
    bus: Bus, settings: LedgerSettings, retention_of: RetentionOf
) -> AsyncIterator[Ledger]:
    """The ledger for the block; its `follow` must run beside it. motor is loaded only where it is
    used. Raises `config_invalid`, `ledger_unavailable`."""
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
