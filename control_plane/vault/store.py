"""The snapshot store: a port for immutable objects, and what is done with any store.

Owns the shape of an object (parts of `PART_BYTES`, then a seal), putting, reading and the
read-back check. Never an adapter, a key or a pointer: an object in a store means nothing until a
pointer names it.

Parts are written straight into the store, so any replica can take any part: nothing is assembled
in a control plane's memory or on its disk, and none of it is lost with a replica.
"""

import hashlib
from collections.abc import AsyncIterator
from typing import Final, Protocol

import msgspec

from schemas.errors import BlazzError, ErrorCode
from schemas.messages import MEDIA_CHUNK_BYTES
from schemas.snapshots import OBJECT_BYTES_MAX

PART_BYTES: Final = MEDIA_CHUNK_BYTES
"""Every part but the last has exactly this size; one part is one message on the bus."""


class StoredObject(msgspec.Struct, frozen=True):
    """A sealed object: nothing can change it any more."""

    name: str
    size_bytes: int
    sha256: str

    @property
    def parts(self) -> int:
        """How many parts it has."""
        return -(-self.size_bytes // PART_BYTES)


class SnapshotStore(Protocol):
    """Immutable objects by name (`schemas.snapshots.snapshot_name`).

    Every write is on the disk when its method returns, and is safe to repeat: the same bytes
    again change nothing, other bytes are refused with `conflict`. Every method raises
    `vault_unavailable` when the store does not answer in time; after that a write may have
    happened or not.
    """

    async def write_part(self, name: str, index: int, data: bytes) -> None:
        """Write a part of an object that is not sealed yet; parts count from 0."""
        ...

    async def seal(self, wanted: StoredObject) -> None:
        """Declare an object whole: all its parts were written. Does not read them."""
        ...

    async def write_whole(self, name: str, data: bytes) -> None:
        """Write and seal an object of one part in one go."""
        ...

    async def stat(self, name: str) -> StoredObject | None:
        """A sealed object; None if there is none of this name."""
        ...

    async def read_part(self, name: str, index: int) -> bytes:
        """A part, of an unsealed object too. Raises `snapshot_not_found`."""
        ...

    async def delete(self, name: str) -> None:
        """Remove an object and all its parts, sealed or not; one that is gone is fine."""
        ...

    async def names(self, session_id: str) -> set[str]:
        """Every object of a session, unsealed ones too."""
        ...

    async def sessions(self) -> set[str]:
        """Every session that has an object."""
        ...


async def put(store: SnapshotStore, name: str, chunks: AsyncIterator[bytes]) -> StoredObject:
    """Store an object whose chunks are of any size. Raises `snapshot_too_large` (then what was
    written is removed), `conflict`, `vault_unavailable`."""
    digest = hashlib.sha256()
    buffer = bytearray()
    size = index = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > OBJECT_BYTES_MAX:
            await store.delete(name)
            raise too_large()
        digest.update(chunk)
        buffer += chunk
        # One byte more than a part: what is left at the end is never empty.
        while len(buffer) > PART_BYTES:
            await store.write_part(name, index, bytes(buffer[:PART_BYTES]))
            del buffer[:PART_BYTES]
            index += 1
    stored = StoredObject(name, size, digest.hexdigest())
    if index == 0:
        await store.write_whole(name, bytes(buffer))
    else:
        await store.write_part(name, index, bytes(buffer))
        await store.seal(stored)
    return stored


async def read(store: SnapshotStore, name: str, offset: int = 0) -> AsyncIterator[bytes]:
    """A sealed object's bytes from `offset` (a multiple of `PART_BYTES`), part by part. Raises
    `snapshot_not_found`, `vault_unavailable`."""
    found = await store.stat(name)
    if found is None:
        raise not_found(name)
    for index in range(offset // PART_BYTES, found.parts):
        yield await store.read_part(name, index)


async def read_back(store: SnapshotStore, wanted: StoredObject) -> None:
    """Read an object whole, sealed or not, and compare. Raises `snapshot_corrupt` when it is not
    what was said, `snapshot_not_found` when a part is missing, `vault_unavailable`."""
    digest = hashlib.sha256()
    size = 0
    for index in range(wanted.parts):
        part = await store.read_part(wanted.name, index)
        size += len(part)
        digest.update(part)
    if size != wanted.size_bytes or digest.hexdigest() != wanted.sha256:
        raise BlazzError(
            ErrorCode.SNAPSHOT_CORRUPT,
            "the stored object is not the one that was sent",
            name=wanted.name,
            size_bytes=size,
        )


def too_large() -> BlazzError:
    """For an object beyond the limit."""
    return BlazzError(
        ErrorCode.SNAPSHOT_TOO_LARGE,
        f"at most {OBJECT_BYTES_MAX} bytes in one object",
        size_bytes_max=OBJECT_BYTES_MAX,
    )


def not_found(name: str) -> BlazzError:
    """For an object, or a part of it, that is not there."""
    return BlazzError(ErrorCode.SNAPSHOT_NOT_FOUND, "the store has no such object", name=name)


def other_bytes(name: str) -> BlazzError:
    """For a second write of a name with other bytes."""
    return BlazzError(ErrorCode.CONFLICT, "an object of this name has other bytes", name=name)
