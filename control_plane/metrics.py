"""Metrics: every Prometheus name the control plane exports, declared once.

Owns names, labels and help. Never a label with a session, a tenant or a message in it: those have
no bound.
"""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

REGISTRY: Final = CollectorRegistry()
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

SESSIONS: Final = Gauge(
    "blazz_sessions", "Sessions by node and shown state", ("node", "state"), registry=REGISTRY
)
NODE_CAPACITY: Final = Gauge(
    "blazz_node_capacity_sessions", "Sessions a node takes", ("node",), registry=REGISTRY
)
NODES: Final = Gauge("blazz_nodes", "Nodes by state", ("state",), registry=REGISTRY)
TRANSITIONS: Final = Counter(
    "blazz_session_transitions_total",
    "Steps of the session table, as events told them",
    ("from", "to", "reason"),
    registry=REGISTRY,
)
MESSAGES: Final = Counter(
    "blazz_messages_total",
    "Messages by direction, kind and how they ended",
    ("direction", "kind", "result"),
    registry=REGISTRY,
)
SEND_SECONDS: Final = Histogram(
    "blazz_message_send_seconds",
    "From acceptance to the final answer",
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600),
    registry=REGISTRY,
)
EVENT_LAG: Final = Gauge(
    "blazz_event_lag_seconds", "Age of the event last folded into the ledger", registry=REGISTRY
)
EARLY_EVENTS: Final = Counter(
    "blazz_ledger_early_events_total",
    "Events that came before the ledger knew their message, by what became of them: folded, "
    "given_up (it never knew it), no_room",
    ("result",),
    registry=REGISTRY,
)
COMMANDS: Final = Counter(
    "blazz_reconcile_commands_total",
    "Steps the reconciler carried out, by kind and error code (ok: none)",
    ("kind", "code"),
    registry=REGISTRY,
)
BUILD: Final = Gauge("blazz_build_info", "Always 1", ("version",), registry=REGISTRY)
STARTS_WAITING: Final = Gauge(
    "blazz_reconcile_starts_waiting", "Starts held back by the stagger", registry=REGISTRY
)
MOVES_WAITING: Final = Gauge(
    "blazz_reconcile_moves_waiting",
    "Sessions that are to leave a node and wait for room or for their turn",
    registry=REGISTRY,
)
REASSIGNMENTS: Final = Counter(
    "blazz_reassignments_total",
    "Sessions given to another node, or to none, by reason",
    ("reason",),
    registry=REGISTRY,
)
SESSIONS_UNPLACED: Final = Gauge(
    "blazz_sessions_unplaced", "Sessions that no node can take now", registry=REGISTRY
)
NODES_LOST: Final = Counter(
    "blazz_nodes_lost_total", "Nodes given up by this replica's reconciler", registry=REGISTRY
)
LANES: Final = Gauge(
    "blazz_outbox_lanes",
    "Outbox lanes that are not empty, by what they do, of the shards that this replica holds",
    ("shard", "doing"),
    registry=REGISTRY,
)
SHARDS: Final = Gauge(
    "blazz_outbox_shards_wanted",
    "Outbox shards that this replica is to dispatch",
    registry=REGISTRY,
)
WEBHOOK_DELIVERIES: Final = Counter(
    "blazz_webhook_deliveries_total",
    "Attempts to deliver an event to a webhook, by what they came to",
    ("result",),
    registry=REGISTRY,
)
WEBHOOK_BACKLOG: Final = Gauge(
    "blazz_webhook_backlog",
    "Deliveries that wait for another attempt or are dead, and events not yet looked at, of the "
    "shards that this replica holds",
    ("shard", "state"),
    registry=REGISTRY,
)
FENCE_CONFLICTS: Final = Counter(
    "blazz_fence_conflicts_total",
    "Answers and observations refused for an old epoch",
    ("what",),
    registry=REGISTRY,
)


def render() -> bytes:
    """What `/metrics` answers, of type `CONTENT_TYPE`."""
    return generate_latest(REGISTRY)
