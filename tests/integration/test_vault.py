"""The vault as nodes see it: who may write, what counts, what survives what."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from cli.embedded.server import EmbeddedNats
from control_plane.core.snapshot_commit import extend, prove
from control_plane.vault.jetstream_store import JetStreamSnapshotStore
from control_plane.vault.pointers import HeldPointer, Pointers
from control_plane.vault.server import VaultServer
from control_plane.vault.store import PART_BYTES, StoredObject
from schemas.errors import BlazzError, ErrorCode
from schemas.keys import assignment_key, snapshot_head_key
from schemas.records import Assignment
from schemas.resources import FLEET, VAULT
from schemas.snapshot_requests import CommitSnapshot, PutSnapshotChunk, SnapshotStored
from schemas.snapshots import DELTAS_MAX, SnapshotHead, SnapshotObject, SnapshotPointer
from schemas.subjects import node_vault, vault_object, vault_seal
from schemas.transport.connection import Bus, BusMessage
from schemas.transport.jetstream import JetStream
from schemas.transport.kv import Bucket
from tests.integration.nats_fixture import QUICK
from tests.integration.vault_fixture import (
    MANIFEST,
    SESSION,
    TENANT,
    VaultNode,
    VaultRig,
    described,
    node_a,
    node_b,
    rig,
    serving,
)
from tests.waiting import eventually

__all__ = ["node_a", "node_b", "rig"]


async def refused(call: Awaitable[object], *codes: ErrorCode) -> BlazzError:
    with pytest.raises(BlazzError) as error:
        await call
    assert error.value.code in codes
    return error.value


async def test_a_baseline_and_its_deltas_come_back_in_order(
    rig: VaultRig, node_a: VaultNode
) -> None:
    sent = [secrets.token_bytes(2 * PART_BYTES + 17), b"delta one", b"delta two"]
    for number, data in enumerate(sent, 1):
        await node_a.keep(1, number, data)
    (generation,) = (await rig.pointer()).generations
    assert (generation.generation, generation.epoch, generation.node_id) == (1, 1, "node-a")
    assert generation.manifest == MANIFEST
    assert [await node_a.get(1, each.name) for each in generation.objects] == sent


async def test_a_baseline_begins_a_generation_and_the_old_one_stays(
    rig: VaultRig, node_a: VaultNode
) -> None:
    first = await node_a.keep(1, 1)
    await node_a.keep(1, 2)
    await node_a.keep(1, 3, baseline=True)
    await node_a.keep(1, 4)
    newest, older = (await rig.pointer()).generations
    assert [g.generation for g in (newest, older)] == [2, 1]
    assert [each.name.rpartition("-")[2] for each in newest.objects] == ["3", "4"]
    assert await node_a.get(1, older.objects[0].name) == first


async def test_watchers_are_told_in_short(rig: VaultRig, node_a: VaultNode) -> None:
    await node_a.keep(1, 1, b"x" * 100)
    await node_a.keep(1, 2, b"x" * 10, clean=True)
    head = (await rig.bucket.get(snapshot_head_key(SESSION), SnapshotHead)).value
    assert head is not None
    assert (head.epoch, head.generations, head.objects, head.size_bytes) == (1, 1, 2, 110)
    assert head.clean
    assert rig.state.assignment(SESSION) is None  # this replica's memory knew nothing


async def test_what_was_not_committed_does_not_count(rig: VaultRig, node_a: VaultNode) -> None:
    await node_a.put(1, 1, b"only put")
    assert (await rig.pointer()).generations == ()


# The rule of generations -----------------------------------------------------------------------


async def test_a_delta_needs_a_baseline_of_its_own_epoch(rig: VaultRig, node_a: VaultNode) -> None:
    orphan = await node_a.put(1, 1, b"delta", baseline=False)
    await refused(node_a.commit(1, orphan), ErrorCode.SNAPSHOT_NOT_FOUND)
    await node_a.keep(1, 2, baseline=True)
    await rig.assign("node-a", 2)
    late = await node_a.put(2, 1, b"delta", baseline=False)
    await refused(node_a.commit(2, late), ErrorCode.SNAPSHOT_NOT_FOUND)
    assert len((await rig.pointer()).generations) == 1


async def test_a_generation_ends_after_so_many_deltas(rig: VaultRig, node_a: VaultNode) -> None:
    for number in range(1, DELTAS_MAX + 2):
        await node_a.keep(1, number, b"d")
    one_more = await node_a.put(1, DELTAS_MAX + 2, b"d")
    await refused(node_a.commit(1, one_more), ErrorCode.SNAPSHOT_TOO_LARGE)
    assert len((await rig.pointer()).generations[0].objects) == DELTAS_MAX + 1


async def test_a_commit_repeated_changes_nothing(rig: VaultRig, node_a: VaultNode) -> None:
    wanted = await node_a.put(1, 1, b"once")
    answers = await asyncio.gather(*(node_a.commit(1, wanted) for _ in range(8)))
    assert all(answer == SnapshotStored(wanted.name, committed=True) for answer in answers)
    assert [g.objects for g in (await rig.pointer()).generations] == [(wanted,)]


async def test_an_earlier_object_is_not_put_behind_a_later_one(
    rig: VaultRig, node_a: VaultNode
) -> None:
    await node_a.keep(1, 1)
    early = await node_a.put(1, 2, b"two")
    await node_a.keep(1, 3)
    await refused(node_a.commit(1, early), ErrorCode.CONFLICT)


async def test_a_restore_that_came_online_proves_its_generation(
    rig: VaultRig, node_a: VaultNode, node_b: VaultNode
) -> None:
    await node_a.keep(1, 1)
    await rig.assign("node-b", 2)
    await node_b.commit(2, await node_b.put(2, 1, b"later"), proven=1)
    newest, older = (await rig.pointer()).generations
    assert (newest.proven, older.proven) == (False, True)


# Who may --------------------------------------------------------------------


async def test_a_zombie_can_neither_put_commit_nor_get(
    rig: VaultRig, node_a: VaultNode, node_b: VaultNode
) -> None:
    await node_a.keep(1, 1)
    uncommitted = await node_a.put(1, 2, b"too late")
    await rig.assign("node-b", 2)
    await refused(node_a.commit(1, uncommitted), ErrorCode.STALE_EPOCH)
    await refused(node_a.put(1, 3, b"x"), ErrorCode.STALE_EPOCH)
    await refused(node_a.get(1, uncommitted.name), ErrorCode.STALE_EPOCH)
    # Nor by claiming the new epoch: the session is not its.
    await refused(node_a.put(2, 1, b"x"), ErrorCode.STALE_EPOCH)
    await node_b.keep(2, 1)
    assert [g.node_id for g in (await rig.pointer()).generations] == ["node-b", "node-a"]


async def test_a_commit_is_fenced_at_the_last_moment(
    bus: Bus, rig: VaultRig, node_a: VaultNode
) -> None:
    """The assignment changes after the check and right before the pointer is written."""
    await node_a.keep(1, 1)
    wanted = await node_a.put(1, 2, b"from the past")

    class Overtaken(JetStreamSnapshotStore):
        async def stat(self, name: str) -> StoredObject | None:
            await rig.assign("node-b", 2)
            return await super().stat(name)

    server = VaultServer(bus, rig.state, Overtaken(bus), rig.pointers)
    question = CommitSnapshot("node-a", SESSION, 1, wanted, MANIFEST)
    message = BusMessage(node_vault("node-a", "commit"), b"")
    await refused(server.commit(question, message), ErrorCode.STALE_EPOCH)
    assert len((await rig.pointer()).generations[0].objects) == 1


async def test_of_two_nodes_only_the_assigned_one_wins(
    rig: VaultRig, node_a: VaultNode, node_b: VaultNode
) -> None:
    """Both commit all the time while the session goes back and forth."""
    turns = 12
    codes: set[ErrorCode] = set()

    async def push(node: VaultNode, mine: Callable[[int], bool]) -> list[str]:
        done = []
        for epoch in range(1, turns + 1):
            for number in range(1, 6):
                try:
                    wanted = await node.put(epoch, number, secrets.token_bytes(50))
                    await node.commit(epoch, wanted)
                except BlazzError as error:
                    codes.add(error.code)
                    await asyncio.sleep(0.002)
                else:
                    assert mine(epoch), "a node committed under an epoch that was never its"
                    done.append(wanted.name)
        return done

    async def move() -> None:
        for epoch in range(2, turns + 1):
            await asyncio.sleep(0.03)
            await rig.assign("node-a" if epoch % 2 else "node-b", epoch)

    committed_a, committed_b, _ = await asyncio.gather(
        push(node_a, lambda epoch: epoch % 2 == 1),
        push(node_b, lambda epoch: epoch % 2 == 0),
        move(),
    )
    # Without a baseline of its epoch, a delta is refused as well.
    assert codes <= {ErrorCode.STALE_EPOCH, ErrorCode.SNAPSHOT_NOT_FOUND}
    generations = (await rig.pointer()).generations
    kept = [each.name for generation in generations for each in generation.objects]
    assert sorted(kept) == sorted(committed_a + committed_b)
    assert [g.epoch for g in generations] == sorted((g.epoch for g in generations), reverse=True)
    assert all(g.node_id == ("node-a" if g.epoch % 2 else "node-b") for g in generations)


async def test_a_node_speaks_for_itself_only(
    rig: VaultRig, node_a: VaultNode, node_b: VaultNode
) -> None:
    part = PutSnapshotChunk("node-a", SESSION, 1, f"{SESSION}/1-1", 0, b"x", True)
    # Node b says that it is node a, on its own subject …
    await refused(node_b.ask("put", part, SnapshotStored), ErrorCode.FORBIDDEN)
    # … and on node a's, where the server itself refuses it.
    other = VaultNode(node_b.bus, "node-a")
    await refused(other.ask("put", part, SnapshotStored), ErrorCode.FORBIDDEN)
    # Nor may it touch the stream or the pointers behind the vault's back.
    jetstream = JetStream(node_b.bus)
    await refused(jetstream.publish(vault_seal(part.name), b"x"), ErrorCode.FORBIDDEN)
    await refused(jetstream.last_by_subject(VAULT, vault_seal(part.name)), ErrorCode.FORBIDDEN)
    fleet = Bucket(node_b.bus, FLEET)
    await refused(
        fleet.put(snapshot_head_key(SESSION), SnapshotHead(SESSION, TENANT)), ErrorCode.FORBIDDEN
    )


async def test_names_and_parts_are_checked(rig: VaultRig, node_a: VaultNode) -> None:
    def part(name: str, offset: int, data: bytes, last: bool = True) -> PutSnapshotChunk:
        return PutSnapshotChunk("node-a", SESSION, 1, name, offset, data, last)

    other = "ses_" + "0" * 25 + "2"
    bad = [
        part(f"{other}/1-1", 0, b"x"),
        part(f"{SESSION}/2-1", 0, b"x"),
        part(f"{SESSION}/1-1", 5, b"x"),
        part(f"{SESSION}/1-1", 0, b"x", last=False),
        part(f"{SESSION}/1-1", 0, b""),
    ]
    for question in bad:
        await refused(node_a.ask("put", question, SnapshotStored), ErrorCode.VALIDATION_FAILED)
    huge = part(f"{SESSION}/1-1", 512 * PART_BYTES, b"x")
    await refused(node_a.ask("put", huge, SnapshotStored), ErrorCode.SNAPSHOT_TOO_LARGE)
    stolen = node_a.get(1, f"{other}/1-1")
    await refused(stolen, ErrorCode.FORBIDDEN)


async def test_what_is_never_committed_is_bounded(rig: VaultRig, node_a: VaultNode) -> None:
    for number in range(1, 17):
        await node_a.put(1, number, b"x")
    await refused(node_a.put(1, 17, b"x"), ErrorCode.RATE_LIMITED)
    await node_a.commit(1, described(SESSION, 1, 16, b"x", baseline=True))
    await node_a.put(1, 17, b"x")


# What breaks -----------------------------------------------------------------


async def flip_a_bit(bus: Bus, name: str, data: bytes) -> None:
    """Put other bytes where an object's only part lies, with its seal's headers."""
    jetstream = JetStream(bus)
    sealed = await jetstream.last_by_subject(VAULT, vault_seal(name))
    assert sealed is not None
    headers = {key: value for key, value in sealed.headers.items() if key.startswith("Blazz-")}
    await jetstream.purge(VAULT, vault_object(name))
    broken = bytes([data[0] ^ 1]) + data[1:]
    await jetstream.publish(vault_seal(name), broken, headers=headers)


async def test_a_flipped_bit_is_found_by_reading_back(
    bus: Bus, rig: VaultRig, node_a: VaultNode
) -> None:
    await node_a.keep(1, 1)
    wanted = await node_a.put(1, 2, b"healthy")
    await flip_a_bit(bus, wanted.name, b"healthy")
    await refused(node_a.commit(1, wanted), ErrorCode.SNAPSHOT_CORRUPT)
    assert len((await rig.pointer()).generations[0].objects) == 1
    # The broken one is away: the same name can be sent again.
    await node_a.commit(1, await node_a.put(1, 2, b"healthy"))
    assert await node_a.get(1, wanted.name) == b"healthy"


async def test_kill_9_of_the_server_loses_nothing_committed(
    nats: EmbeddedNats, rig: VaultRig, node_a: VaultNode
) -> None:
    sent = {}

    async def crash() -> None:
        before = nats.restarts
        os.kill(nats.pid, signal.SIGKILL)
        await eventually(lambda: nats.restarts > before and nats.pid != 0, timeout_s=10)

    async def committed(wanted: SnapshotObject) -> bool:
        try:
            return (await node_a.commit(1, wanted)).committed
        except BlazzError as error:
            if not error.retryable:
                raise
            return False

    for number in range(1, 4):
        data = sent[number] = secrets.token_bytes(PART_BYTES + number)
        wanted = await node_a.put(1, number, data)
        # What was only put before the crash can still be committed after it.
        await crash()
        await eventually(lambda wanted=wanted: committed(wanted), timeout_s=10)  # type: ignore[misc]
    await crash()
    await eventually(lambda: node_a.bus.connected and rig.bus.connected, timeout_s=10)
    (generation,) = (await rig.pointer()).generations
    numbers = [int(each.name.rpartition("-")[2]) for each in generation.objects]
    assert numbers == [1, 2, 3]
    for number, data in sent.items():
        assert await node_a.get(1, f"{SESSION}/1-{number}") == data


async def test_a_store_that_fails_commits_nothing_and_can_be_asked_again(
    bus: Bus, rig: VaultRig, node_a: VaultNode
) -> None:
    class Failing(JetStreamSnapshotStore):
        away = True

        async def read_part(self, name: str, index: int) -> bytes:
            if self.away:
                raise BlazzError(ErrorCode.VAULT_UNAVAILABLE, "it is away")
            return await super().read_part(name, index)

    store = Failing(bus)
    server = VaultServer(bus, rig.state, store, rig.pointers)
    wanted = await node_a.put(1, 1, b"data")
    question = CommitSnapshot("node-a", SESSION, 1, wanted, MANIFEST)
    message = BusMessage(node_vault("node-a", "commit"), b"")
    error = await refused(server.commit(question, message), ErrorCode.VAULT_UNAVAILABLE)
    assert error.retryable
    assert (await rig.pointer()).generations == ()
    store.away = False
    assert (await server.commit(question, message)).committed


async def test_replicas_share_one_upload(
    nats: EmbeddedNats, bus: Bus, rig: VaultRig, node_a: VaultNode
) -> None:
    """Parts go to whoever takes them; a replica may leave in the middle."""
    async with Bus.connect(nats.bus_settings(nats.control_plane, profile=QUICK)) as second_bus:
        second = VaultRig(second_bus, JetStreamSnapshotStore(second_bus), rig.key_file)
        data = secrets.token_bytes(8 * PART_BYTES + 1)
        async with serving(second):
            wanted = await node_a.put(1, 1, data)
        await node_a.commit(1, wanted)
        assert await node_a.get(1, wanted.name) == data


# Pointers in groups -------------------------------------------------------------------------


async def test_no_change_is_lost_between_replicas(
    bus: Bus, rig: VaultRig, node_a: VaultNode
) -> None:
    """Another replica writes between this one's read and its write."""
    await node_a.keep(1, 1)
    calls = 0
    async with Pointers(bus) as other:
        overtaken = asyncio.Event()

        async def overtake() -> None:
            await other.change(TENANT, SESSION, lambda pointer: prove(pointer, 1))
            overtaken.set()

        class Slow(Pointers):
            async def read(self, tenant_id: str, session_id: str) -> HeldPointer:
                held = await super().read(tenant_id, session_id)
                if not overtaken.is_set():
                    await overtake()
                return held

        def append(pointer: SnapshotPointer) -> SnapshotPointer:
            nonlocal calls
            calls += 1
            wanted = described(SESSION, 1, 2, b"x")
            return extend(pointer, CommitSnapshot("node-a", SESSION, 1, wanted, MANIFEST))

        async with Slow(bus) as slow:
            await slow.change(TENANT, SESSION, append)
    (generation,) = (await rig.pointer()).generations
    assert (generation.proven, len(generation.objects), calls) == (True, 2, 2)


