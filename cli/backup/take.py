"""Taking a backup: every stream and collection, in an order that keeps the fleet's promises.

Owns that order, and the proof: what was copied is put into a scratch server at once, read back
message by message, and opened. A store that lost something gives a copy without a word, so that
nothing is believed that was not counted. Writes nothing to the fleet.

Why this order (see docs/adr/0010): what is written later may be in a later copy and not in an
earlier one, so each thing comes before those that would be wrong without it.
"""

import asyncio
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from cli.backup.folder import Backup, NewBackup, folders, open_backup
from cli.backup.index import Line, compare, read_lines, unpacked
from cli.backup.inside import DumpedSnapshots, Found, SnapshotSource, StoredSnapshots, look_inside
from cli.backup.scratch import TRIES_MAX, max_age_s, put_stream, scratch_bus, still
from cli.backup.sealed import damaged, read_sealed
from control_plane import mongo_copies
from control_plane.config import ControlPlaneSettings
from control_plane.mongo_copies import RawDocument, copy_documents, open_collections
from control_plane.vault.jetstream_store import JetStreamSnapshotStore
from control_plane.vault.master_keys import MasterKey
from schemas.backup import (
    BACKUP_FORMAT,
    BackupManifest,
    BackupPart,
    CollectionCopy,
    StateCounts,
    StreamCopy,
)
from schemas.errors import BlazzError
from schemas.resources import (
    ACCESS,
    AUDIT,
    DEAD_LETTERS,
    EVENTS,
    FLEET,
    FLEET_HISTORY,
    IDEMPOTENCY,
    INBOUND_MEDIA,
    LEDGER,
    MEDIA,
    OUTBOX,
    PACING,
    VAULT,
    WEBHOOK_LOG,
    WEBHOOK_QUEUE,
    WEBHOOKS,
    bucket_stream,
)
from schemas.transport.connection import Bus
from schemas.transport.jetstream import JetStream
from schemas.transport.stream_copy import copy_out

log = structlog.get_logger()

BEFORE_DOCUMENTS: Final = (
    # A first answer that is not here is given again, for the same message; one that is here, of a
    # message that is not, would make a customer believe.
    bucket_stream(IDEMPOTENCY),
    # What ended since is found ended and not sent again; the other way round it would be lost.
    OUTBOX,
    # With its readers' places: what they did since, they do again.
    EVENTS,
    WEBHOOK_QUEUE,
    WEBHOOK_LOG,
    LEDGER,
    DEAD_LETTERS,
    MEDIA,
    INBOUND_MEDIA,
    bucket_stream(PACING),
    bucket_stream(WEBHOOKS),
    # Pointers, then what they name: objects are written first and never change.
    bucket_stream(FLEET),
    VAULT,
)
AFTER_DOCUMENTS: Final = (
    # Keys are made before what they seal.
    bucket_stream(ACCESS),
    AUDIT,
    FLEET_HISTORY,
)
_SHRUNK: Final = 0.1
"""A bucket that lost more than this share of its keys since the backup before is told."""
_KEYS_FEW: Final = 5
_INDEXED_BUCKETS: Final = frozenset(bucket_stream(each) for each in (FLEET, ACCESS, WEBHOOKS))


class Taken(msgspec.Struct, frozen=True):
    """A backup that was written."""

    folder: Path
    manifest: BackupManifest
    duration_s: float


async def take_backup(
    bus: Bus,
    settings: ControlPlaneSettings,
    root: Path,
    key: MasterKey,
    master_keys: tuple[MasterKey, ...],
    *,
    temp_dir: Path | None = None,
) -> Taken:
    """Take a backup into a new folder in `root`, and prove it.

    One with findings is kept too, and says so: it may be all that there is. Raises
    `nats_unavailable`, `forbidden`, `vault_unavailable`, `not_found` for a bus without Blazz's
    streams; then nothing is left behind.
    """
    began = time.monotonic()
    before = await asyncio.to_thread(_newest_readable, root, key)
    new = NewBackup(root, key, time.time())
    await asyncio.to_thread(new.open)
    try:
        raw, collections = await _copy(bus, settings, new)
        proof = await _prove(new, raw, collections, master_keys, before, temp_dir)
        manifest = BackupManifest(
            format=BACKUP_FORMAT,
            backup_id=new.backup_id,
            made_by=version("blazz"),
            began_at=new.began_at,
            ended_at=time.time(),
            key_id=key.key_id,
            wrapped_key=new.wrapped,
            streams=proof.streams,
            collections=collections,
            master_key_ids=proof.master_key_ids,
            counts=proof.counts,
            findings=proof.findings,
            complete=not proof.findings,
        )
        folder = await asyncio.to_thread(new.finish, manifest)
    except BaseException:
        new.discard()
        raise
    took_s = time.monotonic() - began
    log.info("backup.taken", backup_id=new.backup_id, size_bytes=manifest.size_bytes)
    return Taken(folder, manifest, took_s)


