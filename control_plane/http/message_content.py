"""From a request's fields to what is sent: recipient checks aside, everything about content.

Owns the rules which fields go together, inline base64 and which kind a mimetype is. Never does
I/O: media is stored by the caller between `read_inline` and `media_content`.
"""

import base64
import binascii
import re
from typing import Final

from control_plane.core.media_kinds import kind_fits, media_type
from control_plane.http.problems import InvalidFields, invalid
from schemas.api import FieldProblem, InlineMedia, NewMessage
from schemas.errors import BlazzError, ErrorCode
from schemas.messages import Content, Media, MediaRef, Text
from schemas.states import MessageKind

_MIMETYPE: Final = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+(;[ -~]*)?", re.IGNORECASE)
MIMETYPE_CHARS_MAX: Final = 127
FILENAME_CHARS_MAX: Final = 255


def check_mimetype(mimetype: str) -> str:
    """A well-formed mimetype that WhatsApp takes, lower case but for its parameters; else raises
    `media_unsupported`."""
    text = mimetype.strip()
    if len(text) > MIMETYPE_CHARS_MAX or not _MIMETYPE.fullmatch(text):
        raise BlazzError(ErrorCode.MEDIA_UNSUPPORTED, "The mimetype must be type/subtype.")
    media_type(text)
    essence, semicolon, parameters = text.partition(";")
    return essence.lower() + semicolon + parameters


def kind_for(mimetype: str, wanted: MessageKind | None) -> MessageKind:
    """How media of this mimetype is shown; raises `media_unsupported` for a kind it can't be."""
    if wanted is None:
        return media_type(mimetype).kind
    if not kind_fits(wanted, mimetype):
        raise BlazzError(ErrorCode.MEDIA_UNSUPPORTED, f"This mimetype can't be sent as {wanted!s}.")
    return wanted


def check_fields(new: NewMessage, *, has_file: bool = False) -> None:
    """Raise `validation_failed` unless the fields make one text or one media message."""
    wrong: list[FieldProblem] = []
    contents = [new.text is not None, new.media_id is not None, new.media is not None, has_file]
    if sum(contents) != 1:
        wrong.append(FieldProblem("", "Give exactly one of text, media_id, media (or a file)."))
    if new.text is not None:
        wrong.extend(
            FieldProblem(name, f"{name} goes with media, not with text.")
            for name in ("caption", "kind")
            if getattr(new, name) is not None
        )
    if wrong:
        raise InvalidFields(*wrong)


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


def text_content(new: NewMessage) -> Content:
    """A text message."""
    assert new.text is not None
    return Text(new.text, new.reply_to)


def media_content(new: NewMessage, ref: MediaRef) -> Content:
    """A media message; raises `media_unsupported` for a kind its mimetype can't be."""
    return Media(kind_for(ref.mimetype, new.kind), ref, new.caption, new.reply_to)
