"""Subjects: THE registry of every subject on the bus.

Owns each subject's builder and filter. No f-string subject stands anywhere else. Keys of buckets
are in `keys.py`, names of streams and buckets in `resources.py`.
"""

import zlib
from typing import Final

from schemas.events import EventData, event_name

ROOT: Final = "blazz"

CONTROL_PLANE: Final = "control-plane"
"""Stands where a node id does in events that the control plane publishes; no node may take it."""

# Core NATS: pulses and commands ------------------------------------------------------------


def node_announce(node_id: str) -> str:
    """A node says that it is here: `NodeRecord`."""
    return f"{ROOT}.node.{node_id}.announce"


def node_heartbeat(node_id: str) -> str:
    """A node's pulse: `Heartbeat`."""
    return f"{ROOT}.node.{node_id}.heartbeat"


def node_media(node_id: str) -> str:
    """A node asks the control plane for a chunk of media: `FetchMedia` → `MediaChunk`."""
    return f"{ROOT}.node.{node_id}.media"


def node_told(node_id: str) -> str:
    """A node asks which events of a session are in the stream: `AskTold` → `Told`."""
    return f"{ROOT}.node.{node_id}.told"


VAULT_ACTS: Final = ("put", "commit", "get")


def node_vault(node_id: str, act: str) -> str:
    """A node's snapshots: an act of `VAULT_ACTS`; see `commands`."""
    return f"{ROOT}.node.{node_id}.vault.{act}"


def node_command(node_id: str, command: str) -> str:
    """A command for one node: see `commands.COMMANDS`."""
    return f"{ROOT}.node.{node_id}.cmd.{command}"


def node_commands(node_id: str) -> str:
    """What a node subscribes to."""
    return f"{ROOT}.node.{node_id}.cmd.>"


def node_renew(node_id: str) -> str:
    """A node asks for a new credential before its own expires: `RenewCredential` → `Renewed`."""
    return f"{ROOT}.node.{node_id}.renew"


def node_asks(node_id: str) -> tuple[str, ...]:
    """All that a node may publish on the core bus."""
    return (
        node_announce(node_id),
        node_heartbeat(node_id),
        node_media(node_id),
        node_told(node_id),
        *(node_vault(node_id, act) for act in VAULT_ACTS),
        node_renew(node_id),
    )


NODE_API: Final = f"{ROOT}.api"
"""Where a node finds JetStream's API in an account of its own, in place of `$JS.API`: there the
server answers that the account has no JetStream."""


ALL_ANNOUNCES: Final = f"{ROOT}.node.*.announce"
ALL_HEARTBEATS: Final = f"{ROOT}.node.*.heartbeat"
ALL_NODE_RENEWALS: Final = f"{ROOT}.node.*.renew"
ALL_NODE_TOLD: Final = f"{ROOT}.node.*.told"
ALL_NODE_MEDIA: Final = f"{ROOT}.node.*.media"
ALL_NODE_VAULT_PUTS: Final = f"{ROOT}.node.*.vault.put"
ALL_NODE_VAULT_COMMITS: Final = f"{ROOT}.node.*.vault.commit"
ALL_NODE_VAULT_GETS: Final = f"{ROOT}.node.*.vault.get"


def ledger_notice(tenant_id: str, session_id: str, message_id: str) -> str:
    """A control plane tells the others that it wrote a message's final state: no payload."""
    return f"{ROOT}.notice.ledger.{tenant_id}.{session_id}.{message_id}"


ALL_LEDGER_NOTICES: Final = f"{ROOT}.notice.ledger.>"


def message_of_ledger_notice(subject: str) -> tuple[str, str, str]:
    """Read `(tenant_id, session_id, message_id)` back from a notice's subject."""
    _, _, _, tenant_id, session_id, message_id = subject.split(".")
    return tenant_id, session_id, message_id


# Streams -----------------------------------------------------------------------------------

EVENTS_ALL: Final = f"{ROOT}.event.>"
OUTBOX_ALL: Final = f"{ROOT}.out.>"
LEDGER_ALL: Final = f"{ROOT}.ledger.>"
DEAD_ALL: Final = f"{ROOT}.dead.>"
MEDIA_ALL: Final = f"{ROOT}.media.>"
INBOUND_MEDIA_ALL: Final = f"{ROOT}.inbound_media.>"
VAULT_ALL: Final = f"{ROOT}.vault.>"
HOOK_QUEUE_ALL: Final = f"{ROOT}.hook.queue.>"
HOOK_LOG_ALL: Final = f"{ROOT}.hook.log.>"
AUDIT_ALL: Final = f"{ROOT}.audit.>"
HISTORY_ALL: Final = f"{ROOT}.history.>"
HISTORY_NODES: Final = f"{ROOT}.history.nodes"
"""`HistoryPage` of nodes."""
HISTORY_PULSES: Final = f"{ROOT}.history.pulses"
HISTORY_BASELINES: Final = f"{ROOT}.history.baselines"


def event(node_id: str, tenant_id: str, session_id: str, data: EventData) -> str:
    """Where a node publishes an event."""
    return event_named(node_id, tenant_id, session_id, event_name(data))


