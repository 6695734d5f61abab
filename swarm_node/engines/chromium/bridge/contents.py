"""A message to send → what our JavaScript in the page takes.

Owns that shape, and the writing of vCards. Pure: no page, no file, no clock.
"""

from typing import Final

from schemas.errors import BlazzError, ErrorCode
from schemas.messages import (
    ContactCard,
    Contacts,
    Delete,
    Edit,
    Forward,
    Location,
    Media,
    MessageRef,
    Poll,
    Reaction,
    Text,
)
from swarm_node.engines.contract import SendRequest

_ESCAPES: Final = str.maketrans({"\\": "\\\\", ",": "\\,", ";": "\\;", "\n": "\\n", "\r": None})


def page_request(request: SendRequest) -> dict[str, object]:
    """The argument of the page's `send`. Raises `media_not_found` for media without bytes."""
    content = request.content
    return {
        "id": request.message_id,
        "to": request.to,
        "replyTo": getattr(content, "reply_to", None),
        "mentions": list(getattr(content, "mentions", ())),
        **_content(request),
    }


def _content(request: SendRequest) -> dict[str, object]:
    match request.content:
        case Text(text=text, link_preview=preview):
            return {"kind": "text", "text": text, "preview": preview}
        case Media() as media:
            return _media(media, request)
        case Location(latitude=latitude, longitude=longitude, name=name, address=address):
            place = {"latitude": latitude, "longitude": longitude}
            return {"kind": "location", **place, "name": name, "address": address}
        case Contacts(contacts=cards):
            rows = [{"name": card.name, "vcard": vcard(card)} for card in cards]
            return {"kind": "contact", "cards": rows}
        case Poll(question=question, options=options, choices_max=most):
            answers = {"choices": list(options), "choicesMax": most}
            return {"kind": "poll", "question": question, **answers}
        case Reaction(target=target, emoji=emoji):
            return {"kind": "reaction", "target": _target(target), "emoji": emoji}
        case Edit(target=target, text=text):
            return {"kind": "edit", "target": _target(target), "text": text}
        case Delete(target=target):
            return {"kind": "delete", "target": _target(target)}
        case Forward(target=target):
            return {"kind": "forward", "target": _target(target)}


def _media(content: Media, request: SendRequest) -> dict[str, object]:
    if request.media_path is None:
        raise BlazzError(ErrorCode.MEDIA_NOT_FOUND, "no bytes came with the message")
    kind, about = content.kind.value, content.media
    name = about.filename or f"{kind}.{about.mimetype.rpartition('/')[2]}"
    media = {"kind": kind, "mimetype": about.mimetype, "filename": name}
    return {"kind": "media", "text": content.caption, "media": media}


def _target(ref: MessageRef) -> dict[str, object]:
    return {
        "id": ref.message_id,
        "chat": ref.chat_id,
        "fromMe": ref.from_me,
        "author": ref.author,
    }


def vcard(card: ContactCard) -> str:
    """A card as WhatsApp's own clients write it; `waid` makes the number one to write to."""
    name = card.name.translate(_ESCAPES)
    lines = ["BEGIN:VCARD", "VERSION:3.0", f"N:;{name};;;", f"FN:{name}"]
    if card.organization:
        lines.append(f"ORG:{card.organization.translate(_ESCAPES)};")
    lines += [f"TEL;type=CELL;type=VOICE;waid={card.phone}:+{card.phone}", "END:VCARD"]
    return "\n".join(lines)
