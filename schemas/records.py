"""Records: the values kept in the buckets and streams, and the nodes' reports.

Owns their fields. Never a name of a bucket or key: see `keys.py`,
`subjects.py` and `resources.py`.
Times are Unix seconds and only for people; who is alive is judged by the reader's own clock.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from schemas.ids import (
    ApiKeyId,
    ChatId,
    LinkTokenId,
    MediaId,
    MessageId,
    NodeId,
    SessionId,
    TenantId,
)
from schemas.messages import Content, MediaPolicy
from schemas.states import DesiredState, EngineKind, MessageState, SessionState


class NodeRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A node as it announced itself; written on change only. `incarnation` is new at each start."""

    node_id: NodeId
    incarnation: str
    version: str
    sessions_max: Annotated[int, Meta(ge=0)]
    engines: tuple[EngineKind, ...]
    started_at: float
    region: str = "local"
    provider: str = "local"
    address: str = "127.0.0.1"
    http_url: str | None = None
    chromium_build: str | None = None
    chromium_sandbox: bool = True
    cordoned: bool = False
    """Of older releases; `NodeIntent` says it now."""
    stopped: bool = False
    """Set on a clean stop, so that readers need not wait for silence."""


class SessionLoad(msgspec.Struct, frozen=True, omit_defaults=True):
    """One session's line in a heartbeat."""

    session_id: SessionId
    tenant_id: TenantId
    epoch: int
    state: SessionState
    since: float


class Heartbeat(msgspec.Struct, frozen=True, omit_defaults=True):
    """A node's pulse on the core bus: every few seconds, `sequence` rising."""

    node_id: NodeId
    incarnation: str
    sequence: int
    sessions_max: int
    sessions: tuple[SessionLoad, ...]
    memory_used_bytes: int = 0
    """PSS of the node's process tree."""
    memory_free_bytes: int = 0
    cpu_load: float = 0.0
    """Load average of one minute over the number of cores."""
    uptime_s: float = 0.0


class CapacityRecord(msgspec.Struct, frozen=True):
    """Places taken on a node; changes in one atomic batch with an assignment."""

    node_id: NodeId
    reserved: Annotated[int, Meta(ge=0)]


class SessionRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the customer wants of a session."""

    session_id: SessionId
    tenant_id: TenantId
    desired: DesiredState
    created_at: float
    engine: EngineKind = EngineKind.CHROMIUM
    name: Annotated[str, Meta(max_length=100)] | None = None
    region: str | None = None
    metadata: dict[str, str] = {}
    restart_generation: int = 0


class SessionNameRecord(msgspec.Struct, frozen=True):
    """Whose a session's name is; keyed by the name's hash, so that a tenant has each name once."""

    session_id: SessionId
    tenant_id: TenantId


class NodeIntent(msgspec.Struct, frozen=True, omit_defaults=True):
    """What operators want of a node; written by the control plane alone.

    - `cordoned`: no new sessions go there. `draining`: its sessions move away as well.
    - `drain_deadline_at`: when a drain gives up waiting for clean moves (Unix seconds).
    """

    node_id: NodeId
    cordoned: bool = False
    draining: bool = False
    drain_deadline_at: float | None = None
    reason: str | None = None


class PlacementFailure(msgspec.Struct, frozen=True):
    """A node on which a session failed; `at` is Unix seconds, by that node."""

    node_id: NodeId
    at: float


class Assignment(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which node should run a session. `epoch` rises at every change and never falls.

    - `node_id` is None while no node can take it: `unplaceable` says why, for people.
    - `moving_to`: its node is asked to snapshot and let go first; then it goes there (empty: to
      wherever there is room).
    - `ended`, `ended_reason`: it had ended under a former epoch (logged out, failed, replaced) and
      was only given another place; people must bring it back.
    - `failures`: where it failed lately; enough of them end its wandering.
    - `unlinked_epoch`: the last epoch under which the account was unlinked. What was kept of the
      session under that or an earlier one is of a device that is no more: nothing begins from it.
    """

    session_id: SessionId
    tenant_id: TenantId
    node_id: NodeId | None
    epoch: int
    moving_to: str | None = None
    unplaceable: str | None = None
    reason: str | None = None
    """Why it was placed last: `created`, `node_lost`, `node_stopped`, `drain`, `move`, `rebalance`,
    `failed`."""
    ended: SessionState | None = None
    ended_reason: str | None = None
    failures: tuple[PlacementFailure, ...] = ()
    unlinked_epoch: int = 0


