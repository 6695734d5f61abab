"""API keys, tenants and link tokens in the access bucket.

Owns making, finding, revoking, and the short cache in front of authentication. Never stores or
logs a key or a token: only hashes, and a key's text is shown once.
"""

import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import structlog

from control_plane.core import api_keys
from control_plane.ports import Principal
from schemas.errors import BlazzError, ErrorCode
from schemas.ids import ApiKeyId, SessionId, TenantId
from schemas.keys import (
    API_KEYS_PREFIX,
    api_key_key,
    erasure_key,
    event_ticket_key,
    link_token_key,
    tenant_key,
)
from schemas.records import (
    ApiKeyRecord,
    ErasureRecord,
    EventTicketRecord,
    LinkTokenRecord,
    TenantRecord,
)
from schemas.resources import ACCESS
from schemas.transport.connection import Bus
from schemas.transport.kv import Bucket, Conflict, Delete

log = structlog.get_logger()

SCOPES: Final = ("sessions", "messages", "webhooks", "keys", "operator")
KEYS_MAX_PER_TENANT: Final = 100
_BOOTSTRAP_NAME: Final = "bootstrap"
_TRIES_MAX: Final = 8

CheckSession = Callable[[TenantId, SessionId], Awaitable[object]]
"""Raises `session_not_found` unless the session is the tenant's."""


