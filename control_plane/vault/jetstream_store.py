"""The embedded store: snapshot objects as messages on the stream VAULT.

Owns the layout: a message a part, and a last one, the seal, whose headers say size and hash; a
one-part object lies in its seal, so that a delta costs one write. Immutability is the server's:
every write expects that its subject is empty. Never a bucket and never a key.
"""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from control_plane.vault.store import PART_BYTES, StoredObject, not_found, other_bytes
from schemas.errors import BlazzError, ErrorCode
from schemas.resources import VAULT
from schemas.subjects import (
    VAULT_ALL,
    object_of_vault_subject,
    vault_object,
    vault_part,
    vault_seal,
    vault_session,
)
from schemas.transport.connection import Bus
from schemas.transport.jetstream import EXPECT_SUBJECT_SEQ, Conflict, JetStream, StoredMessage

_SIZE: Final = "Blazz-Size"
_SHA256: Final = "Blazz-Sha256"
_AWAY: Final = frozenset({ErrorCode.NATS_UNAVAILABLE, ErrorCode.TIMEOUT, ErrorCode.NOT_FOUND})


class JetStreamSnapshotStore:
    """Implements `SnapshotStore` on a bus; holds nothing."""

    def __init__(self, bus: Bus) -> None:
        self._jetstream = JetStream(bus)

    async def write_part(self, name: str, index: int, data: bytes) -> None:
        """See `SnapshotStore`."""
        await self._write_once(name, vault_part(name, index), data, {})

    async def seal(self, wanted: StoredObject) -> None:
        """See `SnapshotStore`."""
        await self._write_once(wanted.name, vault_seal(wanted.name), b"", _headers(wanted))

    async def write_whole(self, name: str, data: bytes) -> None:
        """See `SnapshotStore`."""
        whole = StoredObject(name, len(data), hashlib.sha256(data).hexdigest())
        await self._write_once(name, vault_seal(name), data, _headers(whole))

    async def stat(self, name: str) -> StoredObject | None:
        """See `SnapshotStore`."""
        sealed = await self._last(vault_seal(name))
        return None if sealed is None else _object(name, sealed)

    async def read_part(self, name: str, index: int) -> bytes:
        """See `SnapshotStore`."""
        if index == 0:
            # Most objects are a delta, which lies in its seal; other seals are empty.
            sealed = await self._last(vault_seal(name))
            if sealed is not None and sealed.data:
                return sealed.data
        found = await self._last(vault_part(name, index))
        if found is None:
            raise not_found(name)
        return found.data

    async def delete(self, name: str) -> None:
        """See `SnapshotStore`."""
        async with _answering():
            await self._jetstream.purge(VAULT, vault_object(name))

    async def names(self, session_id: str) -> set[str]:
        """See `SnapshotStore`."""
        return {name for name, _sealed in await self._listed(vault_session(session_id))}

    async def sessions(self) -> set[str]:
        """See `SnapshotStore`. Lists every part there is: for an embedded store's size."""
        return {name.partition("/")[0] for name, _sealed in await self._listed(VAULT_ALL)}

    async def _write_once(
        self, name: str, subject: str, data: bytes, headers: dict[str, str]
    ) -> None:
        if len(data) > PART_BYTES:
            raise ValueError("a part is larger than PART_BYTES")
        async with _answering():
            try:
                await self._jetstream.publish(
                    subject, data, headers={EXPECT_SUBJECT_SEQ: "0", **headers}
                )
            except Conflict:
                there = await self._jetstream.last_by_subject(VAULT, subject)
                if there is None:
                    # Removed between the two: a repeat will find the place empty.
                    raise _unavailable("the object was removed meanwhile") from None
                same_seal = all(there.headers.get(key) == headers[key] for key in headers)
                if there.data != data or not same_seal:
                    raise other_bytes(name) from None

    async def _last(self, subject: str) -> StoredMessage | None:
        async with _answering():
            return await self._jetstream.last_by_subject(VAULT, subject)

    async def _listed(self, subject: str) -> list[tuple[str, bool]]:
        async with _answering():
            found = await self._jetstream.subjects(VAULT, subject)
        return [object_of_vault_subject(each) for each in found]


def _headers(whole: StoredObject) -> dict[str, str]:
    return {_SIZE: str(whole.size_bytes), _SHA256: whole.sha256}


def _object(name: str, sealed: StoredMessage) -> StoredObject:
    try:
        return StoredObject(name, int(sealed.headers[_SIZE]), sealed.headers[_SHA256])
    except (KeyError, ValueError):
        raise BlazzError(
            ErrorCode.SNAPSHOT_CORRUPT, "the object's seal can't be read", name=name
        ) from None


@asynccontextmanager
async def _answering() -> AsyncIterator[None]:
    """Say `vault_unavailable` for a bus that is away, has no room or lacks the stream."""
    try:
        yield
    except BlazzError as error:
        if error.code in _AWAY:
            raise _unavailable(error.detail) from error
        raise


def _unavailable(detail: str) -> BlazzError:
    return BlazzError(ErrorCode.VAULT_UNAVAILABLE, f"the stream VAULT: {detail}")
