"""Accounts and tenants' settings kept in dicts.

Owns their state for tests. Must never be imported outside tests.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec

from schemas.api import Page
from schemas.api_accounts import TenantChange
from schemas.chats import Chat, ChatPresence, Contact, Group, GroupMember, NumberCheck, Profile
from schemas.errors import BlazzError, ErrorCode
from schemas.messages import MediaRef
from schemas.records import TenantRecord
from schemas.states import SessionState
from tests.integration.memory_sessions import MemorySessions

FRIEND = "628123456789@c.us"
GROUP = "120363000000000001@g.us"


class MemoryAccounts:
    """One friend, one group; notes what was done."""

    def __init__(self, sessions: MemorySessions) -> None:
        self._sessions = sessions
        self.done: list[tuple[Any, ...]] = []
        self.own = Profile("628110000001", name="Shop")
        self.chats_held = [Chat(GROUP, "Team", is_group=True, unread=2), Chat(FRIEND, "Friend")]

    async def _online(self, tenant: str, session: str) -> None:
        view = await self._sessions.get(tenant, session)
        if view.state is not SessionState.ONLINE:
            raise BlazzError(ErrorCode.SESSION_NOT_ONLINE)

    async def set_presence(
        self, tenant: str, session: str, chat: str, presence: ChatPresence
    ) -> None:
        await self._online(tenant, session)
        self.done.append(("presence", chat, presence))

    async def subscribe_presence(self, tenant: str, session: str, chat: str) -> None:
        await self._online(tenant, session)
        self.done.append(("subscribe", chat))

    async def mark_seen(self, tenant: str, session: str, chat: str) -> None:
        await self._online(tenant, session)
        self.done.append(("seen", chat))

    async def chats(
        self, tenant: str, session: str, *, groups_only: bool, limit: int, cursor: str | None
    ) -> Page[Chat]:
        await self._online(tenant, session)
        wanted = [chat for chat in self.chats_held if chat.is_group or not groups_only]
        start = int(cursor) if cursor and cursor.isdecimal() else 0
        more = start + limit < len(wanted)
        return Page(wanted[start : start + limit], more, str(start + limit) if more else None)

    async def contacts(
        self, tenant: str, session: str, *, limit: int, cursor: str | None
    ) -> Page[Contact]:
        await self._online(tenant, session)
        return Page([Contact(FRIEND, "Friend", phone="628123456789")])

    async def group(self, tenant: str, session: str, chat: str) -> Group:
        await self._online(tenant, session)
        if chat != GROUP:
            raise BlazzError(ErrorCode.CHAT_NOT_FOUND)
        return Group(GROUP, "Team", (GroupMember(FRIEND, admin=True),))

    async def picture(self, tenant: str, session: str, chat: str) -> str | None:
        await self._online(tenant, session)
        return "https://pps.example/p.jpg" if chat == FRIEND else None

    async def profile(self, tenant: str, session: str) -> Profile:
        await self._online(tenant, session)
        return self.own

    async def change_profile(
        self,
        tenant: str,
        session: str,
        *,
        name: str | None = None,
        about: str | None = None,
        picture: MediaRef | None = None,
        remove_picture: bool = False,
    ) -> Profile:
        await self._online(tenant, session)
        changes: dict[str, Any] = {"name": name or self.own.name, "about": about or self.own.about}
        if picture is not None:
            changes["picture_url"] = f"https://pps.example/{picture.sha256}"
        if remove_picture:
            changes["picture_url"] = None
        self.own = msgspec.structs.replace(self.own, **changes)
        return self.own

    async def check_numbers(
        self, tenant: str, session: str, phones: Sequence[str]
    ) -> list[NumberCheck]:
        await self._online(tenant, session)
        return [
            NumberCheck(
                phone, f"{phone}@c.us" == FRIEND, FRIEND if f"{phone}@c.us" == FRIEND else None
            )
            for phone in phones
        ]


class MemoryTenants:
    def __init__(self) -> None:
        self.all: dict[str, TenantRecord] = {}
        self.server_region: str | None = None

    async def get(self, tenant: str) -> TenantRecord:
        return self.all.get(tenant) or TenantRecord(tenant, time.time())

    async def change(self, tenant: str, change: TenantChange) -> TenantRecord:
        fields = {
            name: value
            for name in change.__struct_fields__
            if (value := getattr(change, name)) is not msgspec.UNSET
        }
        self.all[tenant] = msgspec.structs.replace(await self.get(tenant), **fields)
        return self.all[tenant]

    async def region(self, tenant: str) -> str | None:
        return (await self.get(tenant)).default_region or self.server_region
