"""Resources: THE list of streams and buckets, with their whole configuration.

Owns names, limits and reasons. Pure data: `transport/ensure.py` brings the server in line with
it. Never a subject: those come from `subjects.py`.
"""

from typing import Final

import msgspec

from schemas.subjects import (
    AUDIT_ALL,
    DEAD_ALL,
    EVENTS_ALL,
    HISTORY_ALL,
    HOOK_LOG_ALL,
    HOOK_QUEUE_ALL,
    INBOUND_MEDIA_ALL,
    LEDGER_ALL,
    MEDIA_ALL,
    OUTBOX_ALL,
    VAULT_ALL,
)

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB
DAY_S: Final = 86_400.0
LEDGER_AGE_MAX_S: Final = 30 * DAY_S
AUDIT_AGE_MAX_S: Final = 400 * DAY_S
RETENTION_MIN_S: Final = 3_600.0

FLEET: Final = "blazz_fleet"
ACCESS: Final = "blazz_access"
IDEMPOTENCY: Final = "blazz_idempotency"
PACING: Final = "blazz_pacing"
WEBHOOKS: Final = "blazz_webhooks"

EVENTS: Final = "EVENTS"
OUTBOX: Final = "OUTBOX"
LEDGER: Final = "LEDGER"
DEAD_LETTERS: Final = "DEAD_LETTERS"
MEDIA: Final = "MEDIA"
INBOUND_MEDIA: Final = "INBOUND_MEDIA"
VAULT: Final = "VAULT"
WEBHOOK_QUEUE: Final = "WEBHOOK_QUEUE"
WEBHOOK_LOG: Final = "WEBHOOK_LOG"
AUDIT: Final = "AUDIT"
FLEET_HISTORY: Final = "FLEET_HISTORY"


class StreamSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A stream. Always a file, never without a byte limit. `max_bytes` is at scale 1.

    `discard_new` refuses writes when full (nothing accepted is lost); else the oldest go.
    `limit_marker_ttl_s` leaves a marker of an expired key for that long.
    """

    name: str
    subjects: tuple[str, ...]
    description: str
    max_bytes: int
    max_age_s: float = 0.0
    max_msgs_per_subject: int = -1
    max_msg_bytes: int = 1 * MIB
    max_consumers: int = 256
    duplicate_window_s: float = 120.0
    discard_new: bool = False
    allow_atomic: bool = False
    allow_msg_ttl: bool = False
    allow_direct: bool = False
    limit_marker_ttl_s: float = 0.0
    persist_async: bool = False
    """Acknowledge before the disk has it: only for what may lose its tail."""
    deny_delete: bool = False
    """Refuse to delete or purge messages, whoever asks; only limits remove them."""

    def config(self, *, scale: float, replicas: int) -> dict[str, object]:
        """The server's JSON. `scale` multiplies the byte limit; durations are nanoseconds."""
        config: dict[str, object] = {
            "name": self.name,
            "description": self.description,
            "subjects": list(self.subjects),
            "retention": "limits",
            "storage": "file",
            "discard": "new" if self.discard_new else "old",
            "max_bytes": max(MIB, int(self.max_bytes * scale)),
            "max_age": _ns(self.max_age_s),
            "max_msgs": -1,
            "max_msgs_per_subject": self.max_msgs_per_subject,
            "max_msg_size": self.max_msg_bytes,
            "max_consumers": self.max_consumers,
            "duplicate_window": _ns(
                min(self.duplicate_window_s, self.max_age_s or self.duplicate_window_s)
            ),
            "num_replicas": replicas,
            "allow_direct": self.allow_direct,
            "allow_atomic": self.allow_atomic,
            "allow_msg_ttl": self.allow_msg_ttl,
            "deny_delete": self.deny_delete,
            "deny_purge": self.deny_delete,
            "subject_delete_marker_ttl": _ns(self.limit_marker_ttl_s),
            # The server writes its markers as roll-ups and insists on the permission for them.
            "allow_rollup_hdrs": self.limit_marker_ttl_s > 0,
        }
        if self.persist_async and replicas == 1:
            config["persist_mode"] = "async"
        return config


class BucketSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A bucket: a stream `KV_<name>` that keeps the last message of each key.

    `allow_direct` stays off: a direct read may come from a replica that lags behind, and every
    bucket here is read before it is written.
    """

    name: str
    description: str
    max_bytes: int
    ttl_s: float = 0.0
    limit_marker_ttl_s: float = 0.0
    """Never where others than control planes write."""
    max_value_bytes: int = 256 * KIB

    def stream(self) -> StreamSpec:
        """The stream behind it."""
        return StreamSpec(
            name=bucket_stream(self.name),
            subjects=(bucket_subject(self.name, ">"),),
            description=self.description,
            max_bytes=self.max_bytes,
            max_age_s=self.ttl_s,
            max_msgs_per_subject=1,
            max_msg_bytes=self.max_value_bytes,
            discard_new=True,
            allow_atomic=True,
            allow_msg_ttl=True,
            limit_marker_ttl_s=self.limit_marker_ttl_s,
        )


def bucket_stream(bucket: str) -> str:
    """The name of a bucket's stream."""
    return f"KV_{bucket}"


def bucket_subject(bucket: str, key: str) -> str:
    """Where a bucket's key (or key filter) lies."""
    return f"$KV.{bucket}.{key}"


BUCKETS: Final = (
    BucketSpec(
        name=FLEET,
        description="Nodes, leases, capacity, sessions, assignments, observed state, snapshots",
        # 9,000 sessions of four keys and 1 KiB each, and pointers of up to 40 KB to three
        # generations of snapshots, with room for the log's own overhead.
        max_bytes=1 * GIB,
        # Nodes write here, so no markers: a stream with them takes `Nats-Rollup: all`, by which a
        # stolen node could replace the whole bucket, snapshot pointers too. See `watch.py`.
    ),
    BucketSpec(
        name=ACCESS,
        description="API keys, tenants, link tokens",
        max_bytes=64 * MIB,
        limit_marker_ttl_s=60.0,
    ),
    BucketSpec(
        name=IDEMPOTENCY,
        description="First answers to idempotency keys, kept for a day",
        max_bytes=256 * MIB,
        ttl_s=DAY_S,
    ),
    BucketSpec(
        name=PACING,
        description="Pacing settings and state, opt-outs, and who wrote to whom",
        # About 250 bytes a contact: a million of them.
        max_bytes=256 * MIB,
        max_value_bytes=16 * KIB,
        limit_marker_ttl_s=60.0,
    ),
    BucketSpec(
        name=WEBHOOKS,
        description="Webhooks: addresses, filters, sealed secrets",
        max_bytes=16 * MIB,
    ),
)

HOOK_LOG_KEPT: Final = 1000

