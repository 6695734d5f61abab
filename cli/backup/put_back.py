"""Putting a backup back: onto an empty bus, with nobody on it, and made safe to begin from.

Owns the refusals, the order, the check of every message, and what must not be as it was: epochs
are raised above all that were given out since, leases are gone, and what the ledger calls accepted
but no lane holds is ended as `unknown`. Never overwrites a document in MongoDB.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from cli.audit import recorded
from cli.backup.folder import Backup, check_files
from cli.backup.inside import unfinished
from cli.backup.scratch import moved, put_stream
from cli.backup.take import dumped_messages, hold_against, read_documents
from cli.parts import ControlPlaneFile
from control_plane.core import ledger_fold
from control_plane.ledger.opening import open_ledger
from control_plane.mongo_copies import LEDGER as LEDGER_ROLE
from control_plane.mongo_copies import open_collections, put_documents
from control_plane.vault.master_keys import MasterKey
from schemas.backup import StreamCopy
from schemas.errors import BlazzError, ErrorCode
from schemas.keys import ASSIGNMENTS_PREFIX, LEASE_EPOCHS_PREFIX, LEASES_PREFIX
from schemas.messages import ChatMessage
from schemas.records import Assignment, EpochRecord, LeaseRecord
from schemas.resources import FLEET, all_streams, bucket_stream
from schemas.states import MessageState
from schemas.subjects import ALL_HEARTBEATS
from schemas.transport.connection import Bus
from schemas.transport.ensure import ensure_all
from schemas.transport.jetstream import JetStream
from schemas.transport.kv import Bucket

log = structlog.get_logger()

EPOCH_LEAP: Final = 1_000_000
"""More than a session or a lease changes hands between a backup and its restore."""
EPOCHS_A_SECOND: Final = 10
_LISTEN_HEARTBEATS: Final = 3


class Plan(msgspec.Struct, frozen=True):
    """What a restore would do. `present`: messages by stream of what is there now. `refusals`:
    why it will not."""

    backup_id: str
    age_s: float
    messages: int
    present: dict[str, int]
    refusals: tuple[str, ...]


class Restored(msgspec.Struct, frozen=True):
    """What a restore did. `findings`: what it could not bring back."""

    backup_id: str
    messages: int
    documents_added: int
    epochs_raised: int
    ended_unknown: int
    findings: tuple[str, ...]
    duration_s: float


async def plan_restore(
    bus: Bus, backup: Backup, master_keys: tuple[MasterKey, ...], *, replace: bool
) -> Plan:
    """Look, and change nothing. Raises `nats_unavailable`, `forbidden`."""
    manifest = backup.manifest
    refusals = await asyncio.to_thread(check_files, backup.folder, manifest)
    held = {each.key_id for each in master_keys}
    refusals += [
        f"its snapshots need master key {key_id}: add it to the vault's key file first"
        for key_id in manifest.master_key_ids
        if key_id not in held
    ]
    present = await _present(JetStream(bus))
    full = {name: count for name, count in present.items() if count}
    if full and not replace:
        refusals.append(
            f"the bus holds {sum(full.values())} messages in {', '.join(full)}: --replace deletes "
            "them first"
        )
    heard = await _pulses(bus)
    if heard:
        refusals.append(f"nodes run on this bus: stop them first ({', '.join(sorted(heard))})")
    return Plan(
        backup_id=manifest.backup_id,
        age_s=time.time() - manifest.began_at,
        messages=sum(each.readable for each in manifest.streams),
        present=present,
        refusals=tuple(refusals),
    )


async def restore_backup(
    bus: Bus,
    backup: Backup,
    settings: ControlPlaneFile,
    master_keys: tuple[MasterKey, ...],
    *,
    replace: bool = False,
    tell: Callable[[str], None] = lambda _words: None,
) -> Restored:
    """Restore all of it. Broken off, nothing can start on it yet: run it again with `replace`.

    Raises `conflict` with every refusal of the plan, `backup_damaged`, `nats_unavailable`,
    `vault_unavailable`, `config_invalid` when the server lacks the room.
    """
    began = time.monotonic()
    plan = await plan_restore(bus, backup, master_keys, replace=replace)
    if plan.refusals:
        raise BlazzError(ErrorCode.CONFLICT, "; ".join(plan.refusals))
    jetstream = JetStream(bus)
    for name in plan.present:
        await jetstream.delete_stream(name)
    findings: list[str] = []
    messages = 0
    for copy in _fleet_last(backup.manifest.streams):
        tell(copy.stream)
        state = await put_stream(bus, backup.folder, copy, backup.secret, _config(copy, settings))
        messages += state.messages
        findings += await hold_against(bus, backup, copy)
    await ensure_all(bus, replicas=settings.replicas, scale=settings.store_scale)
    parameters = {"backup_id": backup.manifest.backup_id}
    async with recorded(bus, "restoreBackup", dict(parameters)):
        added = await _documents(backup, settings)
        raised = await _raise_epochs(Bucket(bus, FLEET), plan.age_s)
        ended = await _end_the_lost(bus, backup, settings)
    log.info("backup.restored", backup_id=backup.manifest.backup_id, messages=messages)
    return Restored(
        backup_id=backup.manifest.backup_id,
        messages=messages,
        documents_added=added,
        epochs_raised=raised,
        ended_unknown=ended,
        findings=tuple(findings),
        duration_s=time.monotonic() - began,
    )


async def _present(jetstream: JetStream) -> dict[str, int]:
    found = {}
    for spec in all_streams():
        try:
            found[spec.name] = (await jetstream.stream_info(spec.name)).state.messages
        except BlazzError as error:
            if error.code is not ErrorCode.NOT_FOUND:
                raise
    return found


async def _pulses(bus: Bus) -> set[str]:
    """The nodes that are heard."""
    heard: set[str] = set()
    async with bus.subscribe(ALL_HEARTBEATS) as inflow:
        try:
            async with asyncio.timeout(_LISTEN_HEARTBEATS * bus.settings.profile.heartbeat_s):
                async for pulse in inflow:
                    heard.add(pulse.subject.split(".")[2])
        except TimeoutError:
            return heard
    return heard


def _fleet_last(streams: tuple[StreamCopy, ...]) -> list[StreamCopy]:
    # No session runs without its assignment: what is broken off half-way starts nothing.
    return sorted(streams, key=lambda each: each.stream == bucket_stream(FLEET))


def _config(copy: StreamCopy, settings: ControlPlaneFile) -> dict[str, object]:
    config = moved(copy.config, replicas=settings.replicas)
    spec = next((each for each in all_streams() if each.name == copy.stream), None)
    if spec is not None:
        wanted = spec.config(scale=settings.store_scale, replicas=settings.replicas)
        config["max_bytes"] = max(int(str(wanted["max_bytes"])), copy.size_bytes)
    return config


async def _documents(backup: Backup, settings: ControlPlaneFile) -> int:
    """MongoDB's part. A snapshot's chunks before its file, which says that it is whole."""
    added = 0
    async with open_collections(settings.services) as held:
        by_role = {each.role: each for each in held}
        for copy in reversed(backup.manifest.collections):
            collection = by_role.get(copy.role)
            if collection is None:
                raise BlazzError(
                    ErrorCode.CONFIG_INVALID,
                    f"the backup holds `{copy.role}` of MongoDB, the settings name none",
                )
            added += await put_documents(
                collection, read_documents(backup.folder, copy, backup.secret)
            )
    return added


async def _raise_epochs(fleet: Bucket, age_s: float) -> int:
    """Remove the leases; raise every epoch above all that may have been given out since."""
    leap = EPOCH_LEAP + int(EPOCHS_A_SECOND * max(0.0, age_s))
    for lease in await fleet.read_prefix(LEASES_PREFIX, LeaseRecord):
        await fleet.delete(lease.key)
    count = 0
    for held in await fleet.read_prefix(ASSIGNMENTS_PREFIX, Assignment):
        assert held.value is not None
        raised = msgspec.structs.replace(held.value, epoch=held.value.epoch + leap)
        await fleet.update(held.key, raised, held.revision)
        count += 1
    for counter in await fleet.read_prefix(LEASE_EPOCHS_PREFIX, EpochRecord):
        assert counter.value is not None
        await fleet.update(counter.key, EpochRecord(counter.value.epoch + leap), counter.revision)
        count += 1
    return count


async def _end_the_lost(bus: Bus, backup: Backup, settings: ControlPlaneFile) -> int:
    """End what was accepted between the copy of the lanes and that of the ledger: it is in no
    lane, so that nothing else would ever end it."""
    copy = next((c for c in backup.manifest.collections if c.role == LEDGER_ROLE), None)
    dumped = None if copy is None else dumped_messages(backup, copy)
    lost = await unfinished(bus, dumped)
    at = time.time()

    def end(message: ChatMessage | None) -> ChatMessage | None:
        if message is None:
            return None
        return ledger_fold.finish(
            message,
            MessageState.UNKNOWN,
            at,
            ErrorCode.MESSAGE_OUTCOME_UNKNOWN.value,
            "it was accepted while a backup was taken that has since been restored",
        )

    async def retention(_tenant_id: str) -> float:
        return settings.services.ledger.retention_s

    async with open_ledger(bus, settings.services.ledger, retention) as ledger:
        for tenant_id, session_id, message_id in lost:
            await ledger.change(tenant_id, session_id, message_id, end)
    return len(lost)
