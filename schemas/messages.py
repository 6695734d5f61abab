"""Message contents: what can be sent and what arrives, one tagged struct a kind.

Owns the content union that the API, the outbox, the node and the ledger share. Never holds
bytes: media is named by a `MediaRef` and fetched in chunks.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from schemas.ids import MediaId, MessageId
from schemas.states import Ack, MessageDirection, MessageKind, MessageState

TEXT_CHARS_MAX = 65_536
"""WhatsApp's own limit for a text message."""
CAPTION_CHARS_MAX = 4_096
MEDIA_BYTES_MAX = 64 * 1024 * 1024
"""The largest upload taken. WhatsApp takes 16 MB of picture or video, 100 MB of document."""
MEDIA_CHUNK_BYTES = 512 * 1024
"""One chunk on the bus; base64 in JSON stays under nats-server's 1 MB payload."""


class MediaRef(msgspec.Struct, frozen=True, omit_defaults=True):
    """Media held by the control plane until its node has fetched it."""

    media_id: MediaId
    mimetype: Annotated[str, Meta(max_length=127)]
    size_bytes: Annotated[int, Meta(ge=1, le=MEDIA_BYTES_MAX)]
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
    filename: Annotated[str, Meta(max_length=255)] | None = None


class Text(msgspec.Struct, frozen=True, tag="text", omit_defaults=True):
    """A text message, possibly an answer to another."""

    text: Annotated[str, Meta(min_length=1, max_length=TEXT_CHARS_MAX)]
    reply_to: MessageId | None = None


class Media(msgspec.Struct, frozen=True, tag="media", omit_defaults=True):
    """A picture, video, sound or document."""

    kind: MessageKind
    media: MediaRef
    caption: Annotated[str, Meta(max_length=CAPTION_CHARS_MAX)] | None = None
    reply_to: MessageId | None = None


Content = Text | Media


class InboundMedia(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of media that arrived; its bytes stay with WhatsApp until asked for."""

    mimetype: str
    size_bytes: int | None = None
    filename: str | None = None


class ChatMessage(msgspec.Struct, frozen=True):
    """A message as it stands in the ledger and in the API's answers. Times are Unix seconds.

    Every field is always there, so that a customer need not know our defaults.
    """

    message_id: MessageId
    session_id: str
    direction: MessageDirection
    kind: MessageKind
    state: MessageState
    chat_id: str
    created_at: float
    from_id: str | None = None
    text: str | None = None
    media: InboundMedia | None = None
    reply_to: MessageId | None = None
    ack: Ack = Ack.PENDING
    state_at: float | None = None
    error_code: str | None = None
    error_detail: str | None = None
    reactions: dict[str, str] = {}
    edited: bool = False
    deleted: bool = False
