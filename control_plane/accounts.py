"""Accounts: what is read and done on a session's account at once, through its node.

Owns which command each request is and how lists are paged. Never keeps what it read, and never
queues: what cannot be done now is refused, for a "typing" of yesterday helps nobody.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, TypeVar

import msgspec

from control_plane.node_commands import NodeCommands
from control_plane.sessions import FleetSessions
from schemas import commands
from schemas.api import Page
from schemas.chats import Chat, ChatPresence, Contact, Group, NumberCheck, Profile
from schemas.commands import ChatActDone, ChatsAnswer, ContactsAnswer, PictureAnswer
from schemas.ids import ChatId, SessionId, TenantId
from schemas.messages import MediaRef
from schemas.records import Assignment

A = TypeVar("A", bound=msgspec.Struct)

_CHECKS_AT_ONCE: Final = 4


class NodeAccounts:
    """Implements `ports.Accounts`. A cursor is the node's own mark, passed through."""

    def __init__(self, sessions: FleetSessions, nodes: NodeCommands) -> None:
        self._sessions = sessions
        self._nodes = nodes

    async def set_presence(
        self, tenant: TenantId, session: SessionId, chat: ChatId, presence: ChatPresence
    ) -> None:
        """See `ports.Accounts`."""
        place = await self._sessions.running(tenant, session)
        command = commands.SetPresence(
            session_id=session, epoch=place.epoch, chat_id=chat, presence=presence
        )
        await self._ask(place, "set_presence", command, ChatActDone)

    async def subscribe_presence(self, tenant: TenantId, session: SessionId, chat: ChatId) -> None:
        """See `ports.Accounts`."""
        place = await self._sessions.running(tenant, session)
        command = commands.SubscribePresence(session_id=session, epoch=place.epoch, chat_id=chat)
        await self._ask(place, "subscribe_presence", command, ChatActDone)

    async def mark_seen(self, tenant: TenantId, session: SessionId, chat: ChatId) -> None:
        """See `ports.Accounts`."""
        place = await self._sessions.running(tenant, session)
        command = commands.MarkSeen(session_id=session, epoch=place.epoch, chat_id=chat)
        await self._ask(place, "mark_seen", command, ChatActDone)

    async def chats(
        self,
        tenant: TenantId,
        session: SessionId,
        *,
        groups_only: bool,
        limit: int,
        cursor: str | None,
    ) -> Page[Chat]:
        """See `ports.Accounts`."""
        place = await self._sessions.running(tenant, session)
        command = commands.ReadChats(
            session_id=session,
            epoch=place.epoch,
            limit=limit,
            after=cursor,
            groups_only=groups_only,
        )
        answer = await self._ask(place, "read_chats", command, ChatsAnswer)
        return Page(list(answer.chats), answer.next is not None, answer.next)

    async def contacts(
        self, tenant: TenantId, session: SessionId, *, limit: int, cursor: str | None
    ) -> Page[Contact]:
        """See `ports.Accounts`."""
        place = await self._sessions.running(tenant, session)
        command = commands.ReadContacts(
            session_id=session, epoch=place.epoch, limit=limit, after=cursor
        )
        answer = await self._ask(place, "read_contacts", command, ContactsAnswer)
        return Page(list(answer.contacts), answer.next is not None, answer.next)

    async def group(self, tenant: TenantId, session: SessionId, chat: ChatId) -> Group:
        """See `ports.Accounts`."""
        place = await self._sessions.running(tenant, session)
        command = commands.ReadGroup(session_id=session, epoch=place.epoch, chat_id=chat)
        return await self._ask(place, "read_group", command, Group)

    async def picture(self, tenant: TenantId, session: SessionId, chat: ChatId) -> str | None:
        """See `ports.Accounts`."""
        place = await self._sessions.running(tenant, session)
        command = commands.ReadPicture(session_id=session, epoch=place.epoch, chat_id=chat)
        return (await self._ask(place, "read_picture", command, PictureAnswer)).url

    async def profile(self, tenant: TenantId, session: SessionId) -> Profile:
        """See `ports.Accounts`."""
        place = await self._sessions.running(tenant, session)
        command = commands.ReadProfile(session_id=session, epoch=place.epoch)
        return await self._ask(place, "read_profile", command, Profile)

    async def change_profile(
        self,
        tenant: TenantId,
        session: SessionId,
        *,
        name: str | None = None,
        about: str | None = None,
        picture: MediaRef | None = None,
        remove_picture: bool = False,
    ) -> Profile:
        """See `ports.Accounts`."""
        place = await self._sessions.running(tenant, session)
        command = commands.SetProfile(
            session_id=session,
            epoch=place.epoch,
            name=name,
            about=about,
            picture=picture,
            remove_picture=remove_picture,
        )
        return await self._ask(place, "set_profile", command, Profile)

    async def check_numbers(
        self, tenant: TenantId, session: SessionId, phones: Sequence[str]
    ) -> list[NumberCheck]:
        """See `ports.Accounts`. The first refusal ends the check."""
        place = await self._sessions.running(tenant, session)
        turns = asyncio.Semaphore(_CHECKS_AT_ONCE)

        async def check(phone: str) -> NumberCheck:
            command = commands.CheckNumber(session_id=session, epoch=place.epoch, phone=phone)
            async with turns:
                return await self._ask(place, "check_number", command, NumberCheck)

        try:
            async with asyncio.TaskGroup() as group:
                checks = [group.create_task(check(phone)) for phone in phones]
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return [check.result() for check in checks]

    async def _ask(
        self, place: Assignment, name: str, command: commands.Command, kind: type[A]
    ) -> A:
        reply = await self._nodes.ask(place, name, command)
        assert isinstance(reply, kind)
        return reply
