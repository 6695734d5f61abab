"""What comes while no control plane runs: messages and receipts, all in the ledger then, once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from cli.embedded.server import EmbeddedNats
from control_plane.ports import Services
from sandbox.phone import PhoneBook
from sandbox.server import Sandbox
from schemas.events import Event, MessageAck, MessageReceived
from schemas.messages import ChatMessage, Text
from schemas.resources import EVENTS
from schemas.states import Ack, MessageDirection, MessageState, NodeState
from schemas.subjects import events_of_tenant
from schemas.transport.connection import Bus
from schemas.transport.jetstream import JetStream
from schemas.transport.typed import decode
from tests.integration.control_fixture import (
    TENANT,
    book,  # noqa: F401
    control_plane,
    linked,
    nats,  # noqa: F401
    node,
    node_is,
    sandbox,  # noqa: F401
)
from tests.integration.nats_fixture import bus  # noqa: F401
from tests.waiting import eventually

COUNT = 8


async def _events(bus: Bus) -> list[Event]:  # noqa: F811
    jetstream, found, sequence = JetStream(bus), [], 0
    subject = events_of_tenant(TENANT)
    while (stored := await jetstream.next_by_subject(EVENTS, subject, sequence + 1)) is not None:
        found.append(decode(stored.data, Event))
        sequence = stored.seq
    return found


async def test_what_comes_while_no_control_plane_runs_is_in_the_ledger_once(
    nats: EmbeddedNats,  # noqa: F811
    bus: Bus,  # noqa: F811
    sandbox: Sandbox,  # noqa: F811
    book: PhoneBook,  # noqa: F811
    tmp_path: Path,
) -> None:
    async with node(nats, sandbox, tmp_path):
        async with control_plane(nats) as services:
            await node_is(services, NodeState.ALIVE)
            view, phone = await linked(services, book, "628110000001")
            friend = await book.create("628110000002")
            ours: list[ChatMessage] = []
            for number in range(COUNT):
                sent = await services.messages.accept(
                    TENANT, view.session_id, friend.wid, Text(f"ours {number}")
                )
                ended = await services.messages.wait_final(
                    TENANT, view.session_id, sent.message_id, timeout_s=15
                )
                assert ended.state is MessageState.SENT
                ours.append(ended)
        # Nobody folds, and nobody tells the node what was told before.
        theirs = []
        for number, message in enumerate(ours):
            theirs.append(await friend.send_text(phone.wid, f"theirs {number}"))
            await friend.read(phone.wid, message.message_id)

        async def handed_over() -> bool:
            devices = sandbox.switch.devices.of("628110000001")
            return all(not device.queue for device in devices)

        await eventually(handed_over, timeout_s=15, what="the node has it all")
        async with control_plane(nats) as services:
            await eventually(lambda: _all_read(services, view.session_id, ours), timeout_s=20)
            page = await services.messages.list(
                TENANT, view.session_id, chat=None, limit=100, cursor=None
            )
            inbound = [m for m in page.data if m.direction is MessageDirection.INBOUND]
            assert [m.message_id for m in reversed(inbound)] == theirs
            assert len(page.data) == 2 * COUNT
    told = await _events(bus)
    assert [one for one, count in Counter(e.event_id for e in told).items() if count > 1] == []
    arrived = [e.data.message.message_id for e in told if isinstance(e.data, MessageReceived)]
    assert arrived == theirs
    read = [e.data for e in told if isinstance(e.data, MessageAck) and e.data.ack is Ack.READ]
    assert sorted(one.message_id for one in read) == sorted(m.message_id for m in ours)


async def _all_read(services: Services, session_id: str, ours: list[ChatMessage]) -> bool:
    found = [
        await services.messages.get(TENANT, session_id, message.message_id) for message in ours
    ]
    return all(message.ack is Ack.READ for message in found)
