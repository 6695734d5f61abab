"""Ports of sending: what waits and why, how fast it goes, and what could not be sent.

Owns the protocols between `http` and the services behind them, as `ports` does for all else. Never
an implementation.
"""

from typing import Protocol

from schemas.api import Page
from schemas.api_sending import (
    DeadLetterCount,
    DeadLetterView,
    OptOutView,
    OutboxView,
    PacingView,
    RedriveView,
    TraceView,
)
from schemas.ids import ChatId, MessageId, SessionId, TenantId
from schemas.messages import ChatMessage
from schemas.pacing import PacingSettings


class Sending(Protocol):
    """How fast is sent, to whom not, and what waits."""

    async def outbox(self, tenant: TenantId, session: SessionId) -> OutboxView:
        """A lane's depth and what its head waits for; `unattended` when nobody says."""
        ...

    async def pacing(self, tenant: TenantId, session: SessionId | None) -> PacingView:
        """A session's, or (None) what all of the tenant's go by."""
        ...

    async def set_pacing(
        self, tenant: TenantId, session: SessionId | None, settings: PacingSettings
    ) -> PacingView:
        """Replace what that level wants otherwise."""
        ...

    async def opt_outs(
        self, tenant: TenantId, *, limit: int, cursor: str | None
    ) -> Page[OptOutView]: ...
    async def opt_out(self, tenant: TenantId, chat: ChatId) -> OptOutView:
        """Nothing more goes to the chat. Safe to repeat."""
        ...

    async def opt_in(self, tenant: TenantId, chat: ChatId) -> None:
        """Raises `not_found` for one that is not on the list."""
        ...


class Traces(Protocol):
    """What happened to a message."""

    async def trace(self, tenant: TenantId, session: SessionId, message: MessageId) -> TraceView:
        """Raises `session_not_found`, `message_not_found`."""
        ...


class DeadLetters(Protocol):
    """A session's messages that ended as failed or unknown."""

    async def list(
        self, tenant: TenantId, session: SessionId, *, limit: int, cursor: str | None
    ) -> Page[DeadLetterView]: ...
    async def counts(self, tenant: TenantId | None) -> tuple[DeadLetterCount, ...]:
        """How many each session has that has any, the most first; None: all tenants'."""
        ...

    async def get(
        self, tenant: TenantId, session: SessionId, message: MessageId
    ) -> DeadLetterView: ...
    async def redrive(
        self, tenant: TenantId, session: SessionId, message: MessageId, *, force: bool
    ) -> ChatMessage:
        """Under its id to the end of its lane. Raises `dead_letter_not_found`, `queue_full`, and
        `redrive_unsafe` for one that ended as `unknown`, without `force`."""
        ...

    async def redrive_all(
        self, tenant: TenantId, session: SessionId, *, force: bool
    ) -> RedriveView:
        """All of them, oldest first; without `force` not those that ended as `unknown`."""
        ...

    async def drop(self, tenant: TenantId, session: SessionId, message: MessageId) -> None: ...
