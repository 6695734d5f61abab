"""From a request's fields to what is sent: everything about content that needs no look-up.

Owns the rules which fields go together, inline base64 and which kind a mimetype is. Never does
I/O: media is stored, and messages that others are about are looked up, by `message_request`.
"""

import base64
import binascii
import re
from typing import Final

from control_plane.core.media_kinds import kind_fits, media_type
from control_plane.http.people import People
from control_plane.http.problems import InvalidFields, invalid
from schemas.api import FieldProblem
from schemas.api_messages import MIMETYPE_CHARS_MAX, InlineMedia, NewContact, NewMessage, NewPoll
from schemas.errors import BlazzError, ErrorCode
from schemas.ids import ChatId
from schemas.messages import (
    ContactCard,
    Contacts,
    Content,
    Location,
    Media,
    MediaRef,
    Poll,
    Text,
)
from schemas.states import MessageKind

_MIMETYPE: Final = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+(;[ -~]*)?", re.IGNORECASE)
_MEDIA: Final = ("media_id", "media", "media_url", "file")
_PLAIN: Final = ("text", "location", "contacts", "poll")
ABOUT: Final = ("reaction", "edit", "delete", "forward")
"""Contents that are about another message."""
_CONTENTS: Final = ("text", *_MEDIA[:3], "location", "contacts", "poll", *ABOUT)
_GOES_WITH: Final[dict[str, tuple[str, ...]]] = {
    "caption": _MEDIA,
    "kind": _MEDIA,
    "filename": ("media_url",),
    "link_preview": ("text",),
    "mentions": ("text", "edit", *_MEDIA),
    "reply_to": (*_PLAIN, *_MEDIA),
}
_INFORMATION: Final = "\N{INFORMATION SOURCE}"
"""The one emoji that Unicode calls a letter."""
_NO_CAPTION: Final = frozenset({MessageKind.AUDIO, MessageKind.VOICE, MessageKind.STICKER})


def check_mimetype(mimetype: str) -> str:
    """A well-formed mimetype that WhatsApp takes, lower case but for its parameters; else raises
    `media_unsupported`."""
    text = mimetype.strip()
    if len(text) > MIMETYPE_CHARS_MAX or not _MIMETYPE.fullmatch(text):
        raise BlazzError(ErrorCode.MEDIA_UNSUPPORTED, "The mimetype must be type/subtype.")
    media_type(text)
    essence, semicolon, parameters = text.partition(";")
    return essence.lower() + semicolon + parameters


def kind_for(mimetype: str, new: NewMessage) -> MessageKind:
    """How media of this mimetype is shown; raises `media_unsupported` for a kind it can't be, and
    `validation_failed` for a caption where none is shown."""
    kind = new.kind or media_type(mimetype).kind
    if not kind_fits(kind, mimetype):
        raise BlazzError(ErrorCode.MEDIA_UNSUPPORTED, f"This mimetype can't be sent as {kind!s}.")
    if kind in _NO_CAPTION and new.caption is not None:
        raise invalid("caption", f"WhatsApp shows no caption with {kind!s}; send a text as well.")
    return kind


def check_fields(new: NewMessage, *, has_file: bool = False) -> None:
    """Raise `validation_failed` unless the fields make exactly one message."""
    given = [name for name in _CONTENTS if getattr(new, name) is not None]
    if has_file:
        given.append("file")
    if len(given) != 1:
        here = f"; here are {' and '.join(given)}" if given else ""
        raise invalid("", f"Give exactly one of {', '.join(_CONTENTS)} (or a file){here}.")
    [content] = given
    wrong = [
        FieldProblem(name, f"It goes with {', '.join(partners)}; not with {content}.")
        for name, partners in _GOES_WITH.items()
        if getattr(new, name) not in (None, ()) and content not in partners
    ]
    if new.poll is not None:
        wrong.extend(_poll_problems(new.poll))
    if new.reaction is not None:
        wrong.extend(emoji_problems(new.reaction.emoji, "reaction.emoji"))
    if wrong:
        raise InvalidFields(*wrong)


def emoji_problems(emoji: str, path: str) -> list[FieldProblem]:
    """What is wrong with a reaction's emoji: words are none."""
    if any((c.isalpha() and c != _INFORMATION) or c.isspace() for c in emoji):
        return [FieldProblem(path, "It must be one emoji, or empty to take yours back.")]
    return []


def _poll_problems(poll: NewPoll) -> list[FieldProblem]:
    wrong = []
    if len(set(poll.options)) < len(poll.options):
        wrong.append(FieldProblem("poll.options", "Two answers are the same."))
    if poll.choices_max > len(poll.options):
        wrong.append(FieldProblem("poll.choices_max", "There are not so many answers."))
    return wrong


def read_inline(media: InlineMedia, bytes_max: int) -> bytes:
    """The bytes of inline media; raises `validation_failed`, `media_too_large`."""
    if len(media.data) // 4 * 3 > bytes_max + 2:
        raise BlazzError(
            ErrorCode.MEDIA_TOO_LARGE,
            f"Inline media may have {bytes_max} bytes; upload larger media to /v1/media.",
            bytes_max=bytes_max,
        )
    try:
        raw = base64.b64decode(media.data, validate=True)
    except (binascii.Error, ValueError):
        raise invalid("media.data", "It is not base64.") from None
    if not raw:
        raise invalid("media.data", "It is empty.")
    return raw


def read_mentions(texts: tuple[str, ...], people: People) -> tuple[ChatId, ...]:
    """The people mentioned, each once. Raises `recipient_invalid`."""
    read = (people.person(text, f"mentions[{at}]") for at, text in enumerate(texts))
    return tuple(dict.fromkeys(read))


def read_cards(cards: tuple[NewContact, ...], people: People) -> tuple[ContactCard, ...]:
    """Contact cards with readable numbers. Raises `recipient_invalid`."""
    return tuple(
        ContactCard(card.name, people.phone(card.phone, f"contacts[{at}].phone"), card.organization)
        for at, card in enumerate(cards)
    )


def plain_content(
    new: NewMessage, mentions: tuple[ChatId, ...], cards: tuple[ContactCard, ...]
) -> Content:
    """A text, location, contact or poll: what `check_fields` found in it."""
    if new.text is not None:
        preview = new.link_preview is not False
        return Text(new.text, new.reply_to, mentions, preview)
    if (place := new.location) is not None:
        return Location(
            place.latitude, place.longitude, place.name, place.address, reply_to=new.reply_to
        )
    if cards:
        return Contacts(cards, new.reply_to)
    assert new.poll is not None
    poll = new.poll
    return Poll(poll.question, poll.options, poll.choices_max, new.reply_to)


def media_content(new: NewMessage, ref: MediaRef, mentions: tuple[ChatId, ...]) -> Content:
    """A media message; raises as `kind_for`."""
    return Media(kind_for(ref.mimetype, new), ref, new.caption, new.reply_to, mentions)
