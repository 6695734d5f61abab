"""What can be asked of a session's account: presence, seen, checks, chats, contacts, its profile.

Owns the gates of these calls (acts need an online session, reads a linked one), how many may wait
for the page at once, and how long. Never sends a message and never changes the session's state.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from schemas.chats import ChatPresence, Group, NumberCheck, Profile
from schemas.commands import (
    ChatActDone,
    ChatsAnswer,
    CheckNumber,
    ContactsAnswer,
    MarkSeen,
    PictureAnswer,
    ReadChats,
    ReadContacts,
    ReadGroup,
    ReadPicture,
    ReadProfile,
    SetPresence,
    SetProfile,
    SubscribePresence,
)
from schemas.errors import BlazzError, ErrorCode
from swarm_node.engines.contract import Engine
from swarm_node.session.media import MediaFetcher
from swarm_node.session.runner import SessionRunner

_SHOWN = (ChatPresence.TYPING, ChatPresence.RECORDING, ChatPresence.PAUSED)


class AccountCalls:
    """One session's. Every call raises `session_not_online`, `rate_limited`, `page_timeout`, and
    what the engine raises."""

    def __init__(self, runner: SessionRunner, fetcher: MediaFetcher) -> None:
        self._runner = runner
        self._fetcher = fetcher
        self._running = 0

    async def set_presence(self, command: SetPresence) -> ChatActDone:
        """Show what we do in a chat. Raises `validation_failed` for what can only be seen."""
        if command.presence not in _SHOWN:
            raise BlazzError(ErrorCode.VALIDATION_FAILED, f"{command.presence} can only be seen")
        async with self._acting() as engine:
            await engine.set_presence(command.chat_id, command.presence)
        return ChatActDone()

    async def subscribe_presence(self, command: SubscribePresence) -> ChatActDone:
        """Have a chat's presence reported."""
        async with self._acting() as engine:
            await engine.subscribe_presence(command.chat_id)
        return ChatActDone()

    async def mark_seen(self, command: MarkSeen) -> ChatActDone:
        """Tell the senders that a chat was read."""
        async with self._acting() as engine:
            await engine.mark_seen(command.chat_id)
        return ChatActDone()

    async def check_number(self, command: CheckNumber) -> NumberCheck:
        """Whether a number is an account."""
        async with self._acting() as engine:
            return await engine.check_number(command.phone)

    async def read_chats(self, command: ReadChats) -> ChatsAnswer:
        """Some chats."""
        async with self._reading() as engine:
            found = await engine.read_chats(command.limit, command.after, command.groups_only)
        return ChatsAnswer(*found)

    async def read_contacts(self, command: ReadContacts) -> ContactsAnswer:
        """Some contacts."""
        async with self._reading() as engine:
            return ContactsAnswer(*await engine.read_contacts(command.limit, command.after))

    async def read_group(self, command: ReadGroup) -> Group:
        """A group. Raises `chat_not_found`."""
        async with self._reading() as engine:
            return await engine.read_group(command.chat_id)

    async def read_profile(self, _command: ReadProfile) -> Profile:
        """The account's own profile."""
        async with self._reading() as engine:
            return await engine.read_profile()

    async def read_picture(self, command: ReadPicture) -> PictureAnswer:
        """Where a picture can be had."""
        async with self._reading() as engine:
            return PictureAnswer(await engine.read_picture(command.chat_id))

    async def set_profile(self, command: SetProfile) -> Profile:
        """Change the profile; answers with the new one. Raises `validation_failed`, and what
        fetching the picture raises."""
        if command.picture is not None and command.remove_picture:
            raise BlazzError(ErrorCode.VALIDATION_FAILED, "a picture is set or removed, not both")
        self._online()
        async with AsyncExitStack() as stack:
            path = None
            if command.picture is not None:
                fetching = self._fetcher.fetched(command.session_id, command.picture)
                path = await stack.enter_async_context(fetching)
            async with self._acting() as engine:
                await engine.set_profile(command.name, command.about, path, command.remove_picture)
                return await engine.read_profile()

    @asynccontextmanager
    async def _acting(self) -> AsyncIterator[Engine]:
        async with self._turn():
            yield self._online()

    def _online(self) -> Engine:
        engine = self._runner.engine
        if engine is None or not self._runner.state.can_send:
            raise BlazzError(ErrorCode.SESSION_NOT_ONLINE, f"the session is {self._runner.state}")
        return engine

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[Engine]:
        async with self._turn():
            engine = self._runner.engine
            if engine is None or not self._runner.linked:
                raise BlazzError(
                    ErrorCode.SESSION_NOT_ONLINE, f"the session is {self._runner.state}"
                )
            yield engine

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        timings = self._runner.timings
        if self._running >= timings.calls_at_once_max:
            raise BlazzError(ErrorCode.RATE_LIMITED, "too many calls wait for this session")
        self._running += 1
        try:
            async with asyncio.timeout(timings.call_max_s):
                yield
        except TimeoutError:
            raise BlazzError(ErrorCode.PAGE_TIMEOUT, "the engine gave no answer") from None
        finally:
            self._running -= 1
