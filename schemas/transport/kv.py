"""Buckets: keys with revisions, compare-and-set, atomic batches and fences.

Owns how a key lies in its stream and what counts as deleted. Reads go to the stream's leader
(read-after-write), never to a replica. Never decides what to do about a conflict.

Keys come from the builders in `schemas.subjects`; a key may hold only `[-/_=.a-zA-Z0-9]`.
"""

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final, Generic, TypeVar

import msgspec

from schemas.errors import BlazzError, ErrorCode
from schemas.resources import bucket_stream, bucket_subject
from schemas.transport.connection import Bus
from schemas.transport.jetstream import (
    EXPECT_SUBJECT,
    EXPECT_SUBJECT_SEQ,
    TTL,
    Conflict,
    JetStream,
    PubAck,
    StoredMessage,
    Write,
)
from schemas.transport.streams import read_last_per_subject
from schemas.transport.typed import decode

__all__ = ["ANY_REVISION", "Bucket", "Conflict", "Delete", "Entry", "Fence", "Put", "is_tombstone"]

T = TypeVar("T")
V_co = TypeVar("V_co", covariant=True)

ANY_REVISION: Final = -1
"""Write whatever is there: last writer wins. Only for a key that has one writer."""
_KEY: Final = re.compile(r"^[-/_=a-zA-Z0-9]+(\.[-/_=a-zA-Z0-9]+)*$")
_OPERATION: Final = "KV-Operation"
_MARKER: Final = "Nats-Marker-Reason"


class Entry(msgspec.Struct, Generic[V_co], frozen=True):
    """What a key holds. `value` is None for a key that was deleted or expired: its `revision`
    still counts for compare-and-set. A key that never was has revision 0."""

    key: str
    value: V_co | None
    revision: int

    @property
    def exists(self) -> bool:
        """Whether there is a value."""
        return self.value is not None


class Fence(msgspec.Struct, frozen=True):
    """ "Only while `key` is still at `revision`", checked by the server with the write."""

    key: str
    revision: int


class Put(msgspec.Struct, frozen=True, kw_only=True):
    """A write. `expect_revision` 0 creates; `ANY_REVISION` overwrites. A `fence` takes the place
    of the expectation (the server checks one thing a write)."""

    key: str
    value: msgspec.Struct
    expect_revision: int = ANY_REVISION
    ttl_s: float | None = None
    fence: Fence | None = None


class Delete(msgspec.Struct, frozen=True, kw_only=True):
    """A deletion; leaves a tombstone for watchers, which goes after `tombstone_ttl_s`."""

    key: str
    expect_revision: int = ANY_REVISION
    tombstone_ttl_s: float = 300.0
    fence: Fence | None = None


def is_tombstone(headers: dict[str, str]) -> bool:
    """Whether a stored message says that its key was deleted or has expired."""
    return _OPERATION in headers or _MARKER in headers