def event_named(node_id: str, tenant_id: str, session_id: str, name: str) -> str:
    """Where an event of a name lies, for readers that take events they do not know."""
    return f"{ROOT}.event.{node_id}.{tenant_id}.{session_id}.{name}"


def events_named(name: str) -> str:
    """Every tenant's events of one name, such as `message.received`."""
    return f"{ROOT}.event.*.*.*.{name}"


def events_of_node(node_id: str) -> str:
    """All that a node may publish on EVENTS."""
    return f"{ROOT}.event.{node_id}.>"


def events_of_tenant(tenant_id: str) -> str:
    """One tenant's events, from every node."""
    return f"{ROOT}.event.*.{tenant_id}.>"


def events_of_session(tenant_id: str, session_id: str) -> str:
    """One session's events, from every node that ran it."""
    return f"{ROOT}.event.*.{tenant_id}.{session_id}.>"


def message_events_of_session(tenant_id: str, session_id: str) -> str:
    """One session's events about messages."""
    return f"{ROOT}.event.*.{tenant_id}.{session_id}.message.*"


OUTBOX_SHARDS: Final = 4
"""Fixed for the life of an installation: a session's lane never moves to another shard."""


def shard_of(session_id: str) -> int:
    """Which shard a session's lane is in: the same everywhere and for ever."""
    return zlib.crc32(session_id.encode()) % OUTBOX_SHARDS


def outbox_lane(shard: int, tenant_id: str, session_id: str) -> str:
    """A session's lane of accepted messages."""
    return f"{ROOT}.out.{shard}.{tenant_id}.{session_id}"


def outbox_shard(shard: int) -> str:
    """Every lane of a shard."""
    return f"{ROOT}.out.{shard}.>"


def ledger_message(tenant_id: str, session_id: str, message_id: str) -> str:
    """A message's last known form."""
    return f"{ROOT}.ledger.{tenant_id}.{session_id}.{message_id}"


def ledger_session(tenant_id: str, session_id: str) -> str:
    """Every message of a session."""
    return f"{ROOT}.ledger.{tenant_id}.{session_id}.*"


def dead_letter(tenant_id: str, session_id: str, message_id: str) -> str:
    """A message that ended as failed or unknown."""
    return f"{ROOT}.dead.{tenant_id}.{session_id}.{message_id}"


def dead_letters(tenant_id: str, session_id: str) -> str:
    """All of a session's."""
    return f"{ROOT}.dead.{tenant_id}.{session_id}.*"


def outbox_of_tenant(tenant_id: str) -> str:
    """Every lane of a tenant."""
    return f"{ROOT}.out.*.{tenant_id}.>"


def dead_of_tenant(tenant_id: str) -> str:
    """Every message of a tenant that was given up."""
    return f"{ROOT}.dead.{tenant_id}.>"


def media_of_tenant(tenant_id: str) -> str:
    """Everything a tenant uploaded."""
    return f"{ROOT}.media.{tenant_id}.>"


def lane_reports(shard: int) -> str:
    """Whoever dispatches a shard says what a lane waits for: `AskLane` → `LaneReport`."""
    return f"{ROOT}.dispatcher.{shard}.lane"


def media_chunk(tenant_id: str, media_id: str, index: int) -> str:
    """One chunk of an upload."""
    return f"{ROOT}.media.{tenant_id}.{media_id}.{index}"


def media_chunks(tenant_id: str, media_id: str) -> str:
    """Every chunk of an upload."""
    return f"{ROOT}.media.{tenant_id}.{media_id}.*"


def media_ref(tenant_id: str, media_id: str) -> str:
    """An upload's `MediaRef`, written last: without it the upload does not exist."""
    return f"{ROOT}.media.{tenant_id}.{media_id}.ref"


def media_upload(tenant_id: str, media_id: str) -> str:
    """An upload in pieces: its `UploadRecord`, written first; beside its chunks."""
    return f"{ROOT}.media.{tenant_id}.{media_id}.upload"


def media_of_content(tenant_id: str, content_sha256: str) -> str:
    """Which media has this content: its bare id."""
    return f"{ROOT}.media.{tenant_id}.content.{content_sha256}"


def media_use(tenant_id: str, media_id: str, size_bytes: int) -> str:
    """That a media takes this room; the subject says it all, so that a list of a tenant's needs no
    reading. No media id is the word `use`."""
    return f"{ROOT}.media.{tenant_id}.use.{media_id}.{size_bytes}"


def media_uses(tenant_id: str, media_id: str = "*") -> str:
    """The room that one media of a tenant takes, or all."""
    return f"{ROOT}.media.{tenant_id}.use.{media_id}.*"


def size_of_media_use(subject: str) -> int:
    """Read the size back from the subject of a media's use."""
    return int(subject.rpartition(".")[2])


def inbound_media_chunk(
    tenant_id: str, session_id: str, chat_digest: str, message_id: str, index: int
) -> str:
    """One chunk of media that arrived."""
    return f"{ROOT}.inbound_media.{tenant_id}.{session_id}.{chat_digest}.{message_id}.{index}"


