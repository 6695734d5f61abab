"""vCards ⇄ `ContactCard`s.

Owns the little of vCard 2.1 and 3.0 that WhatsApp's clients write. Pure; strangers wrote what it
reads, so it never raises and never returns what the schema does not allow.
"""

import re
from typing import Final

from schemas.messages import CONTACTS_MAX, NAME_CHARS_MAX, ContactCard

_WAID: Final = re.compile(r"waid=(\d+)", re.IGNORECASE)
_PHONE: Final = re.compile(r"[1-9][0-9]{6,14}")
_FOLD: Final = re.compile(r"\r?\n[ \t]")
_TO_ESCAPE: Final = re.compile(r"([\\,;])")
_ESCAPED: Final = re.compile(r"\\(.)")


def read_cards(texts: list[str]) -> tuple[ContactCard, ...]:
    """The cards that name a number, in their order; the others are left out."""
    cards = (_read(text) for text in texts[:CONTACTS_MAX])
    return tuple(card for card in cards if card is not None)


def write_card(card: ContactCard) -> str:
    """A card as vCard 3.0, with the number as WhatsApp's clients look for it."""
    name = _escaped(card.name)
    lines = ["BEGIN:VCARD", "VERSION:3.0", f"N:;{name};;;", f"FN:{name}"]
    if card.organization:
        lines.append(f"ORG:{_escaped(card.organization)};")
    lines += [f"TEL;type=CELL;waid={card.phone}:+{card.phone}", "END:VCARD"]
    return "\n".join(lines)


def _read(text: str) -> ContactCard | None:
    name = organization = phone = ""
    for line in _FOLD.sub("", text).splitlines():
        head, _, value = line.partition(":")
        # `item1.TEL;type=CELL` is a TEL, too.
        field = head.partition(";")[0].rpartition(".")[2].upper()
        if field == "FN":
            name = _plain(value)
        elif field == "ORG":
            organization = _plain(value.rstrip(";"))
        elif field == "TEL" and not phone:
            phone = _number(head, value)
    if not phone:
        return None
    return ContactCard(name or f"+{phone}", phone, organization or None)


def _number(head: str, value: str) -> str:
    waid = _WAID.search(head)
    # Without a waid only an international number can be told from a local one.
    digits = waid[1] if waid else re.sub(r"\D", "", value) if value.strip().startswith("+") else ""
    return digits if _PHONE.fullmatch(digits) else ""


def _plain(value: str) -> str:
    text = _ESCAPED.sub(lambda found: "\n" if found[1] in "nN" else found[1], value)
    return text.strip()[:NAME_CHARS_MAX]


def _escaped(text: str) -> str:
    return _TO_ESCAPE.sub(r"\\\1", text).replace("\r", "").replace("\n", "\\n")
