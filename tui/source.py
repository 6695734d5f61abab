"""The source: what the bus does not tell a viewer, asked of the admin API.

Owns the contract. Answers are the API's own structs; nothing here changes anything. Every method
raises BlazzError.
"""

from typing import Protocol

from schemas.api import NodeDetail, QrView
from schemas.api_sending import DeadLetterCount, DeadLetterView, OutboxView
from schemas.api_snapshots import GenerationView
from schemas.audit import AuditRecord
from schemas.webhooks import DeliveryView, WebhookView
from tui.acts import SessionRef, WebhookRef


class Source(Protocol):
    """Reads with the operator's key."""

    async def node(self, node_id: str) -> NodeDetail:
        """A node, its sessions and, on a drain, why each is still there."""

    async def outbox(self, session: SessionRef) -> OutboxView:
        """How many messages wait in a session's lane, and for what."""

    async def snapshots(self, session: SessionRef) -> list[GenerationView]:
        """What is kept of a session's state, newest first."""

    async def qr(self, session: SessionRef, *, renew: bool) -> QrView:
        """The code on show; `renew` asks for new ones when they ran out."""

    async def dead_letter_counts(self) -> list[DeadLetterCount]:
        """How many each session of the fleet has that has any."""

    async def dead_letters(self, session: SessionRef) -> list[DeadLetterView]:
        """What failed or ended unknown, the newest page."""

    async def webhooks(self, tenant_id: str) -> list[WebhookView]:
        """A tenant's webhooks."""

    async def deliveries(self, webhook: WebhookRef) -> list[DeliveryView]:
        """A webhook's deliveries, the last tried first."""

    async def audit(self) -> list[AuditRecord]:
        """The last acts, the newest first."""
