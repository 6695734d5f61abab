"""Ports: what the HTTP side asks of the rest of the control plane.

Owns the protocols between `http`/`link` and the services behind them. Never an implementation,
a route or a bus. Every method takes the tenant first and answers only for that tenant: that is
the one place where tenants are kept apart, and every service must look up by (tenant, id).
All raise `BlazzError` with a stable code.
"""

from collections.abc import AsyncIterator
from typing import Protocol

import msgspec

from control_plane.account_ports import Accounts, Tenants
from control_plane.audit_ports import Audit
from control_plane.core.message_identity import OnceKey
from control_plane.media_ports import MediaStore, RemoteMedia, Uploads
from control_plane.sending_ports import DeadLetters, Sending, Traces
from schemas.api import (
    ErasureView,
    NewSession,
    NodeDetail,
    NodeView,
    Page,
    RebalanceView,
    SessionView,
)
from schemas.api_snapshots import SnapshotsView
from schemas.commands import MediaChunk, PairingCodeAnswer, QrAnswer
from schemas.events import Event
from schemas.ids import ChatId, EventId, MessageId, NodeId, SessionId, TenantId, WebhookId
from schemas.messages import ChatMessage, Content
from schemas.records import ApiKeyRecord, IdempotencyRecord, LinkTokenRecord
from schemas.snapshots import SnapshotGeneration
from schemas.webhooks import (
    DeliveryState,
    DeliveryView,
    NewWebhook,
    Recover,
    RecoverView,
    WebhookChange,
    WebhookTestView,
    WebhookView,
)


class Principal(msgspec.Struct, frozen=True):
    """Who is asking: one tenant's key, or a link page's token (bound to one session)."""

    tenant_id: TenantId
    key_id: str
    scopes: frozenset[str]
    session_id: SessionId | None = None
    key_name: str | None = None


class FeedItem(msgspec.Struct, frozen=True):
    """An event and its place in the stream (the SSE id)."""

    sequence: int
    event: Event


class FeedGap(msgspec.Struct, frozen=True):
    """Events between were pruned: the reader must read states anew."""

    from_sequence: int
    to_sequence: int


class Sessions(Protocol):
    """A tenant's sessions."""

    async def create(self, tenant: TenantId, new: NewSession) -> SessionView:
        """Place it (`no_node_available`), write it, let it be started."""
        ...

    async def list(
        self, tenant: TenantId, *, limit: int, cursor: str | None
    ) -> Page[SessionView]: ...
    async def get(self, tenant: TenantId, session: SessionId) -> SessionView: ...
    async def delete(self, tenant: TenantId, session: SessionId) -> None: ...
    async def start(self, tenant: TenantId, session: SessionId) -> SessionView: ...
    async def stop(self, tenant: TenantId, session: SessionId) -> SessionView: ...
    async def restart(self, tenant: TenantId, session: SessionId) -> SessionView: ...
    async def logout(self, tenant: TenantId, session: SessionId) -> SessionView: ...
    async def qr(self, tenant: TenantId, session: SessionId, *, renew: bool) -> QrAnswer: ...
    async def pairing_code(
        self, tenant: TenantId, session: SessionId, phone: str
    ) -> PairingCodeAnswer: ...


class Messages(Protocol):
    """A session's messages."""

    async def accept(
        self,
        tenant: TenantId,
        session: SessionId,
        to: ChatId,
        content: Content,
        once: OnceKey | None = None,
    ) -> ChatMessage:
        """Fix the id, append to the lane with a durable ack. From here it ends exactly once.

        `once` fixes the id by an idempotency key: whatever was accepted under it before, however
        that request ended, is answered again. Raises `queue_full`, `recipient_opted_out`.
        """
        ...

    async def wait_final(
        self, tenant: TenantId, session: SessionId, message: MessageId, *, timeout_s: float
    ) -> ChatMessage:
        """Wait, bounded, until it is sent, failed or unknown; answers what it is then."""
        ...

    async def list(
        self,
        tenant: TenantId,
        session: SessionId,
        *,
        chat: str | None,
        text: str | None = None,
        limit: int,
        cursor: str | None,
    ) -> Page[ChatMessage]:
        """Newest first; with `text` only those that hold all its words."""
        ...

    async def get(
        self, tenant: TenantId, session: SessionId, message: MessageId
    ) -> ChatMessage: ...
    async def erase(self, tenant: TenantId, session: SessionId, *, chat: str | None) -> None:
        """Delete what is kept of a session's messages, or of one chat's, for good."""
        ...

    async def media(
        self, tenant: TenantId, session: SessionId, message: MessageId, offset: int
    ) -> MediaChunk:
        """A chunk of an inbound message's media, read through its node."""
        ...


