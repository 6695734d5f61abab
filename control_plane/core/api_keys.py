"""API keys and link tokens: their text, checksum and hash.

Owns the form `blz_live_<id>_<secret><crc32>`. Never makes randomness, never stores anything:
what is kept is the hash alone. The checksum lets a secret scanner, and us, tell a key from noise
without a look-up.
"""

import hashlib
import hmac
import re
import zlib

import msgspec

from schemas.ids import crockford

KEY_RANDOM_BYTES = 7 + 20
"""7 bytes give the 12 characters of an id, 20 the 32 of a secret."""
TOKEN_RANDOM_BYTES = 25
_ID_BYTES = 7
_PREFIX = "blz_live_"
_TOKEN_PREFIX = "blz_link_"
_FORM = re.compile(
    r"blz_live_([0-9a-hjkmnp-tv-z]{12})_([0-9a-hjkmnp-tv-z]{32})([0-9a-f]{8})", re.ASCII
)


class ParsedKey(msgspec.Struct, frozen=True):
    """A key that is well formed; whether it is known is another question."""

    key_id: str
    secret_sha256: str


def make(random_bytes: bytes) -> tuple[str, ParsedKey]:
    """Build a key's text from `KEY_RANDOM_BYTES`, and what to keep of it."""
    if len(random_bytes) != KEY_RANDOM_BYTES:
        raise ValueError("a key is made of KEY_RANDOM_BYTES bytes")
    key_id = crockford(random_bytes[:_ID_BYTES])
    secret = crockford(random_bytes[_ID_BYTES:])
    text = f"{_PREFIX}{key_id}_{secret}{_checksum(key_id, secret)}"
    return text, ParsedKey(key_id, _sha256(secret))


def parse(text: str) -> ParsedKey | None:
    """Read a key's text; None if the form or the checksum is wrong."""
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    key_id, secret, checksum = found.groups()
    if checksum != _checksum(key_id, secret):
        return None
    return ParsedKey(key_id, _sha256(secret))


def same_secret(left_sha256: str, right_sha256: str) -> bool:
    """Compare two hashes in constant time."""
    return hmac.compare_digest(left_sha256, right_sha256)


def make_link_token(random_bytes: bytes) -> tuple[str, str]:
    """Build a link token's text from `TOKEN_RANDOM_BYTES`, and its SHA-256."""
    if len(random_bytes) != TOKEN_RANDOM_BYTES:
        raise ValueError("a token is made of TOKEN_RANDOM_BYTES bytes")
    text = _TOKEN_PREFIX + crockford(random_bytes)
    return text, link_token_sha256(text)


def link_token_sha256(text: str) -> str:
    """What a link token is looked up by."""
    return _sha256(text)


def _checksum(key_id: str, secret: str) -> str:
    return f"{zlib.crc32(f'{key_id}_{secret}'.encode()):08x}"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
