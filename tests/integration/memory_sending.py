"""The ports of sending kept in dicts.

Owns the dead letters, settings and opt-outs that tests put in and look at. Must never be imported
outside tests.
"""

from __future__ import annotations

import time
from collections import Counter

from control_plane.core.pacing import resolve
from schemas.api import Page
from schemas.api_sending import (
    DeadLetterCount,
    DeadLetterView,
    OptOutView,
    OutboxView,
    PacingView,
    RedriveView,
)
from schemas.errors import BlazzError, ErrorCode
from schemas.messages import ChatMessage
from schemas.pacing import LaneState, PacingRules, PacingSettings
from schemas.states import MessageDirection, MessageState
from tests.integration.memory_sessions import MemorySessions


class MemoryDeadLetters:
    """Holds none but those a test puts in."""

    def __init__(self, sessions: MemorySessions) -> None:
        self.sessions = sessions
        self.all: dict[tuple[str, str, str], DeadLetterView] = {}
        self.redriven: list[tuple[str, bool]] = []

    async def list(
        self, tenant: str, session: str, *, limit: int, cursor: str | None
    ) -> Page[DeadLetterView]:
        await self.sessions.get(tenant, session)
        return Page([v for (t, s, _), v in self.all.items() if (t, s) == (tenant, session)])

    async def counts(self, tenant: str | None) -> tuple[DeadLetterCount, ...]:
        held = Counter((t, s) for t, s, _ in self.all if tenant in (None, t))
        return tuple(DeadLetterCount(t, s, number) for (t, s), number in held.most_common())

    async def get(self, tenant: str, session: str, message: str) -> DeadLetterView:
        await self.sessions.get(tenant, session)
        try:
            return self.all[tenant, session, message]
        except KeyError:
            raise BlazzError(ErrorCode.DEAD_LETTER_NOT_FOUND) from None

    async def redrive(self, tenant: str, session: str, message: str, *, force: bool) -> ChatMessage:
        view = await self.get(tenant, session, message)
        if view.state is MessageState.UNKNOWN and not force:
            raise BlazzError(ErrorCode.REDRIVE_UNSAFE)
        self.redriven.append((message, force))
        return ChatMessage(
            message_id=message,
            session_id=session,
            direction=MessageDirection.OUTBOUND,
            kind=view.kind,
            state=MessageState.ACCEPTED,
            chat_id=view.chat_id,
            created_at=view.accepted_at,
            redrives=view.redrives + 1,
        )

    async def redrive_all(self, tenant: str, session: str, *, force: bool) -> RedriveView:
        letters = (await self.list(tenant, session, limit=200, cursor=None)).data
        unsafe = [v for v in letters if v.state is MessageState.UNKNOWN and not force]
        return RedriveView(redriven=len(letters) - len(unsafe), left=0, unsafe=len(unsafe))

    async def drop(self, tenant: str, session: str, message: str) -> None:
        await self.get(tenant, session, message)
        del self.all[tenant, session, message]


class MemorySending:
    """Settings and opt-outs in dicts; nothing ever waits."""

    def __init__(self, sessions: MemorySessions) -> None:
        self.sessions = sessions
        self.settings: dict[tuple[str, str | None], PacingSettings] = {}
        self.opted_out: dict[tuple[str, str], OptOutView] = {}

    async def outbox(self, tenant: str, session: str) -> OutboxView:
        await self.sessions.get(tenant, session)
        return OutboxView(session, depth=0, depth_max=10, state=LaneState.EMPTY)

    async def pacing(self, tenant: str, session: str | None) -> PacingView:
        if session is not None:
            await self.sessions.get(tenant, session)
        own = self.settings.get((tenant, session), PacingSettings())
        rules = resolve(PacingRules(), self.settings.get((tenant, None)), own)
        return PacingView(rules=rules, settings=own, quiet_now=False)

    async def set_pacing(
        self, tenant: str, session: str | None, settings: PacingSettings
    ) -> PacingView:
        await self.pacing(tenant, session)
        self.settings[tenant, session] = settings
        return await self.pacing(tenant, session)

    async def opt_outs(self, tenant: str, *, limit: int, cursor: str | None) -> Page[OptOutView]:
        return Page([view for (t, _), view in self.opted_out.items() if t == tenant][:limit])

    async def opt_out(self, tenant: str, chat: str) -> OptOutView:
        return self.opted_out.setdefault((tenant, chat), OptOutView(chat, time.time(), "api"))

    async def opt_in(self, tenant: str, chat: str) -> None:
        if self.opted_out.pop((tenant, chat), None) is None:
            raise BlazzError(ErrorCode.NOT_FOUND)
