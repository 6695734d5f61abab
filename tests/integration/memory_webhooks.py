"""Webhooks kept in a dict.

Owns their state for tests of the HTTP side. Must never be imported outside tests.
"""

from __future__ import annotations

import secrets
import time

import msgspec

from control_plane.core.webhook_signature import secret_text
from control_plane.outbound.guard import Guard
from control_plane.outbound.settings import LOOPBACK_TOO
from schemas.api import Page
from schemas.errors import BlazzError, ErrorCode
from schemas.ids import event_id, webhook_id
from schemas.webhooks import (
    Attempt,
    DeliveryState,
    DeliveryView,
    NewWebhook,
    Recover,
    RecoverView,
    WebhookChange,
    WebhookTestView,
    WebhookView,
)
from tests.integration.memory_sessions import MemorySessions


class MemoryWebhooks:
    def __init__(self, sessions: MemorySessions) -> None:
        self.sessions = sessions
        self.all: dict[tuple[str, str], WebhookView] = {}
        self.recovered: list[Recover] = []
        self._guard = Guard(LOOPBACK_TOO)

    async def create(self, tenant: str, new: NewWebhook) -> WebhookView:
        self._guard.check_url(new.url)
        for session in new.sessions:
            await self.sessions.get(tenant, session)
        made = WebhookView(
            webhook_id=webhook_id(secrets.token_bytes(16)),
            url=new.url,
            events=new.events,
            sessions=new.sessions,
            description=new.description,
            enabled=True,
            disabled_reason=None,
            disabled_at=None,
            created_at=time.time(),
            secrets_valid=1,
            replaying=False,
        )
        self.all[tenant, made.webhook_id] = made
        return msgspec.structs.replace(made, secret=secret_text(secrets.token_bytes(32)))

    async def deliveries_of(
        self, tenant: str, events: frozenset[str]
    ) -> tuple[tuple[str, DeliveryView], ...]:
        return ()

    async def list(self, tenant: str) -> list[WebhookView]:
        return [hook for (owner, _), hook in self.all.items() if owner == tenant]

    async def get(self, tenant: str, webhook: str) -> WebhookView:
        try:
            return self.all[tenant, webhook]
        except KeyError:
            raise BlazzError(ErrorCode.WEBHOOK_NOT_FOUND) from None

    async def _put(self, tenant: str, webhook: str, **fields: object) -> WebhookView:
        held = await self.get(tenant, webhook)
        self.all[tenant, webhook] = msgspec.structs.replace(held, **fields)
        return self.all[tenant, webhook]

    async def change(self, tenant: str, webhook: str, change: WebhookChange) -> WebhookView:
        fields = {
            name: value
            for name in change.__struct_fields__
            if (value := getattr(change, name)) is not msgspec.UNSET
        }
        if "url" in fields:
            self._guard.check_url(fields["url"])
        for session in fields.get("sessions", ()):
            await self.sessions.get(tenant, session)
        return await self._put(tenant, webhook, **fields)

    async def enable(self, tenant: str, webhook: str) -> WebhookView:
        return await self._put(tenant, webhook, enabled=True, disabled_reason=None)

    async def disable(self, tenant: str, webhook: str) -> WebhookView:
        return await self._put(tenant, webhook, enabled=False, disabled_reason="by request")

    async def delete(self, tenant: str, webhook: str) -> None:
        await self.get(tenant, webhook)
        del self.all[tenant, webhook]

    async def rotate_secret(self, tenant: str, webhook: str, *, overlap_s: float) -> WebhookView:
        held = await self._put(tenant, webhook, secrets_valid=2 if overlap_s else 1)
        return msgspec.structs.replace(held, secret=secret_text(secrets.token_bytes(32)))

    async def test(self, tenant: str, webhook: str) -> WebhookTestView:
        await self.get(tenant, webhook)
        return WebhookTestView(True, event_id(secrets.token_bytes(16)), Attempt(0.0, 0.1, 200))

    async def deliveries(
        self,
        tenant: str,
        webhook: str,
        *,
        state: DeliveryState | None,
        limit: int,
        cursor: str | None,
    ) -> Page[DeliveryView]:
        await self.get(tenant, webhook)
        return Page([])

    async def resend(self, tenant: str, webhook: str, event: str) -> DeliveryView:
        await self.get(tenant, webhook)
        raise BlazzError(ErrorCode.DELIVERY_NOT_FOUND)

    async def recover(self, tenant: str, webhook: str, wanted: Recover) -> RecoverView:
        await self.get(tenant, webhook)
        self.recovered.append(wanted)
        return RecoverView(0, wanted.all)
