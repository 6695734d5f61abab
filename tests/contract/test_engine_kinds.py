"""The engine contract, every kind of message and every call about the account: one suite, every
engine. A browser costs seconds, so each test tells a whole story."""

# ruff: noqa: F811 - fixtures are imported and named again as arguments

import hashlib
from collections import Counter
from pathlib import Path

import pytest

from schemas import switch_wire as wire
from schemas.chats import CallState, ChatPresence, GroupChange
from schemas.errors import BlazzError, ErrorCode
from schemas.messages import (
    ContactCard,
    Contacts,
    Content,
    Delete,
    Edit,
    Forward,
    Location,
    Media,
    MediaRef,
    MessageRef,
    Poll,
    Reaction,
    Text,
)
from schemas.states import Ack, MessageDirection, MessageKind
from swarm_node.engines.contract import (
    AckChanged,
    CallSeen,
    Deleted,
    Edited,
    GroupAltered,
    MediaKey,
    MessageArrived,
    PollVoted,
    PresenceSeen,
    Reacted,
    SendOutcome,
    SendRequest,
)
from tests.contract.engine_fixtures import Rig, Watched, rig  # noqa: F401
from tests.contract.test_engines import PICTURE, key
from tests.waiting import eventually

CARD = "BEGIN:VCARD\nVERSION:3.0\nFN:Ann\nORG:Shop;\nTEL;waid=15550009:+1 555 0009\nEND:VCARD"


class Story:
    """A linked engine, and what was sent with it."""

    def __init__(self, rig: Rig, running: Watched) -> None:
        self.rig = rig
        self.running = running
        self.count = 0

    async def twice(self, to: str, content: Content, path: Path | None = None) -> str:
        """Send it under a new id, and once more under the same; its id."""
        self.count += 1
        first = await self.send(key(self.count), to, content, path)
        assert (first.chat_id, first.found_before) == (to, False), content
        assert (await self.send(key(self.count), to, content, path)).found_before, content
        return key(self.count)

    async def send(
        self, message_id: str, to: str, content: Content, path: Path | None = None
    ) -> SendOutcome:
        return await self.running.engine.send(SendRequest(message_id, to, content, path))

    async def at_friend(self, message_id: str) -> wire.Message:
        """The message as the friend's phone has it."""
        found = await self.rig.friend.messages(self.rig.me.wid)
        (message,) = [m.message for m in found if m.message.id == message_id]
        return message


async def linked(rig: Rig) -> Story:
    running = await rig.start()
    await running.link(rig.me)
    return Story(rig, running)


def picture(rig: Rig, name: str, mimetype: str = "image/png") -> tuple[MediaRef, Path]:
    path = rig.folder / name
    path.write_bytes(PICTURE)
    sha = hashlib.sha256(PICTURE).hexdigest()
    return MediaRef("med_" + "0" * 26, mimetype, len(PICTURE), sha, name), path


