"""What a copy holds: opened and counted, as a fleet that starts on it would find it.

Owns the invariants: every session with snapshots has a newest generation that is whole, opens with
the key at hand and unpacks; every data key opens; every lane, ledger entry and record decodes.
Reads a bus that stands still (a scratch server, or a restored one before the fleet runs), changes
nothing, and names sessions by id, never by number.
"""

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import msgspec

from control_plane.mongo_copies import RawDocument
from control_plane.vault import store as objects
from control_plane.vault.data_keys import unwrap
from control_plane.vault.master_keys import MasterKey
from control_plane.vault.store import SnapshotStore
from schemas import keys as names
from schemas.backup import StateCounts
from schemas.errors import BlazzError
from schemas.messages import ChatMessage
from schemas.records import ApiKeyRecord, OutboxItem, SessionRecord, TenantRecord
from schemas.resources import ACCESS, FLEET, LEDGER, OUTBOX, WEBHOOKS
from schemas.snapshots import DataKeyRecord, SnapshotGeneration, SnapshotPointer
from schemas.subjects import LEDGER_ALL, OUTBOX_ALL
from schemas.transport.connection import Bus
from schemas.transport.jetstream import JetStream
from schemas.transport.kv import Bucket
from schemas.transport.streams import read_stored
from schemas.webhooks import WebhookRecord
from swarm_node.core.snapshot_format import associated_data, decode
from swarm_node.vault.profile_writer import ProfileWriter
from swarm_node.vault.sealing import unseal

T = TypeVar("T", bound=msgspec.Struct)

_TOLD_MAX: Final = 20
"""Findings of one kind that are named; the rest is counted."""
Objects = Mapping[str, bytes]
_Key = tuple[str, str, str]
"""Tenant, session, message."""


class Found(msgspec.Struct, frozen=True):
    """`findings` is empty when all is well."""

    counts: StateCounts
    findings: tuple[str, ...]
    master_key_ids: tuple[str, ...]


class SnapshotSource(Protocol):
    """Where a copy's snapshot objects are."""

    def of_sessions(
        self, wanted: Mapping[str, SnapshotGeneration]
    ) -> AsyncIterator[tuple[str, Objects]]:
        """For each session id, those of the generation's objects that are there."""
        ...


class StoredSnapshots:
    """In a store that can be asked: the stream VAULT."""

    def __init__(self, store: SnapshotStore) -> None:
        self._store = store

    async def of_sessions(
        self, wanted: Mapping[str, SnapshotGeneration]
    ) -> AsyncIterator[tuple[str, Objects]]:
        """See `SnapshotSource`."""
        for session_id, generation in wanted.items():
            found: dict[str, bytes] = {}
            for each in generation.objects:
                try:
                    parts = [part async for part in objects.read(self._store, each.name)]
                except BlazzError:
                    continue
                found[each.name] = b"".join(parts)
            yield session_id, found


class DumpedSnapshots:
    """In a copy of GridFS's chunks, which come ordered by object and place."""

    def __init__(self, chunks: Iterator[RawDocument]) -> None:
        self._chunks = chunks

    async def of_sessions(
        self, wanted: Mapping[str, SnapshotGeneration]
    ) -> AsyncIterator[tuple[str, Objects]]:
        """See `SnapshotSource`."""
        seen: set[str] = set()
        for session_id, chunks in groupby(self._chunks, key=_session_of):
            generation = wanted.get(session_id)
            needed = {each.name for each in generation.objects} if generation else set()
            found: dict[str, bytearray] = {}
            for chunk in chunks:
                name = str(chunk["files_id"])
                if name in needed:
                    found.setdefault(name, bytearray()).extend(bytes(chunk["data"]))
            if generation is not None:
                seen.add(session_id)
                yield session_id, {name: bytes(data) for name, data in found.items()}
        for session_id in wanted.keys() - seen:
            yield session_id, {}


def _session_of(chunk: Any) -> str:
    return str(chunk["files_id"]).partition("/")[0]


async def look_inside(
    bus: Bus,
    master_keys: tuple[MasterKey, ...],
    snapshots: SnapshotSource,
    ledger: Iterator[tuple[str, bytes]] | None = None,
) -> Found:
    """Open everything. `ledger`: ids and messages, where the bus does not hold them. Raises
    `nats_unavailable`, `backup_damaged`."""
    findings: list[str] = []
    fleet, access = Bucket(bus, FLEET), Bucket(bus, ACCESS)
    sessions = await _records(fleet, names.SESSIONS_PREFIX, SessionRecord, findings)
    pointers = await _records(fleet, names.SNAPSHOTS_PREFIX, SnapshotPointer, findings)
    keys, key_ids = _opened(
        await _records(access, names.DATA_KEYS_PREFIX, DataKeyRecord, findings),
        {each.key_id: each for each in master_keys},
        findings,
    )
    live = {each.session_id for each in sessions}
    wanted = {
        each.session_id: each.generations[0]
        for each in pointers
        if each.session_id in live and each.generations
    }
    opened = await _open_snapshots(snapshots, wanted, keys, findings)
    waiting = await _lanes(bus, findings)
    count, _accepted = await _ledger(bus, ledger, findings)
    tenants = await _records(access, "tenant.", TenantRecord, findings)
    api_keys = await _records(access, names.API_KEYS_PREFIX, ApiKeyRecord, findings)
    hooks = await _records(Bucket(bus, WEBHOOKS), names.WEBHOOKS_PREFIX, WebhookRecord, findings)
    return Found(
        counts=StateCounts(
            tenants=len(tenants),
            api_keys=len(api_keys),
            sessions=len(sessions),
            sessions_with_snapshot=len(wanted),
            snapshots_opened=opened,
            data_keys=len(keys),
            lanes=len({session_id for _tenant, session_id, _message in waiting}),
            messages_waiting=len(waiting),
            ledger_messages=count,
            webhooks=len(hooks),
        ),
        findings=tuple(findings),
        master_key_ids=key_ids,
    )