async def test_one_refused_commit_does_not_hold_up_the_others(bus: Bus, rig: VaultRig) -> None:
    ids = ["ses_" + str(number).rjust(26, "0") for number in range(40)]
    revisions = {each: await rig.assign("node-a", 1, each) for each in ids}
    fenced_off = ids[7]
    await rig.assign("node-b", 2, fenced_off)

    async def commit(session_id: str) -> object:
        wanted = described(session_id, 1, 1, b"x")
        question = CommitSnapshot("node-a", session_id, 1, wanted, MANIFEST)
        return await rig.pointers.change(
            TENANT,
            session_id,
            lambda pointer: extend(pointer, question),
            assignment_revision=revisions[session_id],
        )

    results = await asyncio.gather(*(commit(each) for each in ids), return_exceptions=True)
    failed = [
        each for each, result in zip(ids, results, strict=True) if isinstance(result, BaseException)
    ]
    assert failed == [fenced_off]
    written = [each for each in ids if (await rig.pointer(each)).generations]
    assert written == [each for each in ids if each != fenced_off]


async def test_a_writer_that_ends_lets_nobody_wait(bus: Bus, rig: VaultRig) -> None:
    pointers = Pointers(bus)
    async with pointers:
        pass
    waiting = asyncio.create_task(pointers.forget(SESSION))
    done, _ = await asyncio.wait([waiting], timeout=2)
    assert done, "a change waited for a writer that has ended"
    with pytest.raises(BlazzError):
        waiting.result()


async def test_a_session_without_a_node_takes_no_snapshots(
    rig: VaultRig, node_a: VaultNode
) -> None:
    await rig.bucket.put(assignment_key(SESSION), Assignment(SESSION, TENANT, None, 2))
    await refused(node_a.put(1, 1, b"x"), ErrorCode.STALE_EPOCH)
    assert msgspec.json.encode((await rig.pointer()).generations) == b"[]"