async def test_each_kind_is_sent_exactly_once(rig: Rig) -> None:
    story = await linked(rig)
    friend, to = rig.friend, rig.friend.wid
    asked = await friend.send_text(rig.me.wid, "where, when?")
    await story.running.sees(MessageArrived, lambda m: m.message.message_id == asked)

    text = f"@{friend.number} see https://example.test/shop"
    text_id = await story.twice(to, Text(text, reply_to=asked, mentions=(to,)))
    got = await story.at_friend(text_id)
    assert (got.body, got.quoted_id, got.mentions) == (text, asked, (to,))
    assert got.preview is not None
    assert got.preview.url == "https://example.test/shop"
    plain_id = await story.twice(to, Text("see https://example.test", link_preview=False))
    assert (await story.at_friend(plain_id)).preview is None

    place_id = await story.twice(to, Location(-6.2, 106.8, "Shop", "1 Road", reply_to=asked))
    got = await story.at_friend(place_id)
    assert (got.type, got.quoted_id) == ("location", asked)
    assert got.location == wire.Location(
        latitude=-6.2, longitude=106.8, name="Shop", address="1 Road"
    )

    cards = (ContactCard("Ann, the one", "15550009", "Shop"), ContactCard("Bo", "15550010"))
    for many in (cards[:1], cards):
        got = await story.at_friend(await story.twice(to, Contacts(many)))
        assert got.type == "vcard"
        assert [card.name for card in got.contacts] == [card.name for card in many]
        for sent, card in zip(many, got.contacts, strict=True):
            assert f"waid={sent.phone}:" in card.vcard

    poll_id = await story.twice(to, Poll("When?", ("now", "later", "never"), choices_max=2))
    got = await story.at_friend(poll_id)
    assert (got.type, got.poll) == (
        "poll_creation",
        wire.Poll(question="When?", options=("now", "later", "never"), choices_max=2),
    )
    await friend.vote(rig.me.wid, poll_id, "later", "now")
    vote = await story.running.sees(PollVoted, lambda v: v.message_id == poll_id)
    assert (vote.chat_id, vote.from_id, set(vote.options)) == (to, to, {"now", "later"})
    await friend.vote(rig.me.wid, poll_id)
    await story.running.sees(PollVoted, lambda v: not v.options)

    ref, path = picture(rig, "sticker.png", "image/webp")
    sticker_id = await story.twice(to, Media(MessageKind.STICKER, ref), path)
    assert (await story.at_friend(sticker_id)).type == "sticker"
    ref, path = picture(rig, "voice.ogg", "audio/ogg; codecs=opus")
    voice_id = await story.twice(to, Media(MessageKind.VOICE, ref), path)
    assert (await story.at_friend(voice_id)).type == "ptt"

    forwards = [place_id, text_id, sticker_id]
    for source_id in forwards:
        source = MessageRef(source_id, to, from_me=True)
        got = await story.at_friend(await story.twice(to, Forward(source)))
        original = await story.at_friend(source_id)
        assert got.forwarded, got.type
        assert (got.type, got.body, got.location) == (
            original.type,
            original.body,
            original.location,
        )
    with pytest.raises(BlazzError) as raised:
        await story.send(key(90), to, Forward(MessageRef(key(91), to, from_me=True)))
    assert raised.value.code is ErrorCode.MESSAGE_NOT_FOUND

    # What changes other messages: theirs and ours.
    theirs = MessageRef(asked, to, from_me=False)
    await story.twice(to, Reaction(theirs, "👍"))
    (at_me,) = [m for m in await rig.me.messages(to) if m.message.id == asked]
    assert at_me.reactions == {rig.me.number: "👍"}
    await story.twice(to, Reaction(theirs, ""))
    (at_me,) = [m for m in await rig.me.messages(to) if m.message.id == asked]
    assert at_me.reactions == {}
    ours = MessageRef(text_id, to, from_me=True)
    await story.twice(to, Edit(ours, "see you there"))
    got = await story.at_friend(text_id)
    assert (got.body, got.edited) == ("see you there", True)
    await story.twice(to, Delete(ours))
    assert (await story.at_friend(text_id)).deleted
    with pytest.raises(BlazzError) as raised:
        await story.send(key(92), to, Reaction(MessageRef(key(93), to, from_me=False), "👍"))
    assert raised.value.code is ErrorCode.MESSAGE_NOT_FOUND

    entries = [e for e in await rig.book.log(0, "message.accepted") if e.account == rig.me.number]
    messages = [e.id for e in entries if not e.target]
    assert messages == list(dict.fromkeys(messages))
    assert len(messages) == 11
    assert Counter((e.type, e.target) for e in entries if e.target) == {
        ("reaction", asked): 2,
        ("edit", text_id): 1,
        ("delete", text_id): 1,
    }
    # It was looked up before it went on the wire.
    assert await rig.book.log(0, "message.resent") == []
    # What was sent here is no news from here.
    own = [m for m in story.running.all(MessageArrived) if m.message.message_id in messages]
    assert own == []
    assert story.running.all(Reacted) + story.running.all(Edited) == []
    assert story.running.all(Deleted) == []


