"""The engine contract: one suite, every engine."""

# ruff: noqa: F811 - fixtures are imported and named again as arguments

import asyncio
import hashlib
import shutil
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from schemas.errors import BlazzError, ErrorCode
from schemas.messages import Media, MediaRef
from schemas.states import Ack, EngineKind, MessageDirection, MessageKind
from swarm_node.engines.contract import (
    AckChanged,
    Linked,
    LoggedOut,
    MediaKey,
    MessageArrived,
    QrShown,
    Replaced,
    SendRequest,
)
from tests.contract.engine_fixtures import RIGS, STALE_AFTER_FRAMES, Rig, rig  # noqa: F401
from tests.waiting import eventually

T = TypeVar("T")

PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)


def key(number: int) -> str:
    return f"3EB0{number:018X}"


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
    """The call's answer, over errors that call themselves retryable."""

    async def answered() -> list[T]:
        try:
            return [await call()]
        except BlazzError as error:
            if not error.retryable:
                raise
            return []

    return (await eventually(answered, timeout_s=15))[0]


def test_every_kind_takes_part() -> None:
    assert set(RIGS) == set(EngineKind)


async def test_from_a_code_to_messages_to_a_logout(rig: Rig) -> None:
    me, friend = rig.me, rig.friend
    running = await rig.start()
    engine = running.engine
    assert engine.capabilities.kind is rig.kind
    code = await running.sees(QrShown)
    assert (code.index, code.expires_in_s > 0) == (1, True)
    probe = await engine.probe()
    assert not probe.authenticated
    assert not probe.online
    await running.link(me)
    identity = running.all(Linked)[0].identity
    assert identity.phone == me.number
    with pytest.raises(BlazzError) as raised:
        await engine.renew_qr()
    assert raised.value.code is ErrorCode.SESSION_ALREADY_LINKED

    sent = await running.send(key(1), friend.wid, "hello")
    assert (sent.chat_id, sent.found_before, sent.ack.level >= 1) == (friend.wid, False, True)
    again = await running.send(key(1), friend.wid, "hello")
    assert again.found_before
    assert [m.message.id for m in await friend.messages(me.wid)] == [key(1)]
    await friend.read(me.wid)
    await running.sees(AckChanged, lambda a: a.message_id == key(1) and a.ack is Ack.READ)

    arrived = await friend.send_text(me.wid, "hi")
    message = (
        await running.sees(MessageArrived, lambda m: m.message.message_id == arrived)
    ).message
    assert (message.text, message.chat_id, message.direction, message.kind) == (
        "hi",
        friend.wid,
        MessageDirection.INBOUND,
        MessageKind.TEXT,
    )

    with pytest.raises(BlazzError) as raised:
        await running.send(key(2), "15559999@c.us", "anybody?")
    assert raised.value.code is ErrorCode.RECIPIENT_NOT_ON_WHATSAPP
    assert not raised.value.retryable

    path = rig.folder / "picture.png"
    path.write_bytes(PICTURE)
    ref = MediaRef(
        media_id="med_" + "0" * 26,
        mimetype="image/png",
        size_bytes=len(PICTURE),
        sha256=hashlib.sha256(PICTURE).hexdigest(),
        filename="picture.png",
    )
    content = Media(kind=MessageKind.IMAGE, media=ref, caption="look")
    await engine.send(SendRequest(key(3), friend.wid, content, path))
    got = (await friend.messages(me.wid))[-1].message
    assert (got.type, got.body) == ("image", "look")

    media_id = await friend.send_media(me.wid, PICTURE, "image/png", caption="this?")
    await running.sees(MessageArrived, lambda m: m.message.message_id == media_id)
    media = await engine.download(MediaKey(media_id, friend.wid, from_me=False))
    assert (media.data, media.mimetype) == (PICTURE, "image/png")
    with pytest.raises(BlazzError) as raised:
        await engine.download(MediaKey(key(99), friend.wid, from_me=False))
    assert raised.value.code is ErrorCode.MEDIA_NOT_FOUND

    await engine.logout()
    await running.sees(LoggedOut)
    assert await me.devices() == []
    await engine.stop()
    await engine.stop()
    async with asyncio.timeout(20):
        await running.ended.wait()


