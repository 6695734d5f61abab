"""Recipients: what a customer may write for "to", read into a chat id.

Owns the reading of phone numbers and JIDs. Never asks WhatsApp whether a number is there, and
never repeats the number in an error.
"""

import functools
import re
from typing import Final

import msgspec
import phonenumbers

from schemas.errors import BlazzError, ErrorCode
from schemas.ids import ChatId

_PHONE_JID: Final = re.compile(r"([1-9][0-9]{6,14})(?::[0-9]{1,3})?@(?:c\.us|s\.whatsapp\.net)")
"""With or without the number of a device, which is not part of whom one writes to."""
_PHONE_SERVERS: Final = ("@c.us", "@s.whatsapp.net")
REGIONS: Final = frozenset(phonenumbers.SUPPORTED_REGIONS)
"""ISO countries whose phone numbers can be read."""
_READ_MAX: Final = 8_192
_PEOPLE: Final = ("@c.us", "@lid")


def chat_id_of(to: str, *, region: str | None = None) -> ChatId:
    """Read `+62 812…`, `0812…` (with the tenant's `region`, such as `ID`), or a JID.

    Raises `recipient_invalid`.
    """
    text = to.strip()
    if "@" in text:
        return _jid(text)
    return f"{phone_digits(text, region=region)}@c.us"


def person_of(text: str, *, region: str | None = None) -> ChatId:
    """As `chat_id_of`, and it must be a person. Raises `recipient_invalid`."""
    chat_id = chat_id_of(text, region=region)
    if not chat_id.endswith(_PEOPLE):
        raise BlazzError(ErrorCode.RECIPIENT_INVALID, "it must be a person, not a group")
    return chat_id


def phone_digits(text: str, *, region: str | None = None) -> str:
    """Read a phone number into E.164 digits without +. Raises `recipient_invalid`.

    Digits alone that begin with a country's code (`62812…`) are taken as international when no
    region makes them a national number.
    """
    stripped = text.strip()
    digits = _digits_of(stripped, region)
    if digits is not None:
        return digits
    international = stripped.startswith("+")
    hint = "" if region is not None or international else "; write it with + and the country code"
    raise BlazzError(ErrorCode.RECIPIENT_INVALID, f"the phone number cannot be read{hint}")


@functools.lru_cache(_READ_MAX)
def _digits_of(text: str, region: str | None) -> str | None:
    """The digits, or None. Kept for those written to again: reading one costs as much as all of
    the request's JSON."""
    candidates = [text]
    if not text.startswith(("+", "0")):
        candidates.append("+" + text)
    elif text.startswith("00"):
        candidates = ["+" + text[2:]]
    for candidate in candidates:
        international = candidate.startswith("+")
        if not international and region is None:
            continue
        try:
            number = phonenumbers.parse(candidate, region)
        except phonenumbers.NumberParseException:
            continue
        if not phonenumbers.is_possible_number(number) or number.extension:
            continue
        # In this order: whether it is valid is a search through all of its country's ranges.
        if international or phonenumbers.is_valid_number(number):
            return f"{number.country_code}{phonenumbers.national_significant_number(number)}"
    return None


def _jid(text: str) -> ChatId:
    phone = _PHONE_JID.fullmatch(text)
    if phone is not None:
        return f"{phone.group(1)}@c.us"
    if text.endswith(_PHONE_SERVERS):
        raise BlazzError(
            ErrorCode.RECIPIENT_INVALID,
            "a phone's chat id begins with the country code and the number, digits only",
        )
    try:
        return msgspec.convert(text, ChatId)
    except msgspec.ValidationError:
        raise BlazzError(
            ErrorCode.RECIPIENT_INVALID, "the chat id is not of a known form"
        ) from None
