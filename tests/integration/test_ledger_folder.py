"""The folder on a real bus: a receipt that overtakes its message's entry is not lost."""

import time

import pytest

from control_plane.core.ledger_fold import accepted
from control_plane.ledger import early
from control_plane.ledger.folder import fold_events
from control_plane.ledger.opening import open_ledger
from control_plane.ledger.settings import LedgerSettings
from schemas.events import Event, EventData, MessageAck, MessageReaction
from schemas.messages import ChatMessage, Text
from schemas.records import OutboxItem
from schemas.states import Ack
from schemas.subjects import event
from schemas.transport.background import Background
from schemas.transport.connection import Bus
from schemas.transport.typed import publish_durable
from tests.waiting import eventually

pytestmark = pytest.mark.nats

TENANT, SESSION, NODE = "acme", "ses_" + "0" * 26, "node-a"
CHAT, ANN = "15550000002@c.us", "15550000003@c.us"
ID, LATER_ID = "3EB0" + "0" * 18, "3EB0" + "1" * 18


async def kept_long(_tenant_id: str) -> float:
    """How long messages are kept here."""
    return 3600.0


async def test_a_receipt_ahead_of_the_acceptance_is_folded_once_that_is_written(bus: Bus) -> None:
    item = OutboxItem(ID, TENANT, SESSION, CHAT, Text("hi"), time.time())
    later = OutboxItem(LATER_ID, TENANT, SESSION, CHAT, Text("ho"), time.time())
    async with open_ledger(bus, LedgerSettings(), kept_long) as ledger, Background() as tasks:
        tasks.start(ledger.follow(), name="follow")
        tasks.start(fold_events(bus, ledger), name="fold")

        async def tell(data: EventData, event_id: str) -> None:
            told = Event(event_id, time.time(), TENANT, SESSION, NODE, 1, data)
            await publish_durable(bus, event(NODE, TENANT, SESSION, data), told, event_id)

        async def stands(message_id: str) -> ChatMessage | None:
            return await ledger.get(TENANT, SESSION, message_id)

        async def read_and_liked() -> bool:
            found = await stands(ID)
            assert found is not None
            return found.ack is Ack.READ and found.reactions == {ANN: "❤"}

        async def second_read() -> bool:
            found = await stands(LATER_ID)
            assert found is not None
            return found.ack is Ack.READ

        await tell(MessageAck(ID, CHAT, Ack.READ), "evt_" + "1" * 26)
        await tell(MessageReaction(ID, CHAT, ANN, "👍"), "evt_" + "2" * 26)
        await tell(MessageReaction(ID, CHAT, ANN, "❤"), "evt_" + "3" * 26)
        # The folder has seen them all once it has folded this one, which came last.
        await ledger.change(TENANT, SESSION, LATER_ID, lambda _: accepted(later))
        await tell(MessageAck(LATER_ID, CHAT, Ack.READ), "evt_" + "4" * 26)
        await eventually(second_read)
        assert await stands(ID) is None

        await ledger.change(TENANT, SESSION, ID, lambda _: accepted(item))
        await eventually(read_and_liked, timeout_s=early.LOOKS_S[-1] + 2)
