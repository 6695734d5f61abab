"""Every kind of message in groups and @lid chats, and what is refused.

What all engines share is in tests/contract/test_engine_kinds.py; this is what only WhatsApp's own
keys, wids and limits bring.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from PIL import Image

from schemas.chats import ChatPresence
from schemas.errors import BlazzError, ErrorCode
from schemas.messages import (
    Content,
    Delete,
    Edit,
    Forward,
    Media,
    MediaRef,
    MessageRef,
    Poll,
    Reaction,
    Text,
)
from schemas.states import MessageKind
from swarm_node.engines.contract import Edited, Reacted, SendOutcome, SendRequest
from tests.e2e.chromium_engine_rig import BOB, BOB_WID, ME, Rig, hex_id, rigged
from tests.waiting import eventually

EVE, EVE_LID = "15550003", "7770003@lid"


async def _send(
    rig: Rig, number: int, to: str, content: Content, path: Path | None = None
) -> SendOutcome:
    return await rig.live.send(SendRequest(hex_id(number), to, content, path))


async def test_groups_and_lids(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        me, bob = rig.book.phone(ME), rig.book.phone(BOB)
        eve = await rig.book.create(EVE, "Eve", lid="7770003", lid_only=True)
        group = await rig.book.create_group("Crew", me, bob, eve)
        await rig.start()
        await rig.link(me)
        asked = await eve.send_text(group, "who comes?")
        assert (await rig.arrived(asked)).message.from_id == EVE_LID

        # A group's key names its author: theirs is found with it, ours without.
        theirs = MessageRef(asked, group, from_me=False, author=EVE_LID)
        await _send(rig, 1, group, Reaction(theirs, "🙋"))
        assert (await _send(rig, 1, group, Reaction(theirs, "🙋"))).found_before
        text = Text("@7770003 all of us", reply_to=asked, mentions=(EVE_LID,))
        assert (await _send(rig, 2, group, text)).chat_id == group
        ours = MessageRef(hex_id(2), group, from_me=True)
        await _send(rig, 3, group, Edit(ours, "  only us \n"))
        assert (await _send(rig, 3, group, Edit(ours, "  only us \n"))).found_before
        got = {m.message.id: m for m in await eve.messages(group)}
        assert got[asked].reactions == {ME: "🙋"}
        answer = got[hex_id(2)].message
        assert (answer.body, answer.quoted_id, answer.edited) == ("only us", asked, True)
        assert answer.mentions == (EVE_LID,)

        # A file with a caption, edited, passed on to a chat that only its lid leads to.
        path = tmp_path / "plan.pdf"
        path.write_bytes(b"%PDF" + bytes(5000))
        ref = MediaRef("med_0", "application/pdf", 5004, "0" * 64, "plan.pdf")
        await _send(rig, 4, group, Media(MessageKind.DOCUMENT, ref, "the plan"), path)
        document = MessageRef(hex_id(4), group, from_me=True)
        await _send(rig, 5, group, Edit(document, "the new plan"))
        sent = path.read_bytes()
        path.unlink()  # as a node does once it is sent: the page must not count on it
        forwarded = await _send(rig, 6, f"{EVE}@c.us", Forward(document))
        assert forwarded.chat_id == EVE_LID
        assert (await _send(rig, 6, f"{EVE}@c.us", Forward(document))).found_before
        (copy,) = [m.message for m in await eve.messages(ME) if m.message.id == hex_id(6)]
        assert (copy.type, copy.body, copy.forwarded) == ("document", "the new plan", True)
        assert copy.media is not None
        assert copy.media.filename == "plan.pdf"
        assert await rig.book.get_media(copy.media.media_id) == sent
        await _send(rig, 7, EVE_LID, Poll("When?", ("now", "later")))
        in_lid = MessageRef(hex_id(7), EVE_LID, from_me=True)
        # By the number as well as by the lid.
        by_number = MessageRef(hex_id(7), f"{EVE}@c.us", from_me=True)
        assert (await _send(rig, 8, f"{EVE}@c.us", Delete(by_number))).chat_id == EVE_LID
        assert (await _send(rig, 8, EVE_LID, Delete(in_lid))).found_before
        await rig.live.set_presence(EVE_LID, ChatPresence.TYPING)
        await rig.live.mark_seen(f"{EVE}@c.us")

        # From our own phone it is news, from here it was none.
        await me.edit(group, hex_id(2), "only you")
        await rig.event(Edited, message_id=hex_id(2), text="only you")
        await me.react(group, asked, "🎉")
        await rig.event(Reacted, message_id=asked, emoji="🎉", from_id=f"{ME}@c.us")
        assert len([e for e in rig.events if isinstance(e, Edited | Reacted)]) == 2

        await _refused(rig, group, asked, tmp_path)
        await _waits_for_a_poll(rig)


async def _refused(rig: Rig, group: str, asked: str, root: Path) -> None:
    theirs = MessageRef(asked, group, from_me=False, author=EVE_LID)
    for content in (Edit(theirs, "what they never said"), Delete(theirs)):
        with pytest.raises(BlazzError) as refused:
            await _send(rig, 20, group, content)
        assert refused.value.code is ErrorCode.MESSAGE_REFUSED
    (kept,) = [m for m in await rig.book.phone(EVE).messages(group) if m.message.id == asked]
    assert (kept.message.body, kept.message.deleted) == ("who comes?", False)
    # Deleted messages are not passed on, and a reply to one is a plain message.
    gone = MessageRef(hex_id(7), EVE_LID, from_me=True)
    await _send(rig, 22, EVE_LID, Text("as I said", reply_to=hex_id(7)))
    with pytest.raises(BlazzError) as refused:
        await _send(rig, 21, BOB_WID, Forward(gone))
    assert refused.value.code is ErrorCode.MESSAGE_REFUSED
    with pytest.raises(BlazzError) as nobody:
        await _send(rig, 23, group, Text("hello @all", mentions=(group,)))
    assert nobody.value.code is ErrorCode.RECIPIENT_INVALID
    with pytest.raises(BlazzError) as unknown:
        await rig.live.mark_seen("15559999@c.us")
    assert unknown.value.code is ErrorCode.CHAT_NOT_FOUND
    path = root / "no picture.png"
    path.write_bytes(b"not a picture")
    with pytest.raises(BlazzError) as no_picture:
        await rig.live.set_profile("Not me", None, path, False)
    assert no_picture.value.code is ErrorCode.MEDIA_UNSUPPORTED
    assert (await rig.live.read_profile()).name == "Me"
    # A node's files have no ending that would say what they are.
    for kind in ("PNG", "JPEG"):
        await rig.live.set_profile(None, None, None, True)
        assert (await rig.book.phone(ME).profile()).picture == ""
        path = root / f"med_{kind}"
        Image.linear_gradient("L").save(path, kind)
        await rig.live.set_profile(None, None, path, False)
        assert (await rig.book.phone(ME).profile()).picture != ""


async def _waits_for_a_poll(rig: Rig) -> None:
    """Without an ack yet, a poll is not handed over again: it would get a second secret."""
    me, poll = rig.book.phone(ME), Poll("Really?", ("yes", "no"))
    await me.set_faults(ack_delay_ms=9500)
    with pytest.raises(BlazzError) as slow:
        await _send(rig, 30, BOB_WID, poll)
    assert slow.value.code is ErrorCode.PAGE_TIMEOUT
    await me.set_faults(ack_delay_ms=0)

    async def found() -> bool:
        with contextlib.suppress(BlazzError):
            return (await _send(rig, 30, BOB_WID, poll)).found_before
        return False

    await eventually(found, timeout_s=15)
    assert await rig.accepted(30) == 1
    assert await rig.book.log(0, "message.resent") == []

    await me.set_faults(offline=True)

    async def offline() -> bool:
        return not (await rig.live.probe()).online

    await eventually(offline, timeout_s=15)
    # Nobody knows: that is no "not on WhatsApp".
    for call in (rig.live.check_number("15550077"), rig.live.mark_seen(BOB_WID)):
        with pytest.raises(BlazzError) as away:
            await call
        assert away.value.code is ErrorCode.SESSION_NOT_ONLINE
