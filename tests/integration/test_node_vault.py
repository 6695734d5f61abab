"""Sessions outlive their node: captured while online, restored elsewhere without a new link."""

# ruff: noqa: F811 - fixtures are imported and named again as arguments

import asyncio
import time
from pathlib import Path

import msgspec
import pytest

from schemas import commands as c
from schemas.errors import ErrorCode
from schemas.events import SessionQr, SessionStateChanged
from schemas.messages import Text
from schemas.states import MessageState, SessionState
from swarm_node.core.backoff import BackoffPolicy
from swarm_node.engines.loopback.settings import LoopbackFaults
from swarm_node.vault.local_state import LocalFolder
from tests.integration.node_fixture import (  # noqa: F401
    NODE,
    OTHER_NODE,
    QUICK_SESSIONS,
    bus,
    nats,
    new_message_id,
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


async def test_a_killed_node_loses_no_link_and_no_message(vault_world: VaultWorld) -> None:
    vault, world = vault_world, vault_world.world
    theirs = await world.phone("15550002")
    async with vault.node() as task, vault.node(OTHER_NODE):
        session = await linked(vault)
        key = new_message_id()
        assert (await world.send(session, theirs.wid, "hello", key=key)).state is MessageState.SENT
        stored = await vault.stored(session)
        assert (stored.epoch, stored.node_id, stored.objects[0].baseline) == (1, NODE, True)
        codes = len(world.data(SessionQr))
        await killed(task)

        await vault.start(session, node_id=OTHER_NODE, epoch=2)
        seen = await world.reaches(session, SessionState.ONLINE, node_id=OTHER_NODE)
        assert (seen.epoch, seen.phone) == (2, "15550001")
        again = c.SendMessage(
            session_id=session,
            epoch=2,
            message_id=key,
            to=theirs.wid,
            content=Text("hello"),
        )
        answer = await world.ask("send_message", again, node_id=OTHER_NODE)
        assert (answer.state, answer.found_before) == (MessageState.SENT, True)
        arrived = await theirs.messages("15550001@c.us")
        assert [message.message.body for message in arrived] == ["hello"]
        assert len(world.data(SessionQr)) == codes

        moved = await vault.stored(session)
        assert (moved.epoch, moved.node_id) == (2, OTHER_NODE)
        assert [one.epoch for one in await vault.generations(session)] == [2, 1]


async def test_a_clean_stop_stores_everything_before_it_answers(vault_world: VaultWorld) -> None:
    vault, world = vault_world, vault_world.world
    async with vault.node(), vault.node(OTHER_NODE):
        session = await linked(vault)
        assert (await world.stop(session)).state is SessionState.STOPPED
        newest = (await vault.generations(session))[0]
        assert newest.objects[-1].clean
        await vault.start(session, node_id=OTHER_NODE, epoch=2)
        await world.reaches(session, SessionState.ONLINE, node_id=OTHER_NODE)


async def test_a_stop_that_needed_a_kill_is_not_stored_as_a_clean_one(
    vault_world: VaultWorld,
) -> None:
    vault, world = vault_world, vault_world.world
    hangs = {"faults": LoopbackFaults(stop_hangs=True)}
    quick = msgspec.structs.replace(QUICK_SESSIONS, stop_max_s=0.2)
    async with vault.node(loopback=hangs, session=quick):
        session = await linked(vault)
        stopped_at = time.time()
        assert (await world.stop(session)).state is SessionState.STOPPED
        last = (await vault.stored_since(session, stopped_at)).objects[-1]
        assert not last.clean
        local = LocalFolder(world.folder / NODE / "vault" / session, Path()).read()
        assert local is not None
        assert not local.clean


async def test_an_idle_session_stores_nothing_new(vault_world: VaultWorld) -> None:
    vault = vault_world
    async with vault.node():
        session = await linked(vault)

        async def rests() -> bool:
            before = await vault.generations(session)
            # Two idle periods without a trace.
            await asyncio.sleep(2.2)
            after = await vault.generations(session)
            return bool(before) and after[0].objects == before[0].objects

        # What follows the link may still be stored; then nothing is.
        await eventually(rests, timeout_s=10)


async def test_without_a_data_key_nothing_is_stored(vault_world: VaultWorld) -> None:
    vault, world = vault_world, vault_world.world
    session, phone = new_session_id(), await world.phone()
    async with vault.node():
        await vault.start(session, key=b"")
        await world.reaches(session, SessionState.PAIRING)
        await phone.scan((await world.qr(session)).value)
        await world.reaches(session, SessionState.ONLINE)
        await asyncio.sleep(0.8)
        await world.stop(session)
        await vault.start(session, key=b"")
        await world.reaches(session, SessionState.ONLINE)
    assert await vault.generations(session) == ()
    assert not list((world.folder / NODE / "vault").iterdir())


async def test_a_restore_waits_for_a_vault_that_is_away(vault_world: VaultWorld) -> None:
    vault, world = vault_world, vault_world.world
    impatient = msgspec.structs.replace(
        QUICK_SESSIONS, backoff=BackoffPolicy(first_s=0.05, longest_s=0.2, failures_max=2)
    )
    no_retries = msgspec.structs.replace(QUICK_VAULT, request_tries_max=1)
    async with vault.node() as task, vault.node(OTHER_NODE, session=impatient, vault=no_retries):
        session = await linked(vault)
        first = await vault.stored(session)
        # An older generation beside the newest: waiting must not make it the second choice.
        await vault.start(session, epoch=2)
        await world.reaches(session, SessionState.ONLINE)
        newest = await vault.stored(session)
        assert newest.generation > first.generation
        await killed(task)
        codes = len(world.data(SessionQr))

        await vault.close()
        await vault.start(session, node_id=OTHER_NODE, epoch=3)

        def waits() -> bool:
            told = [d.reason for d in world.data(SessionStateChanged) if d.reason is not None]
            return told.count(ErrorCode.NATS_UNAVAILABLE) > 3 * impatient.backoff.failures_max

        await eventually(waits, what="far more tries than an engine that crashes gets")
        seen = await world.reaches(session, SessionState.STARTING, node_id=OTHER_NODE)
        assert seen.reason == ErrorCode.NATS_UNAVAILABLE
        await vault.open()
        await world.reaches(session, SessionState.ONLINE, node_id=OTHER_NODE)
        assert len(world.data(SessionQr)) == codes
        # The node tells which one it restored, once that has come online.
        await vault.stored(session)
        proven = {one.generation for one in await vault.generations(session) if one.proven}
        assert proven == {newest.generation}
