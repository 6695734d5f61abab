"""Sealing: compress and encrypt a container, and back.

Owns the sealed layout: a magic word, the nonce, the ciphertext with its tag. zstd, then AES-256-GCM
under the session's data key, bound to session, epoch, name and format. Never keeps a key.
"""

from typing import Final

from backports import zstd
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from schemas.errors import BlazzError, ErrorCode
from schemas.snapshots import OBJECT_BYTES_MAX
from swarm_node.core.snapshot_format import PLAIN_BYTES_MAX, too_large

MAGIC: Final = b"BZS1"
NONCE_BYTES: Final = 12
KEY_BYTES: Final = 32
_LEVEL: Final = 3
# The header and its length come on top of the files.
_CONTAINER_BYTES_MAX: Final = PLAIN_BYTES_MAX + 1024 * 1024


def seal(plain: bytes, *, key: bytes, bound_to: bytes, nonce: bytes) -> bytes:
    """Compress and encrypt. `nonce`: 12 random bytes, never used twice. Blocking.

    Raises `snapshot_too_large`.
    """
    packed = zstd.compress(plain, level=_LEVEL)
    sealed = MAGIC + nonce + AESGCM(_checked(key)).encrypt(nonce, packed, bound_to)
    if len(sealed) > OBJECT_BYTES_MAX:
        raise too_large(len(plain))
    return sealed


def unseal(sealed: bytes, *, key: bytes, bound_to: bytes) -> bytes:
    """The container of a sealed object. Blocking.

    Raises `snapshot_corrupt` for anything but what `seal` made of it with the same key and name.
    """
    start = len(MAGIC) + NONCE_BYTES
    if sealed[: len(MAGIC)] != MAGIC or len(sealed) < start:
        raise BlazzError(ErrorCode.SNAPSHOT_CORRUPT, "it is no sealed snapshot")
    nonce = sealed[len(MAGIC) : start]
    try:
        packed = AESGCM(_checked(key)).decrypt(nonce, sealed[start:], bound_to)
    except InvalidTag:
        raise BlazzError(ErrorCode.SNAPSHOT_CORRUPT, "its seal does not hold") from None
    try:
        unpacker = zstd.ZstdDecompressor()
        plain = unpacker.decompress(packed, max_length=_CONTAINER_BYTES_MAX)
    except zstd.ZstdError:
        raise BlazzError(ErrorCode.SNAPSHOT_CORRUPT, "it can't be unpacked") from None
    if not unpacker.eof or unpacker.unused_data:
        raise BlazzError(ErrorCode.SNAPSHOT_CORRUPT, "it unpacks to more than a snapshot")
    return plain


def _checked(key: bytes) -> bytes:
    if len(key) != KEY_BYTES:
        raise BlazzError(ErrorCode.MASTER_KEY_MISSING, "the session's data key has a wrong length")
    return key
