"""Which state a start begins from: the disk's, the newest snapshot's, or an older one's."""

# ruff: noqa: F811 - fixtures are imported and named again as arguments

import asyncio
import os
import shutil
import time
from pathlib import Path

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from control_plane.core.snapshot_retention import of_last_link
from schemas import commands as c
from schemas.errors import ErrorCode
from schemas.events import MessageReceived, SessionQr, SessionStateChanged
from schemas.snapshots import SnapshotGeneration, SnapshotManifest, SnapshotObject
from schemas.states import EngineKind, SessionState
from swarm_node.engines.loopback.store import SNAPSHOT_FILES, ProfileStore
from swarm_node.vault.line import VaultLine
from swarm_node.vault.local_state import LocalFolder, LocalState
from swarm_node.vault.metrics import VaultMetrics
from swarm_node.vault.recorder import Recorder
from tests.integration.node_fixture import (  # noqa: F401
    NODE,
    OTHER_NODE,
    World,
    bus,
    nats,
    new_session_id,
    world,
)
from tests.integration.node_vault_fixture import (  # noqa: F401
    QUICK_VAULT,
    VaultWorld,
    killed,
    linked,
    vault_world,
)
from tests.waiting import eventually

pytestmark = pytest.mark.nats


def reasons(world: World, session: str) -> list[str | None]:
    """Why the session changed, as its events tell."""
    return [
        event.data.reason
        for event in world.events
        if event.session_id == session and isinstance(event.data, SessionStateChanged)
    ]


async def store_unlinked(vault: VaultWorld, session: str, epoch: int, folder: Path) -> None:
    """Commit a generation whose profile has lost its link: whole, well sealed, and useless."""
    profile = folder / "profile"
    ProfileStore(profile).close()
    line = VaultLine(
        lambda act, question, answer, _timeout_s: vault.ask_as(OTHER_NODE, act, question, answer),
        QUICK_VAULT,
        node_id=OTHER_NODE,
        session_id=session,
        epoch=epoch,
        allowed=lambda: True,
    )
    recorder = Recorder(
        line,
        LocalFolder(folder / "beside", profile),
        VaultMetrics(CollectorRegistry()),
        session_id=session,
        epoch=epoch,
        manifest=SnapshotManifest(engine=EngineKind.LOOPBACK),
    )
    await recorder.begin(LocalState(epoch))
    assert await recorder.record(SNAPSHOT_FILES, None, key=vault.key)


async def test_a_node_killed_and_started_again_goes_on_from_its_disk(
    vault_world: VaultWorld,
) -> None:
    vault, world = vault_world, vault_world.world
    theirs = await world.phone("15550002")
    async with vault.node() as task:
        session = await linked(vault)
        await vault.stored(session)
        # Captures are over with the node; what comes at its last moment is on its disk alone.
        last = await theirs.send_text("15550001@c.us", "the last one")
        await world.sees(MessageReceived, lambda m: m.message.message_id == last)
        await killed(task)
    profile = world.folder / NODE / "profiles" / session
    before = profile.stat().st_ino
    async with vault.node():
        await vault.start(session)
        await world.reaches(session, SessionState.ONLINE)
        # A restored profile is another directory, in the place of this one.
        assert profile.stat().st_ino == before
    told = [m for m in world.data(MessageReceived) if m.message.message_id == last]
    assert len(told) == 1


def _lost(generation: SnapshotGeneration) -> tuple[SnapshotObject, ...]:
    return tuple(msgspec.structs.replace(one, sha256="0" * 64) for one in generation.objects)


async def test_a_disk_older_than_the_vault_gives_way_and_is_kept_until_it_is_not_needed(
    vault_world: VaultWorld,
) -> None:
    vault, world = vault_world, vault_world.world
    theirs = await world.phone("15550002")
    async with vault.node() as first, vault.node(OTHER_NODE) as second:
        session = await linked(vault)
        await vault.stored(session)
        await killed(first)
        await vault.start(session, node_id=OTHER_NODE, epoch=2)
        await world.reaches(session, SessionState.ONLINE, node_id=OTHER_NODE)
        news = await theirs.send_text("15550001@c.us", "on the other node")
        await world.sees(MessageReceived, lambda m: m.message.message_id == news)
        stored = await vault.stored(session)
        await killed(second)
    async with vault.node():
        await vault.start(session, epoch=3)
        await world.reaches(session, SessionState.ONLINE)
        aside = world.folder / NODE / "vault" / session / "aside"
        assert (await vault.stored(session)).epoch == 3
        await eventually(lambda: not aside.exists(), what="the old profile is gone")
        proven = {one.generation: one.proven for one in await vault.generations(session)}
        assert proven[stored.generation]
    store = ProfileStore(world.folder / NODE / "profiles" / session)
    assert store.message(news, theirs.wid) is not None
    store.close()


