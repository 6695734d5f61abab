"""Sealed files: a stream of bytes of any length, encrypted and authenticated frame by frame.

Owns the format. Memory stays at one frame. A file that is cut short, reordered, renamed or changed
in one bit does not open: each frame is bound to its file's name, its place and whether it is last.

    "BZB1" | frames: length, 4 bytes | AES-256-GCM( last?, 1 byte | zstd( up to 1 MiB ) )
"""

import hashlib
import io
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from backports import zstd
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from schemas.backup import BackupPart
from schemas.errors import BlazzError, ErrorCode

FRAME_BYTES: Final = 1024 * 1024
_MAGIC: Final = b"BZB1"
_LENGTH: Final = struct.Struct(">I")
_FRAME_MAX: Final = 2 * FRAME_BYTES
_MORE: Final = b"\0"
_LAST: Final = b"\1"
_LEVEL: Final = 3
_READ_BYTES: Final = 1024 * 1024


def derived(secret: bytes, purpose: str) -> bytes:
    """A key for one purpose out of `secret`."""
    hkdf = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=purpose.encode())
    return hkdf.derive(secret)


class SealedWriter:
    """Writes a sealed file within `with`; `part` says what it became. Blocks."""

    def __init__(self, folder: Path, name: str, key: bytes) -> None:
        self._path = folder / name
        self._name = name
        # A key of the file's own: counting nonces then never repeat.
        self._seal = AESGCM(derived(key, f"blazz backup file {name}"))
        self._digest = hashlib.sha256()
        self._buffer = bytearray()
        self._frames = self._size = 0
        self._file: io.FileIO | None = None

    def __enter__(self) -> Self:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._file = io.FileIO(os.open(self._path, flags, 0o600), "w")
        self._put(_MAGIC)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._file is not None
        try:
            if kind is None:
                self._frame(_LAST, bytes(self._buffer))
                os.fsync(self._file.fileno())
        finally:
            self._file.close()

    def write(self, data: bytes) -> None:
        """Append."""
        self._buffer += data
        while len(self._buffer) > FRAME_BYTES:
            self._frame(_MORE, bytes(self._buffer[:FRAME_BYTES]))
            del self._buffer[:FRAME_BYTES]

    @property
    def part(self) -> BackupPart:
        """After the block."""
        return BackupPart(self._name, self._size, self._digest.hexdigest())

    def _frame(self, mark: bytes, data: bytes) -> None:
        plain = mark + zstd.compress(data, level=_LEVEL)
        sealed = self._seal.encrypt(_nonce(self._frames), plain, None)
        self._frames += 1
        self._put(_LENGTH.pack(len(sealed)) + sealed)

    def _put(self, data: bytes) -> None:
        assert self._file is not None
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        self._digest.update(data)
        self._size += len(data)


def read_sealed(folder: Path, name: str, key: bytes) -> Iterator[bytes]:
    """A sealed file's bytes, up to `FRAME_BYTES` at a time. Blocks. Raises `backup_damaged`, also
    at its end when that is missing: believe nothing before it has ended."""
    seal = AESGCM(derived(key, f"blazz backup file {name}"))
    try:
        with (folder / name).open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise damaged(name, "it does not begin as one of Blazz's")
            number = 0
            while True:
                (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
                if length > _FRAME_MAX:
                    raise damaged(name, f"frame {number} is too long")
                plain = seal.decrypt(_nonce(number), file.read(length), None)
                yield zstd.decompress(plain[1:])
                if plain[:1] == _LAST:
                    break
                number += 1
            if file.read(1):
                raise damaged(name, "something follows its end")
    except OSError as error:
        raise damaged(name, error.strerror or "it can't be read") from error
    except (InvalidTag, struct.error, ValueError, zstd.ZstdError):
        raise damaged(name, "it was changed or cut short, or another key sealed it") from None


def check_sum(folder: Path, part: BackupPart) -> None:
    """Compare a file with what the manifest says. Needs no key. Blocks. Raises `backup_damaged`."""
    digest = hashlib.sha256()
    size = 0
    try:
        with (folder / part.file).open("rb") as file:
            while data := file.read(_READ_BYTES):
                digest.update(data)
                size += len(data)
    except OSError as error:
        raise damaged(part.file, error.strerror or "it can't be read") from error
    if size != part.size_bytes:
        raise damaged(part.file, f"it has {size} bytes instead of {part.size_bytes}")
    if digest.hexdigest() != part.sha256:
        raise damaged(part.file, "its SHA-256 is not the manifest's")


def damaged(name: str, why: str) -> BlazzError:
    """For a backup's file that is not what it should be."""
    return BlazzError(ErrorCode.BACKUP_DAMAGED, f"{name}: {why}", file=name)


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")
