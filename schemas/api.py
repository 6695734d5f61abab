"""The HTTP API's bodies: sessions, keys and the fleet, and what all bodies share.

Owns these request and answer structs of `/v1`; those of messages and media are in `api_messages`,
those of a session's chats, contacts and profile in `api_accounts`. Requests refuse unknown fields
(a typo is an error, not a silence); answers may gain fields. Never holds a route.
Times are Unix seconds.
"""

from typing import Annotated, Generic, TypeVar

import msgspec
from msgspec import Meta

from schemas.ids import NodeId, SessionId, TenantId
from schemas.messages import ChatMessage
from schemas.states import (
    DesiredState,
    EngineKind,
    NodeState,
    SessionState,
)

T = TypeVar("T")


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A body somebody sends us."""


class NewSession(Request, frozen=True):
    """`POST /v1/sessions`"""

    name: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    engine: EngineKind | None = None
    region: Annotated[str, Meta(max_length=63)] | None = None
    metadata: dict[str, Annotated[str, Meta(max_length=500)]] = {}
    start: bool = True


class SessionView(msgspec.Struct, frozen=True, omit_defaults=False):
    """A session: what is wanted, and what its node last probed."""

    session_id: SessionId
    tenant_id: TenantId
    name: str | None
    engine: EngineKind
    desired: DesiredState
    state: SessionState
    state_since: float | None
    reason: str | None
    node_id: str | None
    epoch: int | None
    phone: str | None
    push_name: str | None
    created_at: float
    metadata: dict[str, str] = {}
    observed_age_s: float | None = None
    """How old the node's last pulse is: a state is only as true as this is small."""


class PairingCodeRequest(Request, frozen=True):
    """`POST /v1/sessions/{id}/pairing-code`"""

    phone: Annotated[str, Meta(min_length=6, max_length=32)]


class NewLink(Request, frozen=True):
    """`POST /v1/sessions/{id}/links`: a page somebody without an API key may open."""

    expires_in_s: Annotated[int, Meta(ge=60, le=7 * 86_400)] = 3_600
    return_url: Annotated[str, Meta(max_length=2_000)] | None = None


class LinkView(msgspec.Struct, frozen=True):
    """The page's address; it is shown once."""

    url: str
    expires_at: float


class EventTicketView(msgspec.Struct, frozen=True):
    """A ticket for `/v1/events/ws`; it opens one socket, until it expires (Unix seconds)."""

    ticket: str
    expires_at: float


class QrView(msgspec.Struct, frozen=True):
    """A QR code that can be scanned now."""

    value: str
    index: int
    count: int
    expires_in_s: float


class PairingCodeView(msgspec.Struct, frozen=True):
    """A code to type on the phone."""

    code: str
    expires_in_s: float


class NodeView(msgspec.Struct, frozen=True):
    """A node as operators see it; `age_s` is how old its last pulse is."""

    node_id: str
    state: NodeState
    region: str
    provider: str
    sessions: int
    sessions_max: int
    reserved: int
    memory_used_bytes: int
    memory_free_bytes: int
    cpu_load: float
    age_s: float | None
    cordoned: bool
    version: str
    chromium_build: str | None = None
    chromium_sandbox: bool = True
    draining: bool = False
    address: str = "127.0.0.1"


class NodeSession(msgspec.Struct, frozen=True):
    """A session whose place is on a node; `waits_for` says why it is still there while the node
    is drained, None where it is about to go or nobody asked."""

    session_id: SessionId
    tenant_id: TenantId
    state: SessionState
    waits_for: str | None = None


class NodeDetail(msgspec.Struct, frozen=True):
    """`GET /v1/nodes/{id}`: a node and what is on it; `drained` once it is being drained and
    nothing is left."""

    node: NodeView
    sessions: list[NodeSession]
    drained: bool = False
    drain_deadline_at: float | None = None


class DrainNode(Request, frozen=True):
    """`POST /v1/nodes/{id}/drain`. After `deadline_s` sessions for which no other node has room
    are stopped all the same, and shown as unplaceable; null: they stay until there is room."""

    deadline_s: Annotated[float, Meta(ge=0, le=7 * 86_400)] | None = 600.0
    reason: Annotated[str, Meta(max_length=200)] | None = None


class CordonNode(Request, frozen=True):
    """`POST /v1/nodes/{id}/cordon`"""

    reason: Annotated[str, Meta(max_length=200)] | None = None


class MoveRequest(Request, frozen=True):
    """`POST /v1/sessions/{id}/move`: to a node, or to the best other place."""

    node_id: NodeId | None = None


class RebalanceRequest(Request, frozen=True):
    """`POST /v1/fleet/rebalance`"""

    max_moves: Annotated[int, Meta(ge=1, le=500)] = 10


class PlannedMove(msgspec.Struct, frozen=True):
    """A session that was told to move."""

    session_id: SessionId
    from_node: str
    to_node: str


class RebalanceView(msgspec.Struct, frozen=True):
    """The moves that a rebalance began."""

    moves: list[PlannedMove]


class EraseTenant(Request, frozen=True):
    """`POST /v1/tenants/{id}/erasure`; `confirm` is the tenant's id again."""

    confirm: TenantId


class ErasureView(msgspec.Struct, frozen=True):
    """How far an erasure is. `left` names what is still there, and how much; `finished_at` is set
    once that is nothing."""

    tenant_id: TenantId
    requested_at: float
    finished_at: float | None
    left: dict[str, int]


class NewApiKey(Request, frozen=True):
    """`POST /v1/keys`"""

    name: Annotated[str, Meta(max_length=100)] | None = None
    scopes: tuple[str, ...] = ("sessions", "messages")
    tenant_id: TenantId | None = None
    expires_in_s: Annotated[int, Meta(ge=60)] | None = None


class ApiKeyView(msgspec.Struct, frozen=True, omit_defaults=True):
    """A key without its secret; `key` is there once, in the answer that made it."""

    key_id: str
    tenant_id: TenantId
    scopes: tuple[str, ...]
    created_at: float
    name: str | None = None
    expires_at: float | None = None
    revoked: bool = False
    key: str | None = None


class Page(msgspec.Struct, Generic[T], frozen=True):
    """A page of a list; `next_cursor` is opaque."""

    data: list[T]
    has_more: bool = False
    next_cursor: str | None = None


class FieldProblem(msgspec.Struct, frozen=True):
    """One wrong field: where, and why."""

    path: str
    message: str


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """RFC 9457. `type` is a stable URL of the code; `code` is the same word as everywhere."""

    type: str
    title: str
    status: int
    code: str
    detail: str = ""
    instance: str = ""
    mend: str = ""
    retryable: bool = False
    request_id: str = ""
    errors: list[FieldProblem] = []
    fields: dict[str, str | int] = {}


MessagePage = Page[ChatMessage]
SessionPage = Page[SessionView]
NodePage = Page[NodeView]
