"""Bus credentials: a NATS user's JWT and seed, as they lie in a `.creds` file.

Owns the file's form and what is read from a JWT. Never checks a signature (the server does) and
never shows a seed: `Credentials` keeps it out of its own words.
"""

import base64
import binascii
import re
from typing import Final

import msgspec

from schemas.errors import BlazzError, ErrorCode

_JWT: Final = re.compile(r"-----BEGIN NATS USER JWT-----\s*(\S+)\s*------END NATS USER JWT------")
_SEED: Final = re.compile(r"-----BEGIN USER NKEY SEED-----\s*(SU\S+)\s*------END USER NKEY SEED-")


class _Nats(msgspec.Struct, frozen=True):
    type: str = ""
    issuer_account: str = ""


class Claims(msgspec.Struct, frozen=True):
    """What a JWT says. Times are Unix seconds; `exp` 0 is never. `sub` is the public key that it
    is about, `iss` the one that signed it."""

    iss: str
    sub: str
    name: str = ""
    iat: int = 0
    exp: int = 0
    nats: _Nats = _Nats()

    @property
    def account(self) -> str:
        """The account of a user: named, or else the key that signed it."""
        return self.nats.issuer_account or self.iss

    def life_left(self, now: float) -> float:
        """Which share of its life is left, 0 to 1; 1 for one that never ends."""
        if not self.exp:
            return 1.0
        return max(0.0, min(1.0, (self.exp - now) / max(1, self.exp - self.iat)))


class Credentials(msgspec.Struct, frozen=True):
    """A user's JWT and the seed of its key."""

    jwt: str
    seed: str

    def __repr__(self) -> str:
        """Hide the seed."""
        return f"Credentials({self.claims.name!r})"

    @property
    def claims(self) -> Claims:
        """What the JWT says. Raises `config_invalid`."""
        return claims_of(self.jwt)

    def text(self) -> str:
        """The file's content."""
        return (
            f"-----BEGIN NATS USER JWT-----\n{self.jwt}\n------END NATS USER JWT------\n\n"
            "This file is a secret: its holder can sign in.\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{self.seed}\n------END USER NKEY SEED------\n"
        )


def parse_credentials(text: str) -> Credentials:
    """A `.creds` file's content. Raises `config_invalid` without quoting it."""
    jwt, seed = _JWT.search(text), _SEED.search(text)
    if jwt is None or seed is None:
        raise BlazzError(ErrorCode.CONFIG_INVALID, "not a NATS credentials file")
    found = Credentials(jwt[1], seed[1])
    claims_of(found.jwt)
    return found


def claims_of(jwt: str) -> Claims:
    """What a JWT says, whoever signed it. Raises `config_invalid` without quoting it."""
    try:
        _header, body, _signature = jwt.split(".")
        return msgspec.json.decode(from_base64url(body), type=Claims)
    except (ValueError, msgspec.MsgspecError, binascii.Error):
        raise BlazzError(ErrorCode.CONFIG_INVALID, "not a NATS JWT") from None


def base64url(data: bytes) -> str:
    """As JWTs have it: no padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def from_base64url(text: str) -> bytes:
    """Back. Raises ValueError."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
