"""The ports of `control_plane.ports` kept in dicts: small, but they keep every promise.

Owns the state that tests of the HTTP side look at and steer (a session's state and QR, faults to
raise). Must never be imported outside tests.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from control_plane.ports import FeedGap, FeedItem, Principal, Services
from schemas.api import NewSession, NodeView, Page, SessionView
from schemas.commands import MediaChunk, PairingCodeAnswer, QrAnswer
from schemas.errors import BlazzError, ErrorCode
from schemas.events import Event, EventData, SessionStateChanged
from schemas.ids import event_id, media_id, message_id, session_id
from schemas.messages import ChatMessage, Content, InboundMedia, MediaRef, Text
from schemas.records import ApiKeyRecord, IdempotencyRecord, LinkTokenRecord
from schemas.states import (
    DesiredState,
    EngineKind,
    MessageDirection,
    MessageKind,
    MessageState,
    NodeState,
    SessionState,
)

CHUNK_BYTES = 1_000


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
        return await self.put(tenant, session, SessionState.STARTING, DesiredState.RUNNING)

    async def stop(self, tenant: str, session: str) -> SessionView:
        return await self.put(tenant, session, SessionState.STOPPED, DesiredState.STOPPED)

    async def restart(self, tenant: str, session: str) -> SessionView:
        self.calls.append("restart")
        return await self.put(tenant, session, SessionState.STARTING, DesiredState.RUNNING)

    async def logout(self, tenant: str, session: str) -> SessionView:
        return await self.put(tenant, session, SessionState.LOGGED_OUT, DesiredState.STOPPED)

    async def qr(self, tenant: str, session: str, *, renew: bool) -> QrAnswer:
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


class MemoryMessages:
    def __init__(self, sessions: MemorySessions) -> None:
        self.sessions = sessions
        self.all: dict[tuple[str, str, str], ChatMessage] = {}
        self.sent: list[tuple[str, Content]] = []
        self.media_of: dict[str, bytes] = {}
        self.final = asyncio.Event()

    async def accept(self, tenant: str, session: str, to: str, content: Content) -> ChatMessage:
        await self.sessions.get(tenant, session)
        made = ChatMessage(
            message_id=message_id(secrets.token_bytes(9)),
            session_id=session,
            direction=MessageDirection.OUTBOUND,
            kind=MessageKind.TEXT if isinstance(content, Text) else content.kind,
            state=MessageState.ACCEPTED,
            chat_id=to,
            created_at=time.time(),
            text=content.text if isinstance(content, Text) else content.caption,
        )
        self.sent.append((to, content))
        self.all[tenant, session, made.message_id] = made
        return made

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
        self, tenant: str, session: str, *, chat: str | None, limit: int, cursor: str | None
    ) -> Page[ChatMessage]:
        await self.sessions.get(tenant, session)
        mine = [
            m
            for (t, s, _), m in reversed(self.all.items())
            if (t, s) == (tenant, session) and chat in (None, m.chat_id)
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


class MemoryMedia:
    def __init__(self) -> None:
        self.all: dict[tuple[str, str], tuple[MediaRef, bytes]] = {}
        self.received = 0

    async def put(
        self, tenant: str, data: AsyncIterator[bytes], *, mimetype: str, filename: str | None
    ) -> MediaRef:
        raw = b""
        async for chunk in data:
            raw += chunk
            self.received += len(chunk)
        if not raw:
            raise BlazzError(ErrorCode.MEDIA_CORRUPT, "It is empty.")
        made = media_id(secrets.token_bytes(16))
        ref = MediaRef(made, mimetype, len(raw), hashlib.sha256(raw).hexdigest(), filename)
        self.all[tenant, made] = ref, raw
        return ref

    async def ref(self, tenant: str, media: str) -> MediaRef:
        try:
            return self.all[tenant, media][0]
        except KeyError:
            raise BlazzError(ErrorCode.MEDIA_NOT_FOUND) from None


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


class MemoryAccess:
    def __init__(self, sessions: MemorySessions) -> None:
        self.sessions = sessions
        self.keys: dict[str, ApiKeyRecord] = {}
        self.links: dict[str, LinkTokenRecord] = {}

    def new_key(self, tenant: str, *scopes: str) -> str:
        """A key's text."""
        return self._make(tenant, None, scopes, None)[1]

    def _make(
        self, tenant: str, name: str | None, scopes: tuple[str, ...], expires_in_s: int | None
    ) -> tuple[ApiKeyRecord, str]:
        text = f"blz_test_{secrets.token_hex(16)}"
        record = ApiKeyRecord(
            key_id="".join(secrets.choice("0123456789abcdefghjkmnpqrstvwxyz") for _ in range(12)),
            tenant_id=tenant,
            secret_sha256=hashlib.sha256(text.encode()).hexdigest(),
            created_at=time.time(),
            scopes=scopes,
            name=name,
            expires_at=time.time() + expires_in_s if expires_in_s else None,
        )
        self.keys[text] = record
        return record, text

    async def authenticate(self, token: str) -> Principal:
        record = self.keys.get(token)
        if record is None or record.revoked:
            raise BlazzError(ErrorCode.UNAUTHENTICATED)
        return Principal(record.tenant_id, record.key_id, frozenset(record.scopes))

    async def create_key(
        self,
        tenant: str,
        *,
        name: str | None,
        scopes: tuple[str, ...],
        expires_in_s: int | None,
    ) -> tuple[ApiKeyRecord, str]:
        return self._make(tenant, name, scopes, expires_in_s)

    async def list_keys(self, tenant: str) -> list[ApiKeyRecord]:
        return [r for r in self.keys.values() if r.tenant_id == tenant]

    async def revoke_key(self, tenant: str, key_id: str) -> None:
        for text, record in self.keys.items():
            if (record.tenant_id, record.key_id) == (tenant, key_id):
                self.keys[text] = msgspec.structs.replace(record, revoked=True)
                return
        raise BlazzError(ErrorCode.NOT_FOUND)

    async def create_link(
        self, tenant: str, session: str, *, expires_in_s: int, return_url: str | None
    ) -> tuple[LinkTokenRecord, str]:
        await self.sessions.get(tenant, session)
        token = secrets.token_urlsafe(24)
        digest = hashlib.sha256(token.encode()).hexdigest()
        record = LinkTokenRecord(digest, tenant, session, time.time() + expires_in_s, return_url)
        self.links[token] = record
        return record, token

    async def open_link(self, token: str) -> LinkTokenRecord:
        record = self.links.get(token)
        if record is None or record.expires_at < time.time():
            raise BlazzError(ErrorCode.LINK_TOKEN_INVALID)
        return record


