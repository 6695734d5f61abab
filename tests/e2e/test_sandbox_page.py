"""The sandbox page under the real, unmodified wa-js in a real Chromium, at WhatsApp's own origin.

What it shows is that a driver can rely on the page: every WPP function Blazz uses, over a restart
and a conflict, with the switch's log as the witness.
"""

from __future__ import annotations

import base64
import shutil
from pathlib import Path

import pytest

from sandbox.phone import Phone, PhoneBook
from sandbox.server import Sandbox
from sandbox.settings import SandboxSettings, find_wa_js
from schemas import switch_wire as wire
from tests.e2e.sandbox_browser import IN_USE, Driver, driven_page
from tests.waiting import eventually

pytestmark = pytest.mark.browser

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)
ME, BOB, EVE, DAN = "15550001", "15550002", "15550003", "15550004"
BOB_WID, EVE_LID = f"{BOB}@c.us", "7770003@lid"
KEY = f"true_{BOB_WID}_3EB0AABBCCDDEEFF001122"


@pytest.fixture(autouse=True)
def _needs_wa_js() -> None:
    try:
        find_wa_js()
    except FileNotFoundError as error:
        pytest.skip(str(error))


async def test_a_session_from_qr_to_logout(tmp_path: Path) -> None:
    profile, twin = tmp_path / "profile", tmp_path / "twin"
    async with Sandbox() as sandbox, PhoneBook(sandbox.api_url) as book:
        me = await book.create(ME, "Me", lid="7770001")
        bob = await book.create(BOB, "Bob")
        eve = await book.create(EVE, "Eve", lid="7770003", lid_only=True)
        group = await book.create_group("Crew", me, bob, eve)
        await bob.send_text(ME, "from before")

        async with driven_page(sandbox, profile) as web:
            code = await _link(web, me)
            listed = await web.run("WPP.chat.list().then((l) => l.map((c) => String(c.id)).sort())")
            assert listed == sorted([group, BOB_WID])
            await _send_and_receive(web, bob)
            await _media_both_ways(web, book, bob)
            await _change_messages(web, bob)
            await _lids_groups_lookups(web, book, eve, group)
            await _lost_answer(web, book, me, bob)

        # The profile alone brings the session back, with what came meanwhile.
        away = await bob.send_text(ME, "while you were away")
        shutil.copytree(profile, twin, ignore=shutil.ignore_patterns("Singleton*"))
        async with driven_page(sandbox, profile) as web:
            await web.until(IN_USE)
            # It came before wa-js listened, so there was no event: a driver has to look.
            await web.until(f"WPP.whatsapp.MsgStore.get('false_{BOB_WID}_{away}')")
            newest = await web.run(
                "(c) => WPP.chat.getMessages(c, {count: 2}).then((l) => l.map((m) => m.body))",
                BOB_WID,
            )
            assert newest == ["twice?", "while you were away"]
            await _unsent_over_a_reload(web, book, bob)
            kept = await web.run(
                "(id) => WPP.chat.getMessageById(id).then((m) => [m.ack, m.body])", KEY
            )
            assert kept == [3, "hello, edited"]
            assert len(await book.log(0, "device.linked")) == 1
            await _two_browsers_one_device(web, sandbox, book, twin)
            await web.run("WPP.conn.logout()")
            await web.event("conn.logout")
            assert await web.until("WPP.conn.getAuthCode().then((c) => c.fullCode)") != code
            assert await me.devices() == []


async def _link(web: Driver, me: Phone) -> str:
    # Linked earlier than this, wa-js never fires conn.authenticated.
    await web.until("WPP.isFullReady")
    code: str = await web.until("WPP.conn.getAuthCode().then((c) => c.fullCode)")
    assert code.count(",") == 3
    assert await me.scan(code) == "linked"
    await web.until(IN_USE)
    await web.event("conn.authenticated")
    await web.event("conn.main_loaded")
    assert await web.run("String(WPP.conn.getMyUserId())") == me.wid
    return code