class Bucket:
    """One bucket over a bus; cheap to make, holds nothing."""

    def __init__(self, bus: Bus, name: str) -> None:
        self.name = name
        self.stream = bucket_stream(name)
        self.jetstream = JetStream(bus)

    # Reading -----------------------------------------------------------------------------------

    async def get_raw(self, key: str) -> Entry[bytes]:
        """The key's last message as it lies there. Raises `nats_unavailable`, `timeout`."""
        message = await self.jetstream.last_by_subject(self.stream, self.subject(key))
        if message is None:
            return Entry(key, None, 0)
        return self.entry_of(message)

    async def get(self, key: str, kind: type[T]) -> Entry[T]:
        """The key's value as `kind`; `value` is None if there is none."""
        raw = await self.get_raw(key)
        if raw.value is None:
            return Entry(key, None, raw.revision)
        return Entry(key, decode(raw.value, kind), raw.revision)

    async def read_prefix(self, prefix: str, kind: type[T]) -> list[Entry[T]]:
        """Every existing key under `prefix` (`"node."`, or `""` for all), at one look."""
        entries = []
        async with aclosing(self._read_raw(prefix)) as messages:
            async for message in messages:
                entry = self.entry_of(message)
                if entry.value is not None:
                    value = decode(entry.value, kind)
                    entries.append(Entry(entry.key, value, entry.revision))
        return entries

    def _read_raw(self, prefix: str) -> AsyncGenerator[StoredMessage, None]:
        return read_last_per_subject(self.jetstream, self.stream, self.subject_filter(prefix))

    # Writing -----------------------------------------------------------------------------------

    async def put(self, key: str, value: msgspec.Struct, *, ttl_s: float | None = None) -> int:
        """Overwrite; returns the new revision. Safe to repeat."""
        return await self.batch([Put(key=key, value=value, ttl_s=ttl_s)])

    async def create(self, key: str, value: msgspec.Struct, *, ttl_s: float | None = None) -> int:
        """Write where nothing is, or where it was deleted or has expired. Raises `Conflict`."""
        try:
            return await self.batch([Put(key=key, value=value, expect_revision=0, ttl_s=ttl_s)])
        except Conflict:
            entry = await self.get_raw(key)
            if entry.exists:
                raise
        put = Put(key=key, value=value, expect_revision=entry.revision, ttl_s=ttl_s)
        return await self.batch([put])

    async def update(
        self, key: str, value: msgspec.Struct, revision: int, *, ttl_s: float | None = None
    ) -> int:
        """Write if the key is still at `revision`. Raises `Conflict`. An update without `ttl_s`
        makes a key that had one live for ever."""
        return await self.batch([Put(key=key, value=value, expect_revision=revision, ttl_s=ttl_s)])

    async def delete(self, key: str, revision: int = ANY_REVISION) -> int:
        """Delete, if the key is still at `revision`. Raises `Conflict`."""
        return await self.batch([Delete(key=key, expect_revision=revision)])

    async def batch(
        self, changes: Sequence[Put | Delete], *, timeout_s: float | None = None
    ) -> int:
        """Make all changes or none; returns the LAST one's revision: the one before has the
        revision before it, and so on.

        Raises `Conflict` if any expectation or fence fails (nothing was written), and
        `nats_unavailable` or `timeout`, after which all or none may have been written.
        """
        writes = [self._write(change) for change in changes]
        ack: PubAck = await self.jetstream.publish_batch(writes, timeout_s=timeout_s)
        return ack.seq

    def _write(self, change: Put | Delete) -> Write:
        headers = {}
        if change.fence is not None:
            if change.expect_revision != ANY_REVISION:
                raise ValueError("a write carries an expectation or a fence, not both")
            headers[EXPECT_SUBJECT_SEQ] = str(change.fence.revision)
            headers[EXPECT_SUBJECT] = self.subject(change.fence.key)
        elif change.expect_revision != ANY_REVISION:
            headers[EXPECT_SUBJECT_SEQ] = str(change.expect_revision)
        if isinstance(change, Delete):
            headers[_OPERATION] = "DEL"
            headers[TTL] = _ttl(change.tombstone_ttl_s)
            return Write(subject=self.subject(change.key), payload=b"", headers=headers)
        if change.ttl_s is not None:
            headers[TTL] = _ttl(change.ttl_s)
        payload = msgspec.json.encode(change.value)
        return Write(subject=self.subject(change.key), payload=payload, headers=headers)

    # Names ---------------------------------------------------------------------------------------

    def subject(self, key: str) -> str:
        """Where the key's messages lie. Raises `malformed_request` for an illegal key."""
        if not _KEY.match(key):
            raise BlazzError(ErrorCode.MALFORMED_REQUEST, "not a legal bucket key")
        return bucket_subject(self.name, key)

    def subject_filter(self, prefix: str) -> str:
        """The filter for a key prefix that ends at a dot (or is empty)."""
        if prefix and not prefix.endswith("."):
            raise ValueError("a key prefix ends with a dot")
        return bucket_subject(self.name, f"{prefix}>")

    def entry_of(self, message: StoredMessage) -> Entry[bytes]:
        """A stored message as an entry."""
        key = message.subject.removeprefix(bucket_subject(self.name, ""))
        value = None if is_tombstone(message.headers) else message.data
        return Entry(key, value, message.seq)


def _ttl(seconds: float) -> str:
    # The server counts whole seconds from 1.
    return f"{max(1, round(seconds))}s"
