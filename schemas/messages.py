"""Message contents: what can be sent and what arrives, one tagged struct a kind.

Owns the content union that the API, the outbox, the node and the ledger share. Never holds
bytes: media is named by a `MediaRef` and fetched in chunks.
"""

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from schemas.ids import ChatId, MediaId, MessageId
from schemas.states import Ack, MessageDirection, MessageKind, MessageState

TEXT_CHARS_MAX = 65_536
"""WhatsApp's own limit for a text message."""
CAPTION_CHARS_MAX = 4_096
MEDIA_BYTES_MAX = 64 * 1024 * 1024
"""The largest upload taken. WhatsApp takes 16 MB of picture or video, 100 MB of document."""
MEDIA_CHUNK_BYTES = 512 * 1024
"""One chunk on the bus; base64 in JSON stays under nats-server's 1 MB payload."""


NAME_CHARS_MAX = 1_024
POLL_OPTIONS_MAX = 12
CONTACTS_MAX = 20
MENTIONS_MAX = 1_024
"""WhatsApp's largest group."""
EMOJI_CHARS_MAX = 32
"""Code points: a family with skin tones has eleven."""

Mentions = Annotated[tuple[ChatId, ...], Meta(max_length=MENTIONS_MAX)]


class MediaRef(msgspec.Struct, frozen=True, omit_defaults=True):
    """Media held by the control plane until its node has fetched it."""

    media_id: MediaId
    mimetype: Annotated[str, Meta(max_length=127)]
    size_bytes: Annotated[int, Meta(ge=1, le=MEDIA_BYTES_MAX)]
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
    filename: Annotated[str, Meta(max_length=255)] | None = None


class Text(msgspec.Struct, frozen=True, tag="text", omit_defaults=True):
    """A text message, possibly an answer to another. `mentions` are the people named in it with
    `@<digits>`; `link_preview` shows what the first link of the text leads to."""

    text: Annotated[str, Meta(min_length=1, max_length=TEXT_CHARS_MAX)]
    reply_to: MessageId | None = None
    mentions: Mentions = ()
    link_preview: bool = True


class Media(msgspec.Struct, frozen=True, tag="media", omit_defaults=True):
    """A picture, video, sound, voice note, sticker or document."""

    kind: MessageKind
    media: MediaRef
    caption: Annotated[str, Meta(max_length=CAPTION_CHARS_MAX)] | None = None
    reply_to: MessageId | None = None
    mentions: Mentions = ()


class Location(msgspec.Struct, frozen=True, tag="location", omit_defaults=True):
    """A place on the map, in degrees (WGS 84)."""

    latitude: Annotated[float, Meta(ge=-90, le=90)]
    longitude: Annotated[float, Meta(ge=-180, le=180)]
    name: Annotated[str, Meta(max_length=NAME_CHARS_MAX)] | None = None
    address: Annotated[str, Meta(max_length=NAME_CHARS_MAX)] | None = None
    reply_to: MessageId | None = None


class ContactCard(msgspec.Struct, frozen=True, omit_defaults=True):
    """Somebody's card. `phone`: E.164 digits without +."""

    name: Annotated[str, Meta(min_length=1, max_length=NAME_CHARS_MAX)]
    phone: Annotated[str, Meta(pattern=r"^[1-9][0-9]{6,14}$")]
    organization: Annotated[str, Meta(max_length=NAME_CHARS_MAX)] | None = None


class Contacts(msgspec.Struct, frozen=True, tag="contact", omit_defaults=True):
    """One card or several in one message."""

    contacts: Annotated[tuple[ContactCard, ...], Meta(min_length=1, max_length=CONTACTS_MAX)]
    reply_to: MessageId | None = None


class Poll(msgspec.Struct, frozen=True, tag="poll", omit_defaults=True):
    """A question with answers to choose from; `choices_max` 0: as many as one likes."""

    question: Annotated[str, Meta(min_length=1, max_length=NAME_CHARS_MAX)]
    options: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=100)], ...],
        Meta(min_length=2, max_length=POLL_OPTIONS_MAX),
    ]
    choices_max: Annotated[int, Meta(ge=0, le=POLL_OPTIONS_MAX)] = 1
    reply_to: MessageId | None = None


class MessageRef(msgspec.Struct, frozen=True, omit_defaults=True):
    """Another message, with all that WhatsApp's key of it holds: `author` in groups only, for
    messages that are not ours."""

    message_id: MessageId
    chat_id: ChatId
    from_me: bool
    author: ChatId | None = None


class Reaction(msgspec.Struct, frozen=True, tag="reaction", omit_defaults=True):
    """An emoji on a message; an empty one takes ours back. In the lane like any message, so that it
    never overtakes the one it is about; to repeat it changes nothing."""

    target: MessageRef
    emoji: Annotated[str, Meta(max_length=EMOJI_CHARS_MAX)]


class Edit(msgspec.Struct, frozen=True, tag="edit", omit_defaults=True):
    """A new text for a message of ours (WhatsApp allows it for 15 minutes)."""

    target: MessageRef
    text: Annotated[str, Meta(min_length=1, max_length=TEXT_CHARS_MAX)]
    mentions: Mentions = ()


class Delete(msgspec.Struct, frozen=True, tag="delete", omit_defaults=True):
    """Delete a message of ours for everyone."""

    target: MessageRef


class Forward(msgspec.Struct, frozen=True, tag="forward", omit_defaults=True):
    """Another message of this account, shown as forwarded. It gets an id of its own."""

    target: MessageRef


Content = Text | Media | Location | Contacts | Poll | Reaction | Edit | Delete | Forward
CONTENT_TYPES: tuple[type[msgspec.Struct], ...] = Content.__args__


def kind_of(content: Content) -> MessageKind:
    """What a content is called in lists: media by what it shows, all others by their tag."""
    if isinstance(content, Media):
        return content.kind
    return MessageKind(str(content.__struct_config__.tag))


class InboundMedia(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of media that arrived; its bytes stay with WhatsApp until asked for."""

    mimetype: str
    size_bytes: int | None = None
    filename: str | None = None


class MediaMode(StrEnum):
    """When media that arrived is downloaded."""

    ON_DEMAND = "on_demand"
    """When somebody reads it, through its session, which must be online then."""
    AUTO = "auto"
    """As soon as it arrives; kept like its message and readable whatever its session does."""


class MediaPolicy(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What is done with media that arrives. `kinds` and `bytes_max` say what `auto` downloads; all
    else stays on demand."""

    mode: MediaMode = MediaMode.ON_DEMAND
    kinds: Annotated[tuple[MessageKind, ...], Meta(max_length=16)] = (
        MessageKind.IMAGE,
        MessageKind.VIDEO,
        MessageKind.AUDIO,
        MessageKind.VOICE,
        MessageKind.DOCUMENT,
        MessageKind.STICKER,
    )
    bytes_max: Annotated[int, Meta(ge=1, le=MEDIA_BYTES_MAX)] = 16 * 1024 * 1024


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
    mentions: tuple[str, ...] = ()
    forwarded: bool = False
    location: Location | None = None
    contacts: tuple[ContactCard, ...] = ()
    poll: Poll | None = None
    poll_votes: dict[str, tuple[str, ...]] = {}
    """Who (wids) chose each option, by their last votes."""
    target_id: MessageId | None = None
    """What a reaction, edit, delete or forward of ours is about."""
    redrives: int = 0
    """How often a person took it out of the dead letters: it then is `accepted` again."""
