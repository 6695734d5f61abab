"""Every kind of message and every call about the account, over a real node and its bus."""

# ruff: noqa: F811 - fixtures are imported and named again as arguments

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from schemas import commands as c
from schemas.chats import CallState, ChatPresence, GroupChange
from schemas.errors import BlazzError, ErrorCode
from schemas.events import (
    Call,
    GroupChanged,
    MessageDeleted,
    MessageEdited,
    MessageReaction,
    MessageReceived,
    MessageSent,
    PollVote,
    PresenceChanged,
)
from schemas.messages import (
    ContactCard,
    Contacts,
    Content,
    Delete,
    Edit,
    Forward,
    Location,
    MediaRef,
    MessageRef,
    Poll,
    Reaction,
    Text,
)
from schemas.states import MessageKind, MessageState
from schemas.subjects import ALL_NODE_MEDIA
from schemas.transport.connection import BusMessage
from schemas.transport.typed import serve
from tests.contract.test_engines import PICTURE
from tests.integration.node_fixture import (  # noqa: F401
    World,
    bus,
    nats,
    new_message_id,
    new_session_id,
    world,
)

pytestmark = pytest.mark.nats


async def test_every_kind_is_sent_once_and_shows_at_its_target(world: World) -> None:
    session = new_session_id()
    mine, theirs = await world.phone("15550001"), await world.phone("15550002")
    ids: list[str] = []

    async def send(content: Content) -> str:
        """Send it twice under one id."""
        ids.append(new_message_id())
        command = c.SendMessage(
            session_id=session, epoch=1, message_id=ids[-1], to=theirs.wid, content=content
        )
        for found_before in (False, True):
            answer = await world.ask("send_message", command)
            assert (answer.state, answer.found_before) == (MessageState.SENT, found_before), answer
        return ids[-1]

    async with world.node():
        await world.online(session, mine)
        text_id = await send(Text("hello"))
        target = MessageRef(text_id, theirs.wid, from_me=True)
        await send(Location(1.0, 2.0, "here"))
        await send(Contacts((ContactCard("Ann", "15550009"),)))
        poll_id = await send(Poll("When?", ("now", "later")))
        await send(Forward(target))
        reaction_id = await send(Reaction(target, "👍"))
        edit_id = await send(Edit(target, "hello!"))
        delete_id = await send(Delete(target))

        kinds = [m.message.type for m in await theirs.messages(mine.wid)]
        assert kinds == ["chat", "location", "vcard", "poll_creation", "chat"]

        # What they did to their target is told for the target, with their own id, once.
        reaction = await world.sees(MessageReaction)
        assert (reaction.message_id, reaction.from_id, reaction.emoji, reaction.cause) == (
            text_id,
            mine.wid,
            "👍",
            reaction_id,
        )
        edited = await world.sees(MessageEdited)
        assert (edited.message_id, edited.text, edited.cause) == (text_id, "hello!", edit_id)
        deleted = await world.sees(MessageDeleted)
        assert (deleted.message_id, deleted.cause) == (text_id, delete_id)

        await theirs.vote(mine.wid, poll_id, "later")
        vote = await world.sees(PollVote)
        assert (vote.message_id, vote.from_id, vote.options) == (poll_id, theirs.wid, ("later",))

        gone = c.SendMessage(
            session_id=session,
            epoch=1,
            message_id=new_message_id(),
            to=theirs.wid,
            content=Forward(MessageRef(new_message_id(), theirs.wid, from_me=True)),
        )
        answer = await world.ask("send_message", gone)
        assert (answer.state, answer.error_code) == (MessageState.FAILED, "message_not_found")
    assert [sent.message_id for sent in world.data(MessageSent)] == ids
    for kind in (MessageReaction, MessageEdited, MessageDeleted):
        assert len(world.data(kind)) == 1, kind