async def _send_and_receive(web: Driver, bob: Phone) -> None:
    send = "([c, id]) => WPP.chat.sendTextMessage(c, 'hello', {messageId: id, markIsRead: false})"
    sent = await web.run(send, [BOB_WID, KEY])
    assert sent["id"] == KEY
    assert sent["sendMsgResult"]["messageSendResult"] == "OK"
    await web.ack(KEY, 2)
    await bob.read(ME)
    await web.ack(KEY, 3)
    for ack in (1, 2, 3):
        await web.event("chat.msg_ack_change", ack=ack)

    inbound_id = await bob.send_text(ME, "hi there")
    inbound = (await web.event("chat.new_message", body="hi there"))["id"]
    assert inbound == f"false_{BOB_WID}_{inbound_id}"
    await web.until(f"WPP.chat.get({BOB_WID!r}).unreadCount === 2")
    await web.run("(c) => WPP.chat.markIsRead(c)", BOB_WID)

    async def read_by_me() -> bool:
        return all(m.message.ack == wire.ACK_READ for m in await bob.messages(ME))

    await eventually(read_by_me)


async def _media_both_ways(web: Driver, book: PhoneBook, bob: Phone) -> None:
    data = "data:image/png;base64," + base64.b64encode(PNG).decode()
    send = "([c, data]) => WPP.chat.sendFileMessage(c, data, {type: 'image', caption: 'cap'})"
    image = await web.run(send, [BOB_WID, data])
    await web.ack(image["id"], 2)
    seen = (await bob.messages(ME))[-1].message
    assert (seen.type, seen.body) == ("image", "cap")
    assert seen.media is not None
    assert await book.get_media(seen.media.media_id) == PNG

    await bob.send_media(ME, PNG, "image/png", caption="for you")
    picture = (await web.event("chat.new_message", caption="for you"))["id"]
    download = (
        "(id) => WPP.chat.downloadMedia(id).then((blob) => blob.arrayBuffer())"
        ".then((buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))))"
    )
    assert base64.b64decode(await web.run(download, picture)) == PNG


async def _change_messages(web: Driver, bob: Phone) -> None:
    inbound = (await web.event("chat.new_message", body="hi there"))["id"]
    inbound_id, key_id = inbound.split("_")[2], KEY.split("_")[2]
    reply = await web.run(
        "([c, id]) => WPP.chat.sendTextMessage(c, 'answer', {quotedMsg: id})", [BOB_WID, inbound]
    )
    reply_id = reply["id"].split("_")[2]
    assert (await bob.messages(ME))[-1].message.quoted_id == inbound_id
    await bob.reply(ME, reply_id, "back at you")
    assert (await web.event("chat.new_message", body="back at you"))["quoted"] == reply["id"]

    await web.run("(id) => WPP.chat.sendReactionToMessage(id, '👍')", inbound)
    await bob.react(ME, key_id, "🎉")
    await web.event("chat.new_reaction", msgId=KEY, reactionText="🎉", sender=BOB_WID)
    await web.run("(id) => WPP.chat.editMessage(id, 'hello, edited')", KEY)
    on_phone = {m.message.id: m for m in await bob.messages(ME)}
    assert on_phone[inbound_id].reactions == {ME: "👍"}
    assert on_phone[key_id].message.body == "hello, edited"

    await bob.edit(ME, inbound_id, "hi, edited")
    await web.event("chat.msg_edited", id=inbound)
    body = await web.run("(id) => WPP.chat.getMessageById(id).then((m) => m.body)", inbound)
    assert body == "hi, edited"
    await bob.delete(ME, inbound_id)
    await web.event("chat.msg_revoke", refId=inbound)
    revoked = await web.run(
        "([c, id]) => WPP.chat.deleteMessage(c, id, false, true)", [BOB_WID, reply["id"]]
    )
    assert revoked["isRevoked"]
    assert {m.message.id: m.message.deleted for m in await bob.messages(ME)}[reply_id]


