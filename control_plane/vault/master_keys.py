"""Master keys: read from a file or a systemd credential, known by id.

Owns the file's format and its checks. A line holds one key: 32 random bytes in base64; the first
is the active one, the others still open what they wrapped. Lines that begin with `#` are notes.
Never logs a key, and never writes one anywhere but into the file it was asked to make.
"""

import asyncio
import base64
import binascii
import hashlib
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import structlog

from control_plane.private_files import write_private
from schemas.errors import BlazzError, ErrorCode

log = structlog.get_logger()

KEY_BYTES: Final = 32
CREDENTIAL: Final = "master-key"
CREDENTIALS_ENV: Final = "CREDENTIALS_DIRECTORY"
_SYSTEMD: Final = Path("/run/credentials")
_ID_DOMAIN: Final = b"blazz master key id v1"
_OTHERS: Final = 0o077
_WORLD: Final = 0o007
_LOOK_EVERY_S: Final = 2.0


class MasterKey:
    """One master key. `key_id` is derived from it, so a file can't name it wrongly."""

    __slots__ = ("key_id", "secret")

    def __init__(self, secret: bytes) -> None:
        if len(secret) != KEY_BYTES:
            raise ValueError("a master key has 32 bytes")
        self.secret = secret
        self.key_id = hashlib.sha256(_ID_DOMAIN + secret).hexdigest()[:16]

    def __repr__(self) -> str:
        """The id alone: keys must not come into logs."""
        return f"MasterKey({self.key_id})"

    @classmethod
    def make(cls) -> "MasterKey":
        """A new one, from the system's randomness."""
        return cls(secrets.token_bytes(KEY_BYTES))


def find_key_file(configured: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The settings' file, else systemd's credential `master-key`, else None."""
    if configured is not None:
        return configured
    directory = environ.get(CREDENTIALS_ENV)
    if directory and (path := Path(directory) / CREDENTIAL).exists():
        return path
    return None


def read_keys(path: Path, environ: Mapping[str, str] | None = None) -> tuple[MasterKey, ...]:
    """The keys of a file, the active one first. Raises `master_key_missing`; never quotes it."""
    others = _OTHERS
    if _is_credential(path, os.environ if environ is None else environ):
        # Its directory is this service's alone. systemd lets its user in by an ACL, whose mask
        # shows where a file's mode has the group.
        others = _WORLD
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            lines = file.read().splitlines()
    except OSError as error:
        raise _missing(f"{path} can't be read: {error.strerror}") from error
    if mode & others:
        raise _missing(f"{path} can be read by others: chmod 600 it")
    found = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith(b"#"):
            continue
        try:
            found.append(MasterKey(base64.b64decode(text, validate=True)))
        except (binascii.Error, ValueError):
            raise _missing(f"{path}, line {number}: not 32 bytes in base64") from None
    if not found:
        raise _missing(f"{path} holds no key")
    return tuple(found)


def write_keys(path: Path, keys: Sequence[MasterKey]) -> None:
    """Write a file only we can read, whole or not at all, and onto the disk."""
    write_private(path, b"".join(base64.b64encode(key.secret) + b"\n" for key in keys))


def ensure_key_file(path: Path) -> None:
    """Make a file with one new key, unless it is there."""
    if not path.exists():
        write_keys(path, [MasterKey.make()])
        log.info("master_key.created", path=str(path))


class MasterKeyRing:
    """The keys of a file, read again when it changes: a rotation needs no restart."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._keys: tuple[MasterKey, ...] = ()
        self._stamp: tuple[int, int, int] | None = None
        self._looked_at = float("-inf")

    async def active(self, *, look: bool = False) -> MasterKey:
        """What new data keys are wrapped by, as of at most 2 s ago, or (`look`) of now. Raises
        `master_key_missing`."""
        return (await self._current(look=look))[0]

    async def by_id(self, key_id: str) -> MasterKey:
        """Raises `master_key_missing` when the file has no such key."""
        for key in await self._current():
            if key.key_id == key_id:
                return key
        # It may have been added a moment ago.
        for key in await self._current(look=True):
            if key.key_id == key_id:
                return key
        raise _missing(f"{self.path} does not hold master key {key_id}")

    async def _current(self, *, look: bool = False) -> tuple[MasterKey, ...]:
        now = time.monotonic()
        if look or not self._keys or now - self._looked_at >= _LOOK_EVERY_S:
            self._looked_at = now
            await asyncio.to_thread(self._read_if_changed)
        return self._keys

    def _read_if_changed(self) -> None:
        try:
            found = self.path.stat()
        except OSError as error:
            raise _missing(f"{self.path} can't be read: {error.strerror}") from error
        stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
        if stamp != self._stamp:
            self._keys = read_keys(self.path)
            self._stamp = stamp


def _is_credential(path: Path, environ: Mapping[str, str]) -> bool:
    # Also for a command that reads the service's settings, beside it.
    directory = environ.get(CREDENTIALS_ENV)
    return path.parent.parent == _SYSTEMD or bool(directory and path.parent == Path(directory))


def _missing(detail: str) -> BlazzError:
    return BlazzError(ErrorCode.MASTER_KEY_MISSING, detail)
