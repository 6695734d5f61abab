"""Key files: nkey seeds and other secrets on disk, for their owner alone.

Owns making them and signing with them. A seed is never printed, logged or put into an error.
"""

import secrets
from pathlib import Path
from typing import Final

import nkeys

from control_plane.core.bus_jwt import Issuer
from control_plane.private_files import write_private
from schemas.errors import BlazzError, ErrorCode

OPERATOR: Final[int] = nkeys.PREFIX_BYTE_OPERATOR
ACCOUNT: Final[int] = nkeys.PREFIX_BYTE_ACCOUNT
USER: Final[int] = nkeys.PREFIX_BYTE_USER


def new_seed(kind: int) -> str:
    """A new key's seed, of one of the kinds above."""
    return bytes(nkeys.encode_seed(secrets.token_bytes(32), kind)).decode()


def public_key(seed: str) -> str:
    """The public key of a seed. Raises `config_invalid`."""
    return issuer_of(seed).public_key


def issuer_of(seed: str) -> Issuer:
    """Who signs with this seed. Raises `config_invalid` without quoting it."""
    try:
        keys = nkeys.from_seed(bytearray(seed.strip().encode()))
        return Issuer(keys.public_key.decode(), lambda text: bytes(keys.sign(text)))
    except (nkeys.NkeysError, ValueError):
        raise BlazzError(ErrorCode.CONFIG_INVALID, "a key's seed is damaged") from None


def read_secret(path: Path) -> str:
    """A secret's text. Raises `config_invalid` if it is not there."""
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BlazzError(ErrorCode.CONFIG_INVALID, f"can't read {path}") from error


def write_secret(path: Path, text: str) -> None:
    """Write a file only we can read (0600), whole or not at all, and onto the disk."""
    write_private(path, text.encode())
