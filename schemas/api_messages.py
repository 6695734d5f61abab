"""The HTTP API's bodies of messages and media.

Owns the request and answer structs of `/v1/sessions/{id}/messages` and `/v1/media`. What they mean
for what is sent is read in `control_plane/http/message_content.py`. Never holds a route.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from schemas.api import Request
from schemas.ids import MediaId, MessageId
from schemas.messages import (
    CAPTION_CHARS_MAX,
    CONTACTS_MAX,
    EMOJI_CHARS_MAX,
    MEDIA_BYTES_MAX,
    MENTIONS_MAX,
    NAME_CHARS_MAX,
    POLL_OPTIONS_MAX,
    TEXT_CHARS_MAX,
)
from schemas.states import MessageKind

FILENAME_CHARS_MAX = 255
MIMETYPE_CHARS_MAX = 127

Recipient = Annotated[
    str,
    Meta(
        min_length=3,
        max_length=80,
        description="A phone number (`+62 812…`, or `0812…` where the tenant has a default "
        "region), or a chat id (`62812…@c.us`, `…@lid`, `…@g.us`).",
    ),
]
Person = Annotated[
    str, Meta(min_length=3, max_length=80, description="A phone number or a person's chat id.")
]
People = Annotated[tuple[Person, ...], Meta(max_length=MENTIONS_MAX)]
Words = Annotated[str, Meta(min_length=1, max_length=TEXT_CHARS_MAX)]
Name = Annotated[str, Meta(min_length=1, max_length=NAME_CHARS_MAX)]
Filename = Annotated[str, Meta(min_length=1, max_length=FILENAME_CHARS_MAX)]
Mimetype = Annotated[str, Meta(min_length=3, max_length=MIMETYPE_CHARS_MAX)]
Url = Annotated[
    str,
    Meta(
        min_length=8,
        max_length=2_000,
        description="An http or https address that this server can reach from the internet.",
    ),
]


class InlineMedia(Request, frozen=True):
    """Media in the request itself: base64 bytes."""

    data: str
    mimetype: Mimetype
    filename: Annotated[str, Meta(max_length=FILENAME_CHARS_MAX)] | None = None


class NewLocation(Request, frozen=True):
    """A place on the map, in degrees (WGS 84)."""

    latitude: Annotated[float, Meta(ge=-90, le=90)]
    longitude: Annotated[float, Meta(ge=-180, le=180)]
    name: Name | None = None
    address: Name | None = None


class NewContact(Request, frozen=True):
    """Somebody's card."""

    name: Name
    phone: Annotated[str, Meta(min_length=6, max_length=32)]
    organization: Name | None = None


class NewPoll(Request, frozen=True):
    """A question with answers to choose from; `choices_max` 0: as many as one likes."""

    question: Name
    options: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=100)], ...],
        Meta(min_length=2, max_length=POLL_OPTIONS_MAX),
    ]
    choices_max: Annotated[int, Meta(ge=0, le=POLL_OPTIONS_MAX)] = 1


Emoji = Annotated[
    str, Meta(max_length=EMOJI_CHARS_MAX, description="One emoji; empty takes yours back.")
]


class NewReaction(Request, frozen=True):
    """An emoji on a message of the chat."""

    message_id: MessageId
    emoji: Emoji


class NewEdit(Request, frozen=True):
    """A new text for a text message that this session sent in the last 15 minutes."""

    message_id: MessageId
    text: Words


class NewDelete(Request, frozen=True):
    """Delete a message that this session sent, for everyone."""

    message_id: MessageId


class NewForward(Request, frozen=True):
    """Send a message of any chat on, shown as forwarded."""

    message_id: MessageId


class NewMessage(Request, frozen=True):
    """`POST /v1/sessions/{id}/messages`: `to`, and exactly one of `text`, `media_id`, `media`,
    `media_url`, `location`, `contacts`, `poll`, `reaction`, `edit`, `delete`, `forward`.

    - `mentions` go with text, media and edits: the people named in the text as `@<digits>`.
    - `kind` and `caption` go with media, `filename` with `media_url`, `link_preview` with text.
    - `reply_to` goes with text, media, location, contacts and poll.
    """

    to: Recipient
    text: Words | None = None
    media_id: MediaId | None = None
    media: InlineMedia | None = None
    media_url: Url | None = None
    location: NewLocation | None = None
    contacts: (
        Annotated[tuple[NewContact, ...], Meta(min_length=1, max_length=CONTACTS_MAX)] | None
    ) = None
    poll: NewPoll | None = None
    reaction: NewReaction | None = None
    edit: NewEdit | None = None
    delete: NewDelete | None = None
    forward: NewForward | None = None
    mentions: People = ()
    link_preview: bool | None = None
    kind: MessageKind | None = None
    """How media is shown; by default what its mimetype says."""
    caption: Annotated[str, Meta(max_length=CAPTION_CHARS_MAX)] | None = None
    filename: Filename | None = None
    reply_to: MessageId | None = None


class ReactionRequest(Request, frozen=True):
    """`POST …/messages/{message_id}/reactions`"""

    emoji: Emoji


class EditRequest(Request, frozen=True):
    """`PATCH …/messages/{message_id}`"""

    text: Words
    mentions: People = ()


class ForwardRequest(Request, frozen=True):
    """`POST …/messages/{message_id}/forward`"""

    to: Recipient


class NewUpload(Request, frozen=True):
    """`POST /v1/media/uploads`: what is going to be uploaded. `sha256`: of the whole file."""

    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
    size_bytes: Annotated[int, Meta(ge=1, le=MEDIA_BYTES_MAX)]
    mimetype: Mimetype
    filename: Filename | None = None


class MediaView(msgspec.Struct, frozen=True):
    """An upload, ready to be sent."""

    media_id: MediaId
    mimetype: str
    size_bytes: int
    sha256: str
    expires_at: float
    filename: str | None = None


class UploadView(msgspec.Struct, frozen=True):
    """How far an upload is: send the bytes from `offset` on. `media` is there once it is whole."""

    upload_id: MediaId
    offset: int
    size_bytes: int
    expires_at: float
    media: MediaView | None = None
