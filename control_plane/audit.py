"""The audit log: a stream that only grows, and its reading.

Owns writing and listing. Never decides what is recorded, and never removes anything: the stream
itself refuses that, whoever asks; age and size are its only end.
"""

from collections.abc import Iterable
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Final

import msgspec
import structlog

from control_plane.audit_ports import AuditQuery
from control_plane.core import paging
from schemas.api import Page
from schemas.audit import AuditRecord
from schemas.errors import BlazzError, ErrorCode
from schemas.ids import TenantId
from schemas.resources import AUDIT
from schemas.subjects import AUDIT_ALL, audit_of_tenant, audit_record
from schemas.transport.connection import Bus
from schemas.transport.jetstream import JetStream
from schemas.transport.streams import read_stored
from schemas.transport.typed import decode

log = structlog.get_logger()

_AWAY: Final = frozenset({ErrorCode.NATS_UNAVAILABLE, ErrorCode.TIMEOUT})


class StreamAudit:
    """Implements `ports.Audit`."""

    def __init__(self, bus: Bus) -> None:
        self._jetstream = JetStream(bus)

    async def write(self, record: AuditRecord) -> None:
        """See `ports.Audit.write`."""
        subject = audit_record(record.tenant_id, record.audit_id)
        try:
            await self._jetstream.publish(subject, msgspec.json.encode(record))
        except BlazzError as error:
            raise BlazzError(ErrorCode.AUDIT_UNAVAILABLE, error.detail) from error

    async def list(self, tenant: TenantId | None, query: AuditQuery) -> Page[AuditRecord]:
        """See `ports.Audit.list`."""
        subject = AUDIT_ALL if tenant is None else audit_of_tenant(tenant)
        since = datetime.fromtimestamp(query.since, UTC)
        found: list[AuditRecord] = []
        try:
            reading = read_stored(self._jetstream, AUDIT, subject, start_at=since)
            async with aclosing(reading) as messages:
                async for message in messages:
                    record = _record(message.data)
                    if record is not None:
                        found.append(record)
        except BlazzError as error:
            if error.code not in _AWAY:
                raise
            raise BlazzError(ErrorCode.AUDIT_UNAVAILABLE, error.detail) from error
        return select(found, query)


def select(records: Iterable[AuditRecord], query: AuditQuery) -> Page[AuditRecord]:
    """The page of `records` that a query wants."""
    wanted = [record for record in records if _matches(record, query)]
    page, after = paging.take(
        wanted,
        lambda record: (record.at, record.audit_id),
        limit=query.limit,
        cursor=query.cursor,
    )
    return Page(page, after is not None, after)


def _matches(record: AuditRecord, query: AuditQuery) -> bool:
    return (
        record.at >= query.since
        and query.key_id in (None, record.key_id)
        and query.operation in (None, record.operation)
        and (query.target is None or query.target in record.target)
    )


def _record(data: bytes) -> AuditRecord | None:
    try:
        return decode(data, AuditRecord)
    except BlazzError:
        log.warning("audit.record_malformed")
        return None
