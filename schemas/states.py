"""States: the words for where a session, a node or a message stands.

Owns the enumerations and what follows from each word alone. Never decides a transition: the
session's table is `swarm_node/core/session_table.py`.
"""

from enum import StrEnum


class SessionState(StrEnum):
    """Where a session is, as its node last probed it."""

    PENDING = "pending"
    STARTING = "starting"
    PAIRING = "pairing"
    PASSKEY_REQUIRED = "passkey_required"
    SYNCING = "syncing"
    ONLINE = "online"
    DEGRADED = "degraded"
    MOVING = "moving"
    STOPPED = "stopped"
    LOGGED_OUT = "logged_out"
    FAILED = "failed"
    FENCED = "fenced"

    @property
    def holds_engine(self) -> bool:
        """Whether a running engine (a browser) stands behind this state."""
        return self in _HOLDS_ENGINE

    @property
    def can_send(self) -> bool:
        """Whether a message may be handed to the session now."""
        return self is SessionState.ONLINE

    @property
    def needs_link(self) -> bool:
        """Whether a person must link the number (again)."""
        return self in (
            SessionState.PAIRING,
            SessionState.PASSKEY_REQUIRED,
            SessionState.LOGGED_OUT,
        )


_HOLDS_ENGINE = frozenset(
    {
        SessionState.STARTING,
        SessionState.PAIRING,
        SessionState.PASSKEY_REQUIRED,
        SessionState.SYNCING,
        SessionState.ONLINE,
        SessionState.DEGRADED,
    }
)


class DesiredState(StrEnum):
    """What the customer wants of a session; the reconciler brings it about."""

    RUNNING = "running"
    STOPPED = "stopped"
    DELETED = "deleted"


class NodeState(StrEnum):
    """What a reader may conclude about a node, by its own monotonic clock."""

    ALIVE = "alive"
    SUSPECT = "suspect"
    LOST = "lost"
    STOPPED = "stopped"


class EngineKind(StrEnum):
    """Which engine runs a session."""

    CHROMIUM = "chromium"
    LOOPBACK = "loopback"


class MessageDirection(StrEnum):
    """Which way a message went."""

    OUTBOUND = "outbound"
    INBOUND = "inbound"


class MessageState(StrEnum):
    """Where a message stands. `sent`, `failed` and `unknown` are final: exactly one is reached."""

    ACCEPTED = "accepted"
    SENT = "sent"
    FAILED = "failed"
    UNKNOWN = "unknown"
    RECEIVED = "received"

    @property
    def final(self) -> bool:
        """Whether nothing more will be tried."""
        return self is not MessageState.ACCEPTED


class MessageKind(StrEnum):
    """What a message is."""

    TEXT = "text"
    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"
    VOICE = "voice"
    DOCUMENT = "document"
    STICKER = "sticker"
    LOCATION = "location"
    CONTACT = "contact"
    POLL = "poll"
    REACTION = "reaction"
    EDIT = "edit"
    DELETE = "delete"
    FORWARD = "forward"
    OTHER = "other"


class Ack(StrEnum):
    """How far WhatsApp reports a message got (wa-js ACK 0 to 4)."""

    PENDING = "pending"
    SENT = "sent"
    DELIVERED = "delivered"
    READ = "read"
    PLAYED = "played"

    @property
    def level(self) -> int:
        """WhatsApp's number for it; a higher one never goes back."""
        return _ACK_ORDER.index(self)

    @classmethod
    def from_level(cls, level: int) -> "Ack":
        """Read WhatsApp's number (0 to 4; 5, `peer`, counts as played)."""
        return _ACK_ORDER[max(0, min(level, len(_ACK_ORDER) - 1))]


_ACK_ORDER = tuple(Ack)
