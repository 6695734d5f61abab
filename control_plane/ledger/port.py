"""The ledger's port: each message's last known form.

Owns the protocol that every adapter keeps. Never a store's detail. Everything is looked up by
(tenant, session, message).
"""

from collections.abc import Callable
from typing import Protocol

from schemas.api import Page
from schemas.messages import ChatMessage

Change = Callable[[ChatMessage | None], ChatMessage | None]
"""From what stands (None: nothing) to what should; None: leave it. May be called again when
somebody wrote in between, so it must be pure."""


class Ledger(Protocol):
    """Messages. All raise `nats_unavailable` or `timeout` when the store is away."""

    async def change(
        self, tenant_id: str, session_id: str, message_id: str, change: Change
    ) -> ChatMessage | None:
        """Apply a change with compare-and-set; answers what stands then (None: nothing)."""
        ...

    async def get(self, tenant_id: str, session_id: str, message_id: str) -> ChatMessage | None: ...

    async def list(
        self,
        tenant_id: str,
        session_id: str,
        *,
        chat: str | None,
        limit: int,
        cursor: str | None,
    ) -> Page[ChatMessage]:
        """Newest first, by `created_at`. Raises `validation_failed` for a foreign cursor."""
        ...

    async def wait_final(
        self, tenant_id: str, session_id: str, message_id: str, *, timeout_s: float
    ) -> ChatMessage | None:
        """Wait, at most `timeout_s`, until it is final; answers what stands then."""
        ...