class BucketAccess:
    """Implements `ports.Access`. A revoked key works for at most `cache_s` longer."""

    def __init__(
        self,
        bus: Bus,
        *,
        cache_s: float,
        cache_max: int,
        check_session: CheckSession | None = None,
    ) -> None:
        self._bucket = Bucket(bus, ACCESS)
        self._cache_s = cache_s
        self._cache_max = cache_max
        self._check_session = check_session
        self._cache: OrderedDict[str, tuple[float, ApiKeyRecord]] = OrderedDict()

    async def authenticate(self, token: str) -> Principal:
        """See `ports.Access.authenticate`."""
        parsed = api_keys.parse(token)
        if parsed is None:
            raise BlazzError(ErrorCode.UNAUTHENTICATED, "that is not an API key of ours")
        record = await self._record(parsed.key_id)
        known = record is not None and api_keys.same_secret(
            record.secret_sha256, parsed.secret_sha256
        )
        if record is None or not known or record.revoked:
            raise BlazzError(ErrorCode.UNAUTHENTICATED, "the API key is unknown or revoked")
        if record.expires_at is not None and record.expires_at <= time.time():
            raise BlazzError(ErrorCode.UNAUTHENTICATED, "the API key has expired")
        return Principal(
            record.tenant_id, record.key_id, frozenset(record.scopes), key_name=record.name
        )

    async def _record(self, key_id: str) -> ApiKeyRecord | None:
        now = time.monotonic()
        cached = self._cache.get(key_id)
        if cached is not None and cached[0] > now:
            return cached[1]
        record = (await self._bucket.get(api_key_key(key_id), ApiKeyRecord)).value
        # Unknown ids are not kept: they would let anybody push the known ones out.
        self._cache.pop(key_id, None)
        if record is not None:
            self._cache[key_id] = (now + self._cache_s, record)
            while len(self._cache) > self._cache_max:
                self._cache.popitem(last=False)
        return record

    async def create_key(
        self,
        tenant: TenantId,
        *,
        name: str | None,
        scopes: tuple[str, ...],
        expires_in_s: int | None,
    ) -> tuple[ApiKeyRecord, str]:
        """See `ports.Access.create_key`. Raises `validation_failed` for an unknown scope,
        `conflict` while the tenant is being erased."""
        unknown = [scope for scope in scopes if scope not in SCOPES]
        if unknown or not scopes:
            raise BlazzError(
                ErrorCode.VALIDATION_FAILED, f"`scopes` must be some of {', '.join(SCOPES)}"
            )
        active = [key for key in await self.list_keys(tenant) if not key.revoked]
        if len(active) >= KEYS_MAX_PER_TENANT:
            raise BlazzError(
                ErrorCode.VALIDATION_FAILED, f"at most {KEYS_MAX_PER_TENANT} keys; revoke one"
            )
        erasure = (await self._bucket.get(erasure_key(tenant), ErasureRecord)).value
        if erasure is not None and erasure.finished_at is None:
            raise BlazzError(ErrorCode.CONFLICT, "the tenant is being erased")
        await self.ensure_tenant(tenant)
        now = time.time()
        text, parsed = api_keys.make(secrets.token_bytes(api_keys.KEY_RANDOM_BYTES))
        record = ApiKeyRecord(
            key_id=parsed.key_id,
            tenant_id=tenant,
            secret_sha256=parsed.secret_sha256,
            created_at=now,
            scopes=tuple(dict.fromkeys(scopes)),
            name=name,
            expires_at=None if expires_in_s is None else now + expires_in_s,
        )
        await self._bucket.create(api_key_key(record.key_id), record)
        log.info("key.created", tenant_id=tenant, key_id=record.key_id)
        return record, text

    async def list_keys(self, tenant: TenantId) -> list[ApiKeyRecord]:
        """A tenant's keys, oldest first, revoked ones too."""
        entries = await self._bucket.read_prefix(API_KEYS_PREFIX, ApiKeyRecord)
        found = [e.value for e in entries if e.value is not None and e.value.tenant_id == tenant]
        return sorted(found, key=lambda key: (key.created_at, key.key_id))

    async def revoke_key(self, tenant: TenantId, key_id: str) -> None:
        """For good. Raises `not_found`, for another tenant's key too."""
        for _ in range(_TRIES_MAX):
            key = api_key_key(_checked_key_id(key_id))
            held = await self._bucket.get(key, ApiKeyRecord)
            if held.value is None or held.value.tenant_id != tenant:
                raise BlazzError(ErrorCode.NOT_FOUND, "no such key")
            revoked = msgspec.structs.replace(held.value, revoked=True)
            try:
                await self._bucket.update(key, revoked, held.revision)
            except Conflict:
                continue
            self._cache.pop(key_id, None)
            log.info("key.revoked", tenant_id=tenant, key_id=key_id)
            return
        raise BlazzError(ErrorCode.CONFLICT)

    async def ensure_tenant(self, tenant: TenantId) -> TenantRecord:
        """The tenant's record, made if it is new."""
        held = await self._bucket.get(tenant_key(tenant), TenantRecord)
        if held.value is not None:
            return held.value
        record = TenantRecord(tenant_id=tenant, created_at=time.time())
        try:
            await self._bucket.create(tenant_key(tenant), record)
        except Conflict:
            return await self.ensure_tenant(tenant)
        return record

    async def ensure_bootstrap_key(self, tenant: TenantId) -> str | None:
        """On the first run, a key with every scope, shown this once; None if any key exists."""
        if await self._bucket.read_prefix(API_KEYS_PREFIX, ApiKeyRecord):
            return None
        _record, text = await self.create_key(
            tenant, name=_BOOTSTRAP_NAME, scopes=SCOPES, expires_in_s=None
        )
        return text

    async def create_link(
        self,
        tenant: TenantId,
        session: SessionId,
        *,
        expires_in_s: int,
        return_url: str | None,
    ) -> tuple[LinkTokenRecord, str]:
        """See `ports.Access.create_link`. Raises `session_not_found` unless it is the tenant's."""
        if self._check_session is not None:
            await self._check_session(tenant, session)
        text, hashed = api_keys.make_link_token(secrets.token_bytes(api_keys.TOKEN_RANDOM_BYTES))
        record = LinkTokenRecord(
            token_sha256=hashed,
            tenant_id=tenant,
            session_id=session,
            expires_at=time.time() + expires_in_s,
            return_url=return_url,
        )
        await self._bucket.create(link_token_key(hashed), record, ttl_s=float(expires_in_s))
        return record, text

    async def open_link(self, token: str) -> LinkTokenRecord:
        """See `ports.Access.open_link`."""
        key = link_token_key(api_keys.link_token_sha256(token))
        record = (await self._bucket.get(key, LinkTokenRecord)).value
        if record is None or record.expires_at <= time.time():
            raise BlazzError(ErrorCode.LINK_TOKEN_INVALID)
        return record

    async def create_ticket(self, principal: Principal, *, expires_in_s: int) -> tuple[str, float]:
        """See `ports.Access.create_ticket`."""
        text, hashed = api_keys.make_link_token(secrets.token_bytes(api_keys.TOKEN_RANDOM_BYTES))
        record = EventTicketRecord(
            tenant_id=principal.tenant_id,
            key_id=principal.key_id,
            scopes=tuple(sorted(principal.scopes)),
            expires_at=time.time() + expires_in_s,
        )
        await self._bucket.create(event_ticket_key(hashed), record, ttl_s=float(expires_in_s))
        return text, record.expires_at

    async def redeem_ticket(self, ticket: str) -> Principal:
        """See `ports.Access.redeem_ticket`."""
        key = event_ticket_key(api_keys.link_token_sha256(ticket))
        entry = await self._bucket.get(key, EventTicketRecord)
        record = entry.value
        if record is None or record.expires_at <= time.time():
            raise BlazzError(ErrorCode.UNAUTHENTICATED)
        try:
            await self._bucket.batch([Delete(key=key, expect_revision=entry.revision)])
        except Conflict:
            # Somebody used it in between.
            raise BlazzError(ErrorCode.UNAUTHENTICATED) from None
        return Principal(record.tenant_id, record.key_id, frozenset(record.scopes))

    async def bind_link(self, token: str, browser_sha256: str) -> LinkTokenRecord:
        """See `ports.Access.bind_link`. Of several at once the first write wins."""
        key = link_token_key(api_keys.link_token_sha256(token))
        for _ in range(_TRIES_MAX):
            held = await self._bucket.get(key, LinkTokenRecord)
            now = time.time()
            if held.value is None or held.value.expires_at <= now:
                raise BlazzError(ErrorCode.LINK_TOKEN_INVALID)
            if held.value.browser_sha256 is not None:
                return held.value
            bound = msgspec.structs.replace(held.value, browser_sha256=browser_sha256)
            try:
                await self._bucket.update(
                    key, bound, held.revision, ttl_s=max(1.0, bound.expires_at - now)
                )
            except Conflict:
                continue
            return bound
        raise BlazzError(ErrorCode.CONFLICT)


def _checked_key_id(key_id: str) -> str:
    try:
        return msgspec.convert(key_id, ApiKeyId)
    except msgspec.ValidationError:
        raise BlazzError(ErrorCode.NOT_FOUND, "no such key") from None
