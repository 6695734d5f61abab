"""What goes wrong around a session, on a real node: every fault ends in a state with a reason."""

# ruff: noqa: F811 - fixtures are imported and named again as arguments

import asyncio
import os
import signal
import time
from collections.abc import Awaitable

import msgspec
import psutil
import pytest

from sandbox.phone import Phone
from sandbox.settings import SandboxSettings
from schemas import commands as c
from schemas.errors import BlazzError, ErrorCode
from schemas.events import MessageReceived, SessionQrIdle
from schemas.states import MessageState, SessionState
from swarm_node.engines.contract import EngineSpec
from swarm_node.engines.loopback.engine import LoopbackEngine
from swarm_node.engines.loopback.settings import LoopbackFaults
from tests.integration.node_fixture import (  # noqa: F401
    QUICK_SESSIONS,
    TENANT,
    World,
    bus,
    nats,
    new_message_id,
    new_session_id,
    world,
)
from tests.waiting import eventually

pytestmark = pytest.mark.nats


async def code_of(call: Awaitable[object]) -> ErrorCode:
    with pytest.raises(BlazzError) as raised:
        await call
    return raised.value.code


async def test_a_cut_link_degrades_the_session_and_it_comes_back(world: World) -> None:
    session, phone = new_session_id(), await world.phone()
    async with world.node():
        await world.online(session, phone)
        await world.book.set_faults(offline=True)
        await world.reaches(session, SessionState.DEGRADED)
        refused = await code_of(world.send(session, phone.wid, "now?"))
        assert refused is ErrorCode.SESSION_NOT_ONLINE
        await world.book.clear_faults()
        await world.reaches(session, SessionState.ONLINE)


async def test_a_second_client_fences_the_session_for_good(world: World) -> None:
    session, phone = new_session_id(), await world.phone()
    async with world.node():
        await world.online(session, phone)
        profile = world.folder / "node-1" / "profiles" / session
        twin = LoopbackEngine(
            EngineSpec(session, TENANT, 2, profile), (await world.settings()).loopback
        )
        await twin.start()
        try:
            seen = await world.reaches(session, SessionState.FENCED)
            assert seen.reason == "stream_replaced"
            refused = await code_of(world.send(session, phone.wid, "mine!"))
            assert refused is ErrorCode.SESSION_NOT_ONLINE
            # The one that stayed is the twin: nobody took the device back.
            await eventually(lambda: _instances(phone, 1))
        finally:
            await twin.stop()
        await world.start(session)
        await world.reaches(session, SessionState.ONLINE)


async def _instances(phone: Phone, count: int) -> bool:
    return [len(device.instances) for device in await phone.devices()] == [count]


async def test_a_page_that_never_gets_ready_ends_as_failed(world: World) -> None:
    session = new_session_id()
    faults = {"faults": LoopbackFaults(never_ready=True), "ready_timeout_s": 0.05}
    async with world.node(loopback=faults):
        await world.start(session)
        seen = await world.reaches(session, SessionState.FAILED)
        assert seen.reason == "page_not_ready"
        answer = await world.stop(session)
        assert answer.state is SessionState.STOPPED
    starts = [s for s in world.states(session) if s is SessionState.STARTING]
    assert len(starts) == 3  # the first, and two more with backoff


async def test_a_crashing_engine_is_started_again(world: World) -> None:
    session, phone = new_session_id(), await world.phone()
    async with world.node(loopback={"faults": LoopbackFaults(crash_after_s=0.7)}):
        await world.online(session, phone)
        await eventually(
            lambda: world.states(session).count(SessionState.ONLINE) >= 2, timeout_s=10
        )
        again = [s for s in world.states(session) if s is SessionState.STARTING]
        assert len(again) >= 2


async def test_a_hanging_engine_is_started_again(world: World) -> None:
    session, phone = new_session_id(), await world.phone()
    async with world.node(loopback={"faults": LoopbackFaults(probes_lost=4)}):
        await world.start(session)
        await world.reaches(session, SessionState.PAIRING)
        await phone.scan((await world.qr(session)).value)
        # Three probes without an answer: a new engine, which loses probes too, until it gives up.
        seen = await world.reaches(session, SessionState.FAILED)
        assert seen.reason == "page_timeout"
        assert SessionState.ONLINE not in world.states(session)


async def test_nothing_is_sent_before_a_probe_said_online(world: World) -> None:
    session = new_session_id()
    mine, theirs = await world.phone("15550001"), await world.phone("15550002")
    patient = msgspec.structs.replace(QUICK_SESSIONS, probes_unanswered_max=1_000)
    lost = {"faults": LoopbackFaults(probes_lost=-1)}
    async with world.node(loopback=lost, session=patient):
        await world.start(session)
        await world.reaches(session, SessionState.PAIRING)
        await mine.scan((await world.qr(session)).value)
        await world.reaches(session, SessionState.SYNCING)
        refused = await code_of(world.send(session, theirs.wid, "too early"))
        assert refused is ErrorCode.SESSION_NOT_ONLINE
        assert await theirs.messages(mine.wid) == []