async def test_what_others_do_is_told(world: World) -> None:
    session = new_session_id()
    mine, theirs = await world.phone("15550001"), await world.phone("15550002")
    async with world.node():
        await world.online(session, mine)
        for send, kind in (
            (theirs.send_location(mine.wid, 1.0, 2.0), MessageKind.LOCATION),
            (theirs.send_poll(mine.wid, "When?", "now", "later"), MessageKind.POLL),
        ):
            message_id = await send
            is_it: Callable[[MessageReceived], bool] = _is(message_id)
            assert (await world.sees(MessageReceived, is_it)).message.kind is kind
        subscribe = c.SubscribePresence(session_id=session, epoch=1, chat_id=theirs.wid)
        await world.ask("subscribe_presence", subscribe)
        await theirs.show_presence(mine.wid, "recording")
        assert (await world.sees(PresenceChanged)).presence is ChatPresence.RECORDING
        group = await world.book.create_group("Crew", theirs, mine)
        made = await world.sees(GroupChanged)
        assert (made.chat_id, made.change, made.value) == (group, GroupChange.CREATED, "Crew")
        call_id = await theirs.call(mine.wid)
        await theirs.give_up_call(call_id)
        missed = await world.sees(Call, lambda call: call.state is CallState.MISSED)
        assert (missed.call_id, missed.from_id) == (call_id, theirs.wid)


def _is(message_id: str) -> Callable[[MessageReceived], bool]:
    return lambda received: received.message.message_id == message_id


async def test_the_account_is_read_and_changed_by_command(world: World) -> None:
    session = new_session_id()
    mine, theirs = await world.phone("15550001"), await world.phone("15550002")
    on: dict[str, Any] = {"session_id": session, "epoch": 1}

    async def refused(name: str, command: msgspec.Struct) -> ErrorCode:
        with pytest.raises(BlazzError) as raised:
            await world.ask(name, command)
        return raised.value.code

    async def picture(ask: c.FetchMedia, _message: BusMessage) -> c.MediaChunk:
        return c.MediaChunk(PICTURE[ask.offset :], ask.offset, len(PICTURE), "image/png")

    async with serve(world.bus, ALL_NODE_MEDIA, c.FetchMedia, picture), world.node():
        await world.start(session)
        for name, command in (
            ("read_chats", c.ReadChats(**on)),
            ("mark_seen", c.MarkSeen(**on, chat_id=theirs.wid)),
        ):
            assert await refused(name, command) is ErrorCode.SESSION_NOT_ONLINE
        await world.online(session, mine)

        await theirs.send_text(mine.wid, "hi")
        await world.sees(MessageReceived)
        chats = await world.ask("read_chats", c.ReadChats(**on))
        assert [(chat.chat_id, chat.unread) for chat in chats.chats] == [(theirs.wid, 1)]
        await world.ask("mark_seen", c.MarkSeen(**on, chat_id=theirs.wid))
        assert (await theirs.messages(mine.wid))[0].message.ack == 3
        contacts = await world.ask("read_contacts", c.ReadContacts(**on))
        assert [one.contact_id for one in contacts.contacts] == [theirs.wid]
        check = await world.ask("check_number", c.CheckNumber(**on, phone="15559999"))
        assert not check.exists

        typing = c.SetPresence(**on, chat_id=theirs.wid, presence=ChatPresence.TYPING)
        await world.ask("set_presence", typing)
        (shown,) = await world.book.log(0, "presence.shown")
        assert (shown.account, shown.type) == (mine.number, "typing")
        there = c.SetPresence(**on, chat_id=theirs.wid, presence=ChatPresence.AVAILABLE)
        assert await refused("set_presence", there) is ErrorCode.VALIDATION_FAILED
        nowhere = c.MarkSeen(**on, chat_id="15559999@c.us")
        assert await refused("mark_seen", nowhere) is ErrorCode.CHAT_NOT_FOUND
        no_group = c.ReadGroup(**on, chat_id="120363999999999999@g.us")
        assert await refused("read_group", no_group) is ErrorCode.CHAT_NOT_FOUND

        sha = hashlib.sha256(PICTURE).hexdigest()
        ref = MediaRef("med_" + "0" * 26, "image/png", len(PICTURE), sha)
        profile = await world.ask("set_profile", c.SetProfile(**on, name="Shop", picture=ref))
        assert (profile.name, bool(profile.picture_url)) == ("Shop", True)
        assert (await theirs.profile(mine.wid)).name == "Shop"
        both = c.SetProfile(**on, picture=ref, remove_picture=True)
        assert await refused("set_profile", both) is ErrorCode.VALIDATION_FAILED
        own = await world.ask("read_profile", c.ReadProfile(**on))
        assert own == profile
        answer = await world.ask("read_picture", c.ReadPicture(**on, chat_id=theirs.wid))
        assert answer.url is None
