"""The switch's other kinds: changes told once, polls, groups, presence, calls, profiles."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from sandbox.phone import Phone, PhoneBook, PhoneError
from sandbox.server import Sandbox
from sandbox.settings import SandboxSettings
from schemas import switch_wire as wire
from tests.integration.switch_device import DeviceKeys, Line, open_line

ME, BOB, EVE = "15550001", "15550002", "15550003"
BOB_WID = f"{BOB}@c.us"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(SandboxSettings()) as running:
        yield running


@pytest.fixture
async def book(sandbox: Sandbox) -> AsyncIterator[PhoneBook]:
    async with PhoneBook(sandbox.api_url) as opened:
        yield opened


@pytest.fixture
async def phones(book: PhoneBook) -> tuple[Phone, Phone, Phone]:
    eve = await book.create(EVE, "Eve", lid="777003", lid_only=True)
    return await book.create(ME, "Me"), await book.create(BOB, "Bob"), eve


@asynccontextmanager
async def linked(sandbox: Sandbox, phone: Phone) -> AsyncIterator[Line]:
    async with open_line(sandbox, DeviceKeys()) as line:
        await line.hello()
        qr = await line.wait(wire.Qr)
        await phone.scan(f"{qr.ref},key,key,adv")
        await line.wait(wire.SyncDone)
        yield line


async def test_a_change_is_told_once_and_logged_with_its_target(
    sandbox: Sandbox, book: PhoneBook, phones: tuple[Phone, Phone, Phone]
) -> None:
    me, bob, _eve = phones
    async with linked(sandbox, me) as mine, linked(sandbox, bob) as bobs:
        await mine.send("3EB0AA", BOB_WID, "hello")
        await mine.wait(wire.Sent)
        react = wire.React(req=2, chat=BOB_WID, id="3EB0AA", emoji="👍", own_id="3EB0R1")
        await mine.post(react)
        assert not (await mine.wait(wire.Done)).found
        assert (await bobs.wait(wire.Reaction)).emoji == "👍"
        await bob.react(ME, "3EB0AA", "🎉")
        await mine.post(react)
        assert (await mine.wait(wire.Done)).found

        edit = wire.Edit(req=3, chat=BOB_WID, id="3EB0AA", body="hello!", own_id="3EB0E1")
        await mine.post(edit)
        assert not (await mine.wait(wire.Done)).found
        # An older edit that is sent again changes nothing, though the text is another one now.
        newer = wire.Edit(req=4, chat=BOB_WID, id="3EB0AA", body="hello!!", own_id="3EB0E2")
        await mine.post(newer)
        await mine.wait(wire.Done)
        await mine.post(edit)
        assert (await mine.wait(wire.Done)).found
        assert (await bob.messages(ME))[-1].message.body == "hello!!"

        delete = wire.Delete(req=5, chat=BOB_WID, id="3EB0AA", own_id="3EB0D1")
        for found in (False, True):
            await mine.post(delete)
            assert (await mine.wait(wire.Done)).found is found
        await bobs.wait(wire.Deleted)
        told = [f for f in bobs.passed if isinstance(f, wire.Edited | wire.Reaction)]
        assert len(told) == 3  # bob's own reaction from his phone among them

    entries = [e for e in await book.log(0, "message.accepted") if e.account == ME]
    assert [(e.type, e.id, e.target) for e in entries] == [
        ("chat", "3EB0AA", ""),
        ("reaction", "3EB0R1", "3EB0AA"),
        ("edit", "3EB0E1", "3EB0AA"),
        ("edit", "3EB0E2", "3EB0AA"),
        ("delete", "3EB0D1", "3EB0AA"),
    ]
    again = await book.log(0, "message.resent")
    assert [e.id for e in again] == ["3EB0R1", "3EB0E1", "3EB0D1"]


async def test_a_poll_takes_its_own_options_only(
    sandbox: Sandbox, phones: tuple[Phone, Phone, Phone]
) -> None:
    me, bob, _eve = phones
    async with linked(sandbox, me) as mine:
        poll = wire.Poll(question="When?", options=("now", "later"), choices_max=1)
        await mine.post(
            wire.Send(req=1, id="3EB0AA", chat=BOB_WID, type="poll_creation", poll=poll)
        )
        await mine.wait(wire.Sent)
        assert (await bob.messages(ME))[0].message.poll == poll
        for wrong in (("never",), ("now", "later")):
            with pytest.raises(PhoneError):
                await bob.vote(ME, "3EB0AA", *wrong)
        await bob.vote(ME, "3EB0AA", "now")
        vote = await mine.wait(wire.PollVoted)
        assert (vote.id, vote.sender, vote.options, vote.author_is_me) == (
            "3EB0AA",
            BOB_WID,
            ("now",),
            True,
        )
        await bob.vote(ME, "3EB0AA")
        assert (await mine.wait(wire.PollVoted)).options == ()
        await mine.post(wire.Send(req=2, id="3EB0BB", chat=BOB_WID, type="poll_creation"))
        assert (await mine.wait(wire.SendFailed)).reason == "bad_frame"


async def test_groups_change_by_their_rules_and_tell_those_concerned(
    sandbox: Sandbox, book: PhoneBook, phones: tuple[Phone, Phone, Phone]
) -> None:
    me, bob, eve = phones
    async with linked(sandbox, me) as mine:
        group = await book.create_group("Crew", bob, me)
        assert (await mine.wait(wire.GroupChanged)).change == "created"
        with pytest.raises(PhoneError, match="admins_only"):
            await me.change_group(group, "added", eve)
        await bob.change_group(group, "added", eve)
        added = await mine.wait(wire.GroupChanged)
        assert (added.change, added.by, added.members) == ("added", BOB_WID, ("777003@lid",))
        assert "777003@lid" in added.info.participants
        await bob.change_group(group, "promoted", me)
        await bob.change_group(group, "description", value="what we do")
        await bob.change_group(group, "announce_only", value="on")
        await mine.post(wire.QueryGroup(req=1, wid=group))
        info = (await mine.wait(wire.GroupFound)).group
        assert info is not None
        assert (info.owner, info.description, info.announce_only) == (BOB_WID, "what we do", True)
        assert {p.wid: (p.admin, p.phone) for p in info.participants} == {
            BOB_WID: (True, ""),
            me.wid: (True, ""),
            "777003@lid": (False, f"{EVE}@c.us"),
        }
        with pytest.raises(PhoneError, match="admins_only"):
            await eve.send_text(group, "may I?")
        await bob.change_group(group, "removed", me)
        while (out := await mine.wait(wire.GroupChanged)).change != "removed":
            pass
        assert out.members == (me.wid,)
        await mine.send("3EB0AA", group, "am I in?")
        assert (await mine.wait(wire.SendFailed)).reason == "not_a_member"
        await mine.post(wire.QueryGroup(req=2, wid=group))
        assert (await mine.wait(wire.GroupFound)).group is None


async def test_presence_goes_to_those_who_asked(
    sandbox: Sandbox, phones: tuple[Phone, Phone, Phone]
) -> None:
    me, bob, eve = phones
    async with linked(sandbox, me) as mine:
        await bob.show_presence(ME, "typing")
        await mine.post(wire.SubscribePresence(req=1, chat=BOB_WID))
        assert (await mine.wait(wire.Done)).ok
        await eve.show_presence(ME, "typing")
        await bob.show_presence(ME, "recording")
        seen = await mine.wait(wire.Presence)
        assert (seen.chat, seen.sender, seen.state) == (BOB_WID, BOB_WID, "recording")
        await mine.post(wire.ShowPresence(req=2, chat="15559999@c.us", state="typing"))
        assert not (await mine.wait(wire.Done)).ok


async def test_a_call_rings_here_and_is_missed_everywhere(
    sandbox: Sandbox, phones: tuple[Phone, Phone, Phone]
) -> None:
    me, bob, _eve = phones
    keys = DeviceKeys()
    async with open_line(sandbox, keys) as mine:
        await mine.hello()
        await me.scan(f"{(await mine.wait(wire.Qr)).ref},key,key,adv")
        await mine.wait(wire.SyncDone)
        call = await bob.call(ME, video=True)
        rings = await mine.wait(wire.CallIn)
        assert (rings.id, rings.sender, rings.state, rings.video) == (
            call,
            BOB_WID,
            "ringing",
            True,
        )
        await bob.give_up_call(call)
        assert (await mine.wait(wire.CallIn)).state == "missed"
        with pytest.raises(PhoneError):
            await bob.give_up_call(call)
    away = await bob.call(ME)
    await bob.give_up_call(away)
    async with open_line(sandbox, keys) as mine:
        await mine.hello()
        missed = await mine.wait(wire.CallIn)
        assert (missed.id, missed.state) == (away, "missed")


async def test_profiles_are_read_and_set(
    sandbox: Sandbox, book: PhoneBook, phones: tuple[Phone, Phone, Phone]
) -> None:
    me, bob, _eve = phones
    async with linked(sandbox, me) as mine:
        picture = await book.put_media(b"\xff\xd8picture", "image/jpeg")
        await mine.post(wire.SetProfile(req=1, name="Shop", about="open", picture=picture))
        assert (await mine.wait(wire.Done)).ok
        await mine.post(wire.QueryProfile(req=2))
        own = (await mine.wait(wire.ProfileFound)).profile
        assert own is not None
        assert (own.name, own.about, own.picture) == ("Shop", "open", picture.media_id)
        assert (await bob.profile(me.wid)) == own
        await mine.post(wire.SetProfile(req=3, remove_picture=True))
        await mine.wait(wire.Done)
        assert (await bob.profile(me.wid)).picture == ""
        await mine.post(wire.QueryContacts(req=4))
        contacts = (await mine.wait(wire.ContactsListed)).contacts
        assert [(c.wid, c.phone) for c in contacts] == [
            (BOB_WID, ""),
            ("777003@lid", f"{EVE}@c.us"),
        ]
