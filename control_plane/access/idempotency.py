"""Idempotency keys: the first answer to a key, kept by the bucket for a day.

Owns who may go first. Never the answer's meaning. The customer's key is hashed: it may hold any
character.
"""

import hashlib
import time

from schemas.errors import BlazzError, ErrorCode
from schemas.ids import TenantId
from schemas.keys import idempotency_key
from schemas.records import IdempotencyRecord
from schemas.resources import IDEMPOTENCY
from schemas.transport.connection import Bus
from schemas.transport.kv import Bucket, Conflict


class BucketIdempotency:
    """Implements `ports.Idempotency`."""

    def __init__(self, bus: Bus, *, in_flight_s: float) -> None:
        self._bucket = Bucket(bus, IDEMPOTENCY)
        self._in_flight_s = in_flight_s

    async def begin(
        self, tenant: TenantId, scope: str, key: str, body_sha256: str, *, resume: bool = False
    ) -> IdempotencyRecord | None:
        """See `ports.Idempotency.begin`. A first request that never ended, because its process
        died, is taken over after `in_flight_s`."""
        name = _name(tenant, scope, key)
        mine = IdempotencyRecord(body_sha256, begun_at=time.time())
        try:
            # Most keys are new: one write instead of a read and a write.
            await self._bucket.update(name, mine, 0)
        except Conflict:
            held = await self._bucket.get(name, IdempotencyRecord)
        else:
            return None
        first = held.value
        if first is not None:
            if first.body_sha256 != body_sha256:
                raise BlazzError(ErrorCode.IDEMPOTENCY_MISMATCH)
            if first.done or resume:
                return first
            if time.time() - first.begun_at < self._in_flight_s:
                raise BlazzError(ErrorCode.IDEMPOTENCY_IN_FLIGHT)
        try:
            await self._bucket.update(name, mine, held.revision)
        except Conflict:
            raise BlazzError(ErrorCode.IDEMPOTENCY_IN_FLIGHT) from None
        return None

    async def finish(
        self, tenant: TenantId, scope: str, key: str, body_sha256: str, http_code: int, body: str
    ) -> None:
        """Keep the answer."""
        record = IdempotencyRecord(body_sha256, True, http_code, body, time.time())
        await self._bucket.put(_name(tenant, scope, key), record)

    async def abandon(self, tenant: TenantId, scope: str, key: str) -> None:
        """The first request had no effect: the next one is the first."""
        await self._bucket.delete(_name(tenant, scope, key))


def _name(tenant: TenantId, scope: str, key: str) -> str:
    return idempotency_key(tenant, scope, hashlib.sha256(key.encode()).hexdigest())
