"""A stolen node credential and the vault: another's snapshots are neither opened, overwritten nor
destroyed, nor are the thief's own sessions' older ones."""

import secrets
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import NamedTuple

import pytest

from cli.identity.records import Kind
from control_plane.vault.jetstream_store import JetStreamSnapshotStore
from control_plane.vault.master_keys import ensure_key_file
from schemas.errors import BlazzError, ErrorCode
from schemas.keys import data_key_key
from schemas.resources import ACCESS
from schemas.snapshot_requests import GetSnapshotChunk, PutSnapshotChunk, SnapshotChunk
from schemas.snapshot_requests import SnapshotStored as Stored
from schemas.snapshots import DataKeyRecord, snapshot_name
from schemas.transport.connection import Bus
from schemas.transport.kv import Bucket
from swarm_node.core.snapshot_format import associated_data
from swarm_node.vault.sealing import seal, unseal
from tests.integration.operator_nats import OperatorFleet
from tests.integration.vault_fixture import VaultNode, VaultRig, serving

pytestmark = pytest.mark.nats

THEIRS = "ses_" + "0" * 25 + "1"
OWN = "ses_" + "0" * 25 + "2"
EPOCH = 3


class Scene(NamedTuple):
    rig: VaultRig
    victim: VaultNode
    thief: VaultNode
    sealed: bytes


@pytest.fixture
async def scene(operator_fleet: OperatorFleet, tmp_path: Path) -> AsyncIterator[Scene]:
    """A session of the victim's with a sealed snapshot, and one of the thief's with two."""
    key_file = tmp_path / "master-key"
    ensure_key_file(key_file)
    fleet = operator_fleet
    creds = {name: await fleet.issue(Kind.NODE, name) for name in ("victim", "thief")}
    async with (
        fleet.control_plane() as control,
        Bus.connect(fleet.node_settings(creds["victim"], "victim")) as of_victim,
        Bus.connect(fleet.node_settings(creds["thief"], "thief")) as of_thief,
        serving(VaultRig(control, JetStreamSnapshotStore(control), key_file)) as rig,
    ):
        await rig.assign("victim", EPOCH, THEIRS)
        await rig.assign("thief", EPOCH, OWN)
        victim, thief = VaultNode(of_victim, "victim", THEIRS), VaultNode(of_thief, "thief", OWN)
        sealed = seal(
            b"a profile",
            key=await rig.keys.ensure(THEIRS),
            bound_to=associated_data(THEIRS, EPOCH, snapshot_name(THEIRS, EPOCH, 1)),
            nonce=secrets.token_bytes(12),
        )
        await victim.keep(EPOCH, 1, sealed)
        await thief.keep(EPOCH, 1, b"older")
        await thief.keep(EPOCH, 2, b"newer", baseline=True)
        yield Scene(rig, victim, thief, sealed)


async def refused(call: Awaitable[object], *codes: ErrorCode) -> None:
    with pytest.raises(BlazzError) as error:
        await call
    assert error.value.code in codes


async def test_another_sessions_snapshot_is_not_handed_out_nor_opened(scene: Scene) -> None:
    rig, victim, thief, sealed = scene
    name = snapshot_name(THEIRS, EPOCH, 1)
    for node_id, session_id in (("thief", THEIRS), ("victim", THEIRS), ("thief", OWN)):
        question = GetSnapshotChunk(node_id, session_id, EPOCH, name)
        await refused(
            thief.ask("get", question, SnapshotChunk),
            ErrorCode.STALE_EPOCH,
            ErrorCode.FORBIDDEN,
        )
    # Nor under the victim's subject: the bus refuses it, and nobody hears it.
    await refused(VaultNode(thief.bus, "victim", THEIRS).get(EPOCH, name), ErrorCode.FORBIDDEN)
    # The wrapped key can't be read, and the thief's own opens nothing of others.
    await refused(
        Bucket(thief.bus, ACCESS).get(data_key_key(THEIRS), DataKeyRecord),
        ErrorCode.FORBIDDEN,
        ErrorCode.NATS_UNAVAILABLE,
    )
    bound_to = associated_data(THEIRS, EPOCH, name)
    own_key = await rig.keys.ensure(OWN)
    with pytest.raises(BlazzError) as shut:
        unseal(sealed, key=own_key, bound_to=bound_to)
    assert shut.value.code is ErrorCode.SNAPSHOT_CORRUPT
    their_key = await rig.keys.ensure(THEIRS)
    assert unseal(sealed, key=their_key, bound_to=bound_to) == b"a profile"
    assert await victim.get(EPOCH, name) == sealed


async def test_nothing_stored_is_overwritten_or_taken_out_of_the_pointer(scene: Scene) -> None:
    rig, victim, thief, sealed = scene
    theirs, own = await rig.pointer(THEIRS), await rig.pointer(OWN)
    as_theirs = VaultNode(thief.bus, "thief", THEIRS)
    await refused(as_theirs.keep(EPOCH, 1, b"over it"), ErrorCode.STALE_EPOCH)
    await refused(as_theirs.keep(EPOCH + 1, 1, b"over it"), ErrorCode.STALE_EPOCH)
    disguised = PutSnapshotChunk(
        "thief", OWN, EPOCH, snapshot_name(THEIRS, EPOCH, 1), 0, b"over it", last=True
    )
    await refused(
        thief.ask("put", disguised, Stored), ErrorCode.VALIDATION_FAILED, ErrorCode.FORBIDDEN
    )
    # Its own sessions' older snapshots stay as they were committed, too.
    for number in (1, 2):
        await refused(thief.put(EPOCH, number, b"other bytes"), ErrorCode.CONFLICT)
    with pytest.raises(BlazzError):
        await thief.commit(EPOCH, await thief.put(EPOCH - 1, 9, b"an earlier epoch"))
    assert await rig.pointer(THEIRS) == theirs
    assert await rig.pointer(OWN) == own
    assert await victim.get(EPOCH, snapshot_name(THEIRS, EPOCH, 1)) == sealed
    assert await thief.get(EPOCH, snapshot_name(OWN, EPOCH, 1)) == b"older"