async def unfinished(bus: Bus, ledger: Iterator[tuple[str, bytes]] | None = None) -> list[_Key]:
    """Outgoing messages (tenant, session, message) that the ledger calls accepted and no lane
    holds. `ledger` as for `look_inside`."""
    waiting = await _lanes(bus, [])
    _count, accepted = await _ledger(bus, ledger, [])
    return sorted(accepted - waiting)


async def _records(bucket: Bucket, prefix: str, kind: type[T], findings: list[str]) -> list[T]:
    try:
        entries = await bucket.read_prefix(prefix, kind)
    except BlazzError as error:
        findings.append(f"bucket {bucket.name}, {prefix}*: can't be read ({error.code})")
        return []
    return [entry.value for entry in entries if entry.value is not None]


def _opened(
    records: list[DataKeyRecord], masters: Mapping[str, MasterKey], findings: list[str]
) -> tuple[dict[str, bytes], tuple[str, ...]]:
    found: dict[str, bytes] = {}
    missing: dict[str, int] = {}
    broken: list[str] = []
    for record in records:
        master = masters.get(record.master_key_id)
        if master is None:
            missing[record.master_key_id] = missing.get(record.master_key_id, 0) + 1
            continue
        try:
            found[record.session_id] = unwrap(record, record.session_id, master)
        except BlazzError:
            broken.append(record.session_id)
    findings += [
        f"{count} data keys need master key {key_id}, which is not in the key file"
        for key_id, count in missing.items()
    ]
    findings += _told("data key of {} does not open", broken)
    return found, tuple(sorted({record.master_key_id for record in records}))


async def _open_snapshots(
    source: SnapshotSource,
    wanted: Mapping[str, SnapshotGeneration],
    keys: Mapping[str, bytes],
    findings: list[str],
) -> int:
    opened = 0
    broken: list[str] = []
    with tempfile.TemporaryDirectory(prefix="blazz-backup-") as scratch:
        async for session_id, found in source.of_sessions(wanted):
            key = keys.get(session_id)
            why = "it has no data key"
            if key is not None:
                profile = Path(scratch) / "profile"
                why = await asyncio.to_thread(
                    _unpack, profile, session_id, wanted[session_id], found, key
                )
            if why:
                broken.append(f"{session_id} ({why})")
            else:
                opened += 1
    findings += _told("snapshot of {} would not come back", broken)
    return opened


def _unpack(
    profile: Path, session_id: str, generation: SnapshotGeneration, found: Objects, key: bytes
) -> str:
    """Why a generation can't be unpacked; empty if it can. Blocks."""
    writer = ProfileWriter(profile)
    for each in generation.objects:
        sealed = found.get(each.name)
        if sealed is None:
            return "an object is missing"
        if hashlib.sha256(sealed).hexdigest() != each.sha256:
            return "an object was changed"
        try:
            bound_to = associated_data(session_id, generation.epoch, each.name)
            writer.apply(*decode(unseal(sealed, key=key, bound_to=bound_to)))
        except BlazzError as error:
            return error.code.value
    return ""


async def _lanes(bus: Bus, findings: list[str]) -> set[_Key]:
    waiting: set[_Key] = set()
    broken = 0
    async for message in read_stored(JetStream(bus), OUTBOX, OUTBOX_ALL):
        try:
            item = msgspec.json.decode(message.data, type=OutboxItem)
            waiting.add((item.tenant_id, item.session_id, item.message_id))
        except msgspec.MsgspecError:
            broken += 1
    if broken:
        findings.append(f"{broken} waiting messages can't be read")
    return waiting


async def _ledger(
    bus: Bus, dumped: Iterator[tuple[str, bytes]] | None, findings: list[str]
) -> tuple[int, set[_Key]]:
    """How many messages, and which are accepted and no more."""
    count = broken = 0
    accepted: set[_Key] = set()
    async for tenant_id, session_id, data in _ledger_entries(bus, dumped):
        count += 1
        try:
            message = msgspec.json.decode(data, type=ChatMessage)
        except msgspec.MsgspecError:
            broken += 1
            continue
        if not message.state.final:
            accepted.add((tenant_id, session_id, message.message_id))
    if broken:
        findings.append(f"{broken} of the ledger's messages can't be read")
    return count, accepted


async def _ledger_entries(
    bus: Bus, dumped: Iterator[tuple[str, bytes]] | None
) -> AsyncIterator[tuple[str, str, bytes]]:
    if dumped is not None:
        for key, data in dumped:
            tenant_id, session_id, _message_id = key.split("/")
            yield tenant_id, session_id, data
        return
    async for stored in read_stored(JetStream(bus), LEDGER, LEDGER_ALL):
        if stored.data:
            _, _, tenant_id, session_id, _message = stored.subject.split(".")
            yield tenant_id, session_id, stored.data


def _told(words: str, broken: list[str]) -> list[str]:
    named = [words.format(each) for each in broken[:_TOLD_MAX]]
    rest = len(broken) - len(named)
    return [*named, *([f"… and {rest} more"] if rest else [])]
