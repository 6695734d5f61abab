"""What others' clients wrote, made to fit our schema: places, cards, polls.

Owns the clipping: nobody's client is bound to our limits, and what is beyond them must not make a
whole event unreadable. Pure. Never the way such content came here.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from schemas.messages import (
    CONTACTS_MAX,
    NAME_CHARS_MAX,
    POLL_OPTIONS_MAX,
    ContactCard,
    Location,
    Poll,
)

_OPTION_CHARS_MAX: Final = 100
_PHONE: Final = re.compile(r"[1-9][0-9]{6,14}")
_WAID: Final = re.compile(r"waid=([0-9]+)", re.IGNORECASE)
_ESCAPED: Final = re.compile(r"\\([\\,;nN])")
_FOLDED: Final = re.compile(r"\r?\n[ \t]")


def location(
    latitude: float, longitude: float, name: str | None = None, address: str | None = None
) -> Location | None:
    """A place; None if it is not on this planet."""
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        return None
    return Location(latitude, longitude, _clip(name) or None, _clip(address) or None)


def poll(question: str, options: Sequence[str], choices_max: int) -> Poll | None:
    """A poll; None if it has not even two options."""
    kept = tuple(o[:_OPTION_CHARS_MAX] for o in options if o)[:POLL_OPTIONS_MAX]
    if not question or len(kept) < 2:
        return None
    choices = choices_max if 0 <= choices_max <= len(kept) else 0
    return Poll(_clip(question), kept, choices)


def cards(vcards: Iterable[tuple[str, str]]) -> tuple[ContactCard, ...]:
    """Cards from `(name shown, vCard)`; those without a phone number are left out."""
    found = (_card(name, vcard) for name, vcard in vcards)
    return tuple(card for card in found if card is not None)[:CONTACTS_MAX]


def _card(shown: str, vcard: str) -> ContactCard | None:
    name, phone, organization = shown, "", ""
    for line in _FOLDED.sub("", vcard).splitlines():
        key, _, value = line.partition(":")
        # `item1.TEL;waid=1555:+1 555` is a TEL of a group of lines.
        word = key.partition(";")[0].rpartition(".")[2].upper()
        if word == "FN":
            name = name or _plain(value)
        elif word == "ORG":
            organization = organization or _plain(value.partition(";")[0])
        elif word == "TEL" and not phone:
            waid = _WAID.search(key)
            digits = waid[1] if waid else re.sub(r"[^0-9]", "", value)
            phone = digits if _PHONE.fullmatch(digits) else ""
    if not phone:
        return None
    return ContactCard(_clip(name) or phone, phone, _clip(organization) or None)


def vcard(card: ContactCard) -> str:
    """A card as vCard 3.0, as WhatsApp's clients write it."""
    name = _escaped(card.name)
    lines = ["BEGIN:VCARD", "VERSION:3.0", f"N:;{name};;;", f"FN:{name}"]
    if card.organization:
        lines.append(f"ORG:{_escaped(card.organization)};")
    lines += [f"TEL;type=CELL;waid={card.phone}:+{card.phone}", "END:VCARD"]
    return "\n".join(lines)


def _plain(value: str) -> str:
    return _ESCAPED.sub(lambda m: "\n" if m[1] in "nN" else m[1], value).strip()


def _escaped(value: str) -> str:
    return re.sub(r"([\\,;])", r"\\\1", value).replace("\r", "").replace("\n", "\\n")


def _clip(text: str | None) -> str:
    return (text or "").strip()[:NAME_CHARS_MAX]