async def test_a_generation_that_does_not_open_is_passed_over(vault_world: VaultWorld) -> None:
    vault, world = vault_world, vault_world.world
    async with vault.node() as task, vault.node(OTHER_NODE):
        session = await linked(vault)
        good = await vault.stored(session)
        await killed(task)
        codes = len(world.data(SessionQr))
        torn = msgspec.structs.replace(good, generation=good.generation + 1, objects=_lost(good))
        await vault.start(session, node_id=OTHER_NODE, epoch=2, generations=(torn, good))
        await world.reaches(session, SessionState.ONLINE, node_id=OTHER_NODE)
        assert len(world.data(SessionQr)) == codes


async def test_a_restored_profile_without_its_link_makes_way_for_an_older_one(
    vault_world: VaultWorld, tmp_path: Path
) -> None:
    vault, world = vault_world, vault_world.world
    async with vault.node() as task, vault.node(OTHER_NODE):
        session = await linked(vault)
        await vault.stored(session)
        await killed(task)
        await vault.assign(session, OTHER_NODE, 2)
        await store_unlinked(vault, session, 2, tmp_path / "unlinked")
        assert [one.epoch for one in await vault.generations(session)] == [2, 1]
        codes = len(world.data(SessionQr))
        await vault.start(session, node_id=OTHER_NODE, epoch=3)
        await world.reaches(session, SessionState.ONLINE, node_id=OTHER_NODE)
        assert len(world.data(SessionQr)) == codes
    assert reasons(world, session).count(ErrorCode.RESTORE_FAILED) == 1
    assert len(await vault.generations(session)) >= 2


async def test_when_nothing_comes_up_a_code_is_shown_with_the_reason(
    vault_world: VaultWorld,
) -> None:
    vault, world = vault_world, vault_world.world
    async with vault.node() as task, vault.node(OTHER_NODE):
        session = await linked(vault)
        good = await vault.stored(session)
        await killed(task)
        torn = msgspec.structs.replace(good, objects=_lost(good))
        await vault.start(session, node_id=OTHER_NODE, epoch=2, generations=(torn,))
        seen = await world.reaches(session, SessionState.PAIRING, node_id=OTHER_NODE)
        assert seen.reason == ErrorCode.RESTORE_FAILED


async def test_a_link_retires_what_is_of_the_link_before(vault_world: VaultWorld) -> None:
    vault, world = vault_world, vault_world.world
    async with vault.node() as first, vault.node(OTHER_NODE) as second:
        session = await linked(vault)
        old = await vault.stored(session)
        assert old.linked_epoch == 1
        await killed(first)
        # Nobody saw a logout: it does not open, and somebody links another number.
        torn = msgspec.structs.replace(old, objects=_lost(old))
        await vault.start(session, node_id=OTHER_NODE, epoch=2, generations=(torn,))
        await world.reaches(session, SessionState.PAIRING, node_id=OTHER_NODE)
        phone = await world.phone("15559999")
        await phone.scan((await world.qr(session, node_id=OTHER_NODE, epoch=2)).value)
        seen = await world.reaches(session, SessionState.ONLINE, node_id=OTHER_NODE)
        # Told at once, before anything of it is stored: see `core.needs.unlinked_epoch`.
        assert seen.linked_epoch == 2
        await vault.stored(session)
        await killed(second)
    assert [one.linked_epoch for one in await vault.generations(session)] == [2, 1]
    new = of_last_link(await vault.generations(session))
    assert [one.linked_epoch for one in new] == [2]
    async with vault.node():
        # The old number's profile still lies here, and its generation is in the vault.
        await vault.start(session, epoch=3)
        seen = await world.reaches(session, SessionState.ONLINE)
        assert (seen.phone, seen.linked_epoch) == ("15559999", 2)
        assert (await vault.stored(session)).linked_epoch == 2
    assert world.states(session).count(SessionState.PAIRING) == 2