async def test_a_pairing_code_links(rig: Rig) -> None:
    running = await rig.start()
    await running.sees(QrShown)
    code = await patiently(lambda: running.engine.pairing_code(rig.me.number))
    assert len(code) == 8
    assert await rig.me.enter_pairing_code(code) == "linked"
    await running.sees(Linked)
    await running.online()


async def test_snapshot_round_trip(rig: Rig) -> None:
    """A copy taken while messages flow is a whole session, with no new code."""
    me, friend = rig.me, rig.friend
    first = await rig.start()
    await first.link(me)
    await first.send(key(1), friend.wid, "before")
    snapshots = rig.snapshots()
    await snapshots.take(first.engine)

    async def talk() -> None:
        for number in range(2, 8):
            await friend.send_text(me.wid, f"in {number}")
            await first.send(key(number), friend.wid, f"out {number}")

    async with asyncio.TaskGroup() as group:
        talking = group.create_task(talk())
        await first.sees(AckChanged, lambda a: a.message_id == key(2))
        assert not talking.done()
        await snapshots.take(first.engine)
    await first.engine.kill()
    snapshots.restore(rig.folder / "restored")

    second = await rig.start("restored", page_storage=snapshots.page_storage)
    assert (await second.sees(Linked)).identity.phone == me.number
    await second.online()
    assert second.all(QrShown) == []
    for number in (1, 2):
        assert (await second.send(key(number), friend.wid, "before")).found_before
    await friend.read(me.wid)
    await second.sees(AckChanged, lambda a: a.message_id == key(1) and a.ack is Ack.READ)
    arrived = await friend.send_text(me.wid, "after")
    await second.sees(MessageArrived, lambda m: m.message.message_id == arrived)
    sent = [m.message.id for m in await friend.messages(me.wid) if not m.message.from_me]
    assert sent == [key(number) for number in range(1, 8)]
    assert await rig.book.log(0, "hold.started") == []


async def test_a_snapshot_that_is_too_old_ends_as_logged_out(rig: Rig) -> None:
    me, friend = rig.me, rig.friend
    first = await rig.start()
    await first.link(me)
    snapshots = rig.snapshots()
    await snapshots.take(first.engine)
    for number in range(STALE_AFTER_FRAMES + 1):
        last = await friend.send_text(me.wid, f"{number}")
    await first.sees(MessageArrived, lambda m: m.message.message_id == last)

    async def stored() -> bool:
        entries = await rig.book.log(0, "message.stored")
        return len(entries) > STALE_AFTER_FRAMES

    await eventually(stored, timeout_s=10, what="all are stored")
    await first.engine.kill()

    snapshots.restore(rig.folder / "old")
    second = await rig.start("old", page_storage=snapshots.page_storage)
    assert (await second.sees(LoggedOut)).reason
    assert not (await second.engine.probe()).online
    assert second.all(QrShown) == []
    assert await me.devices() == []


async def test_a_profile_outlives_its_engines_and_a_twin_is_not_fought(rig: Rig) -> None:
    me, friend = rig.me, rig.friend
    first = await rig.start()
    await first.link(me)
    await first.send(key(1), friend.wid, "once")
    await first.engine.stop()
    shutil.copytree(rig.folder / "profile", rig.folder / "twin", symlinks=True)

    waiting = await friend.send_text(me.wid, "while you were away")
    second = await rig.start()
    await second.sees(Linked)
    await second.online()
    await second.sees(MessageArrived, lambda m: m.message.message_id == waiting)
    assert second.all(QrShown) == []
    assert (await second.send(key(1), friend.wid, "once")).found_before
    assert [m.message.id for m in await friend.messages(me.wid)].count(key(1)) == 1

    twin = await rig.start("twin")
    await second.sees(Replaced)
    await twin.online()
    (hold,) = await rig.book.log(0, "hold.started")
    assert len(set(hold.instances)) == 2
    assert not (await second.engine.probe()).online
    await second.engine.kill()
    await second.engine.kill()
    assert (await twin.engine.probe()).online
    await me.unlink()
    assert (await twin.sees(LoggedOut)).reason
    await twin.engine.stop()
