"""What the terminal asks of the admin API.

Owns the requests. Implements `tui.source.Source`; never changes anything.
"""

from typing import Final

from cli.actor import of_tenant
from cli.client import Api
from schemas.api import NodeDetail, Page, QrView
from schemas.api_sending import DeadLetterCount, DeadLetterView, OutboxView
from schemas.api_snapshots import GenerationView, SnapshotsView
from schemas.audit import AuditRecord
from schemas.webhooks import DeliveryPage, DeliveryView, WebhookPage, WebhookView
from tui.acts import SessionRef, WebhookRef

_PAGE: Final = "200"
_BACKLOGS_MAX: Final = 20
"""Only so many webhooks of a tenant are asked for what they have not got yet."""


class HttpSource:
    """`api` is used, never closed."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def node(self, node_id: str) -> NodeDetail:
        """`GET /v1/nodes/{id}`"""
        return await self._api.call("GET", f"/v1/nodes/{node_id}", NodeDetail)

    async def outbox(self, session: SessionRef) -> OutboxView:
        """`GET …/outbox`"""
        path = f"/v1/sessions/{session.session_id}/outbox"
        headers = of_tenant(session.tenant_id)
        return await self._api.call("GET", path, OutboxView, headers=headers)

    async def snapshots(self, session: SessionRef) -> list[GenerationView]:
        """`GET …/snapshots`"""
        path = f"/v1/sessions/{session.session_id}/snapshots"
        headers = of_tenant(session.tenant_id)
        return (await self._api.call("GET", path, SnapshotsView, headers=headers)).generations

    async def qr(self, session: SessionRef, *, renew: bool) -> QrView:
        """`GET …/qr`"""
        return await self._api.call(
            "GET",
            f"/v1/sessions/{session.session_id}/qr",
            QrView,
            headers=of_tenant(session.tenant_id),
            query={"format": "json"} | ({"renew": "true"} if renew else {}),
        )

    async def dead_letter_counts(self) -> list[DeadLetterCount]:
        """`GET /v1/fleet/dead-letters`"""
        page = await self._api.call("GET", "/v1/fleet/dead-letters", Page[DeadLetterCount])
        return page.data

    async def dead_letters(self, session: SessionRef) -> list[DeadLetterView]:
        """`GET …/dead-letters`, the newest page."""
        page = await self._api.call(
            "GET",
            f"/v1/sessions/{session.session_id}/dead-letters",
            Page[DeadLetterView],
            headers=of_tenant(session.tenant_id),
            query={"limit": _PAGE},
        )
        return page.data

    async def webhooks(self, tenant_id: str) -> list[WebhookView]:
        """`GET /v1/webhooks`, each with its backlog."""
        headers = of_tenant(tenant_id)
        page = await self._api.call("GET", "/v1/webhooks", WebhookPage, headers=headers)
        whole = [
            await self._api.call(
                "GET", f"/v1/webhooks/{hook.webhook_id}", WebhookView, headers=headers
            )
            for hook in page.data[:_BACKLOGS_MAX]
        ]
        return whole + page.data[_BACKLOGS_MAX:]

    async def deliveries(self, webhook: WebhookRef) -> list[DeliveryView]:
        """`GET …/deliveries`, the last tried."""
        page = await self._api.call(
            "GET",
            f"/v1/webhooks/{webhook.webhook_id}/deliveries",
            DeliveryPage,
            headers=of_tenant(webhook.tenant_id),
            query={"limit": _PAGE},
        )
        return page.data

    async def audit(self) -> list[AuditRecord]:
        """`GET /v1/audit`, the newest page."""
        page = await self._api.call("GET", "/v1/audit", Page[AuditRecord], query={"limit": _PAGE})
        return page.data
