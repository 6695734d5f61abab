"""What happens while no page listens is told by the next one, once.

The switch delivers what waited long before wa-js is ready, so none of it raises an event of
wa-js's: all of it is found by looking.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

from msgspec.structs import asdict

from schemas.chats import CallState, GroupChange
from schemas.messages import Content, Delete, Edit, MessageRef, Poll, Reaction, Text
from schemas.states import Ack, MessageDirection
from swarm_node.engines.contract import (
    AckChanged,
    CallSeen,
    ConnectionChanged,
    Deleted,
    Edited,
    GroupAltered,
    MessageArrived,
    PollVoted,
    PresenceSeen,
    Reacted,
    SendRequest,
)
from tests.e2e.chromium_engine_rig import BOB_WID, ME, Rig, hex_id, rigged
from tests.waiting import eventually

CHANGES = (AckChanged, Edited, Deleted, Reacted, PollVoted, GroupAltered, CallSeen)


async def test_changes_of_a_time_without_a_page_are_told_once(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        me, bob = rig.book.phone(ME), rig.book.phone("15550002")
        group = await rig.book.create_group("Crew", bob, me)
        history = await bob.send_text(ME, "history")
        await rig.start()
        await rig.link(me)
        for number in (1, 2, 3):
            await rig.send(number, f"number {number}")
        await rig.live.send(SendRequest(hex_id(4), BOB_WID, Poll("When?", ("now", "later"))))
        first, second = [await bob.send_text(ME, text) for text in ("one", "two")]
        await rig.arrived(second)
        await bob.react(ME, first, "👍")
        await rig.event(Reacted, message_id=first, emoji="👍")
        # Ours: never reported, not even by the next page.
        target = MessageRef(first, BOB_WID, from_me=False)
        await rig.live.send(SendRequest(hex_id(10), BOB_WID, Reaction(target, "❤️")))
        ours = MessageRef(hex_id(2), BOB_WID, from_me=True)
        await rig.live.send(SendRequest(hex_id(11), BOB_WID, Edit(ours, "number two")))
        gone = MessageRef(hex_id(3), BOB_WID, from_me=True)
        await rig.live.send(SendRequest(hex_id(12), BOB_WID, Delete(gone)))
        await rig.event(AckChanged, message_id=hex_id(4), ack=Ack.DELIVERED)
        await rig.stop()

        await bob.read(f"{ME}@c.us")
        await bob.react(ME, hex_id(1), "🎉")
        await bob.react(ME, first, "")
        await bob.edit(ME, first, "one, edited")
        await bob.delete(ME, second)
        await bob.delete(ME, history)
        await bob.vote(ME, hex_id(4), "later")
        await bob.change_group(group, "name", value="The crew")
        by_phone = await me.send_text(BOB_WID, "from my phone")
        call = await bob.call(ME)
        await bob.give_up_call(call)

        await rig.start()
        reads = [AckChanged(hex_id(number), BOB_WID, Ack.READ) for number in (1, 2, 4)]
        wanted = [
            *reads,
            AckChanged(by_phone, BOB_WID, Ack.DELIVERED),
            Reacted(hex_id(1), BOB_WID, BOB_WID, "🎉"),
            Reacted(first, BOB_WID, BOB_WID, ""),
            Edited(first, BOB_WID, "one, edited"),
            Deleted(second, BOB_WID),
            PollVoted(hex_id(4), BOB_WID, BOB_WID, ("later",)),
            GroupAltered(group, GroupChange.NAME, BOB_WID, (), "The crew"),
            CallSeen(call, BOB_WID, CallState.MISSED),
        ]
        await eventually(
            lambda: len(_changes(rig)) >= len(wanted), timeout_s=20, what="all changes"
        )
        await _found_again(rig, first)
        assert Counter(_changes(rig)) == Counter(wanted)
        assert (await rig.arrived(by_phone)).message.direction is MessageDirection.OUTBOUND
        assert _arrivals(rig) == [by_phone]

        await rig.stop()
        await rig.start()
        await rig.online()
        last = await bob.send_text(ME, "the end")
        await rig.arrived(last)
        assert (_changes(rig), _arrivals(rig)) == ([], [last])


def _changes(rig: Rig) -> list[object]:
    """What the engine told, without the times: a fact seen late may not say when it was."""
    return [
        type(event)(**{name: value for name, value in asdict(event).items() if name[-3:] != "_at"})
        for event in rig.events
        if isinstance(event, CHANGES)
    ]


def _arrivals(rig: Rig) -> list[str]:
    return [e.message.message_id for e in rig.events if isinstance(e, MessageArrived)]


async def _found_again(rig: Rig, first: str) -> None:
    """What changed other messages before the restart is found by what WhatsApp keeps."""
    await rig.online()
    again: dict[int, Content] = {
        10: Reaction(MessageRef(first, BOB_WID, from_me=False), "❤️"),
        11: Edit(MessageRef(hex_id(2), BOB_WID, from_me=True), "number two"),
        12: Delete(MessageRef(hex_id(3), BOB_WID, from_me=True)),
    }
    for number, content in again.items():
        assert (await rig.live.send(SendRequest(hex_id(number), BOB_WID, content))).found_before


async def test_a_new_page_of_the_same_engine_keeps_what_was_subscribed(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        me, bob = rig.book.phone(ME), rig.book.phone("15550002")
        eve = await rig.book.create("15550003", "Eve")
        await rig.start()
        await rig.link(me)
        await rig.live.subscribe_presence(BOB_WID)
        os.kill(rig.renderer_pid(), signal.SIGKILL)
        await rig.event(ConnectionChanged, detail="the page is loaded again")
        await rig.online()
        # What waited for wa-js to answer must not hold up a send for long, nor fail it.
        await rig.live.send(SendRequest(hex_id(1), BOB_WID, Text("see https://slow.test/slow")))
        (sent,) = await bob.messages(f"{ME}@c.us")
        assert sent.message.preview is None

        async def seen() -> bool:
            # Subscribed anew a moment after it is online; what was shown before is not told.
            for state in ("paused", "typing"):
                await eve.show_presence(ME, state)
                await bob.show_presence(ME, state)
            return any(isinstance(event, PresenceSeen) for event in rig.events)

        await eventually(seen, timeout_s=15)
        assert {e.chat_id for e in rig.events if isinstance(e, PresenceSeen)} == {BOB_WID}
