"""The audit log's port. Owns the protocol; see `ports`."""

from typing import Protocol

import msgspec

from schemas.api import Page
from schemas.audit import AuditRecord
from schemas.ids import TenantId


class AuditQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which acts: those since a time (Unix seconds), by a key (its id), of an operation, on
    something (an id). Those left out do not choose."""

    since: float
    key_id: str | None = None
    operation: str | None = None
    target: str | None = None
    limit: int = 50
    cursor: str | None = None


class Audit(Protocol):
    """Who did what. Nothing is ever taken out of it but by age."""

    async def write(self, record: AuditRecord) -> None:
        """Keep it, durably, in place of an earlier one of the same id. Raises
        `audit_unavailable`."""
        ...

    async def list(self, tenant: TenantId | None, query: AuditQuery) -> Page[AuditRecord]:
        """The newest first; `tenant` None: everybody's. Raises `audit_unavailable`,
        `validation_failed` for a foreign cursor."""
        ...
