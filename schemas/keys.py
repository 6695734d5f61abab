"""Keys: THE registry of every key in the buckets.

Owns each key's builder, its prefix and what is read back from it. Never a subject (`subjects.py`)
or a bucket's name (`resources.py`).
"""

from typing import Final

# Keys of the fleet bucket --------------------------------------------------------------------


def node_key(node_id: str) -> str:
    """`NodeRecord`, written by the node."""
    return f"node.{node_id}"


def lease_key(kind: str, name: str) -> str:
    """`LeaseRecord`: kind `node`, `leader` or `shard`."""
    return f"lease.{kind}.{name}"


def lease_epoch_key(kind: str, name: str) -> str:
    """`EpochRecord`: rises with each new holder of the lease, and never expires."""
    return f"epoch.{kind}.{name}"


def capacity_key(node_id: str) -> str:
    """`CapacityRecord`, written by the control plane."""
    return f"capacity.{node_id}"


def session_key(tenant_id: str, session_id: str) -> str:
    """`SessionRecord`, written by the control plane."""
    return f"session.{tenant_id}.{session_id}"


def assignment_key(session_id: str) -> str:
    """`Assignment`, written by the control plane."""
    return f"assignment.{session_id}"


def node_intent_key(node_id: str) -> str:
    """`NodeIntent`, written by the control plane."""
    return f"intent.{node_id}"


def snapshot_key(session_id: str) -> str:
    """`SnapshotPointer` with the newest generation alone, written by the control plane under the
    assignment's fence: hence here, in the bucket of the assignments."""
    return f"snapshot.{session_id}"


def snapshot_older_key(session_id: str) -> str:
    """`SnapshotPointer` with the generations before: apart, so that a delta's commit does not
    write them again."""
    return f"snapshot_older.{session_id}"


def snapshot_head_key(session_id: str) -> str:
    """`SnapshotHead`: small, for watchers; its write carries the commit's fence."""
    return f"snapshot_head.{session_id}"


def data_key_key(session_id: str) -> str:
    """`DataKeyRecord`, in the access bucket."""
    return f"data_key.{session_id}"


def observed_key(node_id: str, session_id: str) -> str:
    """`SessionObserved`, written by the node."""
    return f"observed.{node_id}.{session_id}"


def session_name_key(tenant_id: str, name_sha256: str) -> str:
    """`SessionNameRecord`, written by the control plane: one session a name and tenant."""
    return f"name.{tenant_id}.{name_sha256}"


DISPATCHER_LEASE: Final = "dispatcher"
"""The kind of lease by which dispatchers know of each other; its name is an incarnation."""

NODES_PREFIX: Final = "node."
LEASES_PREFIX: Final = "lease."
LEASE_EPOCHS_PREFIX: Final = "epoch."
CAPACITY_PREFIX: Final = "capacity."
SESSIONS_PREFIX: Final = "session."
ASSIGNMENTS_PREFIX: Final = "assignment."
OBSERVED_PREFIX: Final = "observed."
INTENTS_PREFIX: Final = "intent."
SNAPSHOTS_PREFIX: Final = "snapshot."
SNAPSHOTS_OLDER_PREFIX: Final = "snapshot_older."
SNAPSHOT_HEADS_PREFIX: Final = "snapshot_head."
DATA_KEYS_PREFIX: Final = "data_key."
NAMES_PREFIX: Final = "name."
FLEET_WATCHED: Final = (
    NODES_PREFIX,
    LEASES_PREFIX,
    CAPACITY_PREFIX,
    SESSIONS_PREFIX,
    ASSIGNMENTS_PREFIX,
    OBSERVED_PREFIX,
    INTENTS_PREFIX,
    SNAPSHOT_HEADS_PREFIX,
)
"""What those who keep the fleet in memory watch: not the pointers, which are large (up to 40 KB a
session) and change with every snapshot."""

# Keys of the pacing bucket -------------------------------------------------------------------
# A chat's id holds a phone number and is no legal key: `core.contacts.chat_digest` stands for it.


def pacing_settings_key(tenant_id: str, session_id: str | None = None) -> str:
    """`PacingSettings` of a tenant, or of one of its sessions."""
    return f"settings.{tenant_id}" if session_id is None else f"settings.{tenant_id}.{session_id}"


def pacing_state_key(tenant_id: str, session_id: str) -> str:
    """`PacingState`, written by the shard's dispatcher."""
    return f"state.{tenant_id}.{session_id}"


def linked_key(tenant_id: str, session_id: str) -> str:
    """`LinkedRecord`."""
    return f"linked.{tenant_id}.{session_id}"


def contact_key(tenant_id: str, session_id: str, digest: str) -> str:
    """`ContactRecord`."""
    return f"contact.{tenant_id}.{session_id}.{digest}"


def contact_of_key(key: str) -> tuple[str, str, str]:
    """Read `(tenant_id, session_id, digest)` back from a contact's key."""
    _, tenant_id, session_id, digest = key.split(".")
    return tenant_id, session_id, digest


def alias_key(tenant_id: str, session_id: str, digest: str) -> str:
    """`ChatAlias`, by the digest of WhatsApp's own id of the chat."""
    return f"alias.{tenant_id}.{session_id}.{digest}"


def opt_out_key(tenant_id: str, digest: str) -> str:
    """`OptOutRecord`."""
    return f"optout.{tenant_id}.{digest}"


PACING_SETTINGS_PREFIX: Final = "settings."
CONTACTS_PREFIX: Final = "contact."
OPT_OUTS_PREFIX: Final = "optout."
PACING_PREFIXES: Final = (
    PACING_SETTINGS_PREFIX,
    CONTACTS_PREFIX,
    OPT_OUTS_PREFIX,
    "state.",
    "linked.",
    "alias.",
)
"""Of all keys of the pacing bucket; a tenant's id follows each."""

# Keys of the access, webhook and idempotency buckets ------------------------------------------


API_KEYS_PREFIX: Final = "key."


def api_key_key(key_id: str) -> str:
    """`ApiKeyRecord`."""
    return f"key.{key_id}"


def tenant_key(tenant_id: str) -> str:
    """`TenantRecord`."""
    return f"tenant.{tenant_id}"


ERASURES_PREFIX: Final = "erasure."
LINK_TOKENS_PREFIX: Final = "link."


def erasure_key(tenant_id: str) -> str:
    """`ErasureRecord`."""
    return f"erasure.{tenant_id}"


def link_token_key(token_sha256: str) -> str:
    """`LinkTokenRecord`."""
    return f"link.{token_sha256}"


MESSAGE_ID_SECRET_KEY: Final = "secret.message_ids"
"""`MessageIdSecret`, in the access bucket."""

WEBHOOKS_PREFIX: Final = "webhook."


def webhook_key(tenant_id: str, webhook_id: str) -> str:
    """`WebhookRecord`, in the bucket of the webhooks."""
    return f"webhook.{tenant_id}.{webhook_id}"


def webhooks_prefix(tenant_id: str) -> str:
    """All of a tenant's."""
    return f"webhook.{tenant_id}."


def event_ticket_key(ticket_sha256: str) -> str:
    """`EventTicketRecord`."""
    return f"ticket.{ticket_sha256}"


def idempotency_key(tenant_id: str, scope: str, key_sha256: str) -> str:
    """`IdempotencyRecord`; the customer's key is hashed, for it may hold any character."""
    return f"{tenant_id}.{scope}.{key_sha256}"