async def test_another_build_refuses_instead_of_beginning_anew(vault_world: VaultWorld) -> None:
    vault, world = vault_world, vault_world.world
    async with vault.node() as task, vault.node(OTHER_NODE):
        session = await linked(vault)
        good = await vault.stored(session)
        await killed(task)
        other = msgspec.structs.replace(
            good, manifest=SnapshotManifest(engine=EngineKind.LOOPBACK, storage_format=99)
        )
        await vault.start(session, node_id=OTHER_NODE, epoch=2, generations=(other,))
        seen = await world.reaches(session, SessionState.FAILED, node_id=OTHER_NODE)
        assert seen.reason == ErrorCode.SNAPSHOT_INCOMPATIBLE
        assert SessionState.PAIRING not in world.states(session)[4:]


async def test_an_epoch_that_is_over_stores_nothing_more(vault_world: VaultWorld) -> None:
    vault, world = vault_world, vault_world.world
    theirs = await world.phone("15550002")
    async with vault.node():
        session = await linked(vault)
        before = await vault.stored(session)
        await vault.assign(session, OTHER_NODE, 2)
        refused_at = time.time()
        await theirs.send_text("15550001@c.us", "too late to be kept")
        local = world.folder / NODE / "vault" / session / "local.json"
        number = len(before.objects)

        def tried() -> bool:
            return msgspec.json.decode(local.read_bytes(), type=LocalState).number > number

        await eventually(tried, what="a refused capture")
        await theirs.send_text("15550001@c.us", "and this")
        await asyncio.sleep(1.2)
        assert (await vault.generations(session))[0] == before
        assert before.objects[-1].captured_at < refused_at
        # Once refused, it does not try again.
        assert msgspec.json.decode(local.read_bytes(), type=LocalState).number == number + 1


async def test_a_move_stores_the_last_state_before_it_answers(vault_world: VaultWorld) -> None:
    vault, world = vault_world, vault_world.world
    theirs = await world.phone("15550002")
    async with vault.node(), vault.node(OTHER_NODE):
        session = await linked(vault)
        last = await theirs.send_text("15550001@c.us", "just before")
        await world.sees(MessageReceived, lambda m: m.message.message_id == last)
        move = c.MoveSession(session_id=session, epoch=1)
        assert (await world.ask("move", move)).state is SessionState.MOVING
        newest = (await vault.generations(session))[0]
        assert newest.objects[-1].clean
        await vault.start(session, node_id=OTHER_NODE, epoch=2)
        await world.reaches(session, SessionState.ONLINE, node_id=OTHER_NODE)
    told = [m for m in world.data(MessageReceived) if m.message.message_id == last]
    assert len(told) == 1


async def test_a_session_destroyed_leaves_nothing_on_the_disk(vault_world: VaultWorld) -> None:
    vault, world = vault_world, vault_world.world
    async with vault.node():
        session = await linked(vault)
        await vault.stored(session)
        await world.ask("destroy_session", c.DestroySession(session_id=session, epoch=1))
        assert not [path for path in (world.folder / NODE).rglob("*") if session in path.name]
        assert await vault.generations(session)


async def test_a_restore_that_is_refused_does_not_begin_anew(
    vault_world: VaultWorld,
) -> None:
    vault, world = vault_world, vault_world.world
    session, phone = new_session_id(), await world.phone()
    async with vault.node() as task:
        await vault.start(session)
        await world.reaches(session, SessionState.PAIRING)
        await phone.scan((await world.qr(session)).value)
        await world.reaches(session, SessionState.ONLINE)
        good = await vault.stored(session)
        await killed(task)
    shutil.rmtree(world.folder / NODE / "profiles" / session)
    async with vault.node():
        # The objects are there, but the server says that the session is another node's.
        await vault.assign(session, OTHER_NODE, 2)
        command = c.StartSession(
            session_id=session,
            epoch=3,
            tenant_id="acme",
            engine=EngineKind.LOOPBACK,
            data_key=os.urandom(32),
            generations=(good,),
        )
        await world.ask("start", command)
        seen = await world.reaches(session, SessionState.FAILED)
        assert seen.reason == ErrorCode.STALE_EPOCH
