"""The switch over its real listeners: linking, queues, receipts, holds, faults, and the log."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator

import aiohttp
import pytest
import qrcode

from sandbox.phone import Phone, PhoneBook, PhoneError
from sandbox.server import Sandbox
from sandbox.settings import SandboxSettings
from schemas import switch_wire as wire
from tests.integration.switch_device import DeviceKeys, Line, open_line
from tests.waiting import eventually

ME, BOB = "15550001", "15550002"
BOB_WID = f"{BOB}@c.us"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(SandboxSettings(time_scale=0.005, stale_after_frames=5)) as running:
        yield running


@pytest.fixture
async def book(sandbox: Sandbox) -> AsyncIterator[PhoneBook]:
    async with PhoneBook(sandbox.api_url) as opened:
        yield opened


@pytest.fixture
async def me(book: PhoneBook) -> Phone:
    return await book.create(ME, "Me")


@pytest.fixture
async def bob(book: PhoneBook) -> Phone:
    return await book.create(BOB, "Bob")


async def _link(line: Line, phone: Phone) -> None:
    await line.hello()
    qr = await line.wait(wire.Qr)
    await phone.scan(f"{qr.ref},key,key,adv")
    await line.wait(wire.SyncDone)


async def test_links_syncs_and_delivers_once(
    sandbox: Sandbox, book: PhoneBook, me: Phone, bob: Phone
) -> None:
    keys = DeviceKeys()
    await bob.send_text(ME, "from before")
    async with open_line(sandbox, keys) as line:
        await _link(line, me)
        synced = [f for f in line.passed if isinstance(f, wire.Sync)]
        assert [f.percent for f in synced] == [0, 40, 100]
        assert [m.body for f in synced for m in f.messages] == ["from before"]

        await line.send("3EB0AA", BOB_WID, "hello")
        assert not (await line.wait(wire.Sent)).resend
        assert (await line.wait(wire.Ack)).ack == wire.ACK_DELIVERED
        await bob.read(ME)
        assert (await line.wait(wire.Ack)).ack == wire.ACK_READ
        await line.send("3EB0AA", BOB_WID, "hello")
        assert (await line.wait(wire.Sent)).resend
        await line.send("3EB0BB", "15559999@c.us", "nobody")
        assert (await line.wait(wire.SendFailed)).reason == "unknown_chat"

    # Away: what comes waits, and is delivered once, in order.
    for body in ("one", "two"):
        await bob.send_text(ME, body)
    async with open_line(sandbox, keys) as line:
        await line.hello()
        await line.wait(wire.SyncDone)
        waited = [f for f in line.passed if isinstance(f, wire.MessageIn)]
        assert [f.message.body for f in waited] == ["one", "two"]
        assert all(f.offline for f in waited)

        async def confirmed() -> bool:
            return len(await book.log(0, "message.stored")) == 2

        await eventually(confirmed)
    async with open_line(sandbox, keys) as line:
        await line.hello()
        assert (await line.wait(wire.Welcome)).queued == 0

    assert [m.message.body for m in await bob.messages(ME)].count("hello") == 1
    assert len(await book.log(0, "message.accepted")) == 4
    assert len(await book.log(0, "message.resent")) == 1


async def test_a_phone_that_is_off_acks_when_it_is_on(
    sandbox: Sandbox, me: Phone, bob: Phone
) -> None:
    await bob.set(on=False, auto_read=True)
    async with open_line(sandbox, DeviceKeys()) as line:
        await _link(line, me)
        await line.send("3EB0AA", BOB_WID, "hello")
        await line.wait(wire.Sent)
        assert (await bob.messages(ME))[0].message.ack == wire.ACK_SENT
        await bob.set(on=True)
        assert (await line.wait(wire.Ack)).ack == wire.ACK_READ


async def test_two_runs_of_one_device_are_a_hold(
    sandbox: Sandbox, book: PhoneBook, me: Phone, bob: Phone
) -> None:
    keys = DeviceKeys()
    async with open_line(sandbox, keys) as older, open_line(sandbox, keys) as newer:
        await _link(older, me)
        await newer.hello(instance="run-2")
        await newer.wait(wire.SyncDone)
        await older.wait(wire.Conflict)
        await older.send("3EB0AA", BOB_WID, "from the fenced one")
        await older.post(wire.Takeover())
        await older.wait(wire.Welcome)
        await newer.wait(wire.Conflict)
    (first, second) = await book.log(0, "hold.started")
    assert (first.instances, second.instances) == (("run-1", "run-2"), ("run-2", "run-1"))
    (rejected,) = await book.log(0, "message.rejected")
    assert rejected.reason == "conflict"
    assert await bob.messages(ME) == []
    assert await eventually(lambda: book.log(0, "hold.ended"))


async def test_an_old_snapshot_is_unlinked(
    sandbox: Sandbox, book: PhoneBook, me: Phone, bob: Phone
) -> None:
    keys = DeviceKeys()
    async with open_line(sandbox, keys) as line:
        await _link(line, me)
        for number in range(6):
            await bob.send_text(ME, str(number))
            await line.wait(wire.MessageIn)

        async def confirmed() -> bool:
            return (await me.devices())[0].stored_seq == 6

        await eventually(confirmed)
    async with open_line(sandbox, keys) as line:
        # A little behind is borne, and noted.
        await line.hello(freshness=2)
        await line.wait(wire.SyncDone)
    async with open_line(sandbox, keys) as line:
        await line.hello(freshness=0)
        assert (await line.wait(wire.Refused)).reason == "stale_state"
    assert await me.devices() == []
    assert len(await book.log(0, "device.rolled_back")) == 2


async def test_a_profile_without_its_key_cannot_log_in(sandbox: Sandbox, me: Phone) -> None:
    keys, thief = DeviceKeys(), DeviceKeys()
    async with open_line(sandbox, keys) as line:
        await _link(line, me)
    thief.device_id = keys.device_id
    async with open_line(sandbox, thief) as line:
        await line.hello()
        assert (await line.wait(wire.Refused)).reason == "bad_proof"
    assert len(await me.devices()) == 1


async def test_refs_and_codes_expire(sandbox: Sandbox, book: PhoneBook, me: Phone) -> None:
    async with open_line(sandbox, DeviceKeys()) as line:
        await line.hello()
        first = await line.wait(wire.Qr)
        await line.wait(wire.QrIdle)
        run = [first, *(f for f in line.passed if isinstance(f, wire.Qr))]
        assert [f.index for f in run] == [0, 1, 2, 3, 4, 5]
        assert (run[0].ttl_ms, run[1].ttl_ms) == (300, 100)
        with pytest.raises(PhoneError, match="expired"):
            await me.scan(run[-1].ref)

        await line.post(wire.RequestPairingCode(req=7, phone=ME))
        code = await line.wait(wire.PairingCode)
        assert code.req == 7
        with pytest.raises(PhoneError, match="wrong_code"):
            await me.enter_pairing_code("AAAA-AAAA")
        await book.set_faults(expired_codes=True)
        with pytest.raises(PhoneError, match="expired"):
            await me.enter_pairing_code(code.code)
        await book.clear_faults()
        await me.set_faults(passkey=True)
        assert await me.enter_pairing_code(f"{code.code[:4]}-{code.code[4:].lower()}") == "passkey"
        await line.wait(wire.PasskeyRequired)
        await me.confirm_passkey()
        await line.wait(wire.SyncDone)


async def test_faults_strike_sends_and_links(
    sandbox: Sandbox, book: PhoneBook, me: Phone, bob: Phone
) -> None:
    keys = DeviceKeys()
    async with open_line(sandbox, keys) as line:
        await _link(line, me)
        await me.set_faults(reject_sends=1)
        await line.send("3EB001", BOB_WID, "no")
        assert (await line.wait(wire.SendFailed)).reason == "rejected"
        await me.set_faults(lose_answers=1)
        await line.send("3EB002", BOB_WID, "accepted, unanswered")
        assert await line.closed()
    assert [m.message.body for m in await bob.messages(ME)] == ["accepted, unanswered"]
    async with open_line(sandbox, keys) as line:
        await line.hello()
        await line.wait(wire.SyncDone)
        await line.send("3EB002", BOB_WID, "accepted, unanswered")
        assert (await line.wait(wire.Sent)).resend
        await book.set_faults(offline=True)
        assert await line.closed()
    async with open_line(sandbox, keys) as line:
        await line.post(wire.Hello(instance="run-1", app_version="2.3", device_id=keys.device_id))
        assert await line.closed()
    await book.clear_faults()
    async with open_line(sandbox, keys) as line:
        await line.hello()
        await line.wait(wire.SyncDone)
        await me.set_faults(whats_new_deadline_ms=50)
        await line.wait(wire.Notice)
        assert (await line.wait(wire.Unlinked)).reason == "notice_ignored"


async def test_slow_acks_still_arrive(sandbox: Sandbox, me: Phone, bob: Phone) -> None:
    async with open_line(sandbox, DeviceKeys()) as line:
        await _link(line, me)
        await me.set_faults(ack_delay_ms=150)
        await line.send("3EB0AA", BOB_WID, "slow")
        await line.post(wire.Ping(req=2))
        await line.wait(wire.Pong)
        assert not any(isinstance(f, wire.Sent) for f in line.passed)
        await line.wait(wire.Sent)
        assert (await line.wait(wire.Ack)).ack == wire.ACK_DELIVERED


async def test_the_phone_reads_a_qr_from_a_picture(sandbox: Sandbox) -> None:
    pytest.importorskip("zxingcpp")
    picture = io.BytesIO()
    qrcode.make("2@abc,k,k,a").save(picture)
    async with aiohttp.ClientSession(sandbox.api_url) as http:
        async with http.post("/api/qr", data=picture.getvalue()) as response:
            assert await response.json() == {"text": "2@abc,k,k,a"}
        async with http.post("/api/qr", data=b"no picture") as response:
            assert (response.status, (await response.json())["error"]) == (422, "invalid")


async def test_the_phone_api_answers_only_its_own_page(sandbox: Sandbox) -> None:
    async with aiohttp.ClientSession(sandbox.api_url) as http:
        for headers in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}):
            async with http.get("/api/accounts", headers=headers) as response:
                assert response.status == 403
        async with http.get("/") as response:
            assert "Sandbox phone" in await response.text()
        async with http.post("/api/accounts", data=b'{"number": "x"}') as response:
            assert response.status == 422