async def test_each_kind_arrives_as_what_it_is(rig: Rig) -> None:
    story = await linked(rig)
    running, friend, me = story.running, rig.friend, rig.me.wid

    async def arrived(message_id: str, kind: MessageKind) -> MessageArrived:
        seen = await running.sees(MessageArrived, lambda m: m.message.message_id == message_id)
        assert (seen.message.kind, seen.message.direction, seen.message.chat_id) == (
            kind,
            MessageDirection.INBOUND,
            friend.wid,
        )
        return seen

    text_id = await friend.send_text(me, f"@{rig.me.number} hi", mentions=(me,), forwarded=True)
    text = (await arrived(text_id, MessageKind.TEXT)).message
    assert (text.text, text.mentions, text.forwarded) == (f"@{rig.me.number} hi", (me,), True)

    place_id = await friend.send_location(me, -6.2, 106.8, "Shop", "1 Road")
    place = (await arrived(place_id, MessageKind.LOCATION)).message
    assert place.location == Location(-6.2, 106.8, "Shop", "1 Road")

    one = wire.Card(name="Ann", vcard=CARD)
    for cards in ((one,), (one, one)):
        card_id = await friend.send_cards(me, *cards)
        got = (await arrived(card_id, MessageKind.CONTACT)).message
        assert got.contacts == (ContactCard("Ann", "15550009", "Shop"),) * len(cards)

    poll_id = await friend.send_poll(me, "When?", "now", "later")
    poll = (await arrived(poll_id, MessageKind.POLL)).message
    assert poll.poll == Poll("When?", ("now", "later"), choices_max=1)
    await friend.vote(me, poll_id, "later")
    assert (await running.sees(PollVoted)).options == ("later",)

    sticker_id = await friend.send_media(me, PICTURE, "image/webp", type="sticker")
    await arrived(sticker_id, MessageKind.STICKER)
    media = await running.engine.download(MediaKey(sticker_id, friend.wid, from_me=False))
    assert media.data == PICTURE

    await friend.react(me, text_id, "🎉")
    reaction = await running.sees(Reacted)
    assert (reaction.message_id, reaction.from_id, reaction.emoji) == (text_id, friend.wid, "🎉")
    await friend.edit(me, text_id, "hello")
    edit = await running.sees(Edited)
    assert (edit.message_id, edit.chat_id, edit.text) == (text_id, friend.wid, "hello")
    await friend.delete(me, text_id)
    assert (await running.sees(Deleted)).message_id == text_id

    # From the account's own phone.
    own_id = await rig.me.send_location(friend.wid, 1.0, 2.0)
    own = await running.sees(MessageArrived, lambda m: m.message.message_id == own_id)
    assert (own.message.kind, own.message.direction) == (
        MessageKind.LOCATION,
        MessageDirection.OUTBOUND,
    )

    call_id = await friend.call(me, video=True)
    rings = await running.sees(CallSeen)
    assert (rings.from_id, rings.state, rings.video) == (friend.wid, CallState.RINGING, True)
    assert running.all(CallSeen) == [rings]
    await friend.give_up_call(call_id)
    missed = await running.sees(CallSeen, lambda c: c.state is CallState.MISSED)
    assert missed.call_id == rings.call_id

    await _groups(rig, running)


async def _groups(rig: Rig, running: Watched) -> None:
    friend, me = rig.friend, rig.me
    eve = await rig.book.create("15550003", "Eve")
    group = await rig.book.create_group("Crew", friend, me)

    async def changed(change: GroupChange) -> GroupAltered:
        seen = await running.sees(GroupAltered, lambda g: g.change is change)
        assert (seen.chat_id, seen.by) == (group, friend.wid), seen
        return seen

    message_id = await friend.send_text(group, "welcome")
    got = (await running.sees(MessageArrived, lambda m: m.message.message_id == message_id)).message
    assert (got.chat_id, got.from_id) == (group, friend.wid)
    await friend.change_group(group, "added", eve)
    assert (await changed(GroupChange.ADDED)).members == (eve.wid,)
    await friend.change_group(group, "promoted", me)
    assert (await changed(GroupChange.PROMOTED)).members == (me.wid,)
    await friend.change_group(group, "name", value="The crew")
    assert (await changed(GroupChange.NAME)).value == "The crew"
    await friend.change_group(group, "description", value="all of us")
    assert (await changed(GroupChange.DESCRIPTION)).value == "all of us"
    await friend.change_group(group, "announce_only", value="on")
    await changed(GroupChange.ANNOUNCE_ONLY)
    await friend.change_group(group, "removed", eve)
    assert (await changed(GroupChange.REMOVED)).members == (eve.wid,)
    read = await running.engine.read_group(group)
    assert (read.name, read.description, read.announce_only) == ("The crew", "all of us", True)
    assert {m.member_id: m.admin for m in read.members} == {friend.wid: True, me.wid: True}
    vote_id = key(800)
    await running.engine.send(SendRequest(vote_id, group, Poll("Who?", ("me", "you"))))
    await friend.vote(group, vote_id, "me")
    vote = await running.sees(PollVoted, lambda v: v.message_id == vote_id)
    assert (vote.chat_id, vote.from_id, vote.options) == (group, friend.wid, ("me",))


