"""Ports of accounts and tenants: what is read and done at once, and what a tenant sets for itself.

Owns these protocols between `http` and the services behind it, by the rules of `ports`: the tenant
comes first, and nothing of another's is ever answered.
"""

from collections.abc import Sequence
from typing import Protocol

from schemas.api import Page
from schemas.api_accounts import TenantChange
from schemas.chats import Chat, ChatPresence, Contact, Group, NumberCheck, Profile
from schemas.ids import ChatId, SessionId, TenantId
from schemas.messages import MediaRef
from schemas.records import TenantRecord


class Accounts(Protocol):
    """What is read and done on a session's account at once, through its node. All raise
    `session_not_found`, `session_not_running`, `session_not_online`, `node_unreachable`."""

    async def set_presence(
        self, tenant: TenantId, session: SessionId, chat: ChatId, presence: ChatPresence
    ) -> None: ...
    async def subscribe_presence(
        self, tenant: TenantId, session: SessionId, chat: ChatId
    ) -> None: ...
    async def mark_seen(self, tenant: TenantId, session: SessionId, chat: ChatId) -> None: ...
    async def chats(
        self,
        tenant: TenantId,
        session: SessionId,
        *,
        groups_only: bool,
        limit: int,
        cursor: str | None,
    ) -> Page[Chat]:
        """Last used first."""
        ...

    async def contacts(
        self, tenant: TenantId, session: SessionId, *, limit: int, cursor: str | None
    ) -> Page[Contact]: ...
    async def group(self, tenant: TenantId, session: SessionId, chat: ChatId) -> Group:
        """Raises `chat_not_found`."""
        ...

    async def picture(self, tenant: TenantId, session: SessionId, chat: ChatId) -> str | None:
        """Where its picture is served for a while, if anywhere."""
        ...

    async def profile(self, tenant: TenantId, session: SessionId) -> Profile: ...
    async def change_profile(
        self,
        tenant: TenantId,
        session: SessionId,
        *,
        name: str | None = None,
        about: str | None = None,
        picture: MediaRef | None = None,
        remove_picture: bool = False,
    ) -> Profile: ...
    async def check_numbers(
        self, tenant: TenantId, session: SessionId, phones: Sequence[str]
    ) -> list[NumberCheck]:
        """Which of these numbers (E.164 digits) are on WhatsApp, in their order."""
        ...


class Tenants(Protocol):
    """What a tenant has set for itself."""

    async def get(self, tenant: TenantId) -> TenantRecord: ...
    async def change(self, tenant: TenantId, change: TenantChange) -> TenantRecord: ...
    async def region(self, tenant: TenantId) -> str | None:
        """The ISO country of its phone numbers without a country code: its own, or the server's;
        may be some seconds old."""
        ...
