"""Erasure: everything of a tenant, removed on request.

Owns the order of removing and the look whether nothing is left. Never removes a session's records
or snapshots by itself: it asks for the sessions' deletion and waits for those who do.

1. The tenant's API keys and link tokens are dropped: nobody writes anything new in its name.
2. Its sessions are deleted: the reconciler has them unlinked and their engines ended.
3. Their snapshots and data keys go without the grace they otherwise have (the pruner).
4. What lies under the tenant's name is purged (`schemas.tenant_data`), the ledger included.
5. Looked at again; when nothing is left, the tenant's record goes and the erasure is finished.

Each step can be repeated, and all are, until there is nothing left: a crash costs only time.
"""

import asyncio
import time
from typing import Final

import msgspec
import structlog

from control_plane.ledger.port import Ledger
from control_plane.sessions import FleetSessions
from schemas import log_keys
from schemas.api import ErasureView
from schemas.errors import BlazzError, ErrorCode
from schemas.ids import TenantId
from schemas.keys import (
    API_KEYS_PREFIX,
    ERASURES_PREFIX,
    LINK_TOKENS_PREFIX,
    SESSIONS_PREFIX,
    SNAPSHOT_HEADS_PREFIX,
    erasure_key,
    tenant_key,
)
from schemas.records import (
    ApiKeyRecord,
    ErasureRecord,
    LeaseRecord,
    LinkTokenRecord,
    SessionRecord,
    TenantRecord,
)
from schemas.resources import ACCESS, FLEET
from schemas.snapshots import SnapshotHead
from schemas.states import DesiredState
from schemas.tenant_data import tenant_subjects
from schemas.transport.connection import Bus
from schemas.transport.jetstream import JetStream
from schemas.transport.kv import Bucket, Conflict
from schemas.transport.lease import Lease, LeaseSpec, lead

log = structlog.get_logger()

LEASE_KIND: Final = "leader"
LEASE_NAME: Final = "erasure"
_SWEEP_S: Final = 5.0
_PROOF_KEPT_S: Final = 90 * 86_400.0


class TenantErasures:
    """Implements `ports.Erasures`; `run` carries them out, on one replica at a time."""

    def __init__(self, bus: Bus, sessions: FleetSessions, ledger: Ledger) -> None:
        self._bus = bus
        self._jetstream = JetStream(bus)
        self._access = Bucket(bus, ACCESS)
        self._fleet = Bucket(bus, FLEET)
        self._sessions = sessions
        self._ledger = ledger

    async def begin(self, tenant: TenantId, by: str) -> ErasureView:
        """See `ports.Erasures.begin`."""
        held = await self._access.get(erasure_key(tenant), ErasureRecord)
        if held.value is None or held.value.finished_at is not None:
            known = await self._access.get(tenant_key(tenant), TenantRecord)
            if not known.exists:
                raise BlazzError(ErrorCode.NOT_FOUND, "no such tenant")
            record = ErasureRecord(tenant, time.time(), by)
            try:
                await self._access.update(erasure_key(tenant), record, held.revision)
            except Conflict:
                return await self.begin(tenant, by)
            log.warning("tenant.erasure_begun", **{log_keys.TENANT: tenant}, key_id=by)
        return await self.get(tenant)

    async def get(self, tenant: TenantId) -> ErasureView:
        """See `ports.Erasures.get`."""
        held = (await self._access.get(erasure_key(tenant), ErasureRecord)).value
        if held is None:
            raise BlazzError(ErrorCode.NOT_FOUND, "nobody asked for this tenant's erasure")
        left = {} if held.finished_at is not None else await self._left(tenant)
        return ErasureView(tenant, held.requested_at, held.finished_at, left)

    async def run(self, me: LeaseRecord) -> None:
        """Erase whenever the lease can be had, until cancelled."""
        spec = LeaseSpec(LEASE_KIND, LEASE_NAME, self._bus.settings.profile)
        await lead(self._bus, spec, me, self._lead)

    async def _lead(self, lease: Lease) -> None:
        while True:
            try:
                if lease.still_held():
                    await self.sweep()
            except BlazzError as error:
                # The next sweep begins anew.
                log.warning("erasure.sweep_failed", code=error.code, detail=error.detail)
            await asyncio.sleep(_SWEEP_S)

    async def sweep(self) -> None:
        """Take every unfinished erasure as far as it goes now. Raises `nats_unavailable`, …"""
        for entry in await self._access.read_prefix(ERASURES_PREFIX, ErasureRecord):
            record = entry.value
            if record is None or record.finished_at is not None:
                continue
            await self._erase(record.tenant_id)
            left = await self._left(record.tenant_id)
            if left:
                log.info("tenant.erasure_goes_on", **{log_keys.TENANT: record.tenant_id}, **left)
                continue
            await self._access.delete(tenant_key(record.tenant_id))
            done = msgspec.structs.replace(record, finished_at=time.time())
            await self._access.update(entry.key, done, entry.revision, ttl_s=_PROOF_KEPT_S)
            log.warning("tenant.erased", **{log_keys.TENANT: record.tenant_id})

    async def _erase(self, tenant: TenantId) -> None:
        for key in [*await self._keys(tenant), *await self._links(tenant)]:
            await self._access.delete(key)
        records = await self._session_records(tenant)
        for record in records:
            if record.desired is not DesiredState.DELETED:
                await self._sessions.delete(tenant, record.session_id)
        if records:
            # Their nodes still report, and what they report would have to be purged again.
            return
        await self._ledger.erase(tenant)
        for stream, subject in tenant_subjects(tenant):
            await self._jetstream.purge(stream, subject)

    async def _left(self, tenant: TenantId) -> dict[str, int]:
        counts = {
            "api_keys": len(await self._keys(tenant)),
            "links": len(await self._links(tenant)),
            "sessions": len(await self._session_records(tenant)),
            "snapshots": len(await self._snapshot_heads(tenant)),
        }
        for stream, subject in tenant_subjects(tenant):
            counts[stream] = sum((await self._jetstream.subjects(stream, subject)).values())
        return {what: count for what, count in counts.items() if count}

    async def _keys(self, tenant: TenantId) -> list[str]:
        entries = await self._access.read_prefix(API_KEYS_PREFIX, ApiKeyRecord)
        return [e.key for e in entries if e.value is not None and e.value.tenant_id == tenant]

    async def _links(self, tenant: TenantId) -> list[str]:
        entries = await self._access.read_prefix(LINK_TOKENS_PREFIX, LinkTokenRecord)
        return [e.key for e in entries if e.value is not None and e.value.tenant_id == tenant]

    async def _session_records(self, tenant: TenantId) -> list[SessionRecord]:
        entries = await self._fleet.read_prefix(f"{SESSIONS_PREFIX}{tenant}.", SessionRecord)
        return [entry.value for entry in entries if entry.value is not None]

    async def _snapshot_heads(self, tenant: TenantId) -> list[SnapshotHead]:
        entries = await self._fleet.read_prefix(SNAPSHOT_HEADS_PREFIX, SnapshotHead)
        return [e.value for e in entries if e.value is not None and e.value.tenant_id == tenant]
