"""Backups of a real bus: taken under load, proven, damaged on purpose, and put back."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec
import pytest

from cli.backup.folder import Backup, check_files, folders, open_backup, read_manifest
from cli.backup.prove import drill_backup
from cli.backup.put_back import EPOCH_LEAP, plan_restore, restore_backup
from cli.backup.sealed import read_sealed
from cli.backup.take import AFTER_DOCUMENTS, BEFORE_DOCUMENTS, Taken, take_backup
from cli.doctor_backup import check_backups, check_since
from cli.embedded.server import EmbeddedNats
from cli.findings import Verdict
from cli.parts import ControlPlaneFile
from control_plane.config import ControlPlaneSettings
from control_plane.ledger.jetstream import JetStreamLedger
from control_plane.vault.data_keys import DataKeys
from control_plane.vault.jetstream_store import JetStreamSnapshotStore
from control_plane.vault.master_keys import MasterKey, MasterKeyRing, write_keys
from control_plane.vault.settings import VaultSettings
from control_plane.vault.store import SnapshotStore, put
from schemas.errors import BlazzError, ErrorCode
from schemas.keys import (
    assignment_key,
    lease_epoch_key,
    lease_key,
    session_key,
    snapshot_key,
)
from schemas.messages import ChatMessage
from schemas.records import Assignment, EpochRecord, LeaseRecord, SessionRecord
from schemas.resources import EVENTS, FLEET, all_streams
from schemas.snapshots import SnapshotGeneration, SnapshotPointer, snapshot_name
from schemas.states import (
    DesiredState,
    EngineKind,
    MessageDirection,
    MessageKind,
    MessageState,
)
from schemas.subjects import node_heartbeat
from schemas.transport.connection import Bus
from schemas.transport.durable import DurableSpec, durable_config
from schemas.transport.ensure import ensure_all
from schemas.transport.jetstream import JetStream
from schemas.transport.kv import Bucket
from swarm_node.core.snapshot_format import Header, Part, PartKind, associated_data, encode
from swarm_node.vault.sealing import seal
from tests.integration.nats_fixture import QUICK, SCALE, SETTINGS
from tests.integration.vault_fixture import MANIFEST, TENANT, described
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(120)

BRISK: Final = msgspec.structs.replace(QUICK, heartbeat_s=0.3)
SESSIONS: Final = [f"ses_{number:026d}" for number in range(1, 6)]
EPOCH: Final = 7


class Rig:
    """A bus with five sessions on it, each with a snapshot, and its keys."""

    def __init__(self, bus: Bus, backup_bus: Bus, folder: Path) -> None:
        self.bus = bus
        self.backup_bus = backup_bus
        self.root = folder / "backups"
        self.key = MasterKey.make()
        self.key_file = folder / "master-key"
        write_keys(self.key_file, (self.key,))
        self.keys = DataKeys(bus, MasterKeyRing(self.key_file))
        vault = VaultSettings(master_key_file=self.key_file)
        self.settings = ControlPlaneFile(
            store_scale=SCALE, services=ControlPlaneSettings(vault=vault)
        )

    async def fill(self) -> None:
        fleet = Bucket(self.bus, FLEET)
        for session_id in SESSIONS:
            await fleet.put(
                session_key(TENANT, session_id),
                SessionRecord(session_id, TENANT, DesiredState.RUNNING, time.time()),
            )
            await fleet.put(
                assignment_key(session_id), Assignment(session_id, TENANT, "node-a", EPOCH)
            )
            await self.keep(session_id)
        await fleet.put(lease_epoch_key("node", "node-a"), EpochRecord(3))
        await fleet.put(
            lease_key("node", "node-a"), LeaseRecord("node-a", "i", time.time()), ttl_s=600
        )

    def snapshots(self) -> SnapshotStore:
        return JetStreamSnapshotStore(self.bus)

    async def keep(self, session_id: str) -> None:
        """Store a sealed snapshot and point to it."""
        data = secrets.token_bytes(600_000)
        name = snapshot_name(session_id, EPOCH, 1)
        part = Part("Default/state", PartKind.REPLACE, len(data))
        header = Header(EngineKind.CHROMIUM, (part,))
        sealed = seal(
            encode(header, [data]),
            key=await self.keys.ensure(session_id),
            bound_to=associated_data(session_id, EPOCH, name),
            nonce=secrets.token_bytes(12),
        )

        async def chunks() -> AsyncIterator[bytes]:
            yield sealed

        await put(self.snapshots(), name, chunks())
        generation = SnapshotGeneration(
            1, EPOCH, "node-a", MANIFEST, (described(session_id, EPOCH, 1, sealed),)
        )
        pointer = SnapshotPointer(session_id, TENANT, (generation,))
        await Bucket(self.bus, FLEET).put(snapshot_key(session_id), pointer)

    async def take(self) -> Taken:
        return await take_backup(
            self.backup_bus, self.settings.services, self.root, self.key, (self.key,)
        )

    def opened(self, taken: Taken) -> Backup:
        return open_backup(taken.folder, (self.key,))


@pytest.fixture
async def rig(nats: EmbeddedNats, bus: Bus, tmp_path: Path) -> AsyncIterator[Rig]:
    async with Bus.connect(nats.bus_settings(nats.backup, profile=QUICK)) as backup_bus:
        rig = Rig(bus, backup_bus, tmp_path)
        await rig.fill()
        yield rig


@asynccontextmanager
async def empty_bus(tmp_path: Path) -> AsyncIterator[Bus]:
    async with (
        EmbeddedNats(tmp_path / "other", SETTINGS) as other,
        Bus.connect(other.bus_settings(other.control_plane, profile=BRISK)) as bus,
    ):
        yield bus


async def _publish_for_ever(bus: Bus, published: list[int]) -> None:
    jetstream = JetStream(bus)
    while True:
        subject = f"blazz.event.node-a.{TENANT}.{SESSIONS[0]}.message.sent"
        published.append((await jetstream.publish(subject, secrets.token_bytes(300))).seq)


def test_every_stream_is_in_the_order() -> None:
    order = (*BEFORE_DOCUMENTS, *AFTER_DOCUMENTS)
    assert sorted(order) == sorted(each.name for each in all_streams())


async def test_taken_under_load_and_put_back(rig: Rig, tmp_path: Path) -> None:
    published: list[int] = []
    durable = DurableSpec(name="reader", subject="blazz.event.>")
    await JetStream(rig.bus).create_consumer(EVENTS, "reader", durable_config(durable))
    load = asyncio.ensure_future(_publish_for_ever(rig.bus, published))
    await eventually(lambda: len(published) > 50, timeout_s=30)
    taken = await rig.take()
    load.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await load
    assert taken.manifest.findings == ()
    assert taken.manifest.counts.snapshots_opened == len(SESSIONS)
    copy = next(each for each in taken.manifest.streams if each.stream == EVENTS)
    assert 50 < copy.last_seq <= published[-1]
    drilled = await drill_backup(rig.opened(taken), (rig.key,))
    assert drilled.ok, drilled.findings

    async with empty_bus(tmp_path) as target:
        done = await restore_backup(target, rig.opened(taken), rig.settings, (rig.key,))
        assert done.findings == ()
        there = JetStream(target)
        state = (await there.stream_info(EVENTS)).state
        assert (state.last_seq, state.messages) == (copy.last_seq, copy.messages)
        assert (await there.consumer_info(EVENTS, "reader")).num_pending == copy.messages
        fleet = Bucket(target, FLEET)
        for session_id in SESSIONS:
            held = (await fleet.get(assignment_key(session_id), Assignment)).value
            assert held is not None
            assert held.epoch >= EPOCH + EPOCH_LEAP
        counter = (await fleet.get(lease_epoch_key("node", "node-a"), EpochRecord)).value
        assert counter is not None
        assert counter.epoch >= 3 + EPOCH_LEAP
        assert not (await fleet.get(lease_key("node", "node-a"), LeaseRecord)).exists


async def test_says_no_to_a_bus_with_state_and_to_running_nodes(rig: Rig) -> None:
    backup = rig.opened(await rig.take())
    pulses = asyncio.ensure_future(_pulse_for_ever(rig.bus))
    try:
        plan = await plan_restore(rig.bus, backup, (rig.key,), replace=False)
    finally:
        pulses.cancel()
    assert any("--replace" in each for each in plan.refusals)
    assert any("node-z" in each for each in plan.refusals)
    with pytest.raises(BlazzError) as caught:
        await restore_backup(rig.bus, backup, rig.settings, (MasterKey.make(),))
    assert caught.value.code is ErrorCode.CONFLICT
    assert rig.key.key_id in caught.value.detail


async def _pulse_for_ever(bus: Bus) -> None:
    while True:
        await bus.publish(node_heartbeat("node-z"), b"{}")
        await asyncio.sleep(0.1)


# Damage ------------------------------------------------------------------------------------------


def _flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@asynccontextmanager
async def _filled(folder: Path) -> AsyncIterator[Rig]:
    async with (
        EmbeddedNats(folder / "nats", SETTINGS) as server,
        Bus.connect(server.bus_settings(server.control_plane, profile=QUICK)) as bus,
        Bus.connect(server.bus_settings(server.backup, profile=QUICK)) as backup_bus,
    ):
        await ensure_all(bus, scale=SCALE)
        yield Rig(bus, backup_bus, folder)


@pytest.mark.parametrize(
    ("stream", "crashed"), [("KV_blazz_fleet", True), ("VAULT", False)], ids=["fleet", "vault"]
)
async def test_a_flipped_bit_in_a_store_loses_no_customer(
    tmp_path: Path, stream: str, crashed: bool
) -> None:
    store = tmp_path / "nats" / "store"
    async with _filled(tmp_path) as rig:
        await rig.fill()
        good = await rig.take()
        assert good.manifest.complete
        assert check_backups(rig.root).verdict is Verdict.OK
        assert (await check_since(rig.bus, rig.root)).verdict is Verdict.OK
        if crashed:
            # As a kill would leave it: what the server writes when it stops is not there.
            shutil.copytree(store, tmp_path / "crashed")
    if crashed:
        shutil.rmtree(store)
        (tmp_path / "crashed").rename(store)
    (block,) = store.glob(f"**/streams/{stream}/msgs/*.blk")
    _flip_a_bit(block)

    async with _filled(tmp_path) as again:
        # The same keys as before: the rig made others.
        again.key = rig.key
        told = await check_since(again.bus, again.root)
        assert told.verdict is (Verdict.FAIL if crashed else Verdict.OK), told
        bad = await again.take()
        assert not bad.manifest.complete
        assert any(each.startswith(f"{stream}: ") for each in bad.manifest.findings)
        assert check_backups(again.root).verdict is Verdict.FAIL
        assert not (await drill_backup(again.opened(bad), (rig.key,))).ok

    async with empty_bus(tmp_path) as target:
        done = await restore_backup(target, rig.opened(good), rig.settings, (rig.key,))
        assert done.findings == ()
        fleet = Bucket(target, FLEET)
        for session_id in SESSIONS:
            held = await fleet.get(session_key(TENANT, session_id), SessionRecord)
            assert held.exists
    drilled = await drill_backup(rig.opened(good), (rig.key,))
    assert drilled.ok
    assert drilled.counts.snapshots_opened == len(SESSIONS)


async def test_a_flipped_bit_in_a_backup_is_named(rig: Rig) -> None:
    taken = await rig.take()
    for part in taken.manifest.parts:
        path = taken.folder / part.file
        whole = path.read_bytes()
        _flip_a_bit(path)
        (wrong,) = check_files(taken.folder, taken.manifest)
        assert part.file in wrong
        with pytest.raises(BlazzError) as caught:
            list(read_sealed(taken.folder, part.file, rig.opened(taken).secret))
        assert caught.value.code is ErrorCode.BACKUP_DAMAGED
        path.write_bytes(whole)
    (taken.folder / "stream-EVENTS").unlink()
    drilled = await drill_backup(rig.opened(taken), (rig.key,))
    assert not drilled.ok
    assert "stream-EVENTS" in drilled.findings[0]


async def test_a_changed_manifest_another_key_and_another_format_are_refused(rig: Rig) -> None:
    taken = await rig.take()
    with pytest.raises(BlazzError) as caught:
        open_backup(taken.folder, (MasterKey.make(),))
    assert caught.value.code is ErrorCode.BACKUP_UNREADABLE
    assert rig.key.key_id in caught.value.detail
    path = taken.folder / "manifest.json"
    text = path.read_text()
    path.write_text(text.replace('"sessions": 5', '"sessions": 6'))
    with pytest.raises(BlazzError) as caught:
        open_backup(taken.folder, (rig.key,))
    assert caught.value.code is ErrorCode.BACKUP_DAMAGED
    path.write_text(text.replace('"format": 1', '"format": 0'))
    with pytest.raises(BlazzError) as caught:
        read_manifest(taken.folder)
    assert caught.value.code is ErrorCode.BACKUP_UNREADABLE
    assert "format 0" in caught.value.detail


async def test_a_master_key_that_is_missing_makes_it_incomplete(rig: Rig) -> None:
    other = MasterKey.make()
    taken = await take_backup(rig.backup_bus, rig.settings.services, rig.root, other, (other,))
    assert not taken.manifest.complete
    assert any(rig.key.key_id in each for each in taken.manifest.findings)
    assert taken.manifest.counts.snapshots_opened == 0


async def test_one_that_is_broken_off_is_no_backup(rig: Rig) -> None:
    running = asyncio.ensure_future(rig.take())

    async def begun() -> bool:
        return bool(list(rig.root.glob(".*partial/stream-*")))

    await eventually(begun, timeout_s=30)
    assert folders(rig.root) == []
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert list(rig.root.iterdir()) == []


# What a restore mends ----------------------------------------------------------------------------


async def test_what_no_lane_holds_ends_as_unknown(rig: Rig, tmp_path: Path) -> None:
    """Accepted after the lanes were copied and before the ledger was."""

    async def retention(_tenant: str) -> float:
        return 3600.0

    ledger = JetStreamLedger(rig.bus, index_entries_max=10, retention_of=retention)
    accepted = ChatMessage(
        "3EB0AAAAAAAAAAAAAAAA",
        SESSIONS[0],
        MessageDirection.OUTBOUND,
        MessageKind.TEXT,
        MessageState.ACCEPTED,
        "15550001@c.us",
        time.time(),
    )
    await ledger.change(TENANT, SESSIONS[0], accepted.message_id, lambda _old: accepted)
    taken = await rig.take()
    async with empty_bus(tmp_path) as target:
        done = await restore_backup(target, rig.opened(taken), rig.settings, (rig.key,))
        assert done.ended_unknown == 1
        there = JetStreamLedger(target, index_entries_max=10, retention_of=retention)
        ended = await there.get(TENANT, SESSIONS[0], accepted.message_id)
    assert ended is not None
    assert ended.state is MessageState.UNKNOWN
    assert ended.error_code == ErrorCode.MESSAGE_OUTCOME_UNKNOWN.value
