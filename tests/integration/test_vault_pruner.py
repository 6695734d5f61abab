"""What the pruner removes, and above all what it does not."""

from __future__ import annotations

import secrets
import time

import msgspec
import pytest

from control_plane.vault.jetstream_store import JetStreamSnapshotStore
from control_plane.vault.pruner import Pruner
from control_plane.vault.store import PART_BYTES
from schemas.errors import BlazzError, ErrorCode
from schemas.keys import data_key_key, erasure_key, session_key, snapshot_head_key
from schemas.records import ErasureRecord, LeaseRecord
from schemas.resources import ACCESS
from schemas.snapshots import SnapshotHead
from schemas.transport.background import Background
from schemas.transport.connection import Bus
from schemas.transport.kv import Bucket
from tests.integration.test_vault import flip_a_bit
from tests.integration.vault_fixture import (
    SESSION,
    TENANT,
    VaultNode,
    VaultRig,
    node_a,
    node_b,
    rig,
)
from tests.waiting import eventually

__all__ = ["node_a", "node_b", "rig"]


async def generations_of(rig: VaultRig) -> list[int]:
    return [each.generation for each in (await rig.pointer()).generations]


async def five_generations(node: VaultNode) -> dict[str, bytes]:
    """Generations 1 to 5: a baseline and a delta each."""
    sent = {}
    for number in range(1, 11):
        data = await node.keep(1, number, baseline=number % 2 == 1)
        sent[f"{SESSION}/1-{number}"] = data
    return sent


async def test_keeps_the_newest_three_and_frees_the_rest(rig: VaultRig, node_a: VaultNode) -> None:
    sent = await five_generations(node_a)
    await rig.pruner().sweep()
    assert await generations_of(rig) == [5, 4, 3]
    assert await rig.store.names(SESSION) == {f"{SESSION}/1-{n}" for n in range(5, 11)}
    for name in await rig.store.names(SESSION):
        assert await node_a.get(1, name) == sent[name]
    head = (await rig.bucket.get(snapshot_head_key(SESSION), SnapshotHead)).value
    assert head is not None
    assert (head.generations, head.objects) == (3, 6)


async def test_never_deletes_the_last_good_one(bus: Bus, rig: VaultRig, node_a: VaultNode) -> None:
    """Everything newer is damaged: the newest that can be read stays, however old."""
    sent = await five_generations(node_a)
    for number in (5, 8, 10):  # a baseline, and two deltas
        name = f"{SESSION}/1-{number}"
        await flip_a_bit(bus, name, sent[name])
    await rig.pruner().sweep()
    assert await generations_of(rig) == [5, 4, 3, 2]
    # A generation that misses an object is no better than a damaged one.
    await rig.store.delete(f"{SESSION}/1-4")
    assert await generations_of(rig) == [5, 4, 3, 2]
    await rig.pruner().sweep()
    assert await generations_of(rig) == [5, 4, 3, 2], "nothing can be read: nothing may go"


async def test_keeps_the_newest_proven_one(rig: VaultRig, node_a: VaultNode) -> None:
    for number in range(1, 6):
        wanted = await node_a.put(1, number, secrets.token_bytes(20), baseline=True)
        await node_a.commit(1, wanted, proven=1 if number == 5 else None)
    await rig.pruner().sweep()
    assert await generations_of(rig) == [5, 4, 3, 1]


async def test_removes_nothing_while_the_store_does_not_answer(
    bus: Bus, rig: VaultRig, node_a: VaultNode
) -> None:
    class Away(JetStreamSnapshotStore):
        async def read_part(self, name: str, index: int) -> bytes:
            raise BlazzError(ErrorCode.VAULT_UNAVAILABLE, "it is away")

    await five_generations(node_a)
    healthy, rig.store = rig.store, Away(bus)
    with pytest.raises(BlazzError) as away:
        await rig.pruner().sweep()
    assert away.value.code is ErrorCode.VAULT_UNAVAILABLE
    rig.store = healthy
    assert await generations_of(rig) == [5, 4, 3, 2, 1]
    assert len(await rig.store.names(SESSION)) == 10


