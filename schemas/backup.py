"""Backups: what a backup says of itself, in its `manifest.json`.

Owns the fields. Never a key, a phone number or a message: a manifest lies in the open, so that a
backup can be listed and its files' sums checked by whoever holds none of the keys.
"""

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

BACKUP_FORMAT: Final = 1
"""Of the manifest and of the sealed files. Another one is refused with `backup_unreadable`."""


class BackupPart(msgspec.Struct, frozen=True):
    """One sealed file. `sha256` is of the sealed bytes, so that it is checked without a key."""

    file: str
    size_bytes: Annotated[int, Meta(ge=0)]
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]


class StreamCopy(msgspec.Struct, frozen=True, kw_only=True):
    """A stream as the server copied it out; a bucket's is `KV_…`.

    - `messages`, `first_seq`, `last_seq`: what the server said that it holds.
    - `index`: 40 bytes for each message that could be read back out of the copy (its sequence,
      when it expires, hashes of its subject and of all of it).
    - `readable`: how many those are. Fewer than `messages`: the store is damaged.
    """

    stream: str
    taken_at: float
    config: dict[str, Any]
    messages: int
    size_bytes: int
    first_seq: int
    last_seq: int
    part: BackupPart
    index: BackupPart
    readable: int


class CollectionCopy(msgspec.Struct, frozen=True, kw_only=True):
    """A MongoDB collection: its documents as BSON, in the order of their ids."""

    role: str
    """`ledger`, `snapshot_files` or `snapshot_chunks`: restored to where the settings say."""
    taken_at: float
    documents: int
    part: BackupPart


class StateCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What was found inside, counted by opening it."""

    tenants: int = 0
    api_keys: int = 0
    sessions: int = 0
    sessions_with_snapshot: int = 0
    snapshots_opened: int = 0
    """Sessions whose newest generation was read, opened and unpacked whole."""
    data_keys: int = 0
    lanes: int = 0
    messages_waiting: int = 0
    ledger_messages: int = 0
    webhooks: int = 0


class BackupManifest(msgspec.Struct, frozen=True, kw_only=True):
    """A whole backup.

    - `key_id`: of the key that `wrapped_key`, which seals the files, is wrapped by.
    - `master_key_ids`: the vault's master keys that its snapshots need; the backup holds none.
    - `findings`: what is wrong with it, for people. `complete`: nothing is.
    - `seal`: an HMAC of all the rest.
    """

    format: int
    backup_id: str
    made_by: str
    began_at: float
    ended_at: float
    key_id: str
    wrapped_key: bytes
    streams: tuple[StreamCopy, ...]
    collections: tuple[CollectionCopy, ...] = ()
    master_key_ids: tuple[str, ...] = ()
    counts: StateCounts = StateCounts()
    findings: tuple[str, ...] = ()
    complete: bool = True
    seal: str = ""

    @property
    def parts(self) -> tuple[BackupPart, ...]:
        """Every sealed file."""
        streams = [part for each in self.streams for part in (each.part, each.index)]
        return (*streams, *(each.part for each in self.collections))

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(part.size_bytes for part in self.parts)
