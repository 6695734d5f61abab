"""Sessions and their events kept in dicts.

Owns their state for tests, and the faults that tests set. Must never be imported outside tests.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator

import msgspec

from control_plane.ports import FeedGap, FeedItem
from schemas.api import NewSession, Page, SessionView
from schemas.commands import PairingCodeAnswer, QrAnswer
from schemas.errors import BlazzError, ErrorCode
from schemas.events import Event, EventData, SessionStateChanged
from schemas.ids import event_id, session_id
from schemas.states import (
    DesiredState,
    EngineKind,
    SessionState,
)


class MemoryFeed:
    def __init__(self) -> None:
        self.items: list[FeedItem] = []
        self.pruned_to = 0
        self.more = asyncio.Condition()
        self.followers = 0
        self._wakers: set[asyncio.Event] = set()

    def publish(self, tenant: str, session: str, data: EventData) -> FeedItem:
        event = Event(
            event_id=event_id(secrets.token_bytes(16)),
            at=time.time(),
            tenant_id=tenant,
            session_id=session,
            node_id="blazz-local-1",
            epoch=1,
            data=data,
        )
        item = FeedItem(len(self.items) + 1, event)
        self.items.append(item)
        for waker in self._wakers:
            waker.set()
        return item

    async def follow(
        self,
        tenant: str | None = None,
        *,
        session: str | None = None,
        after_sequence: int | None = None,
    ) -> AsyncIterator[FeedItem | FeedGap]:
        position = len(self.items) if after_sequence is None else after_sequence
        waker = asyncio.Event()
        self._wakers.add(waker)
        self.followers += 1
        try:
            if position < self.pruned_to:
                yield FeedGap(position + 1, self.pruned_to)
                position = self.pruned_to
            while True:
                waker.clear()
                while position < len(self.items):
                    item = self.items[position]
                    position += 1
                    if tenant in (None, item.event.tenant_id) and session in (
                        None,
                        item.event.session_id,
                    ):
                        yield item
                await waker.wait()
        finally:
            self._wakers.discard(waker)
            self.followers -= 1


class MemorySessions:
    def __init__(self, feed: MemoryFeed) -> None:
        self.feed = feed
        self.all: dict[tuple[str, str], SessionView] = {}
        self.qrs: dict[str, QrAnswer | ErrorCode] = {}
        self.renewed: list[str] = []
        self.calls: list[str] = []
        self.creating = asyncio.Event()
        self.creating.set()
        self.fail_create: Exception | None = None
        self.fail_start: Exception | None = None
        self.answering = asyncio.Event()
        self.answering.set()

    async def create(self, tenant: str, new: NewSession) -> SessionView:
        self.calls.append("create")
        await self.creating.wait()
        if self.fail_create:
            raise self.fail_create
        if new.name and any(s.name == new.name for (t, _), s in self.all.items() if t == tenant):
            raise BlazzError(ErrorCode.SESSION_EXISTS)
        made = SessionView(
            session_id=session_id(secrets.token_bytes(16)),
            tenant_id=tenant,
            name=new.name,
            engine=new.engine or EngineKind.LOOPBACK,
            desired=DesiredState.RUNNING if new.start else DesiredState.STOPPED,
            state=SessionState.STARTING if new.start else SessionState.PENDING,
            state_since=time.time(),
            reason=None,
            node_id="blazz-local-1",
            epoch=1,
            phone=None,
            push_name=None,
            created_at=time.time(),
            metadata=new.metadata,
        )
        self.all[tenant, made.session_id] = made
        return made

    async def list(self, tenant: str, *, limit: int, cursor: str | None) -> Page[SessionView]:
        mine = [s for (t, _), s in self.all.items() if t == tenant]
        try:
            start = int(cursor or 0)
        except ValueError:
            raise BlazzError(ErrorCode.VALIDATION_FAILED, "The cursor is not ours.") from None
        more = start + limit < len(mine)
        return Page(mine[start : start + limit], more, str(start + limit) if more else None)

    async def get(self, tenant: str, session: str) -> SessionView:
        try:
            return self.all[tenant, session]
        except KeyError:
            raise BlazzError(ErrorCode.SESSION_NOT_FOUND) from None

    async def delete(self, tenant: str, session: str) -> None:
        await self.get(tenant, session)
        del self.all[tenant, session]

    async def start(self, tenant: str, session: str) -> SessionView:
        self.calls.append("start")
        if self.fail_start:
            raise self.fail_start
        return await self.put(tenant, session, SessionState.STARTING, DesiredState.RUNNING)

    async def stop(self, tenant: str, session: str) -> SessionView:
        return await self.put(tenant, session, SessionState.STOPPED, DesiredState.STOPPED)

    async def restart(self, tenant: str, session: str) -> SessionView:
        self.calls.append("restart")
        return await self.put(tenant, session, SessionState.STARTING, DesiredState.RUNNING)

    async def logout(self, tenant: str, session: str) -> SessionView:
        return await self.put(tenant, session, SessionState.LOGGED_OUT, DesiredState.STOPPED)

    async def qr(self, tenant: str, session: str, *, renew: bool) -> QrAnswer:
        await self.answering.wait()
        if (await self.get(tenant, session)).state is not SessionState.PAIRING:
            raise BlazzError(ErrorCode.SESSION_NOT_PAIRING)
        shown = self.qrs.get(session, ErrorCode.QR_NOT_AVAILABLE)
        if renew and shown is ErrorCode.QR_EXPIRED:
            self.renewed.append(session)
        if isinstance(shown, ErrorCode):
            raise BlazzError(shown)
        return shown

    async def pairing_code(self, tenant: str, session: str, phone: str) -> PairingCodeAnswer:
        if (await self.get(tenant, session)).state is not SessionState.PAIRING:
            raise BlazzError(ErrorCode.SESSION_NOT_PAIRING)
        assert phone.isdigit()
        return PairingCodeAnswer("ABCD1234", 160.0)

    async def put(
        self,
        tenant: str,
        session: str,
        state: SessionState,
        desired: DesiredState = DesiredState.RUNNING,
        reason: str | None = None,
    ) -> SessionView:
        """Set a session's state and publish the change."""
        before = await self.get(tenant, session)
        now = msgspec.structs.replace(before, state=state, desired=desired, reason=reason)
        self.all[tenant, session] = now
        self.feed.publish(tenant, session, SessionStateChanged(state, before.state, reason))
        return now