async def test_the_account_is_read_and_changed(rig: Rig) -> None:
    eve = await rig.book.create("15550003", "Eve", lid="777003", lid_only=True, business=True)
    group = await rig.book.create_group("Crew", rig.me, rig.friend)
    first_id = await rig.friend.send_text(rig.me.wid, "from before")
    story = await linked(rig)
    running, engine, friend = story.running, story.running.engine, rig.friend
    second_id = await friend.send_text(rig.me.wid, "one more")
    await running.sees(MessageArrived, lambda m: m.message.message_id == second_id)

    await engine.mark_seen(friend.wid)

    async def read() -> bool:
        at_friend = await friend.messages(rig.me.wid)
        acks = [m.message.ack for m in at_friend if m.message.id in (first_id, second_id)]
        return acks == [wire.ACK_READ, wire.ACK_READ]

    await eventually(read, timeout_s=10, what="the friend sees blue ticks")
    await engine.mark_seen(friend.wid)

    await engine.subscribe_presence(friend.wid)
    states: dict[wire.PresenceState, ChatPresence] = {
        "typing": ChatPresence.TYPING,
        "recording": ChatPresence.RECORDING,
        "paused": ChatPresence.PAUSED,
    }
    for word, presence in states.items():
        await friend.show_presence(rig.me.wid, word)
        wanted = PresenceSeen(friend.wid, friend.wid, presence)
        await running.sees(PresenceSeen, wanted.__eq__)
    for presence in states.values():
        await engine.set_presence(friend.wid, presence)

    async def shown() -> bool:
        entries = await rig.book.log(0, "presence.shown")
        return [e.type for e in entries if e.account == rig.me.number] == list(states)

    await eventually(shown, timeout_s=10, what="our presence is shown")

    there = await engine.check_number(friend.number)
    assert (there.phone, there.exists, there.chat_id) == (friend.number, True, friend.wid)
    hidden = await engine.check_number(eve.number)
    assert (hidden.exists, hidden.lid, hidden.business) == (True, "777003@lid", True)
    nobody = await engine.check_number("15559999")
    assert (nobody.exists, nobody.chat_id) == (False, None)

    chats, after = await engine.read_chats(1, None, False)
    assert [c.chat_id for c in chats] == [friend.wid]
    assert (chats[0].name, chats[0].phone, chats[0].unread) == ("Friend", friend.number, 0)
    assert chats[0].last_message_at is not None
    rest, end = await engine.read_chats(10, after, False)
    assert [(c.chat_id, c.is_group) for c in rest] == [(group, True)]
    assert end is None
    groups, _ = await engine.read_chats(10, None, True)
    assert [(c.chat_id, c.name) for c in groups] == [(group, "Crew")]

    contacts, after = await engine.read_contacts(1, None)
    assert after is not None
    more, end = await engine.read_contacts(10, after)
    assert end is None
    known = {c.contact_id: c for c in contacts + more}
    assert (known[friend.wid].name, known[friend.wid].phone) == ("Friend", friend.number)
    assert known["777003@lid"].phone == eve.number

    info = await engine.read_group(group)
    assert (info.name, info.owner_id) == ("Crew", rig.me.wid)
    assert {m.member_id: m.admin for m in info.members} == {rig.me.wid: True, friend.wid: False}
    with pytest.raises(BlazzError) as raised:
        await engine.read_group("120363999999999999@g.us")
    assert raised.value.code is ErrorCode.CHAT_NOT_FOUND

    _, path = picture(rig, "me.png")
    await engine.set_profile("Shop", "open all day", path, False)
    own = await engine.read_profile()
    assert (own.phone, own.name, own.about) == (rig.me.number, "Shop", "open all day")
    assert own.picture_url
    at_friend = await friend.profile(rig.me.wid)
    assert (at_friend.name, at_friend.about) == ("Shop", "open all day")
    assert at_friend.picture
    await engine.set_profile(None, None, None, True)
    own = await engine.read_profile()
    assert (own.name, own.picture_url) == ("Shop", None)
    assert await engine.read_picture(friend.wid) is None
    await friend.set(picture=PICTURE)
    assert await engine.read_picture(friend.wid)
    sent = await running.send(key(1), friend.wid, "still here")
    assert sent.ack.level >= Ack.SENT.level
    await friend.read(rig.me.wid)
    await running.sees(AckChanged, lambda a: a.ack is Ack.READ)


