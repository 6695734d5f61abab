"""The webhooks' records in their bucket.

Owns reading and compare-and-set changing them, and a replica's live copy of all of them. Always
looks up by (tenant, id). Never delivers.
"""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Final

import msgspec
import structlog

from schemas import log_keys
from schemas.errors import BlazzError, ErrorCode
from schemas.ids import WebhookId
from schemas.keys import WEBHOOKS_PREFIX, webhook_key, webhooks_prefix
from schemas.resources import WEBHOOKS
from schemas.transport.connection import Bus
from schemas.transport.kv import Bucket, Conflict
from schemas.transport.watch import ChangeKind, watch_typed
from schemas.webhooks import WebhookRecord

log = structlog.get_logger()

_TRIES_MAX: Final = 8
GONE: Final = "gone"
"""Why a webhook is disabled that answered 410."""

Change = Callable[[WebhookRecord], WebhookRecord]


class Endpoints:
    """The records; `follow` and `sweep` must run for `all` to be kept."""

    def __init__(self, bus: Bus) -> None:
        self._bucket = Bucket(bus, WEBHOOKS)
        self._wakes: set[asyncio.Event] = set()
        self.all: dict[str, WebhookRecord] = {}
        """Every tenant's, by webhook id."""

    async def follow(self) -> None:
        """Keep `all` as the bucket is, for ever."""
        async with aclosing(watch_typed(self._bucket, WEBHOOKS_PREFIX, WebhookRecord)) as changes:
            async for change in changes:
                match change.kind:
                    case ChangeKind.PUT if change.value is not None:
                        self._note(change.value)
                    case ChangeKind.DELETE:
                        self.all.pop(change.key.rpartition(".")[2], None)
                        self._tell()
                    case _:
                        continue

    async def sweep(self, every_s: float) -> None:
        """Look, for ever, whether each is still there: an erased tenant's are purged, which no
        watcher is told of."""
        while True:
            await asyncio.sleep(every_s)
            for record in tuple(self.all.values()):
                try:
                    await self._read(record.tenant_id, record.webhook_id)
                except BlazzError as error:
                    if error.code is not ErrorCode.WEBHOOK_NOT_FOUND:
                        log.info("webhook.sweep_postponed", **{log_keys.CODE: error.code})
                        break
                    self.all.pop(record.webhook_id, None)
                    self._tell()

    def subscribe(self, wake: asyncio.Event) -> None:
        """Set `wake` at every change, until `unsubscribe`."""
        self._wakes.add(wake)

    def unsubscribe(self, wake: asyncio.Event) -> None:
        """No more."""
        self._wakes.discard(wake)

    async def create(self, record: WebhookRecord) -> None:
        """Write a new one."""
        await self._bucket.create(webhook_key(record.tenant_id, record.webhook_id), record)

    async def get(self, tenant_id: str, webhook_id: str) -> WebhookRecord:
        """Raises `webhook_not_found`, for another tenant's too."""
        return (await self._read(tenant_id, webhook_id))[0]

    async def list(self, tenant_id: str | None) -> list[WebhookRecord]:
        """A tenant's, or (None) all; oldest first."""
        prefix = WEBHOOKS_PREFIX if tenant_id is None else webhooks_prefix(tenant_id)
        entries = await self._bucket.read_prefix(prefix, WebhookRecord)
        found = [entry.value for entry in entries if entry.value is not None]
        return sorted(found, key=lambda record: (record.created_at, record.webhook_id))

    async def change(self, tenant_id: str, webhook_id: str, change: Change) -> WebhookRecord:
        """Rewrite a record. Raises `webhook_not_found`, `conflict`, and what `change` raises."""
        for _ in range(_TRIES_MAX):
            old, revision = await self._read(tenant_id, webhook_id)
            new = change(old)
            if new == old:
                return old
            try:
                await self._bucket.update(webhook_key(tenant_id, webhook_id), new, revision)
            except Conflict:
                continue
            return new
        raise BlazzError(ErrorCode.CONFLICT)

    async def delete(self, tenant_id: str, webhook_id: str) -> None:
        """Raises `webhook_not_found`."""
        await self._read(tenant_id, webhook_id)
        await self._bucket.delete(webhook_key(tenant_id, webhook_id))

    async def disable(self, record: WebhookRecord, reason: str, now: float) -> None:
        """The webhook itself asked for it: nothing more is sent, and nothing is forgotten. What
        the customer changed meanwhile stands."""

        def off(held: WebhookRecord) -> WebhookRecord:
            if held.url != record.url or not held.enabled:
                return held
            return msgspec.structs.replace(
                held, enabled=False, disabled_reason=reason, disabled_at=now
            )

        await self.change(record.tenant_id, record.webhook_id, off)
        log.info(
            "webhook.disabled",
            webhook_id=record.webhook_id,
            **{log_keys.TENANT: record.tenant_id, log_keys.REASON: reason},
        )

    async def _read(self, tenant_id: str, webhook_id: str) -> tuple[WebhookRecord, int]:
        try:
            msgspec.convert(webhook_id, WebhookId)
        except msgspec.ValidationError:
            raise BlazzError(ErrorCode.WEBHOOK_NOT_FOUND) from None
        entry = await self._bucket.get(webhook_key(tenant_id, webhook_id), WebhookRecord)
        if entry.value is None:
            raise BlazzError(ErrorCode.WEBHOOK_NOT_FOUND)
        return entry.value, entry.revision

    def _note(self, record: WebhookRecord) -> None:
        self.all[record.webhook_id] = record
        self._tell()

    def _tell(self) -> None:
        for wake in self._wakes:
            wake.set()
