"""Identifiers: the shapes of every id that crosses a process boundary, declared once.

Owns the patterns (checked by msgspec when a record is decoded) and the pure functions that
build an id from bytes. Never makes randomness or reads a clock: callers pass both in.

Every id here is a legal NATS subject token and KV key token; a JID is not, so chat ids never
stand in a subject.
"""

from typing import Annotated, Final

from msgspec import Meta

_TOKEN: Final = r"^[a-z0-9][a-z0-9_-]{0,62}$"

TenantId = Annotated[str, Meta(pattern=_TOKEN, description="A customer account: `acme`.")]
NodeId = Annotated[
    str, Meta(pattern=_TOKEN, description="One machine: `blazz-<provider>-<region>-<number>`.")
]
SessionId = Annotated[
    str,
    Meta(pattern=r"^ses_[0-9a-hjkmnp-tv-z]{26}$", description="One linked WhatsApp account."),
]
EventId = Annotated[
    str,
    Meta(
        pattern=r"^evt_[0-9a-hjkmnp-tv-z]{26}$",
        description="One event, the same in every stream and delivery.",
    ),
]
ApiKeyId = Annotated[str, Meta(pattern=r"^[0-9a-hjkmnp-tv-z]{12}$")]
MediaId = Annotated[str, Meta(pattern=r"^med_[0-9a-hjkmnp-tv-z]{26}$")]
WebhookId = Annotated[
    str, Meta(pattern=r"^whk_[0-9a-hjkmnp-tv-z]{26}$", description="A tenant's webhook.")
]
LinkTokenId = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the token.")]
MessageId = Annotated[
    str,
    Meta(
        pattern=r"^[0-9A-Za-z_-]{8,64}$",
        description="WhatsApp's own message key: ours is hex, other clients' need not be. "
        "Fixed when a message is accepted, so that a resend after a crash carries the same key "
        "and cannot become a second message.",
    ),
]
ChatId = Annotated[
    str,
    Meta(
        pattern=r"^[0-9A-Za-z.:_-]{1,64}@(c\.us|lid|g\.us|newsletter|broadcast)$",
        description="A WhatsApp JID: a person (`@c.us`, `@lid`) or a group (`@g.us`).",
    ),
]

_CROCKFORD: Final = "0123456789abcdefghjkmnpqrstvwxyz"
MESSAGE_ID_PREFIX: Final = "3EB0"
"""What WhatsApp Web's own message keys start with (wa-js `MsgKey.newId`)."""


def crockford(raw: bytes) -> str:
    """Encode bytes as lower-case Crockford base32, most significant first, no padding."""
    bits = len(raw) * 8
    digits = -(-bits // 5)
    number = int.from_bytes(raw, "big")
    return "".join(_CROCKFORD[(number >> (5 * i)) & 31] for i in reversed(range(digits)))


def session_id(raw16: bytes) -> str:
    """Build a session id from 16 bytes (a UUIDv7, so that ids sort by creation)."""
    return "ses_" + crockford(raw16)


def event_id(raw16: bytes) -> str:
    """Build an event id from 16 bytes (a UUIDv7)."""
    return "evt_" + crockford(raw16)


def media_id(raw16: bytes) -> str:
    """Build a media id from 16 bytes (a UUIDv7)."""
    return "med_" + crockford(raw16)


def media_made_at(media: str) -> float:
    """When a media id was made (Unix seconds)."""
    return _made_at(media)


def session_made_at(session: str) -> float:
    """When a session id was made (Unix seconds)."""
    return _made_at(session)


def _made_at(made: str) -> float:
    """An id's UUIDv7 says when it was made."""
    number = 0
    for digit in made.partition("_")[2]:
        number = number << 5 | _CROCKFORD.index(digit)
    return (number >> 80) / 1000


def audit_id(raw16: bytes) -> str:
    """Build an audit record's id from 16 bytes (a UUIDv7)."""
    return "aud_" + crockford(raw16)


def webhook_id(raw16: bytes) -> str:
    """Build a webhook's id from 16 bytes (a UUIDv7)."""
    return "whk_" + crockford(raw16)


def message_id(raw9: bytes) -> str:
    """Build a WhatsApp message key from 9 random bytes: `3EB0` and 18 hex digits."""
    return MESSAGE_ID_PREFIX + raw9.hex().upper()
