"""The whole story of one customer, walked by itself: link, send, receive, lose a machine, log out.

Owns the order of the steps and what each must see. It acts only as people and machines do: through
the HTTP API, the phone, and by restarting or killing a node's process; what WhatsApp got is read
from the switch's log.
"""

import base64
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import msgspec

from cli.client import Api
from cli.steps import Story, expect, until
from sandbox.phone import Phone, PhoneBook
from schemas.api import NewSession, QrView, SessionView
from schemas.api_messages import InlineMedia, NewMessage
from schemas.errors import BlazzError, ErrorCode
from schemas.messages import ChatMessage
from schemas.states import Ack, MessageDirection, MessageState, SessionState

OWNER: Final = "15550000001"
FRIEND: Final = "15550000002"

LINK_LIMIT_S: Final = 45.0
SEND_LIMIT_S: Final = 30.0
START_LIMIT_S: Final = 90.0
FAILOVER_LIMIT_S: Final = 60.0

_PNG: Final = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


class Scene(msgspec.Struct, frozen=True):
    """What the story has to act with."""

    api: Api
    book: PhoneBook
    owner: Phone
    friend: Phone
    restart_node: Callable[[str], Awaitable[None]]
    """Restarts a node's process, by node id."""
    kill_node: Callable[[str], Awaitable[None]]
    """Kills a node's process outright, and leaves it dead."""


async def walk(story: Story, scene: Scene) -> None:
    """Walk it. Raises `StepFailed` at the first step that does not hold."""
    api, owner, friend = scene.api, scene.owner, scene.friend

    async with story.step("create", "Create a session", limit_s=START_LIMIT_S) as note:
        session = await api.create_session(NewSession(name="demo"))
        note(session.session_id)
    sid = session.session_id

    async with story.step("qr", "A QR code is shown", limit_s=START_LIMIT_S) as note:
        code = await until(lambda: _code(api, sid))
        note(f"code {code.index} of {code.count}, good for {code.expires_in_s:.0f} s")

    async with story.step("scan", "The phone scans it", limit_s=LINK_LIMIT_S):
        expect(await owner.scan(code.value) == "linked", "the phone did not link")

    async with story.step("online", "The session is online", limit_s=LINK_LIMIT_S) as note:
        view = await api.wait_state(sid, SessionState.ONLINE, timeout_s=LINK_LIMIT_S)
        expect(view.phone == OWNER, "it is linked to another number")
        note(f"on {view.node_id}")

    async with story.step("send_text", "Send a text", limit_s=SEND_LIMIT_S):
        text = await api.send(
            sid, NewMessage(to=f"+{FRIEND}", text="Hello from Blazz"), wait_s=SEND_LIMIT_S
        )
        _expect_sent(text)

    async with story.step("send_image", "Send an image", limit_s=SEND_LIMIT_S):
        inline = InlineMedia(
            data=base64.b64encode(_PNG).decode(), mimetype="image/png", filename="dot.png"
        )
        image = await api.send(
            sid,
            NewMessage(to=f"+{FRIEND}", media=inline, caption="An image"),
            wait_s=SEND_LIMIT_S,
        )
        _expect_sent(image)

    async with story.step("read", "Both are read", limit_s=SEND_LIMIT_S):
        await friend.read(owner.wid)
        for message in (text, image):
            await until(partial(_acked, api, sid, message.message_id, Ack.READ))

    async with story.step("receive", "The friend replies", limit_s=SEND_LIMIT_S) as note:
        reply = await friend.reply(owner.wid, text.message_id, "Hello back")
        got = await until(lambda: _received(api, sid, reply))
        expect(got.text == "Hello back", "the text is another")
        expect(got.reply_to == text.message_id, "it does not say what it answers")
        note("with the message it answers")

    async with story.step("restart", "Restart its node", limit_s=START_LIMIT_S) as note:
        before = await api.session(sid)
        expect(before.node_id is not None, "no node runs it")
        await scene.restart_node(before.node_id or "")
        note(f"{before.node_id}")

    async with story.step("online_again", "Online again, no new QR", limit_s=START_LIMIT_S):
        await until(lambda: _online_since(api, sid, before))

    async with story.step("send_again", "Send again", limit_s=SEND_LIMIT_S):
        again = await api.send(
            sid, NewMessage(to=f"+{FRIEND}", text="Still here"), wait_s=SEND_LIMIT_S
        )
        _expect_sent(again)

    async with story.step("kill", "Kill its node (kill -9)", limit_s=SEND_LIMIT_S) as note:
        lost = await api.session(sid)
        expect(lost.node_id is not None, "no node runs it")
        await scene.kill_node(lost.node_id or "")
        note(f"{lost.node_id} stays dead")

    title = "Online on the other node, no new QR"
    async with story.step("failover", title, limit_s=FAILOVER_LIMIT_S) as note:
        moved = await until(lambda: _online_elsewhere(api, sid, lost))
        note(f"on {moved.node_id}, epoch {lost.epoch} → {moved.epoch}")

    async with story.step("send_from_there", "Send from there", limit_s=SEND_LIMIT_S):
        from_there = await api.send(
            sid, NewMessage(to=f"+{FRIEND}", text="Elsewhere now"), wait_s=SEND_LIMIT_S
        )
        _expect_sent(from_there)

    async with story.step("ledger", "Nothing lost, nothing twice", limit_s=SEND_LIMIT_S) as note:
        await _check_log(scene, [text, image, again, from_there])
        note("by the switch's own log; no device held twice")

    async with story.step("logout", "Log out", limit_s=LINK_LIMIT_S):
        await api.act(sid, "logout")
        await api.wait_state(sid, SessionState.LOGGED_OUT, timeout_s=LINK_LIMIT_S)
        await until(lambda: _unlinked(owner))


