"""Events ahead of their message: tried again in their order, for a bounded time and number."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from control_plane.ledger.early import EarlyEvents
from schemas.events import Event, EventData, MessageAck, MessageReaction, MessageReceived
from schemas.messages import ChatMessage
from schemas.states import Ack, MessageDirection, MessageKind, MessageState
from schemas.transport.background import Background
from tests.waiting import eventually

ID, OTHER_ID = "3EB0" + "0" * 18, "3EB0" + "1" * 18
CHAT, ANN, SESSION = "15550002@c.us", "15550003@c.us", "ses_" + "0" * 26
READ = MessageAck(ID, CHAT, Ack.READ)
THUMB, HEART = (MessageReaction(ID, CHAT, ANN, emoji) for emoji in "👍❤")
ARRIVED = MessageReceived(
    ChatMessage(
        message_id=ID,
        session_id=SESSION,
        direction=MessageDirection.INBOUND,
        kind=MessageKind.TEXT,
        state=MessageState.RECEIVED,
        chat_id=CHAT,
        created_at=1.0,
    )
)


class Folded:
    """A fold whose ledger knows the messages in `known`."""

    def __init__(self) -> None:
        self.known: set[str] = set()
        self.folded: list[EventData] = []
        self.answered: list[EventData] = []
        self.looks = 0

    async def __call__(self, _work: None, seen: Event, last: bool) -> bool:
        self.looks += 1
        data = seen.data
        if isinstance(data, MessageReceived):
            self.known.add(data.message.message_id)
            is_known = True
        else:
            is_known = getattr(data, "message_id", "") in self.known
        if is_known:
            self.folded.append(data)
        if is_known or last:
            self.answered.append(data)
        return is_known


class Early:
    """What the folder's lines see of it."""

    def __init__(self, early: EarlyEvents[None]) -> None:
        self._early = early

    async def take(self, data: EventData) -> None:
        """Give it an event of the one session."""
        await self._early.take(None, Event("evt_1", 1.0, "acme", SESSION, "node-a", 1, data))


@asynccontextmanager
async def early(
    fold: Folded, *, looks_s: tuple[float, ...] = (0.02, 0.1, 0.3), waiting_max: int = 10
) -> AsyncIterator[Early]:
    async with Background() as tasks:
        yield Early(EarlyEvents(fold, tasks, looks_s=looks_s, waiting_max=waiting_max))


async def test_a_receipt_waits_until_its_message_is_there() -> None:
    fold = Folded()
    async with early(fold) as line:
        await line.take(READ)
        assert fold.answered == []
        fold.known.add(ID)
        await eventually(lambda: fold.folded == [READ])
    assert fold.answered == [READ]


async def test_what_a_message_said_stays_in_order_behind_an_early_one() -> None:
    fold = Folded()
    async with early(fold, looks_s=(5.0, 10.0)) as line:
        await line.take(THUMB)
        fold.known.add(ID)
        await line.take(HEART)
        assert fold.folded == []
        await line.take(ARRIVED)
        # Its arrival is no sooner folded than those that waited for it, long before their look.
        await eventually(lambda: fold.folded == [ARRIVED, THUMB, HEART], timeout_s=2.0)


async def test_other_messages_do_not_wait_behind_an_early_event() -> None:
    fold = Folded()
    fold.known.add(OTHER_ID)
    other = MessageAck(OTHER_ID, CHAT, Ack.READ)
    async with early(fold, looks_s=(5.0,)) as line:
        await line.take(READ)
        await line.take(other)
        assert fold.folded == [other]


async def test_a_message_that_never_comes_is_given_up_after_the_last_look() -> None:
    fold = Folded()
    async with early(fold, looks_s=(0.01, 0.02, 0.03)) as line:
        await line.take(READ)
        await eventually(lambda: fold.answered == [READ])
        assert fold.folded == []
        # One at once, and those that were due: a busy machine may be late for several together.
        assert 2 <= fold.looks <= 4
        await line.take(HEART)  # the line before it has ended
        fold.known.add(ID)
        await eventually(lambda: fold.folded == [HEART])


async def test_beyond_the_bound_an_event_is_looked_at_once() -> None:
    fold = Folded()
    async with early(fold, looks_s=(5.0,), waiting_max=1) as line:
        await line.take(READ)
        await line.take(MessageAck(OTHER_ID, CHAT, Ack.READ))
        assert fold.answered == [MessageAck(OTHER_ID, CHAT, Ack.READ)]