class EventFeed(Protocol):
    """A tenant's events, live and from the past."""

    def follow(
        self,
        tenant: TenantId,
        *,
        session: SessionId | None = None,
        after_sequence: int | None = None,
    ) -> AsyncIterator[FeedItem | FeedGap]:
        """From after a sequence, or from now. Endless; bounded buffers; close it to stop."""
        ...


class Webhooks(Protocol):
    """A tenant's webhooks and their deliveries."""

    async def create(self, tenant: TenantId, new: NewWebhook) -> WebhookView:
        """With its secret, this once. It gets the events from now on."""
        ...

    async def list(self, tenant: TenantId) -> list[WebhookView]: ...
    async def get(self, tenant: TenantId, webhook: WebhookId) -> WebhookView: ...
    async def change(
        self, tenant: TenantId, webhook: WebhookId, change: WebhookChange
    ) -> WebhookView: ...
    async def enable(self, tenant: TenantId, webhook: WebhookId) -> WebhookView: ...
    async def disable(self, tenant: TenantId, webhook: WebhookId) -> WebhookView: ...
    async def delete(self, tenant: TenantId, webhook: WebhookId) -> None: ...
    async def rotate_secret(
        self, tenant: TenantId, webhook: WebhookId, *, overlap_s: float
    ) -> WebhookView:
        """With its new secret, this once."""
        ...

    async def test(self, tenant: TenantId, webhook: WebhookId) -> WebhookTestView:
        """One real delivery, now; its failure is an answer, not an error."""
        ...

    async def deliveries(
        self,
        tenant: TenantId,
        webhook: WebhookId,
        *,
        state: DeliveryState | None,
        limit: int,
        cursor: str | None,
    ) -> Page[DeliveryView]: ...
    async def deliveries_of(
        self, tenant: TenantId, events: frozenset[EventId]
    ) -> tuple[tuple[WebhookId, DeliveryView], ...]:
        """What became of some events, at every webhook of the tenant; no more than is in the
        queues and logs."""
        ...

    async def resend(
        self, tenant: TenantId, webhook: WebhookId, event: EventId
    ) -> DeliveryView: ...
    async def recover(
        self, tenant: TenantId, webhook: WebhookId, wanted: Recover
    ) -> RecoverView: ...


class Access(Protocol):
    """Keys, tenants and link tokens."""

    async def authenticate(self, token: str) -> Principal:
        """Check prefix, checksum, hash, expiry. Raises `unauthenticated`."""
        ...

    async def create_key(
        self,
        tenant: TenantId,
        *,
        name: str | None,
        scopes: tuple[str, ...],
        expires_in_s: int | None,
    ) -> tuple[ApiKeyRecord, str]:
        """A new key and, this once, its text."""
        ...

    async def list_keys(self, tenant: TenantId) -> list[ApiKeyRecord]: ...
    async def revoke_key(self, tenant: TenantId, key_id: str) -> None: ...
    async def create_link(
        self,
        tenant: TenantId,
        session: SessionId,
        *,
        expires_in_s: int,
        return_url: str | None,
    ) -> tuple[LinkTokenRecord, str]: ...
    async def open_link(self, token: str) -> LinkTokenRecord:
        """Look a link token up. Raises `link_token_invalid`."""
        ...

    async def bind_link(self, token: str, browser_sha256: str) -> LinkTokenRecord:
        """Give the link to one browser for good, unless another has it: see the record. Raises
        `link_token_invalid`, `conflict`."""
        ...

    async def create_ticket(self, principal: Principal, *, expires_in_s: int) -> tuple[str, float]:
        """A ticket that stands for this caller once, and when it ends (Unix seconds)."""
        ...

    async def redeem_ticket(self, ticket: str) -> Principal:
        """Use a ticket up. Raises `unauthenticated`."""
        ...


