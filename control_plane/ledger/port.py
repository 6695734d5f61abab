"""The ledger's port: each message's last known form.

Owns the protocol that every adapter keeps. Never a store's detail. Everything is looked up by
(tenant, session, message).
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from schemas.api import Page
from schemas.messages import ChatMessage

Change = Callable[[ChatMessage | None], ChatMessage | None]
"""From what stands (None: nothing) to what should; None: leave it. May be called again when
somebody wrote in between, so it must be pure."""

RetentionOf = Callable[[str], Awaitable[float]]
"""How long a tenant's messages are kept, from each one's own time on, in seconds."""


class LedgerQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which of a session's messages. `words`: all of them must stand in the text, in any case and
    anywhere (see `core.text_search`)."""

    chat: str | None = None
    words: tuple[str, ...] = ()
    limit: int = 50
    cursor: str | None = None


class Ledger(Protocol):
    """Messages. All raise `ledger_unavailable`, `nats_unavailable` or `timeout` when the store is
    away."""

    async def follow(self) -> None:
        """What must run beside it, until cancelled: the notices of other replicas' writes."""
        ...

    async def change(
        self,
        tenant_id: str,
        session_id: str,
        message_id: str,
        change: Change,
        *,
        likely_new: bool = False,
    ) -> ChatMessage | None:
        """Apply a change with compare-and-set; answers what stands then (None: nothing). A message
        that is older than its tenant's are kept is not written. `likely_new`: try first as if
        nothing stood there, which saves a look where that is so."""
        ...

    async def get(self, tenant_id: str, session_id: str, message_id: str) -> ChatMessage | None: ...

    async def list(self, tenant_id: str, session_id: str, query: LedgerQuery) -> Page[ChatMessage]:
        """Newest first, by `created_at`. Raises `validation_failed` for a foreign cursor."""
        ...

    async def wait_final(
        self, tenant_id: str, session_id: str, message_id: str, *, timeout_s: float
    ) -> ChatMessage | None:
        """Wait, at most `timeout_s`, until it is final; answers what stands then."""
        ...

    async def erase(
        self, tenant_id: str, *, session_id: str | None = None, chat: str | None = None
    ) -> None:
        """Delete for good: a tenant's messages, a session's, or (with a session) one chat's. Safe
        to repeat. What is written meanwhile may stay."""
        ...