def inbound_media_seal(tenant_id: str, session_id: str, chat_digest: str, message_id: str) -> str:
    """Its `StoredMedia`, written last: without it nothing is kept."""
    return f"{ROOT}.inbound_media.{tenant_id}.{session_id}.{chat_digest}.{message_id}.seal"


def inbound_media_of(
    tenant_id: str, session_id: str, *, chat_digest: str = "*", message_id: str = "*"
) -> str:
    """What arrived in a session, one of its chats, or with one message."""
    return f"{ROOT}.inbound_media.{tenant_id}.{session_id}.{chat_digest}.{message_id}.*"


def inbound_media_of_tenant(tenant_id: str) -> str:
    """Everything that was downloaded for a tenant."""
    return f"{ROOT}.inbound_media.{tenant_id}.>"


def vault_part(name: str, index: int) -> str:
    """A part of the snapshot object `<session>/<epoch>-<n>`, but for the last, which seals it."""
    return f"{ROOT}.vault.{name.replace('/', '.')}.{index}"


def vault_seal(name: str) -> str:
    """A snapshot object's last message: it bears what is left of it, and its size and hash.
    Without it the object does not exist."""
    return f"{ROOT}.vault.{name.replace('/', '.')}.seal"


def vault_object(name: str) -> str:
    """Everything of a snapshot object."""
    return f"{ROOT}.vault.{name.replace('/', '.')}.*"


def vault_session(session_id: str) -> str:
    """Every snapshot object of a session."""
    return f"{ROOT}.vault.{session_id}.>"


def object_of_vault_subject(subject: str) -> tuple[str, bool]:
    """Read `(object name, whether it is the seal)` back from a vault subject."""
    _, _, session_id, number, part = subject.split(".")
    return f"{session_id}/{number}", part == "seal"


def node_of_event_subject(subject: str) -> str:
    """Read the node's id back from an event's subject."""
    return subject.split(".")[2]


WEBHOOK_SHARDS: Final = 4
"""Fixed for the life of an installation, as `OUTBOX_SHARDS` is."""


def webhook_shard_of(webhook_id: str) -> int:
    """Which shard delivers to a webhook: the same everywhere and for ever."""
    return zlib.crc32(webhook_id.encode()) % WEBHOOK_SHARDS


def hook_queue(tenant_id: str, webhook_id: str, event_id: str) -> str:
    """A delivery that is to be tried again, or that was given up."""
    return f"{ROOT}.hook.queue.{webhook_shard_of(webhook_id)}.{tenant_id}.{webhook_id}.{event_id}"


def hook_queue_of(tenant_id: str, webhook_id: str) -> str:
    """All such deliveries of a webhook."""
    return hook_queue(tenant_id, webhook_id, "*")


def hook_queue_of_tenant(tenant_id: str) -> str:
    """All such deliveries of a tenant, in every shard."""
    return f"{ROOT}.hook.queue.*.{tenant_id}.>"


def hook_queue_shard(shard: int) -> str:
    """All such deliveries of a shard."""
    return f"{ROOT}.hook.queue.{shard}.>"


def hook_of_queue_subject(subject: str) -> tuple[str, str]:
    """Read `(webhook_id, event_id)` back from a queue's subject."""
    _, _, _, _, _, webhook_id, event_id = subject.split(".")
    return webhook_id, event_id


def hook_log(tenant_id: str, webhook_id: str) -> str:
    """What was delivered to a webhook."""
    return f"{ROOT}.hook.log.{tenant_id}.{webhook_id}"


def hook_log_of_tenant(tenant_id: str) -> str:
    """What was delivered to any of a tenant's webhooks."""
    return f"{ROOT}.hook.log.{tenant_id}.*"


def audit_record(tenant_id: str, audit_id: str) -> str:
    """An act by one of a tenant's keys."""
    return f"{ROOT}.audit.{tenant_id}.{audit_id}"


def audit_of_tenant(tenant_id: str) -> str:
    """All acts by a tenant's keys."""
    return f"{ROOT}.audit.{tenant_id}.*"


def history_of_tenant(tenant_id: str) -> str:
    """`HistoryPage` of a tenant's sessions."""
    return f"{ROOT}.history.tenant.{tenant_id}"


def lane_of_subject(subject: str) -> tuple[str, str]:
    """Read `(tenant_id, session_id)` back from an outbox lane's subject."""
    _, _, _, tenant_id, session_id = subject.split(".")
    return tenant_id, session_id


def session_of_dead_letter(subject: str) -> tuple[str, str]:
    """The same from a dead letter's."""
    return tuple(subject.split(".")[2:4])  # type: ignore[return-value]


def ledger_tenant(tenant_id: str) -> str:
    """Every message of a tenant."""
    return f"{ROOT}.ledger.{tenant_id}.>"


def message_of_ledger_subject(subject: str) -> tuple[str, str, str]:
    """Read `(tenant_id, session_id, message_id)` back from a ledger subject."""
    _, _, tenant_id, session_id, message_id = subject.split(".")
    return tenant_id, session_id, message_id
