"""Identities: the nkey users of the embedded server and their seeds on disk.

Owns the seed files (mode 0600, in a directory of mode 0700). A seed never leaves its file but to
sign in; the server's configuration holds public keys only.
"""

import re
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec
import nkeys

from cli.identity.key_files import USER, new_seed, write_secret
from schemas import permissions
from schemas.errors import BlazzError, ErrorCode
from schemas.permissions import Permissions

_NAME: Final = re.compile(r"^[a-z0-9][a-z0-9_-]{0,62}$")


class Role(StrEnum):
    """What an identity may do; see `schemas.permissions`."""

    CONTROL_PLANE = "control_plane"
    NODE = "node"
    VIEWER = "viewer"
    BACKUP = "backup"


class Identity(msgspec.Struct, frozen=True):
    """One user of the bus. For a node, `name` is its node id."""

    role: Role
    name: str
    public_key: str
    seed_file: str

    @property
    def inbox_prefix(self) -> str:
        """The only inbox it may read."""
        if self.role is Role.CONTROL_PLANE:
            return permissions.control_plane_inbox_prefix(self.name)
        return permissions.inbox_prefix(self.name)

    def permissions(self) -> Permissions:
        """What it may publish and subscribe to."""
        match self.role:
            case Role.CONTROL_PLANE:
                return permissions.control_plane(self.name)
            case Role.NODE:
                return permissions.node(self.name)
            case Role.VIEWER:
                return permissions.viewer(self.name)
            case Role.BACKUP:
                return permissions.backup(self.name)


class IdentityStore:
    """The identities in one directory; blocking, quick file work."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def ensure(self, role: Role, name: str) -> Identity:
        """The identity, made if it is not there. Raises `config_invalid` for a bad name."""
        if not _NAME.match(name):
            raise BlazzError(ErrorCode.CONFIG_INVALID, "not a legal identity name")
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path(role, name)
        if not path.exists():
            write_secret(path, new_seed(USER))
        return self._read(role, name, path)

    def all(self) -> list[Identity]:
        """Every identity there is, in a stable order."""
        found = []
        for path in sorted(self._directory.glob("*.seed")):
            role, _, name = path.stem.partition(".")
            found.append(self._read(Role(role), name, path))
        return found

    def _path(self, role: Role, name: str) -> Path:
        return self._directory / f"{role}.{name}.seed"

    def _read(self, role: Role, name: str, path: Path) -> Identity:
        try:
            keys = nkeys.from_seed(bytearray(path.read_bytes().strip()))
        except nkeys.NkeysError as error:
            raise BlazzError(
                ErrorCode.CONFIG_INVALID, f"the seed of {role} {name} is damaged"
            ) from error
        public_key = keys.public_key.decode()
        keys.wipe()
        return Identity(role, name, public_key, str(path))
