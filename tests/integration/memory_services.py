"""The ports of `control_plane.ports` kept in dicts: small, but they keep every promise.

Owns the state that tests of the HTTP side look at and steer (a session's state and QR, faults to
raise). Must never be imported outside tests.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from control_plane.audit import select
from control_plane.audit_ports import AuditQuery
from control_plane.core import message_trace
from control_plane.core.message_identity import OnceKey
from control_plane.ports import FeedGap, FeedItem, Services
from schemas.api import (
    ErasureView,
    NodeDetail,
    NodeView,
    Page,
    RebalanceView,
    SessionView,
)
from schemas.api_sending import TraceView
from schemas.api_snapshots import GenerationView, SnapshotsView
from schemas.audit import AuditRecord
from schemas.commands import MediaChunk
from schemas.errors import BlazzError, ErrorCode
from schemas.ids import message_id
from schemas.messages import ChatMessage, Content, InboundMedia, kind_of
from schemas.states import (
    MessageDirection,
    MessageKind,
    MessageState,
    NodeState,
)
from tests.integration.memory_access import MemoryAccess, MemoryIdempotency
from tests.integration.memory_accounts import MemoryAccounts, MemoryTenants
from tests.integration.memory_media import MemoryMedia, MemoryUploads, MemoryWeb
from tests.integration.memory_sending import MemoryDeadLetters, MemorySending
from tests.integration.memory_sessions import MemoryFeed, MemorySessions
from tests.integration.memory_webhooks import MemoryWebhooks

CHUNK_BYTES = 1_000


class MemoryMessages:
    def __init__(self, sessions: MemorySessions) -> None:
        self.sessions = sessions
        self.all: dict[tuple[str, str, str], ChatMessage] = {}
        self.sent: list[tuple[str, Content]] = []
        self.media_of: dict[str, bytes] = {}
        self.final = asyncio.Event()

    async def accept(
        self, tenant: str, session: str, to: str, content: Content, once: OnceKey | None = None
    ) -> ChatMessage:
        await self.sessions.get(tenant, session)
        made = ChatMessage(
            message_id=message_id(secrets.token_bytes(9)),
            session_id=session,
            direction=MessageDirection.OUTBOUND,
            kind=kind_of(content),
            state=MessageState.ACCEPTED,
            chat_id=to,
            created_at=time.time(),
            text=getattr(content, "text", None) or getattr(content, "caption", None),
        )
        self.sent.append((to, content))
        self.all[tenant, session, made.message_id] = made
        return made

    async def erase(self, tenant: str, session: str, *, chat: str | None) -> None:
        await self.sessions.get(tenant, session)
        for key, found in list(self.all.items()):
            if key[:2] == (tenant, session) and chat in (None, found.chat_id):
                del self.all[key]

    async def wait_final(
        self, tenant: str, session: str, message: str, *, timeout_s: float
    ) -> ChatMessage:
        try:
            async with asyncio.timeout(timeout_s):
                await self.final.wait()
        except TimeoutError:
            return await self.get(tenant, session, message)
        done = msgspec.structs.replace(
            await self.get(tenant, session, message), state=MessageState.SENT
        )
        self.all[tenant, session, message] = done
        return done

    async def list(
        self,
        tenant: str,
        session: str,
        *,
        chat: str | None,
        text: str | None = None,
        limit: int,
        cursor: str | None,
    ) -> Page[ChatMessage]:
        await self.sessions.get(tenant, session)
        mine = [
            m
            for (t, s, _), m in reversed(self.all.items())
            if (t, s) == (tenant, session)
            and chat in (None, m.chat_id)
            and (text or "").casefold() in (m.text or "").casefold()
        ]
        start = int(cursor) if cursor and cursor.isdecimal() else 0
        more = start + limit < len(mine)
        return Page(mine[start : start + limit], more, str(start + limit) if more else None)

    async def get(self, tenant: str, session: str, message: str) -> ChatMessage:
        await self.sessions.get(tenant, session)
        try:
            return self.all[tenant, session, message]
        except KeyError:
            raise BlazzError(ErrorCode.MESSAGE_NOT_FOUND) from None

    async def media(self, tenant: str, session: str, message: str, offset: int) -> MediaChunk:
        await self.get(tenant, session, message)
        data = self.media_of.get(message)
        if data is None:
            raise BlazzError(ErrorCode.MEDIA_NOT_FOUND)
        return MediaChunk(data[offset : offset + CHUNK_BYTES], offset, len(data), "image/png")

    def receive(self, tenant: str, session: str, data: bytes, filename: str) -> ChatMessage:
        """A picture arrives."""
        made = ChatMessage(
            message_id=message_id(secrets.token_bytes(9)),
            session_id=session,
            direction=MessageDirection.INBOUND,
            kind=MessageKind.IMAGE,
            state=MessageState.RECEIVED,
            chat_id="6281@c.us",
            created_at=time.time(),
            media=InboundMedia("image/png", len(data), filename),
        )
        self.all[tenant, session, made.message_id] = made
        self.media_of[made.message_id] = data
        return made


class MemoryFleet:
    def __init__(self, sessions: MemorySessions, feed: MemoryFeed) -> None:
        self._sessions = sessions
        self._feed = feed
        self.checks = {"bus": True, "state": True}

    async def nodes(self) -> list[NodeView]:
        return [
            NodeView(
                node_id="blazz-local-1",
                state=NodeState.ALIVE,
                region="local",
                provider="local",
                sessions=len(self._sessions.all),
                sessions_max=10,
                reserved=0,
                memory_used_bytes=0,
                memory_free_bytes=1,
                cpu_load=0.0,
                age_s=1.0,
                cordoned=False,
                version="0.1.0",
            )
        ]

    async def sessions(self) -> list[SessionView]:
        return list(self._sessions.all.values())

    async def ready(self) -> dict[str, bool]:
        return self.checks

    def follow(self) -> AsyncIterator[FeedItem | FeedGap]:
        return self._feed.follow()


class MemoryOperations:
    """Notes what was asked of one node."""

    def __init__(self, fleet: MemoryFleet) -> None:
        self._fleet = fleet
        self.asked: list[tuple[Any, ...]] = []

    async def node(self, node_id: str) -> NodeDetail:
        view = (await self._fleet.nodes())[0]
        if node_id != view.node_id:
            raise BlazzError(ErrorCode.NODE_NOT_FOUND)
        return NodeDetail(view, [])

    async def cordon(self, node_id: str, reason: str | None) -> NodeView:
        self.asked.append(("cordon", node_id, reason))
        return (await self.node(node_id)).node

    async def uncordon(self, node_id: str) -> NodeView:
        self.asked.append(("uncordon", node_id))
        return (await self.node(node_id)).node

    async def drain(
        self, node_id: str, *, deadline_s: float | None, reason: str | None
    ) -> NodeDetail:
        self.asked.append(("drain", node_id, deadline_s, reason))
        return await self.node(node_id)

    async def move(self, session: str, to: str | None) -> SessionView:
        self.asked.append(("move", session, to))
        found = next((v for v in await self._fleet.sessions() if v.session_id == session), None)
        if found is None:
            raise BlazzError(ErrorCode.SESSION_NOT_FOUND)
        return found

    async def rebalance(self, max_moves: int) -> RebalanceView:
        self.asked.append(("rebalance", max_moves))
        return RebalanceView([])


class MemoryErasures:
    """Finishes none."""

    def __init__(self) -> None:
        self.asked: dict[str, ErasureView] = {}

    async def begin(self, tenant: str, by: str) -> ErasureView:
        return self.asked.setdefault(tenant, ErasureView(tenant, 1.0, None, {"sessions": 1}))

    async def get(self, tenant: str) -> ErasureView:
        if tenant not in self.asked:
            raise BlazzError(ErrorCode.NOT_FOUND)
        return self.asked[tenant]


class MemoryAudit:
    """Refuses to write while `away`."""

    def __init__(self) -> None:
        self.all: dict[str, AuditRecord] = {}
        self.away = False

    async def write(self, record: AuditRecord) -> None:
        if self.away:
            raise BlazzError(ErrorCode.AUDIT_UNAVAILABLE)
        self.all[record.audit_id] = record

    async def list(self, tenant: str | None, query: AuditQuery) -> Page[AuditRecord]:
        return select((r for r in self.all.values() if tenant in (None, r.tenant_id)), query)


class MemoryTraces:
    """Knows the messages' records alone."""

    def __init__(self, messages: MemoryMessages) -> None:
        self.messages = messages

    async def trace(self, tenant: str, session: str, message: str) -> TraceView:
        found = await self.messages.get(tenant, session, message)
        steps = message_trace.steps(found, [], None, [])
        return TraceView(message, session, found.state, steps)


