"""The Chromium engine on the sandbox: one session from its first code to its logout.

A browser costs seconds, so each test tells a whole story.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import shutil
from pathlib import Path

import msgspec
import pytest

from sandbox.settings import SandboxSettings
from schemas.errors import BlazzError, ErrorCode
from schemas.messages import Text
from schemas.states import Ack, MessageDirection, MessageKind
from swarm_node.engines.chromium import open_host
from swarm_node.engines.contract import (
    AckChanged,
    Deleted,
    Edited,
    Linked,
    LoggedOut,
    MediaKey,
    MessageArrived,
    PasskeyAsked,
    QrExpired,
    QrShown,
    Reacted,
    Replaced,
    SendRequest,
)
from tests.e2e.chromium_engine_rig import BOB, BOB_WID, ME, Rig, hex_id, rigged
from tests.waiting import eventually

EVE, EVE_LID = "15550003", "7770003@lid"


async def test_a_session_from_qr_to_logout(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        me, bob = rig.book.phone(ME), rig.book.phone(BOB)
        eve = await rig.book.create(EVE, "Eve", lid="7770003", lid_only=True)
        group = await rig.book.create_group("Crew", me, bob, eve)
        await bob.send_text(ME, "history, no news")
        await rig.start()
        shown = await rig.event(QrShown)
        assert (shown.index, shown.count, shown.expires_in_s) == (1, 6, 60.0)
        with pytest.raises(BlazzError) as early:
            await rig.send(1, "too early")
        assert early.value.code is ErrorCode.SESSION_NOT_ONLINE
        await rig.link(me)
        linked = await rig.event(Linked)
        assert linked.identity.phone == ME
        assert linked.identity.name == "Me"

        await _sends(rig)
        await _sends_to_lids_and_groups(rig, group)
        await _receives(rig, group)
        await _sends_media(rig, tmp_path)
        await _stays_linked_over_a_restart(rig)

        await rig.live.logout()
        assert (await rig.event(LoggedOut)).reason
        assert not (await rig.live.probe()).online
        await rig.stop()
        assert not await me.devices()


async def _sends(rig: Rig) -> None:
    sent = await rig.send(1, "hello")
    assert sent.chat_id == BOB_WID
    assert sent.ack.level >= Ack.SENT.level
    assert not sent.found_before
    again, twice = await asyncio.gather(rig.send(1, "hello"), rig.send(1, "hello"))
    assert again.found_before
    assert twice.found_before
    await rig.send(2, "and again")
    assert [await rig.accepted(1), await rig.accepted(2)] == [1, 1]
    await rig.event(AckChanged, message_id=hex_id(1), ack=Ack.DELIVERED)
    await rig.book.phone(BOB).read(f"{ME}@c.us")
    await rig.event(AckChanged, message_id=hex_id(1), ack=Ack.READ, chat_id=BOB_WID)

    with pytest.raises(BlazzError) as nobody:
        await rig.send(3, "anyone?", to="15559999@c.us")
    assert nobody.value.code is ErrorCode.RECIPIENT_NOT_ON_WHATSAPP
    await rig.book.set_faults(reject_sends=1)
    with pytest.raises(BlazzError) as refused:
        await rig.send(4, "no")
    assert refused.value.code is ErrorCode.MESSAGE_REFUSED


async def _sends_to_lids_and_groups(rig: Rig, group: str) -> None:
    # Two attempts at once are one message, even while its chat is still being looked for.
    attempts = (rig.send(10, "hello Eve", to=f"{EVE}@c.us") for _ in range(2))
    to_lid, twin = await asyncio.gather(*attempts)
    assert (to_lid.chat_id, twin.chat_id) == (EVE_LID, EVE_LID)
    assert to_lid.found_before is not twin.found_before
    assert (await rig.send(10, "hello Eve", to=f"{EVE}@c.us")).found_before
    to_group = await rig.send(11, "hello all", to=group)
    assert to_group.chat_id == group
    assert (await rig.send(11, "hello all", to=group)).found_before
    assert [await rig.accepted(10), await rig.accepted(11)] == [1, 1]
    # Nor did WhatsApp have to tell any second one from the first.
    assert await rig.book.log(0, "message.resent") == []


async def _receives(rig: Rig, group: str) -> None:
    bob = rig.book.phone(BOB)
    text = await bob.send_text(ME, "hi")
    message = (await rig.arrived(text)).message
    assert message.text == "hi"
    assert message.direction is MessageDirection.INBOUND
    assert (message.chat_id, message.from_id) == (BOB_WID, BOB_WID)

    in_group = (await rig.arrived(await bob.send_text(group, "hi all"))).message
    assert (in_group.chat_id, in_group.from_id) == (group, BOB_WID)
    own = (await rig.arrived(await rig.book.phone(ME).send_text(BOB, "from my phone"))).message
    assert own.direction is MessageDirection.OUTBOUND

    answer = (await rig.arrived(await bob.reply(ME, hex_id(1), "an answer"))).message
    assert answer.reply_to == hex_id(1)
    # What this device sent itself is no news.
    arrivals = {e.message.message_id for e in rig.events if isinstance(e, MessageArrived)}
    assert not arrivals & {hex_id(1), hex_id(2), hex_id(10), hex_id(11)}
    assert len(arrivals) == 4
    reply = SendRequest(hex_id(20), BOB_WID, Text("a reply", reply_to=text))
    await rig.live.send(reply)
    seen = [m for m in await bob.messages(f"{ME}@c.us") if m.message.id == hex_id(20)]
    assert seen[0].message.quoted_id == text

    await bob.react(ME, hex_id(1), "👍")
    await rig.event(Reacted, message_id=hex_id(1), chat_id=BOB_WID, emoji="👍", from_id=BOB_WID)
    await bob.edit(ME, text, "hi, edited")
    await rig.event(Edited, message_id=text, chat_id=BOB_WID, text="hi, edited")
    await bob.delete(ME, text)
    await rig.event(Deleted, message_id=text, chat_id=BOB_WID)


async def _sends_media(rig: Rig, root: Path) -> None:
    path = root / "a file.pdf"
    path.write_bytes(os.urandom(2_000_000))
    kinds = {
        MessageKind.DOCUMENT: "application/pdf",
        MessageKind.IMAGE: "image/png",
        MessageKind.VIDEO: "video/mp4",
        MessageKind.AUDIO: "audio/mpeg",
        MessageKind.VOICE: "audio/ogg",
    }
    for number, (kind, mimetype) in enumerate(kinds.items(), start=30):
        sent = await rig.send_file(number, kind, path, mimetype)
        assert sent.ack.level >= Ack.SENT.level, kind
    assert (await rig.send_file(30, MessageKind.DOCUMENT, path, "application/pdf")).found_before
    got = {m.message.id: m.message for m in await rig.book.phone(BOB).messages(f"{ME}@c.us")}
    types = [got[hex_id(number)].type for number in range(30, 35)]
    assert types == ["document", "image", "video", "audio", "ptt"]
    document = got[hex_id(30)].media
    assert document is not None
    assert (document.filename, document.mimetype) == ("a file.pdf", "application/pdf")
    assert await rig.book.get_media(document.media_id) == path.read_bytes()

    data = os.urandom(4_000_001)
    picture = await rig.book.phone(BOB).send_media(ME, data, "image/png", caption="look")
    message = (await rig.arrived(picture)).message
    assert (message.kind, message.text) == (MessageKind.IMAGE, "look")
    assert message.media is not None
    assert message.media.mimetype == "image/png"
    read = await rig.live.download(MediaKey(picture, message.chat_id, from_me=False))
    assert (read.data, read.mimetype) == (data, "image/png")
    with pytest.raises(BlazzError) as missing:
        await rig.live.download(MediaKey(hex_id(99), message.chat_id, from_me=False))
    assert missing.value.code is ErrorCode.MEDIA_NOT_FOUND


async def _stays_linked_over_a_restart(rig: Rig) -> None:
    await rig.stop()
    assert not list(rig.profile.glob("Singleton*"))
    # It waits at WhatsApp and arrives before wa-js listens.
    waited = await rig.book.phone(BOB).send_text(ME, "while you were away")
    await rig.start()
    await rig.online()
    assert (await rig.event(Linked)).identity.phone == ME
    await rig.arrived(waited)
    assert not [event for event in rig.events if isinstance(event, QrShown)]
    assert (await rig.send(1, "hello")).found_before
    assert await rig.accepted(1) == 1
    told = [e.message.text for e in rig.events if hasattr(e, "message")]
    assert "history, no news" not in told


async def test_linking_the_other_ways(tmp_path: Path) -> None:
    quick = SandboxSettings(time_scale=0.02)
    async with rigged(tmp_path, sandbox_settings=quick) as rig:
        me = rig.book.phone(ME)
        await rig.start()
        # Six codes, then none; new ones only when asked for.
        await rig.event(QrShown, index=6)
        await rig.event(QrExpired)
        rig.events.clear()
        await rig.live.renew_qr()
        assert (await rig.event(QrShown)).index == 1

        await rig.book.set_faults(passkey=True, whats_new_deadline_ms=3000)
        code = await rig.live.pairing_code(ME)
        assert len(code) == 8
        assert await me.enter_pairing_code(code) == "passkey"
        await rig.event(PasskeyAsked)
        await me.confirm_passkey()
        await rig.event(Linked)
        await rig.online()

        # The "What's new" dialog was closed: the device outlives its deadline.
        await rig.book.set_faults(passkey=False)
        await rig.quiet(LoggedOut, for_s=3.2)
        await rig.online()
        for call in (rig.live.renew_qr(), rig.live.pairing_code(ME)):
            with pytest.raises(BlazzError) as linked:
                await call
            assert linked.value.code is ErrorCode.SESSION_ALREADY_LINKED

        # Unlinked while away: that is told, and is no new pairing.
        await rig.stop()
        await me.unlink()
        await rig.start()
        await rig.event(LoggedOut)
        assert not [event for event in rig.events if isinstance(event, QrShown)]
        await rig.stop()
        await rig.start()
        await rig.event(QrShown)


async def test_a_bad_line(tmp_path: Path) -> None:
    async with rigged(tmp_path, send_timeout_s=2.0) as rig:
        me, bob = rig.book.phone(ME), rig.book.phone(BOB)
        await rig.start()
        await rig.link(me)
        await rig.send(1, "known chat")

        # WhatsApp is slow: the send is not reported as done, and its repeat is no second message.
        await me.set_faults(ack_delay_ms=3000)
        with pytest.raises(BlazzError) as slow:
            await rig.send(2, "slow")
        assert slow.value.code is ErrorCode.PAGE_TIMEOUT
        await me.set_faults(ack_delay_ms=0)
        await rig.event(AckChanged, message_id=hex_id(2))
        assert (await rig.send(2, "slow")).found_before

        # The answer is lost with the line: the repeat finds out.
        await me.set_faults(lose_answers=1)

        async def sent() -> bool:
            with contextlib.suppress(BlazzError):
                return bool(await rig.send(3, "lost answer"))
            return False

        await eventually(sent, timeout_s=20, what="the repeat")
        assert [await rig.accepted(2), await rig.accepted(3)] == [1, 1]

        await me.set_faults(offline=True)

        async def offline() -> bool:
            return not (await rig.live.probe()).online

        await eventually(offline, timeout_s=15)
        with pytest.raises(BlazzError) as away:
            await rig.send(4, "nobody there")
        assert away.value.code is ErrorCode.SESSION_NOT_ONLINE
        waited = await bob.send_text(ME, "are you there?")
        await me.set_faults(offline=False)
        await rig.online(timeout_s=30)
        await rig.arrived(waited)
        assert not (await rig.send(4, "back")).found_before


async def test_another_client_with_the_same_keys_is_told_and_not_fought(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        await rig.start()
        await rig.link(rig.book.phone(ME))
        await rig.stop()
        twin = Rig(rig.book, rig.host, rig.settings, tmp_path / "twin")
        await asyncio.to_thread(_copy_profile, rig.profile, twin.profile)
        await rig.start()
        await rig.online()
        try:
            await twin.start()
            await twin.online()
            await rig.event(Replaced)
            assert not (await rig.live.probe()).online
            # It is left alone: the other one stays online.
            await twin.quiet(Replaced, for_s=1.5)
            assert (await twin.live.probe()).online
            assert len([event for event in rig.events if isinstance(event, Replaced)]) == 1
        finally:
            await twin.kill()


async def test_everything_goes_through_the_proxy(tmp_path: Path) -> None:
    asked: list[str] = []
    async with rigged(tmp_path) as rig:
        rules = next(arg for arg in rig.settings.extra_args if "MAP web" in arg)
        page_port = int(rules.rpartition(":")[2])

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            target, login = head.split()[1], base64.b64encode(b"user:secret").decode()
            if f"Basic {login}" not in head:
                writer.write(
                    b"HTTP/1.1 407 Proxy Authentication Required\r\n"
                    b'Proxy-Authenticate: Basic realm="p"\r\nContent-Length: 0\r\n'
                    b"Connection: close\r\n\r\n"
                )
            else:
                asked.append(target)
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                there = await asyncio.open_connection("127.0.0.1", page_port)
                await asyncio.gather(_pipe(reader, there[1]), _pipe(there[0], writer))
            writer.close()

        proxy = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with proxy:
            port = proxy.sockets[0].getsockname()[1]
            # Without the sandbox's rules: only the proxy knows the way.
            spki = tuple(arg for arg in rig.settings.extra_args if "MAP" not in arg)
            settings = msgspec.structs.replace(rig.settings, extra_args=spki)
            async with open_host(settings) as host:
                rig.host = host
                await rig.start(settings, proxy=f"http://user:secret@127.0.0.1:{port}")
                await rig.link(rig.book.phone(ME))
                await rig.kill()
    assert "web.whatsapp.com:443" in asked


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


def _copy_profile(source: Path, target: Path) -> None:
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("Singleton*"), symlinks=True)