STREAMS: Final = (
    StreamSpec(
        name=EVENTS,
        subjects=(EVENTS_ALL,),
        description="What happened to sessions: for ledger, webhooks and SSE",
        max_bytes=1 * GIB,
        max_age_s=7 * DAY_S,
        # A webhook endpoint is a durable consumer; above this, endpoints need head-read lanes.
        max_consumers=1000,
        # A node repeats an event with the same id until it is acknowledged, over an outage too.
        duplicate_window_s=600.0,
    ),
    StreamSpec(
        name=OUTBOX,
        subjects=(OUTBOX_ALL,),
        description="Accepted messages, a lane per session; the head is removed when final",
        max_bytes=512 * MIB,
        # When full, accepting fails; what was accepted never goes before its end.
        discard_new=True,
        duplicate_window_s=600.0,
    ),
    StreamSpec(
        name=LEDGER,
        subjects=(LEDGER_ALL,),
        description="Each message's last known form",
        max_bytes=1 * GIB,
        max_age_s=LEDGER_AGE_MAX_S,
        max_msgs_per_subject=1,
        allow_atomic=True,
        # Each message is written with its own life: see `LedgerSettings.retention_s`.
        allow_msg_ttl=True,
    ),
    StreamSpec(
        name=DEAD_LETTERS,
        subjects=(DEAD_ALL,),
        description="Messages given up after their last attempt",
        max_bytes=128 * MIB,
        max_age_s=30 * DAY_S,
        max_msgs_per_subject=1,
    ),
    StreamSpec(
        name=MEDIA,
        subjects=(MEDIA_ALL,),
        description="Uploads in chunks, until they are sent or expire",
        max_bytes=1 * GIB,
        max_age_s=1 * DAY_S,
        discard_new=True,
    ),
    StreamSpec(
        name=INBOUND_MEDIA,
        subjects=(INBOUND_MEDIA_ALL,),
        description="Media that arrived, in chunks, where a media policy has it downloaded",
        # When full, the oldest goes: it can still be asked of WhatsApp, on demand.
        max_bytes=2 * GIB,
        max_age_s=LEDGER_AGE_MAX_S,
        max_msgs_per_subject=1,
        # Each chunk is written with its message's life.
        allow_msg_ttl=True,
    ),
    StreamSpec(
        name=VAULT,
        subjects=(VAULT_ALL,),
        description="Sealed snapshots, where JetStream is their store (see docs/vault.md)",
        # Three generations of a 5 MB baseline and its deltas are about 30 MB a session. A fleet
        # of hundreds of sessions keeps them in MongoDB and leaves this empty.
        max_bytes=8 * GIB,
        # When full, a new snapshot is refused; an old one never goes by itself.
        discard_new=True,
    ),
    StreamSpec(
        name=WEBHOOK_QUEUE,
        subjects=(HOOK_QUEUE_ALL,),
        description="Webhook deliveries to be tried again, and those given up",
        max_bytes=512 * MIB,
        # A delivery is written anew at each attempt, at most a day apart: only those that were
        # given up, or whose webhook is disabled, ever get so old.
        max_age_s=30 * DAY_S,
        max_msgs_per_subject=1,
        # When full, an event stays in EVENTS, unacknowledged, and is tried again from there.
        discard_new=True,
    ),
    StreamSpec(
        name=WEBHOOK_LOG,
        subjects=(HOOK_LOG_ALL,),
        description="What was delivered to each webhook, its last deliveries each",
        max_bytes=256 * MIB,
        max_age_s=7 * DAY_S,
        # A busy webhook can't push another's log out.
        max_msgs_per_subject=HOOK_LOG_KEPT,
        # One write a delivery, for people to read.
        persist_async=True,
    ),
    StreamSpec(
        name=AUDIT,
        subjects=(AUDIT_ALL,),
        description="Who did what: acts of operators and key owners",
        # About 600 bytes an act: 400,000 of them.
        max_bytes=256 * MIB,
        max_age_s=AUDIT_AGE_MAX_S,
        # An act's end takes the place of its beginning.
        max_msgs_per_subject=1,
        deny_delete=True,
    ),
    StreamSpec(
        name=FLEET_HISTORY,
        subjects=(HISTORY_ALL,),
        description="The fleet's records as they changed, for looking back",
        # 10,000 sessions are 9 MB a copy, four copies a day; 300 nodes' pulses 140 MB a week.
        max_bytes=1 * GIB,
        max_age_s=7 * DAY_S,
        # For people to read; a copy of everything follows each new leader.
        persist_async=True,
    ),
)


def all_streams() -> tuple[StreamSpec, ...]:
    """Every stream there must be, those of the buckets first."""
    return tuple(bucket.stream() for bucket in BUCKETS) + STREAMS


def bytes_needed(scale: float) -> int:
    """The sum of all byte limits: what a server must allow (`max_file_store`), per replica."""
    return sum(max(MIB, int(spec.max_bytes * scale)) for spec in all_streams())


def _ns(seconds: float) -> int:
    return int(seconds * 1_000_000_000)


def webhook_durable(webhook_id: str) -> str:
    """The name of a webhook's place in EVENTS."""
    return f"hook-{webhook_id}"


def webhook_replay_durable(webhook_id: str) -> str:
    """The name of a webhook's second place in EVENTS, while it has past events sent again."""
    return f"hook-{webhook_id}-replay"