async def create_phones(book: PhoneBook) -> tuple[Phone, Phone]:
    """The customer's phone and a friend's."""
    owner = await book.create(OWNER, "Olive Owner")
    friend = await book.create(FRIEND, "Fred Friend")
    return owner, friend


async def _code(api: Api, sid: str) -> QrView | None:
    try:
        return await api.qr(sid)
    except BlazzError as error:
        if error.code in (ErrorCode.QR_NOT_AVAILABLE, ErrorCode.SESSION_NOT_RUNNING):
            return None
        raise


def _expect_sent(message: ChatMessage) -> None:
    expect(
        message.state is MessageState.SENT,
        f"it is {message.state} ({message.error_code or 'no error'})",
    )


async def _acked(api: Api, sid: str, message_id: str, ack: Ack) -> bool | None:
    return (await api.message(sid, message_id)).ack.level >= ack.level or None


async def _received(api: Api, sid: str, message_id: str) -> ChatMessage | None:
    for message in await api.messages(sid):
        if message.direction is MessageDirection.INBOUND and message.message_id == message_id:
            return message
    return None


async def _online_since(api: Api, sid: str, before: SessionView) -> SessionView | None:
    view = await api.session(sid)
    expect(not view.state.needs_link, f"it is {view.state}: the link was lost")
    newer = (view.state_since or 0) > (before.state_since or 0)
    return view if view.state is SessionState.ONLINE and newer else None


async def _online_elsewhere(api: Api, sid: str, before: SessionView) -> SessionView | None:
    view = await api.session(sid)
    expect(not view.state.needs_link, f"it is {view.state}: the link was lost")
    if view.state is not SessionState.ONLINE or view.node_id == before.node_id:
        return None
    expect((view.epoch or 0) > (before.epoch or 0), "its epoch did not rise")
    return view


async def _unlinked(owner: Phone) -> bool | None:
    return None if await owner.devices() else True


async def _check_log(scene: Scene, sent: list[ChatMessage]) -> None:
    log = await scene.book.log()
    accepted = [entry.id for entry in log if entry.kind == "message.accepted"]
    for message in sent:
        times = accepted.count(message.message_id)
        expect(times == 1, f"the switch accepted a message {times} times")
    holds = sum(entry.kind == "hold.started" for entry in log)
    expect(holds == 0, f"two browsers held one device {holds} times")
