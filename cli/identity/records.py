"""Records: who was given a credential, and the authority's list of them.

Owns their shapes and what a legal name is. Pure data: never a secret, never a file.
"""

from enum import StrEnum
from typing import Final

import msgspec

from control_plane.core.bus_jwt import JetStreamLimits
from schemas.errors import BlazzError, ErrorCode
from schemas.ids import NodeId
from schemas.subjects import CONTROL_PLANE

_DAY_S: Final = 86_400.0


class Kind(StrEnum):
    """Whom an identity is for."""

    NODE = "node"
    CONTROL_PLANE = "control-plane"
    VIEWER = "viewer"
    BACKUP = "backup"


TTL_S: Final = {
    Kind.NODE: _DAY_S,
    Kind.CONTROL_PLANE: 90 * _DAY_S,
    Kind.VIEWER: 30 * _DAY_S,
    Kind.BACKUP: 90 * _DAY_S,
}
"""A node renews by itself. The others are renewed with `blazz identity renew`."""


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """One that was given a credential. `account`: a node's own. Times are Unix seconds;
    `revoked_at` 0: never. A node may have renewed since: `expires_at` is of the last one issued
    here."""

    kind: Kind
    name: str
    public_key: str
    account: str
    issued_at: int
    expires_at: int
    revoked_at: int = 0
    revoked_until: int = 0
    """What was issued up to then is refused, also after a new one was issued."""

    @property
    def revoked(self) -> bool:
        """Whether it can't sign in."""
        return self.revoked_at > 0


class State(msgspec.Struct, frozen=True, kw_only=True):
    """All that an authority knows, but for its keys."""

    name: str
    resolver_dir: str
    jetstream: JetStreamLimits
    identities: dict[str, Identity] = {}
    revoked_users: dict[str, int] = {}
    """In the fleet's account: public keys, and the moment up to which they are refused."""


class Issued(msgspec.Struct, frozen=True):
    """A credential that was made, or found good enough. `path`: its file."""

    identity: Identity
    path: str
    changed: bool


class _Named(msgspec.Struct):
    name: NodeId


def check_name(kind: Kind, name: str) -> None:
    """Raises `validation_failed`."""
    try:
        msgspec.convert({"name": name}, _Named)
    except msgspec.ValidationError:
        raise BlazzError(
            ErrorCode.VALIDATION_FAILED, "a name has a-z, 0-9, - and _, at most 63, no - first"
        ) from None
    if kind is Kind.NODE and name == CONTROL_PLANE:
        raise BlazzError(ErrorCode.VALIDATION_FAILED, f"no node may be called {CONTROL_PLANE}")
