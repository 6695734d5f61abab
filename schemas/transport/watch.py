"""Watches: a bucket's keys as they are and as they change, for ever.

Owns the re-made consumer behind a watch, what was seen of each key, and the markers that say when
the view may be stale and when it is whole again. Never interprets a value.

A key that expires is looked for by the watch itself. The server could leave a marker instead, but
only in a stream that lets every writer replace all of it by one message (`Nats-Rollup: all`).
"""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from enum import StrEnum
from typing import Final, Generic, TypeVar

import msgspec
import structlog

from schemas.errors import BlazzError
from schemas.transport.jetstream import TTL, StoredMessage
from schemas.transport.kv import Bucket, Entry
from schemas.transport.streams import pause_unless_final, run_consumer
from schemas.transport.typed import decode

log = structlog.get_logger()

T = TypeVar("T")
V_co = TypeVar("V_co", covariant=True)
_LOOK_SHARE: Final = 0.1
"""Of a lease's TTL: so late at most an expired key is told of."""


class ChangeKind(StrEnum):
    """What a `KvChange` says."""

    PUT = "put"
    DELETE = "delete"
    """Deleted or expired; also told of keys that went while the watch was away."""
    SYNCED = "synced"
    """Everything there is has been told: the view is whole. Comes first after the existing keys,
    and again after every resync."""
    STALE = "stale"
    """The connection was lost: what is known may be old until the next `SYNCED`."""


class KvChange(msgspec.Struct, Generic[V_co], frozen=True):
    """One step of a watch. `key`, `value` and `revision` are set for `PUT`; no value for
    `DELETE`; markers carry none of them."""

    kind: ChangeKind
    key: str = ""
    value: V_co | None = None
    revision: int = 0


class View:
    """What a watch has told of each key: pure, so that replays and losses are easy to reason
    about. A message no newer than what was told changes nothing."""

    def __init__(self) -> None:
        self._revisions: dict[str, int] = {}
        self._alive: set[str] = set()
        self._unconfirmed: set[str] = set()
        self._expiring: dict[str, float] = {}

    def begin_resync(self) -> None:
        """From here until `end_resync`, a key that is not seen again is gone."""
        self._unconfirmed = set(self._alive)

    def see(self, entry: Entry[bytes]) -> KvChange[bytes] | None:
        """Take in a message; returns what to tell, or None if it is nothing new."""
        self._unconfirmed.discard(entry.key)
        if entry.revision <= self._revisions.get(entry.key, 0):
            return None
        if entry.value is not None:
            self._revisions[entry.key] = entry.revision
            self._alive.add(entry.key)
            return KvChange(ChangeKind.PUT, entry.key, entry.value, entry.revision)
        # Forget dead keys, or the view would grow with every key that ever was. A stream hands
        # out messages in order, so an older one cannot come behind its tombstone in one consumer.
        self._revisions.pop(entry.key, None)
        if entry.key not in self._alive:
            return None
        self._alive.discard(entry.key)
        return KvChange(ChangeKind.DELETE, entry.key, None, entry.revision)

    def end_resync(self) -> list[KvChange[bytes]]:
        """Everything has been seen again: tell of the keys that went meanwhile."""
        gone = sorted(self._unconfirmed)
        self._unconfirmed = set()
        for key in gone:
            self._revisions.pop(key, None)
            self._alive.discard(key)
        return [KvChange(ChangeKind.DELETE, key) for key in gone]

    def note_expiry(self, key: str, look_at: float | None) -> None:
        """A key that was just seen may be gone by itself at `look_at` (monotonic s), or never."""
        self._expiring.pop(key, None)
        if look_at is not None:
            self._expiring[key] = look_at

    def overdue(self, now: float) -> list[str]:
        """Keys that should be looked for: alive, and not written for a good part of their life."""
        return [k for k, at in self._expiring.items() if at <= now and k in self._alive]

    def missed(self, key: str) -> KvChange[bytes] | None:
        """A key was looked for, and is gone; what to tell."""
        self._expiring.pop(key, None)
        self._revisions.pop(key, None)
        if key not in self._alive:
            return None
        self._alive.discard(key)
        return KvChange(ChangeKind.DELETE, key)


async def watch(bucket: Bucket, *prefixes: str) -> AsyncGenerator[KvChange[bytes], None]:
    """Existing keys under the `prefixes` (none given: all), `SYNCED`, then every change, for ever.

    A reader that is slow sees a key's latest value, not each between. Survives outages: `STALE`,
    what changed meanwhile, `SYNCED`. A sweep beside it is still wise. Close it with `aclosing`.
    Raises `not_found` (no such bucket) and `forbidden`.
    """
    view = View()
    look_every_s = bucket.jetstream.bus.settings.profile.lease_ttl_s * _LOOK_SHARE
    config = {
        "deliver_policy": "last_per_subject",
        "filter_subjects": [bucket.subject_filter(prefix) for prefix in prefixes or ("",)],
    }
    while True:
        view.begin_resync()
        synced = False
        try:
            consumer = run_consumer(
                bucket.jetstream, bucket.stream, config, look_every_s=look_every_s
            )
            async with aclosing(consumer) as deliveries:
                async for delivery in deliveries:
                    if delivery.message is not None:
                        entry = bucket.entry_of(delivery.message)
                        view.note_expiry(entry.key, _look_at(delivery.message, entry))
                        change = view.see(entry)
                        if change is not None:
                            yield change
                    else:
                        for key in view.overdue(time.monotonic()):
                            found = await bucket.get_raw(key)
                            missed = None if found.exists else view.missed(key)
                            if missed is not None:
                                yield missed
                    if not synced and delivery.pending == 0:
                        synced = True
                        for gone in view.end_resync():
                            yield gone
                        yield KvChange(ChangeKind.SYNCED)
        except BlazzError as error:
            log.info("watch.interrupted", bucket=bucket.name, code=error.code)
            yield KvChange(ChangeKind.STALE)
            await pause_unless_final(bucket.jetstream, error)
        else:
            yield KvChange(ChangeKind.STALE)


def _look_at(message: StoredMessage, entry: Entry[bytes]) -> float | None:
    """From when on a key with a TTL is looked for: half of it, since nobody knows how old the
    message was when it came, and whoever wants to keep a key writes it more often than that."""
    ttl = message.headers.get(TTL, "")
    if entry.value is None or not ttl.endswith("s"):
        return None
    return time.monotonic() + float(ttl.removesuffix("s")) / 2


async def watch_typed(
    bucket: Bucket, prefix: str, kind: type[T]
) -> AsyncGenerator[KvChange[T], None]:
    """As `watch`, with values decoded. A value that does not decode (a newer peer's, or damage)
    is logged and skipped."""
    async with aclosing(watch(bucket, prefix)) as changes:
        async for change in changes:
            if change.value is None:
                yield KvChange(change.kind, change.key, None, change.revision)
                continue
            try:
                value = decode(change.value, kind)
            except BlazzError:
                log.warning("watch.value_malformed", bucket=bucket.name, key=change.key)
                continue
            yield KvChange(change.kind, change.key, value, change.revision)