# Copying -----------------------------------------------------------------------------------------

_UNPROVEN: Final = BackupPart("", 0, "0" * 64)


async def _copy(
    bus: Bus, settings: ControlPlaneSettings, new: NewBackup
) -> tuple[list[StreamCopy], tuple[CollectionCopy, ...]]:
    jetstream = JetStream(bus)
    async with open_collections(settings) as held:
        streams: list[StreamCopy] = []
        collections: list[CollectionCopy] = []
        for name in BEFORE_DOCUMENTS:
            # A ledger in MongoDB stands where the stream does, snapshots likewise.
            if name == DEAD_LETTERS:
                collections += await _copy_documents(held, new, {mongo_copies.LEDGER})
            streams.append(await _copy_stream(jetstream, name, new))
        collections += await _copy_documents(
            held, new, {mongo_copies.SNAPSHOT_FILES, mongo_copies.SNAPSHOT_CHUNKS}
        )
        streams += [await _copy_stream(jetstream, name, new) for name in AFTER_DOCUMENTS]
    return streams, tuple(collections)


async def _copy_stream(jetstream: JetStream, name: str, new: NewBackup) -> StreamCopy:
    for _ in range(TRIES_MAX - 1):
        try:
            return await _copy_once(jetstream, name, new)
        except BlazzError as error:
            if not error.retryable:
                raise
            log.warning("backup.copy_repeated", stream=name, code=error.code)
        await asyncio.to_thread((new.folder / f"stream-{name}").unlink, missing_ok=True)
    return await _copy_once(jetstream, name, new)


async def _copy_once(jetstream: JetStream, name: str, new: NewBackup) -> StreamCopy:
    taken_at = time.time()
    with new.writer(f"stream-{name}") as writer:
        async with copy_out(jetstream, name) as archive:
            async for chunk in archive.chunks:
                writer.write(chunk)
    state = archive.info.state
    log.info("backup.stream_copied", stream=name, messages=state.messages)
    return StreamCopy(
        stream=name,
        taken_at=taken_at,
        config=archive.info.config,
        messages=state.messages,
        size_bytes=state.bytes,
        first_seq=state.first_seq,
        last_seq=state.last_seq,
        part=writer.part,
        index=_UNPROVEN,
        readable=0,
    )


async def _copy_documents(
    held: tuple[mongo_copies.Collection, ...], new: NewBackup, roles: set[str]
) -> list[CollectionCopy]:
    return [await _copy_collection(each, new) for each in held if each.role in roles]


async def _copy_collection(collection: mongo_copies.Collection, new: NewBackup) -> CollectionCopy:
    taken_at = time.time()
    with new.writer(f"collection-{collection.role}") as writer:
        count = await copy_documents(collection, writer.write)
    return CollectionCopy(
        role=collection.role, taken_at=taken_at, documents=count, part=writer.part
    )


# Proving -----------------------------------------------------------------------------------------


class _Proof(msgspec.Struct, frozen=True):
    streams: tuple[StreamCopy, ...]
    counts: StateCounts
    findings: tuple[str, ...]
    master_key_ids: tuple[str, ...]


async def _prove(
    new: NewBackup,
    raw: list[StreamCopy],
    collections: tuple[CollectionCopy, ...],
    master_keys: tuple[MasterKey, ...],
    before: Backup | None,
    temp_dir: Path | None,
) -> _Proof:
    findings: list[str] = []
    streams: list[StreamCopy] = []
    async with scratch_bus(temp_dir) as bus:
        for copy in raw:
            await put_stream(bus, new.folder, copy, new.secret, still(copy.config))
            indexed = await _indexed(bus, new, copy)
            streams.append(indexed)
            if indexed.readable < copy.messages:
                findings.append(
                    f"{copy.stream}: the server says {copy.messages} messages, "
                    f"{indexed.readable} can be read: its store is damaged"
                )
        found = await look_into(bus, new.folder, collections, new.secret, master_keys)
    if before is not None:
        for copy in streams:
            findings += await asyncio.to_thread(_since, before, copy, new)
    return _Proof(tuple(streams), found.counts, (*findings, *found.findings), found.master_key_ids)


