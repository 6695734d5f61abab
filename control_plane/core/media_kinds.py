"""Media kinds: what a mimetype is to WhatsApp, how large it may be, and whether bytes are it.

Owns the table. Never reads a file. The check of the first bytes catches a web page saved as a
picture before a customer's message fails in somebody's browser.
"""

from collections.abc import Callable

import msgspec

from schemas.errors import BlazzError, ErrorCode
from schemas.states import MessageKind

_MB = 1024 * 1024
HEAD_BYTES = 32
"""How many first bytes `check_head` looks at."""
BYTES_MAX: dict[MessageKind, int] = {
    MessageKind.IMAGE: 16 * _MB,
    MessageKind.VIDEO: 16 * _MB,
    MessageKind.AUDIO: 16 * _MB,
    MessageKind.DOCUMENT: 64 * _MB,
}


class MediaType(msgspec.Struct, frozen=True):
    """A mimetype and its limits. `looks_right` is None where bytes prove nothing."""

    mimetype: str
    kind: MessageKind
    bytes_max: int
    looks_right: Callable[[bytes], bool] | None


def _starts(*heads: bytes) -> Callable[[bytes], bool]:
    return lambda data: data.startswith(heads)


def _riff(form: bytes) -> Callable[[bytes], bool]:
    return lambda data: data[:4] == b"RIFF" and data[8:12] == form


def _iso_media(data: bytes) -> bool:
    return data[4:8] == b"ftyp"


def _mpeg_audio(data: bytes) -> bool:
    return data.startswith(b"ID3") or (len(data) > 1 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0)


_KNOWN: dict[str, tuple[MessageKind, Callable[[bytes], bool]]] = {
    "image/jpeg": (MessageKind.IMAGE, _starts(b"\xff\xd8\xff")),
    "image/png": (MessageKind.IMAGE, _starts(b"\x89PNG\r\n\x1a\n")),
    "image/webp": (MessageKind.IMAGE, _riff(b"WEBP")),
    "image/gif": (MessageKind.IMAGE, _starts(b"GIF87a", b"GIF89a")),
    "video/mp4": (MessageKind.VIDEO, _iso_media),
    "video/3gpp": (MessageKind.VIDEO, _iso_media),
    "video/quicktime": (MessageKind.VIDEO, _iso_media),
    "video/webm": (MessageKind.VIDEO, _starts(b"\x1a\x45\xdf\xa3")),
    "audio/ogg": (MessageKind.AUDIO, _starts(b"OggS")),
    "audio/mpeg": (MessageKind.AUDIO, _mpeg_audio),
    "audio/aac": (MessageKind.AUDIO, _mpeg_audio),
    "audio/amr": (MessageKind.AUDIO, _starts(b"#!AMR")),
    "audio/mp4": (MessageKind.AUDIO, _iso_media),
    "audio/wav": (MessageKind.AUDIO, _riff(b"WAVE")),
    "audio/webm": (MessageKind.AUDIO, _starts(b"\x1a\x45\xdf\xa3")),
    "application/pdf": (MessageKind.DOCUMENT, _starts(b"%PDF-")),
}
PICTURE_MIMETYPES = ("image/jpeg", "image/png")
"""What a profile picture may be."""
_MEDIA_FAMILIES = ("image/", "video/", "audio/")
_DOCUMENT_FAMILIES = ("application/", "text/", "font/", "model/")


def media_type(mimetype: str) -> MediaType:
    """Look a mimetype up (parameters such as `; codecs=opus` are ignored).

    Raises `media_unsupported` for a picture, video or sound that WhatsApp does not take.
    """
    bare = mimetype.partition(";")[0].strip().lower()
    known = _KNOWN.get(bare)
    if known is not None:
        kind, looks_right = known
        return MediaType(bare, kind, BYTES_MAX[kind], looks_right)
    if bare.startswith(_DOCUMENT_FAMILIES) and len(bare.partition("/")[2]) > 0:
        return MediaType(bare, MessageKind.DOCUMENT, BYTES_MAX[MessageKind.DOCUMENT], None)
    accepted = ", ".join(sorted(_KNOWN)) if bare.startswith(_MEDIA_FAMILIES) else "see the docs"
    raise BlazzError(ErrorCode.MEDIA_UNSUPPORTED, f"this mimetype is not accepted ({accepted})")


def check_head(found: MediaType, head: bytes) -> None:
    """Compare the first bytes with what the mimetype promises. Raises `media_corrupt`."""
    if not head:
        raise BlazzError(ErrorCode.MEDIA_CORRUPT, "the media is empty")
    if found.looks_right is not None and not found.looks_right(head):
        raise BlazzError(ErrorCode.MEDIA_CORRUPT, f"the bytes are not {found.mimetype}")


_NOTHING_SAID = frozenset({"", "application/octet-stream", "binary/octet-stream"})


def likely_mimetype(said: str, head: bytes) -> str:
    """What a file most likely is whose server said `said`: stores often serve everything as
    `application/octet-stream`, and then the first bytes decide."""
    if said not in _NOTHING_SAID:
        return said
    for mimetype, (_kind, looks_right) in _KNOWN.items():
        if looks_right(head):
            return mimetype
    return "application/octet-stream"


def kind_fits(kind: MessageKind, mimetype: str) -> bool:
    """Whether media of this type can be shown as `kind`: anything can go as a document."""
    if kind is MessageKind.DOCUMENT:
        return True
    own = media_type(mimetype).kind
    if kind is MessageKind.VOICE:
        return own is MessageKind.AUDIO
    if kind is MessageKind.STICKER:
        return mimetype.partition(";")[0].strip().lower() == "image/webp"
    return own is kind