class MemorySnapshots:
    """Holds none but those a test puts in."""

    def __init__(self, sessions: MemorySessions) -> None:
        self.sessions = sessions
        self.all: dict[str, list[GenerationView]] = {}

    async def generations(self, tenant: str, session: str) -> SnapshotsView:
        await self.sessions.get(tenant, session)
        return SnapshotsView(session, self.all.get(session, []))


class Memory(msgspec.Struct, frozen=True):
    """All ports, typed as what they are so that tests can look inside."""

    sessions: MemorySessions
    messages: MemoryMessages
    dead_letters: MemoryDeadLetters
    sending: MemorySending
    media: MemoryMedia
    uploads: MemoryUploads
    remote_media: MemoryWeb
    accounts: MemoryAccounts
    tenants: MemoryTenants
    feed: MemoryFeed
    access: MemoryAccess
    idempotency: MemoryIdempotency
    fleet: MemoryFleet
    operations: MemoryOperations
    erasures: MemoryErasures
    webhooks: MemoryWebhooks
    audit: MemoryAudit
    traces: MemoryTraces
    snapshots: MemorySnapshots

    @property
    def services(self) -> Services:
        """As the app is given them."""
        fields: dict[str, Any] = {name: getattr(self, name) for name in Services.__struct_fields__}
        return Services(**fields)


def memory() -> Memory:
    """A fresh, empty control plane."""
    feed = MemoryFeed()
    sessions = MemorySessions(feed)
    fleet = MemoryFleet(sessions, feed)
    media = MemoryMedia()
    messages = MemoryMessages(sessions)
    return Memory(
        sessions=sessions,
        messages=messages,
        dead_letters=MemoryDeadLetters(sessions),
        sending=MemorySending(sessions),
        media=media,
        uploads=MemoryUploads(media),
        remote_media=MemoryWeb(),
        accounts=MemoryAccounts(sessions),
        tenants=MemoryTenants(),
        feed=feed,
        access=MemoryAccess(sessions),
        idempotency=MemoryIdempotency(),
        fleet=fleet,
        operations=MemoryOperations(fleet),
        erasures=MemoryErasures(),
        webhooks=MemoryWebhooks(sessions),
        audit=MemoryAudit(),
        traces=MemoryTraces(messages),
        snapshots=MemorySnapshots(sessions),
    )