class MemoryIdempotency:
    def __init__(self) -> None:
        self.all: dict[tuple[str, str, str], IdempotencyRecord] = {}

    async def begin(
        self, tenant: str, scope: str, key: str, body_sha256: str
    ) -> IdempotencyRecord | None:
        known = self.all.get((tenant, scope, key))
        if known is None:
            self.all[tenant, scope, key] = IdempotencyRecord(body_sha256)
            return None
        if known.body_sha256 != body_sha256:
            raise BlazzError(ErrorCode.IDEMPOTENCY_MISMATCH)
        if not known.done:
            raise BlazzError(ErrorCode.IDEMPOTENCY_IN_FLIGHT)
        return known

    async def finish(
        self, tenant: str, scope: str, key: str, body_sha256: str, http_code: int, body: str
    ) -> None:
        self.all[tenant, scope, key] = IdempotencyRecord(body_sha256, True, http_code, body)

    async def abandon(self, tenant: str, scope: str, key: str) -> None:
        self.all.pop((tenant, scope, key), None)


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


class Memory(msgspec.Struct, frozen=True):
    """All ports, typed as what they are so that tests can look inside."""

    sessions: MemorySessions
    messages: MemoryMessages
    media: MemoryMedia
    feed: MemoryFeed
    access: MemoryAccess
    idempotency: MemoryIdempotency
    fleet: MemoryFleet

    @property
    def services(self) -> Services:
        """As the app is given them."""
        fields: dict[str, Any] = {name: getattr(self, name) for name in Services.__struct_fields__}
        return Services(**fields)


def memory() -> Memory:
    """A fresh, empty control plane."""
    feed = MemoryFeed()
    sessions = MemorySessions(feed)
    return Memory(
        sessions=sessions,
        messages=MemoryMessages(sessions),
        media=MemoryMedia(),
        feed=feed,
        access=MemoryAccess(sessions),
        idempotency=MemoryIdempotency(),
        fleet=MemoryFleet(sessions, feed),
    )