async def test_a_lost_answer_does_not_make_a_second_message(world: World) -> None:
    session, key = new_session_id(), new_message_id()
    mine, theirs = await world.phone("15550001"), await world.phone("15550002")
    async with world.node(loopback={"faults": LoopbackFaults(replies_lost=1)}):
        await world.online(session, mine)
        lost = await code_of(world.send(session, theirs.wid, "once", key=key))
        assert lost is ErrorCode.PAGE_TIMEOUT
        again = await world.send(session, theirs.wid, "once", key=key)
        assert (again.state, again.found_before) == (MessageState.SENT, True)
        assert [m.message.id for m in await theirs.messages(mine.wid)] == [key]


async def test_a_wrong_recipient_is_a_final_answer(world: World) -> None:
    session, phone = new_session_id(), await world.phone()
    async with world.node():
        await world.online(session, phone)
        answer = await world.send(session, "15559999@c.us", "anybody?")
        assert answer.state is MessageState.FAILED
        assert answer.error_code == "recipient_not_on_whatsapp"


async def test_the_phone_unlinks_the_device(world: World) -> None:
    session, phone = new_session_id(), await world.phone()
    async with world.node():
        await world.online(session, phone)
        await phone.unlink()
        seen = await world.reaches(session, SessionState.LOGGED_OUT)
        assert (seen.reason, seen.phone) == ("phone", None)


async def test_a_pairing_code_links_too_and_a_linked_session_gives_no_codes(world: World) -> None:
    session, phone = new_session_id(), await world.phone()
    ask = c.GetPairingCode(session_id=session, epoch=1, phone=phone.number)
    async with world.node():
        await world.start(session)
        await world.reaches(session, SessionState.PAIRING)
        answer = await world.ask("pairing_code", ask)
        assert await phone.enter_pairing_code(answer.code) == "linked"
        await world.reaches(session, SessionState.ONLINE)
        assert await code_of(world.qr(session)) is ErrorCode.SESSION_ALREADY_LINKED
        assert await code_of(world.ask("pairing_code", ask)) is ErrorCode.SESSION_ALREADY_LINKED


async def test_a_passkey_is_waited_for(world: World) -> None:
    session, phone = new_session_id(), await world.phone()
    await phone.set_faults(passkey=True)
    async with world.node():
        await world.start(session)
        await world.reaches(session, SessionState.PAIRING)
        assert await phone.scan((await world.qr(session)).value) == "passkey"
        await world.reaches(session, SessionState.PASSKEY_REQUIRED)
        await phone.confirm_passkey()
        await world.reaches(session, SessionState.ONLINE)


async def test_codes_that_ran_out_are_renewed_on_request(world: World) -> None:
    session, phone = new_session_id(), await world.phone()
    world.sandbox.switch.settings = SandboxSettings(time_scale=0.002)
    async with world.node():
        await world.start(session)
        await world.sees(SessionQrIdle)
        assert await code_of(world.qr(session)) is ErrorCode.QR_EXPIRED
        world.sandbox.switch.settings = SandboxSettings()
        fresh = await world.qr(session, renew=True)
        await phone.scan(fresh.value)
        await world.reaches(session, SessionState.ONLINE)


async def test_a_bus_outage_loses_no_event(world: World) -> None:
    session = new_session_id()
    mine, theirs = await world.phone("15550001"), await world.phone("15550002")
    async with world.node():
        await world.online(session, mine)
        started = world.nats.pid
        # SIGKILL by its own pid: the embedded server comes back on the same port.
        await _kill(started)
        sent = [await theirs.send_text(mine.wid, f"during the outage {n}") for n in range(20)]
        await eventually(lambda: world.nats.pid not in (0, started), timeout_s=20)
        sent += [await theirs.send_text(mine.wid, "after it")]
        await eventually(
            lambda: len(world.data(MessageReceived)) >= len(sent), timeout_s=20, what="all events"
        )
        await world.reaches(session, SessionState.ONLINE)
    got = [m.message.message_id for m in world.data(MessageReceived)]
    assert got == sent  # all of them, once, in order


async def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    await eventually(lambda: not _alive(pid))


def _alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


async def test_stop_and_start_at_once_never_race(world: World) -> None:
    session, phone = new_session_id(), await world.phone()
    async with world.node(loopback={"faults": LoopbackFaults(start_delay_s=0.05)}):
        await world.online(session, phone)
        restart = c.RestartSession(session_id=session, epoch=1)
        began = time.monotonic()
        await asyncio.gather(
            world.stop(session),
            world.start(session),
            world.ask("restart", restart),
            world.stop(session),
            world.start(session),
        )
        assert time.monotonic() - began < 5
        await world.start(session)
        await world.reaches(session, SessionState.ONLINE)
        await eventually(lambda: _instances(phone, 1))