class SessionObserved(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a session's node last saw of it; written by that node on change.

    `linked_epoch`: the epoch under which its device was linked, as far as the node knows (0: it
    does not). What is of an earlier link must not come back.
    """

    session_id: SessionId
    tenant_id: TenantId
    node_id: NodeId
    incarnation: str
    epoch: int
    state: SessionState
    since: float
    reason: str | None = None
    phone: str | None = None
    lid: str | None = None
    push_name: str | None = None
    linked_epoch: int = 0


class LeaseRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who holds a lease. The KV entry's life is the lease's; this is what others read."""

    holder: str
    incarnation: str
    acquired_at: float


class EpochRecord(msgspec.Struct, frozen=True):
    """How often a lease has changed hands. Its own counter, for a revision is not enough: a
    restored bucket counts revisions anew."""

    epoch: int


class TenantRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A customer account."""

    tenant_id: TenantId
    created_at: float
    name: str | None = None
    sessions_max: int = 1000
    message_retention_s: float | None = None
    """How long messages are kept; None: as long as the installation says."""
    default_region: str | None = None
    """ISO country of phone numbers written without a country code; None: the server's."""
    media_policy: MediaPolicy | None = None
    """What is done with media that arrives; None: as the installation says."""


class ErasureRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """Somebody asked that all of a tenant be erased; kept afterwards as the proof of it."""

    tenant_id: TenantId
    requested_at: float
    requested_by: ApiKeyId
    finished_at: float | None = None


class ApiKeyRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """An API key: its hash, never itself. Scope `operator` sees all tenants and the nodes."""

    key_id: ApiKeyId
    tenant_id: TenantId
    secret_sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
    created_at: float
    scopes: tuple[str, ...] = ("sessions", "messages")
    name: str | None = None
    expires_at: float | None = None
    revoked: bool = False


class LinkTokenRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """Permission to open one session's link page; keyed by the token's hash."""

    token_sha256: LinkTokenId
    tenant_id: TenantId
    session_id: SessionId
    expires_at: float
    return_url: str | None = None
    browser_sha256: str | None = None
    """Hash of the cookie of the browser that started it: from then on the page is its alone."""


class EventTicketRecord(msgspec.Struct, frozen=True):
    """A caller's permission to open one event socket; keyed by the ticket's hash."""

    tenant_id: TenantId
    key_id: ApiKeyId
    scopes: tuple[str, ...]
    expires_at: float


class IdempotencyRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """The first answer to an idempotency key; `done` is false while it is being made."""

    body_sha256: str
    done: bool = False
    http_code: int = 0
    body: str = ""
    begun_at: float = 0.0
    """When the first request began: one that never ended died with its process."""


class MessageIdSecret(msgspec.Struct, frozen=True):
    """What idempotency keys are hashed with into message ids; made once an installation."""

    secret: Annotated[bytes, Meta(min_length=16, max_length=64)]

    def __repr__(self) -> str:
        """Hide it: records may end up in logs."""
        return f"{type(self).__name__}()"


class OutboxItem(msgspec.Struct, frozen=True, omit_defaults=True):
    """An accepted message waiting in its session's lane.

    - `redrives`: how often a person took it out of the dead letters; `redriven_at`: when last.
    - `doubt`: why its life before this one ended as `unknown` (a code); empty: it did not.
    """

    message_id: MessageId
    tenant_id: TenantId
    session_id: SessionId
    to: ChatId
    content: Content
    accepted_at: float
    redrives: int = 0
    redriven_at: float | None = None
    doubt: str = ""

    @property
    def entered_at(self) -> float:
        """When it came into its lane (Unix seconds)."""
        return self.redriven_at if self.redriven_at is not None else self.accepted_at

    @property
    def stored_id(self) -> str:
        """What the outbox and what tells of its end are deduplicated by: one a life."""
        return f"{self.message_id}.{self.redrives}" if self.redrives else self.message_id


class StoredMedia(msgspec.Struct, frozen=True):
    """Media that arrived and is kept, whole; its chunks lie beside it."""

    mimetype: str
    size_bytes: int
    sha256: str


class UploadRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """An upload in pieces, as it was announced."""

    media_id: MediaId
    mimetype: str
    size_bytes: int
    sha256: str
    filename: str | None = None


class DeadLetter(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message that ended as `failed` or `unknown`, with the reason."""

    item: OutboxItem
    attempts: int
    error_code: str
    died_at: float
    error_detail: str | None = None
    state: MessageState = MessageState.FAILED
