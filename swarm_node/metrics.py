"""The node's Prometheus metrics.

Owns their names and labels, on an own registry. No label ever holds a session, tenant or chat.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from schemas.errors import ErrorCode
from schemas.events import Event, MessageReceived
from schemas.states import MessageState, SessionState

_LINK_BUCKETS_S = (1, 2, 5, 10, 20, 40, 60, 120, 300)
_LAG_BUCKETS_S = (0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30, 120)
_REASONS = frozenset(ErrorCode) | {
    "logout",
    "restart",
    "node_stopping",
    "replaced_by_newer_epoch",
    "phone",
    "user",
    "stale_state",
    "notice_ignored",
}


class NodeMetrics:
    """Everything the node counts."""

    def __init__(self, node_id: str, version: str) -> None:
        self.registry = CollectorRegistry()
        self._node_id = node_id
        self._sessions = Gauge(
            "blazz_sessions", "Sessions by state", ["node", "state"], registry=self.registry
        )
        self._transitions = Counter(
            "blazz_session_transitions",
            "Steps of the session table",
            ["from", "to", "reason"],
            registry=self.registry,
        )
        self._link_s = Histogram(
            "blazz_link_seconds",
            "From the first code on show to online",
            registry=self.registry,
            buckets=_LINK_BUCKETS_S,
        )
        self._restore_s = Histogram(
            "blazz_session_restore_seconds",
            "From start to online, without a new link",
            registry=self.registry,
            buckets=_LINK_BUCKETS_S,
        )
        self._messages = Counter(
            "blazz_messages",
            "Messages through the node",
            ["direction", "kind", "result"],
            registry=self.registry,
        )
        self._lag_s = Histogram(
            "blazz_event_lag_seconds",
            "From an event to its acknowledgement by the stream",
            registry=self.registry,
            buckets=_LAG_BUCKETS_S,
        )
        self._conflicts = Counter(
            "blazz_fence_conflicts",
            "Sessions that another client held at the same time",
            registry=self.registry,
        )
        capacity = Gauge(
            "blazz_node_capacity_sessions",
            "Engines that may run at the same time",
            ["node"],
            registry=self.registry,
        )
        self._capacity = capacity.labels(node_id)
        self._credential_end = Gauge(
            "blazz_node_credential_expires_timestamp_seconds",
            "When the bus refuses this node's credential unless it is renewed; 0: never",
            registry=self.registry,
        )
        build = Gauge("blazz_build_info", "Always 1", ["version"], registry=self.registry)
        build.labels(version).set(1)

    def set_capacity(self, sessions_max: int) -> None:
        """How many engines may run."""
        self._capacity.set(sessions_max)

    def set_credential_end(self, at: int) -> None:
        """When the credential for the bus ends (Unix s; 0: never)."""
        self._credential_end.set(at)

    def set_sessions(self, states: list[SessionState]) -> None:
        """Where the sessions stand now."""
        for state in SessionState:
            self._sessions.labels(self._node_id, state).set(states.count(state))

    def count_transition(
        self, before: SessionState, after: SessionState, reason: str | None
    ) -> None:
        """A step of the table. Reasons that are no code of ours count as `other`."""
        told = "" if reason is None else (reason if reason in _REASONS else "other")
        self._transitions.labels(before, after, told).inc()
        if reason == ErrorCode.STREAM_REPLACED:
            self._conflicts.inc()

    def time_to_online(self, seconds: float, *, linked_anew: bool) -> None:
        """A session came online."""
        (self._link_s if linked_anew else self._restore_s).observe(seconds)

    def count_sent(self, kind: str, result: str) -> None:
        """An answer to a send: `sent`, `failed`, `unknown` or `retry`."""
        self._messages.labels("outbound", kind, result).inc()

    def count_published(self, event: Event, lag_s: float) -> None:
        """An event was acknowledged by the stream."""
        self._lag_s.observe(max(0.0, lag_s))
        data = event.data
        if isinstance(data, MessageReceived) and data.message.state is MessageState.RECEIVED:
            self._messages.labels("inbound", data.message.kind, "received").inc()

    def text(self) -> bytes:
        """All of it, in Prometheus's text format."""
        return generate_latest(self.registry)