async def test_groups_and_lid_chats_take_every_kind(rig: Rig) -> None:
    eve = await rig.book.create("15550003", "Eve", lid="777003", lid_only=True)
    lid = "777003@lid"
    group = await rig.book.create_group("Crew", rig.me, rig.friend, eve)
    story = await linked(rig)
    asked = await eve.send_text(group, "who comes?")
    seen = await story.running.sees(MessageArrived, lambda m: m.message.message_id == asked)
    assert (seen.message.chat_id, seen.message.from_id) == (group, lid)

    answer_id = await story.twice(
        group, Text(f"me and @{rig.friend.number}", reply_to=asked, mentions=(rig.friend.wid,))
    )
    poll_id = await story.twice(group, Poll("When?", ("now", "later")))
    place_id = await story.twice(lid, Location(1.0, 2.0))
    await story.twice(group, Forward(MessageRef(place_id, lid, from_me=True)))
    theirs = MessageRef(asked, group, from_me=False, author=lid)
    await story.twice(group, Reaction(theirs, "👍"))
    await story.twice(lid, Forward(theirs))
    ours = MessageRef(answer_id, group, from_me=True)
    await story.twice(group, Edit(ours, "only me"))

    await eve.vote(group, poll_id, "now")
    vote = await story.running.sees(PollVoted)
    assert (vote.message_id, vote.chat_id, vote.from_id) == (poll_id, group, lid)
    await eve.react(group, answer_id, "🎉")
    reacted = await story.running.sees(Reacted)
    assert (reacted.message_id, reacted.chat_id, reacted.from_id) == (answer_id, group, lid)

    at_group = await rig.friend.messages(group)
    assert [(m.message.type, m.message.body, m.message.forwarded) for m in at_group] == [
        ("chat", "who comes?", False),
        ("chat", "only me", False),
        ("poll_creation", "", False),
        ("location", "", True),
    ]
    assert at_group[0].reactions == {rig.me.number: "👍"}
    assert (at_group[1].message.quoted_id, at_group[1].message.mentions) == (
        asked,
        (rig.friend.wid,),
    )
    at_eve = [m.message for m in await eve.messages(rig.me.wid)]
    assert [(m.type, m.body, m.forwarded) for m in at_eve] == [
        ("location", "", False),
        ("chat", "who comes?", True),
    ]
    await story.twice(group, Delete(ours))
    assert (await rig.friend.messages(group))[1].message.deleted

    await story.running.engine.subscribe_presence(group)
    await eve.show_presence(group, "typing")
    typing = await story.running.sees(PresenceSeen)
    assert (typing.chat_id, typing.from_id) == (group, lid)
    await story.running.engine.mark_seen(group)
    call_id = await eve.call(group)
    call = await story.running.sees(CallSeen)
    assert (call.call_id, call.from_id, call.group_id) == (call_id, lid, group)