async def test_a_deleted_sessions_snapshots_go_after_a_grace(
    rig: VaultRig, node_a: VaultNode
) -> None:
    await node_a.keep(1, 1, secrets.token_bytes(PART_BYTES + 1))
    await rig.keys.ensure(SESSION)
    await rig.bucket.delete(session_key(TENANT, SESSION))
    pruner = rig.pruner(gone_grace_s=3600)
    await pruner.sweep()
    await pruner.sweep()
    assert await generations_of(rig) == [1]
    entry = await rig.bucket.get(snapshot_head_key(SESSION), SnapshotHead)
    assert entry.value is not None
    assert entry.value.gone_at is not None
    assert abs(entry.value.gone_at - time.time()) < 60
    # An hour later, for another replica too: the time stands in the bucket.
    past = msgspec.structs.replace(entry.value, gone_at=time.time() - 3601)
    await rig.bucket.put(snapshot_head_key(SESSION), past)
    await rig.pruner(gone_grace_s=3600).sweep()
    assert await generations_of(rig) == []
    assert await rig.store.names(SESSION) == set()
    assert await rig.keys.get(SESSION) is None
    assert not (await rig.bucket.get_raw(snapshot_head_key(SESSION))).exists
    access = rig.keys._bucket
    assert not (await access.get_raw(data_key_key(SESSION))).exists


async def test_a_tenant_that_is_being_erased_gets_no_grace(
    bus: Bus, rig: VaultRig, node_a: VaultNode
) -> None:
    await node_a.keep(1, 1)
    await rig.keys.ensure(SESSION)
    await rig.bucket.delete(session_key(TENANT, SESSION))
    erasure = ErasureRecord(TENANT, 1.0, "0123456789ab")
    access = Bucket(bus, ACCESS)
    await access.put(erasure_key("somebody"), erasure)
    await rig.pruner(gone_grace_s=3600).sweep()
    assert await generations_of(rig) == [1]
    await access.put(erasure_key(TENANT), erasure)
    await rig.pruner(gone_grace_s=3600).sweep()
    assert await generations_of(rig) == []
    assert await rig.keys.get(SESSION) is None


async def test_a_stopped_or_logged_out_session_keeps_its_snapshots(
    rig: VaultRig, node_a: VaultNode
) -> None:
    """Only a session that was deleted loses them: its record is what counts."""
    await node_a.keep(1, 1)
    await rig.assign("node-b", 9)
    pruner = rig.pruner(gone_grace_s=0)
    for _ in range(3):
        await pruner.sweep()
    assert await generations_of(rig) == [1]


async def test_removes_uploads_that_were_given_up_and_no_others(
    rig: VaultRig, node_a: VaultNode
) -> None:
    await node_a.keep(1, 1)
    await node_a.put(1, 2, b"given up")
    patient, at_once = rig.pruner(orphan_after_s=3600), rig.pruner(orphan_after_s=0)
    await patient.sweep_orphans()
    await patient.sweep_orphans()
    assert len(await rig.store.names(SESSION)) == 2
    await at_once.sweep_orphans()
    assert await rig.store.names(SESSION) == {f"{SESSION}/1-1"}


async def test_a_crash_between_pointer_and_objects_leaves_orphans_only(
    bus: Bus, rig: VaultRig, node_a: VaultNode
) -> None:
    class Dying(JetStreamSnapshotStore):
        async def delete(self, name: str) -> None:
            raise BlazzError(ErrorCode.VAULT_UNAVAILABLE, "died here")

    await five_generations(node_a)
    healthy, rig.store = rig.store, Dying(bus)
    with pytest.raises(BlazzError):
        await rig.pruner().sweep()
    rig.store = healthy
    assert await generations_of(rig) == [5, 4, 3]
    for generation in (await rig.pointer()).generations:
        for each in generation.objects:
            await node_a.get(1, each.name)
    await rig.pruner(orphan_after_s=0).sweep_orphans()
    assert len(await rig.store.names(SESSION)) == 6


async def test_one_replica_prunes_and_the_next_takes_over(rig: VaultRig, node_a: VaultNode) -> None:
    def pruner() -> Pruner:
        return rig.pruner(sweep_s=0.05)

    async with Background() as tasks:
        first = tasks.start(pruner().run(LeaseRecord("cp-1", "1", 0.0)), name="first")
        tasks.start(pruner().run(LeaseRecord("cp-2", "2", 0.0)), name="second")
        await five_generations(node_a)
        await eventually(lambda: three(rig), timeout_s=10)
        first.cancel()
        await node_a.keep(1, 11, baseline=True)
        await eventually(lambda: three(rig, newest=6), timeout_s=10)


async def three(rig: VaultRig, newest: int = 5) -> bool:
    return await generations_of(rig) == [newest, newest - 1, newest - 2]
