"""Keys, link tokens and idempotency keys kept in dicts.

Owns their state for tests. Must never be imported outside tests.
"""

from __future__ import annotations

import hashlib
import secrets
import time

import msgspec

from control_plane.ports import Principal
from schemas.errors import BlazzError, ErrorCode
from schemas.records import ApiKeyRecord, IdempotencyRecord, LinkTokenRecord
from tests.integration.memory_sessions import MemorySessions


class MemoryAccess:
    def __init__(self, sessions: MemorySessions) -> None:
        self.sessions = sessions
        self.keys: dict[str, ApiKeyRecord] = {}
        self.links: dict[str, LinkTokenRecord] = {}
        self.tickets: dict[str, Principal] = {}

    def new_key(self, tenant: str, *scopes: str) -> str:
        """A key's text."""
        return self._make(tenant, None, scopes, None)[1]

    def _make(
        self, tenant: str, name: str | None, scopes: tuple[str, ...], expires_in_s: int | None
    ) -> tuple[ApiKeyRecord, str]:
        text = f"blz_test_{secrets.token_hex(16)}"
        record = ApiKeyRecord(
            key_id="".join(secrets.choice("0123456789abcdefghjkmnpqrstvwxyz") for _ in range(12)),
            tenant_id=tenant,
            secret_sha256=hashlib.sha256(text.encode()).hexdigest(),
            created_at=time.time(),
            scopes=scopes,
            name=name,
            expires_at=time.time() + expires_in_s if expires_in_s else None,
        )
        self.keys[text] = record
        return record, text

    async def authenticate(self, token: str) -> Principal:
        record = self.keys.get(token)
        if record is None or record.revoked:
            raise BlazzError(ErrorCode.UNAUTHENTICATED)
        return Principal(
            record.tenant_id, record.key_id, frozenset(record.scopes), key_name=record.name
        )

    async def create_key(
        self,
        tenant: str,
        *,
        name: str | None,
        scopes: tuple[str, ...],
        expires_in_s: int | None,
    ) -> tuple[ApiKeyRecord, str]:
        return self._make(tenant, name, scopes, expires_in_s)

    async def list_keys(self, tenant: str) -> list[ApiKeyRecord]:
        return [r for r in self.keys.values() if r.tenant_id == tenant]

    async def revoke_key(self, tenant: str, key_id: str) -> None:
        for text, record in self.keys.items():
            if (record.tenant_id, record.key_id) == (tenant, key_id):
                self.keys[text] = msgspec.structs.replace(record, revoked=True)
                return
        raise BlazzError(ErrorCode.NOT_FOUND)

    async def create_link(
        self, tenant: str, session: str, *, expires_in_s: int, return_url: str | None
    ) -> tuple[LinkTokenRecord, str]:
        await self.sessions.get(tenant, session)
        token = secrets.token_urlsafe(24)
        digest = hashlib.sha256(token.encode()).hexdigest()
        record = LinkTokenRecord(digest, tenant, session, time.time() + expires_in_s, return_url)
        self.links[token] = record
        return record, token

    async def open_link(self, token: str) -> LinkTokenRecord:
        record = self.links.get(token)
        if record is None or record.expires_at < time.time():
            raise BlazzError(ErrorCode.LINK_TOKEN_INVALID)
        return record

    async def create_ticket(self, principal: Principal, *, expires_in_s: int) -> tuple[str, float]:
        ticket = secrets.token_urlsafe(24)
        self.tickets[ticket] = principal
        return ticket, time.time() + expires_in_s

    async def redeem_ticket(self, ticket: str) -> Principal:
        principal = self.tickets.pop(ticket, None)
        if principal is None:
            raise BlazzError(ErrorCode.UNAUTHENTICATED)
        return principal

    async def bind_link(self, token: str, browser_sha256: str) -> LinkTokenRecord:
        record = await self.open_link(token)
        if record.browser_sha256 is None:
            record = msgspec.structs.replace(record, browser_sha256=browser_sha256)
            self.links[token] = record
        return record


class MemoryIdempotency:
    def __init__(self) -> None:
        self.all: dict[tuple[str, str, str], IdempotencyRecord] = {}

    async def begin(
        self, tenant: str, scope: str, key: str, body_sha256: str, *, resume: bool = False
    ) -> IdempotencyRecord | None:
        known = self.all.get((tenant, scope, key))
        if known is None:
            self.all[tenant, scope, key] = IdempotencyRecord(body_sha256)
            return None
        if known.body_sha256 != body_sha256:
            raise BlazzError(ErrorCode.IDEMPOTENCY_MISMATCH)
        if not known.done and not resume:
            raise BlazzError(ErrorCode.IDEMPOTENCY_IN_FLIGHT)
        return known

    async def finish(
        self, tenant: str, scope: str, key: str, body_sha256: str, http_code: int, body: str
    ) -> None:
        self.all[tenant, scope, key] = IdempotencyRecord(body_sha256, True, http_code, body)

    async def abandon(self, tenant: str, scope: str, key: str) -> None:
        self.all.pop((tenant, scope, key), None)
