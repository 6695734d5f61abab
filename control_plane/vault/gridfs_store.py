"""The production store: snapshot objects in MongoDB, in GridFS's own layout.

Owns the documents: a chunk a part, and the file's document, written last, as the seal. Any GridFS
tool can read them. Ids are the objects' names, so that immutability is the unique index's and a
session's objects are a range of it. Never a client's settings.
"""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

from bson.binary import Binary
from pymongo.errors import DuplicateKeyError, PyMongoError

from control_plane.mongo import GridFsCollections
from control_plane.vault.store import PART_BYTES, StoredObject, not_found, other_bytes
from schemas.errors import BlazzError, ErrorCode

_AFTER_SLASH: Final = chr(ord("/") + 1)


class GridFsSnapshotStore:
    """Implements `SnapshotStore` on GridFS collections. `prepare` makes the index once."""

    def __init__(self, collections: GridFsCollections) -> None:
        self._files = collections.files
        self._chunks = collections.chunks

    async def prepare(self) -> None:
        """Make the index that GridFS reads by and that keeps parts from being written twice.
        Raises `vault_unavailable`."""
        async with _answering():
            await self._chunks.create_index([("files_id", 1), ("n", 1)], unique=True)

    async def write_part(self, name: str, index: int, data: bytes) -> None:
        """See `SnapshotStore`."""
        if len(data) > PART_BYTES:
            raise ValueError("a part is larger than PART_BYTES")
        async with _answering():
            try:
                await self._chunks.insert_one({"files_id": name, "n": index, "data": Binary(data)})
            except DuplicateKeyError:
                if await self.read_part(name, index) != data:
                    raise other_bytes(name) from None

    async def seal(self, wanted: StoredObject) -> None:
        """See `SnapshotStore`."""
        async with _answering():
            try:
                await self._files.insert_one(_file(wanted))
            except DuplicateKeyError:
                if await self.stat(wanted.name) != wanted:
                    raise other_bytes(wanted.name) from None

    async def write_whole(self, name: str, data: bytes) -> None:
        """See `SnapshotStore`."""
        await self.write_part(name, 0, data)
        await self.seal(StoredObject(name, len(data), hashlib.sha256(data).hexdigest()))

    async def stat(self, name: str) -> StoredObject | None:
        """See `SnapshotStore`."""
        async with _answering():
            found = await self._files.find_one({"_id": name})
        if found is None:
            return None
        try:
            return StoredObject(name, int(found["length"]), str(found["metadata"]["sha256"]))
        except (KeyError, TypeError, ValueError):
            raise BlazzError(
                ErrorCode.SNAPSHOT_CORRUPT, "the object's seal can't be read", name=name
            ) from None

    async def read_part(self, name: str, index: int) -> bytes:
        """See `SnapshotStore`."""
        async with _answering():
            found = await self._chunks.find_one({"files_id": name, "n": index})
        if found is None:
            raise not_found(name)
        return bytes(found["data"])

    async def delete(self, name: str) -> None:
        """See `SnapshotStore`. The seal goes first: half an object is never whole."""
        async with _answering():
            await self._files.delete_one({"_id": name})
            await self._chunks.delete_many({"files_id": name})

    async def names(self, session_id: str) -> set[str]:
        """See `SnapshotStore`."""
        async with _answering():
            return set(await self._chunks.distinct("files_id", _of_session("files_id", session_id)))

    async def sessions(self) -> set[str]:
        """See `SnapshotStore`. Steps through the index, a look a session: a list of all the ids
        would be too large for one answer."""
        found: set[str] = set()
        after = ""
        async with _answering():
            while True:
                next_one = await self._chunks.find_one(
                    {"files_id": {"$gte": after}}, {"files_id": 1}, sort=[("files_id", 1)]
                )
                if next_one is None:
                    return found
                session_id = str(next_one["files_id"]).partition("/")[0]
                found.add(session_id)
                after = f"{session_id}{_AFTER_SLASH}"


def _file(whole: StoredObject) -> dict[str, Any]:
    return {
        "_id": whole.name,
        "filename": whole.name,
        "length": whole.size_bytes,
        "chunkSize": PART_BYTES,
        "uploadDate": datetime.now(UTC),
        "metadata": {"sha256": whole.sha256},
    }


def _of_session(field: str, session_id: str) -> dict[str, Any]:
    # A range of the index, where a pattern would read all of it.
    return {field: {"$gte": f"{session_id}/", "$lt": f"{session_id}{_AFTER_SLASH}"}}


@asynccontextmanager
async def _answering() -> AsyncIterator[None]:
    """Say `vault_unavailable` for a server that is away, without its address or words."""
    try:
        yield
    except PyMongoError as error:
        raise BlazzError(ErrorCode.VAULT_UNAVAILABLE, f"MongoDB: {type(error).__name__}") from error