async def _lids_groups_lookups(web: Driver, book: PhoneBook, eve: Phone, group: str) -> None:
    found = await web.run("(c) => WPP.chat.find(c).then((x) => String(x.id))", eve.wid)
    assert found == EVE_LID
    lid_key = f"true_{EVE_LID}_3EB0AABBCCDDEEFF003344"
    send = "([c, id]) => WPP.chat.sendTextMessage(c, 'hi', {messageId: id})"
    await web.run(send, [EVE_LID, lid_key])
    await web.ack(lid_key, 2)

    to_group = await web.run("(c) => WPP.chat.sendTextMessage(c, 'all')", group)
    assert to_group["id"].endswith("_7770001@lid")
    await web.ack(to_group["id"], 2)
    await eve.send_text(group, "me too")
    assert (await web.event("chat.new_message", body="me too"))["author"] == EVE_LID

    lookup = "(w) => WPP.contact.queryExists(w).then((r) => r && String(r.wid))"
    dan = await book.create(DAN, "Dan")
    assert await web.run(lookup, dan.wid) == dan.wid
    assert await web.run(lookup, "15559999@c.us") is None


async def _lost_answer(web: Driver, book: PhoneBook, me: Phone, bob: Phone) -> None:
    await me.set_faults(lose_answers=1)
    lost = await web.run("(c) => WPP.chat.sendTextMessage(c, 'twice?')", BOB_WID)
    assert lost["ack"] >= wire.ACK_SENT
    assert len(await book.log(0, "message.resent")) == 1
    assert [m.message.body for m in await bob.messages(ME)].count("twice?") == 1


async def _unsent_over_a_reload(web: Driver, book: PhoneBook, bob: Phone) -> None:
    await book.set_faults(offline=True)
    await web.until("WPP.whatsapp.Socket.state === 'OPENING'")
    send = "(c) => WPP.chat.sendTextMessage(c, 'later', {waitForAck: false, markIsRead: false})"
    unsent = await web.run(send, BOB_WID)
    assert unsent["ack"] == wire.ACK_CLOCK
    await web.page.reload()
    await book.clear_faults()
    await web.until(IN_USE)
    await web.ack(unsent["id"], 2)
    assert [m.message.body for m in await bob.messages(ME)].count("later") == 1


async def _two_browsers_one_device(
    web: Driver, sandbox: Sandbox, book: PhoneBook, twin: Path
) -> None:
    async with driven_page(sandbox, twin) as other:
        await other.until(IN_USE)
        await web.until("WPP.conn.getStreamData().mode === 'CONFLICT'")
        (hold,) = await book.log(0, "hold.started")
        assert len(set(hold.instances)) == 2
        await web.run("WPP.whatsapp.Socket.takeover()")
        await web.until("WPP.conn.getStreamData().mode === 'MAIN'")
        await other.until("WPP.conn.getStreamData().mode === 'CONFLICT'")

    async def hold_ended() -> bool:
        return bool(await book.log(0, "hold.ended"))

    await eventually(hold_ended)


async def test_faults_of_page_and_link(tmp_path: Path) -> None:
    settings = SandboxSettings(time_scale=0.02)
    async with Sandbox(settings) as sandbox, PhoneBook(sandbox.api_url) as book:
        me = await book.create(ME, "Me")
        bob = await book.create(BOB, "Bob")
        async with driven_page(sandbox, tmp_path / "profile") as web:
            await web.event("conn.qrcode_idle")
            assert (await web.run("WPP.conn.refreshQR()"))["fullCode"]

            await book.set_faults(passkey=True)
            pairing = await web.run("(n) => WPP.conn.genLinkDeviceCodeForPhoneNumber(n)", ME)
            assert await me.enter_pairing_code(pairing) == "passkey"
            await web.page.get_by_role("button", name="Use passkey").click()
            await web.until(IN_USE)

            await me.set_faults(whats_new_deadline_ms=30_000)
            await web.page.get_by_role("button", name="Continue").click()
            await book.clear_faults()

            # wa-js does not find a late MsgCollection: ready, but deaf. A reload cures it.
            await book.set_faults(late_modules=["WAWebMsgCollection"], late_ms=2500)
            await web.page.reload()
            await web.until(IN_USE)
            await bob.send_text(ME, "unheard")

            async def stored() -> bool:
                return bool(await book.log(0, "message.stored"))

            await eventually(stored)
            names = {event["name"] for event in await web.run("events")}
            assert "chat.new_message" not in names
            await book.clear_faults()
            await web.page.reload()
            await web.until(IN_USE)
            await bob.send_text(ME, "heard")
            await web.event("chat.new_message", body="heard")

            await me.unlink()
            await web.event("conn.logout")
            await web.until("!WPP.conn.isAuthenticated()")