async def _indexed(bus: Bus, new: NewBackup, copy: StreamCopy) -> StreamCopy:
    readable = 0
    lines = read_lines(JetStream(bus), copy.stream, copy.config, max_age_s(copy.config))
    with new.writer(f"index-{copy.stream}") as writer:
        async for line in lines:
            writer.write(line.packed())
            readable += 1
    return msgspec.structs.replace(copy, index=writer.part, readable=readable)


async def look_into(
    bus: Bus,
    folder: Path,
    collections: tuple[CollectionCopy, ...],
    secret: bytes,
    master_keys: tuple[MasterKey, ...],
) -> Found:
    """Open all that was put onto a scratch `bus`, and the collections beside it."""
    by_role = {each.role: each for each in collections}
    snapshots: SnapshotSource = StoredSnapshots(JetStreamSnapshotStore(bus))
    chunks = by_role.get(mongo_copies.SNAPSHOT_CHUNKS)
    if chunks is not None:
        snapshots = DumpedSnapshots(read_documents(folder, chunks, secret))
    ledger = by_role.get(mongo_copies.LEDGER)
    messages = None if ledger is None else _messages(read_documents(folder, ledger, secret))
    return await look_inside(bus, master_keys, snapshots, messages)


def read_documents(folder: Path, copy: CollectionCopy, secret: bytes) -> Iterator[RawDocument]:
    """A collection's documents. Raises `backup_damaged`, also for one too few."""
    count = 0
    try:
        for document in mongo_copies.documents(read_sealed(folder, copy.part.file, secret)):
            count += 1
            yield document
    except ValueError:
        raise damaged(copy.part.file, "its documents do not add up") from None
    if count != copy.documents:
        raise damaged(copy.part.file, f"{count} documents instead of {copy.documents}")


def dumped_messages(backup: Backup, copy: CollectionCopy) -> Iterator[tuple[str, bytes]]:
    """A MongoDB ledger's ids and messages."""
    return _messages(read_documents(backup.folder, copy, backup.secret))


def _messages(found: Iterator[RawDocument]) -> Iterator[tuple[str, bytes]]:
    return ((str(each["_id"]), bytes(each["m"])) for each in found)


def _newest_readable(root: Path, key: MasterKey) -> Backup | None:
    for folder in folders(root):
        try:
            return open_backup(folder, (key,))
        except BlazzError:
            continue
    return None


def _since(before: Backup, copy: StreamCopy, new: NewBackup) -> list[str]:
    """What a stream seems to have lost since the backup before. A store that lost its tail, or
    was begun anew, counts its sequences from further back: they never fall otherwise. Blocks."""
    old = next((each for each in before.manifest.streams if each.stream == copy.stream), None)
    if old is None:
        return []
    if copy.last_seq < old.last_seq:
        return [
            (
                f"{copy.stream}: ends at {copy.last_seq}, in {before.manifest.backup_id} at "
                f"{old.last_seq}: it has lost what was between, or was begun anew"
            )
        ]
    if copy.stream not in _INDEXED_BUCKETS:
        return []
    was = _subjects(before.folder, old, before.secret)
    gone = len(was - _subjects(new.folder, copy, new.secret))
    if gone >= _KEYS_FEW and gone > _SHRUNK * len(was):
        return [
            (
                f"{copy.stream}: {gone} of the {len(was)} keys of {before.manifest.backup_id} are "
                "gone: if nobody deleted them, its store is damaged"
            )
        ]
    return []


def _subjects(folder: Path, copy: StreamCopy, secret: bytes) -> set[bytes]:
    # What had an end of its own (leases, tombstones, tickets) is no loss.
    lines = unpacked(read_sealed(folder, copy.index.file, secret))
    return {line.subject for line in lines if not line.expires_at}


async def hold_against(bus: Bus, backup: Backup, copy: StreamCopy) -> list[str]:
    """What a stream on `bus` lacks of a copy, message by message, but for what has expired."""

    def lines() -> Iterator[Line]:
        return unpacked(read_sealed(backup.folder, copy.index.file, backup.secret))

    config: dict[str, Any] = copy.config
    actual = read_lines(JetStream(bus), copy.stream, config, max_age_s(config))
    result = await compare(lines(), actual, time.time())
    if result.there + result.expired + result.lost != copy.readable:
        return [f"{copy.stream}: its index has another length than the manifest says"]
    if not result.lost:
        return []
    return [
        (
            f"{copy.stream}: {result.lost} of {copy.readable} messages are missing or changed, the "
            f"first is {result.first_lost_seq}"
        )
    ]