class Erasures(Protocol):
    """The erasure of whole tenants: for scope `operator` alone."""

    async def begin(self, tenant: TenantId, by: str) -> ErasureView:
        """All of it, for good; repeating it changes nothing. Raises `not_found`."""
        ...

    async def get(self, tenant: TenantId) -> ErasureView:
        """Raises `not_found` if nobody asked for one."""
        ...


class Idempotency(Protocol):
    """The first answer to a key, kept for a day."""

    async def begin(
        self, tenant: TenantId, scope: str, key: str, body_sha256: str, *, resume: bool = False
    ) -> IdempotencyRecord | None:
        """None: yours to do. A done record: replay it. With `resume` a record that is not done:
        somebody began, do it again; without it that raises `idempotency_in_flight`. Raises
        `idempotency_mismatch`."""
        ...

    async def finish(
        self, tenant: TenantId, scope: str, key: str, body_sha256: str, http_code: int, body: str
    ) -> None: ...
    async def abandon(self, tenant: TenantId, scope: str, key: str) -> None: ...


class Fleet(Protocol):
    """The nodes, for operators."""

    async def nodes(self) -> list[NodeView]: ...
    async def sessions(self) -> list[SessionView]:
        """All tenants' sessions: for scope `operator` alone."""
        ...

    async def ready(self) -> dict[str, bool]:
        """What `/readyz` shows: bus, state synced, …"""
        ...

    def follow(self) -> AsyncIterator[FeedItem | FeedGap]:
        """All tenants' events, from now: for scope `operator` alone."""
        ...


class Operations(Protocol):
    """What operators ask of nodes and places: for scope `operator` alone. All of it is written
    down and then done by the reconciler, whoever goes away meanwhile."""

    async def node(self, node_id: NodeId) -> NodeDetail:
        """A node, what is on it, and why that is still there. Raises `node_not_found`."""
        ...

    async def cordon(self, node_id: NodeId, reason: str | None) -> NodeView: ...
    async def uncordon(self, node_id: NodeId) -> NodeView:
        """Also ends a drain."""
        ...

    async def drain(
        self, node_id: NodeId, *, deadline_s: float | None, reason: str | None
    ) -> NodeDetail:
        """Its sessions move away, and none comes."""
        ...

    async def move(self, session: SessionId, to: NodeId | None) -> SessionView:
        """Any tenant's. Raises `session_not_found`, `node_not_found`, `no_node_available`."""
        ...

    async def rebalance(self, max_moves: int) -> RebalanceView:
        """Have sessions move from the fuller nodes to the emptier ones."""
        ...


class SnapshotAdmission(Protocol):
    """What a session's snapshots add to the command that starts it."""

    async def admission(
        self, tenant: TenantId, session: SessionId
    ) -> tuple[bytes, tuple[SnapshotGeneration, ...]]:
        """Its data key (made if it has none) and its generations, newest first; an empty key and
        no generations where the fleet keeps no snapshots. Raises `master_key_missing`,
        `nats_unavailable`, `timeout`."""
        ...


class Snapshots(Protocol):
    """What is kept of a session's saved states."""

    async def generations(self, tenant: TenantId, session: SessionId) -> SnapshotsView:
        """Newest first. Raises `session_not_found`, `nats_unavailable`."""
        ...


class Services(msgspec.Struct, frozen=True):
    """All of it, as the HTTP app is given it."""

    sessions: Sessions
    messages: Messages
    dead_letters: DeadLetters
    sending: Sending
    media: MediaStore
    uploads: Uploads
    remote_media: RemoteMedia
    accounts: Accounts
    tenants: Tenants
    feed: EventFeed
    access: Access
    idempotency: Idempotency
    fleet: Fleet
    operations: Operations
    erasures: Erasures
    webhooks: Webhooks
    audit: Audit
    traces: Traces
    snapshots: Snapshots
