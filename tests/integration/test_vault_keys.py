"""Data keys on a real bus: made once, wrapped, rotated while they are used."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

import msgspec
import pytest

from cli.vault_commands import rotate
from control_plane.vault.admission import VaultAdmission
from control_plane.vault.data_keys import DataKeys
from control_plane.vault.master_keys import (
    MasterKey,
    MasterKeyRing,
    ensure_key_file,
    read_keys,
    write_keys,
)
from schemas.errors import BlazzError, ErrorCode
from schemas.keys import data_key_key
from schemas.resources import ACCESS
from schemas.snapshots import DataKeyRecord
from schemas.transport.connection import Bus
from schemas.transport.kv import Bucket
from tests.integration.vault_fixture import SESSION, TENANT, VaultNode, VaultRig, node_a, rig

__all__ = ["node_a", "rig"]


def session(number: int) -> str:
    return "ses_" + str(number).rjust(26, "0")


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys" / "master-key"
    ensure_key_file(path)
    return path


def keys_of(bus: Bus, path: Path) -> DataKeys:
    """As another replica has them: nothing remembered."""
    return DataKeys(bus, MasterKeyRing(path), cache_s=0.0)


async def record_of(bus: Bus, session_id: str) -> DataKeyRecord:
    entry = await Bucket(bus, ACCESS).get(data_key_key(session_id), DataKeyRecord)
    assert entry.value is not None
    return entry.value


async def test_a_session_has_one_key_for_ever(bus: Bus, key_file: Path) -> None:
    keys = keys_of(bus, key_file)
    assert await keys.get(SESSION) is None
    made = await keys.ensure(SESSION)
    assert len(made) == 32
    assert await keys.ensure(SESSION) == made
    assert await keys_of(bus, key_file).get(SESSION) == made
    assert await keys.ensure(session(2)) != made


async def test_replicas_at_once_agree_on_one_key(bus: Bus, key_file: Path) -> None:
    replicas = [keys_of(bus, key_file) for _ in range(6)]
    made = await asyncio.gather(*(replica.ensure(SESSION) for replica in replicas))
    assert len(set(made)) == 1


async def test_the_bucket_holds_no_open_key(bus: Bus, key_file: Path) -> None:
    made = await keys_of(bus, key_file).ensure(SESSION)
    raw = await Bucket(bus, ACCESS).get_raw(data_key_key(SESSION))
    assert raw.value is not None
    master = read_keys(key_file)[0].secret
    for secret in (made, master):
        assert secret not in raw.value
        assert secret not in (await record_of(bus, SESSION)).wrapped


async def test_another_master_key_opens_nothing(bus: Bus, key_file: Path, tmp_path: Path) -> None:
    await keys_of(bus, key_file).ensure(SESSION)
    other = tmp_path / "other"
    ensure_key_file(other)
    with pytest.raises(BlazzError) as refused:
        await keys_of(bus, other).ensure(SESSION)
    assert refused.value.code is ErrorCode.MASTER_KEY_MISSING


@pytest.mark.parametrize("claimed", [SESSION, session(2)])
async def test_a_record_moved_to_another_session_does_not_open(
    bus: Bus, key_file: Path, claimed: str
) -> None:
    keys = keys_of(bus, key_file)
    await keys.ensure(SESSION)
    stolen = msgspec.structs.replace(await record_of(bus, SESSION), session_id=claimed)
    await Bucket(bus, ACCESS).put(data_key_key(session(2)), stolen)
    with pytest.raises(BlazzError) as refused:
        await keys.get(session(2))
    assert refused.value.code is ErrorCode.MASTER_KEY_MISSING


async def test_opened_keys_are_kept_for_a_moment_only(bus: Bus, key_file: Path) -> None:
    keys = DataKeys(bus, MasterKeyRing(key_file), cache_s=60.0, cache_max=2)
    for number in range(5):
        await keys.ensure(session(number))
    assert len(keys._cache) == 2
    await keys.forget(session(4))
    assert await keys.get(session(4)) is None


async def test_a_rotation_wraps_anew_and_changes_no_data_key(bus: Bus, key_file: Path) -> None:
    keys = keys_of(bus, key_file)
    before = {session(n): await keys.ensure(session(n)) for n in range(20)}
    (old,) = read_keys(key_file)
    done = await rotate(keys, key_file, retire=False)
    assert done.key_made
    assert (done.data_keys, done.rewrapped, done.older_keys_left) == (20, 20, 1)
    active, kept = read_keys(key_file)
    assert kept.key_id == old.key_id
    assert active.key_id == done.active_key_id != old.key_id
    assert await keys.in_use() == {active.key_id}
    fresh = keys_of(bus, key_file)
    assert {each: await fresh.get(each) for each in before} == before
    # Only now may the old key go, and everything still opens.
    retired = await rotate(fresh, key_file, retire=True)
    assert (retired.key_made, retired.rewrapped, retired.older_keys_left) == (False, 0, 0)
    alone = keys_of(bus, key_file)
    assert {each: await alone.get(each) for each in before} == before


async def test_a_rotation_that_broke_off_goes_on(bus: Bus, key_file: Path) -> None:
    keys = keys_of(bus, key_file)
    before = {session(n): await keys.ensure(session(n)) for n in range(6)}
    # It died after the file was written and two of six records were.
    old = read_keys(key_file)
    new = MasterKey.make()
    write_keys(key_file, [new, *old])
    half = keys_of(bus, key_file)
    entries = await half._bucket.read_prefix("data_key.", DataKeyRecord)
    for entry in entries[:2]:
        assert await half._rewrap(entry, new)
    done = await rotate(keys_of(bus, key_file), key_file, retire=False)
    assert not done.key_made
    assert (done.active_key_id, done.rewrapped) == (new.key_id, 4)
    assert {each: await keys.get(each) for each in before} == before


async def test_an_old_key_in_use_is_never_retired(bus: Bus, key_file: Path) -> None:
    """A key that still wraps something stays, whoever put the file in that order."""
    keys = keys_of(bus, key_file)
    made = await keys.ensure(SESSION)
    write_keys(key_file, [MasterKey.make(), *read_keys(key_file)])
    done = await rotate(keys_of(bus, key_file), key_file, retire=True)
    assert (done.rewrapped, done.older_keys_left) == (1, 0)
    assert await keys_of(bus, key_file).get(SESSION) == made


async def test_a_rotation_without_the_old_key_says_so_and_changes_nothing(
    bus: Bus, key_file: Path
) -> None:
    await keys_of(bus, key_file).ensure(SESSION)
    before = await record_of(bus, SESSION)
    write_keys(key_file, [MasterKey.make()])
    with pytest.raises(BlazzError) as refused:
        await rotate(keys_of(bus, key_file), key_file, retire=True)
    assert refused.value.code is ErrorCode.MASTER_KEY_MISSING
    assert await record_of(bus, SESSION) == before
    assert len(read_keys(key_file)) == 1


async def test_keys_are_rotated_under_load(rig: VaultRig, node_a: VaultNode) -> None:
    """Sessions start and snapshots are committed while keys rotate three times; one replica
    remembers nothing, one has its keys from before."""
    replicas = [
        VaultAdmission(keys_of(rig.bus, rig.key_file), rig.pointers),
        VaultAdmission(rig.keys, rig.pointers),
    ]
    known: dict[str, set[bytes]] = {}
    rotating = True

    async def start_sessions(replica: VaultAdmission) -> int:
        starts = 0
        while rotating:
            each = session(starts % 15)
            key, _generations = await replica.admission(TENANT, each)
            known.setdefault(each, set()).add(key)
            starts += 1
        return starts

    async def commit() -> int:
        number = 0
        while rotating:
            number += 1
            await node_a.keep(1, number, secrets.token_bytes(50), baseline=number % 20 == 1)
            if number % 60 == 0:
                await rig.pruner().sweep()
        return number

    async def rotations() -> None:
        nonlocal rotating
        try:
            for _ in range(3):
                done = await rotate(keys_of(rig.bus, rig.key_file), rig.key_file, retire=False)
                assert done.key_made
        finally:
            rotating = False

    *counts, _ = await asyncio.gather(
        *(start_sessions(replica) for replica in replicas), commit(), rotations()
    )
    assert all(counts)
    assert all(len(keys) == 1 for keys in known.values()), "a session's data key changed"
    # A replica that had not read the newest file yet may have wrapped by the one before.
    await keys_of(rig.bus, rig.key_file).rewrap_all()
    done = await rotate(keys_of(rig.bus, rig.key_file), rig.key_file, retire=True)
    assert done.older_keys_left == 0
    alone = keys_of(rig.bus, rig.key_file)
    assert {each: {await alone.get(each)} for each in known} == known


async def test_admission_gives_the_key_and_what_can_be_restored(
    rig: VaultRig, node_a: VaultNode
) -> None:
    admission = VaultAdmission(rig.keys, rig.pointers)
    key, generations = await admission.admission(TENANT, SESSION)
    assert (len(key), generations) == (32, ())
    await node_a.keep(1, 1)
    await node_a.keep(1, 2, baseline=True)
    again, generations = await admission.admission(TENANT, SESSION)
    assert again == key
    assert [each.generation for each in generations] == [2, 1]
