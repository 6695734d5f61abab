"""A message's end is told as one event a life, and stays what it was decided to be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from cli.embedded.server import EmbeddedNats
from control_plane.ports import Services
from sandbox.phone import PhoneBook
from sandbox.server import Sandbox
from schemas.api import SessionView
from schemas.api_sending import DeadLetterCount
from schemas.events import Event, MessageFailed
from schemas.messages import ChatMessage, Text
from schemas.resources import EVENTS, LEDGER
from schemas.states import MessageState, NodeState
from schemas.subjects import event_named
from schemas.transport.connection import Bus
from schemas.transport.jetstream import JetStream
from schemas.transport.typed import decode
from tests.integration.control_fixture import (
    SETTINGS,
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

LATE = "628110000007"


async def _change(jetstream: JetStream, stream: str, **fields: object) -> None:
    config: dict[str, Any] = (await jetstream.stream_info(stream)).config
    await jetstream.api(f"STREAM.UPDATE.{stream}", {**config, **fields}, msgspec.Raw)


async def _endings(jetstream: JetStream) -> list[Event]:
    found: list[Event] = []
    sequence = 0
    subject = event_named("*", TENANT, "*", "message.failed")
    while (stored := await jetstream.next_by_subject(EVENTS, subject, sequence + 1)) is not None:
        found.append(decode(stored.data, Event))
        sequence = stored.seq
    return found


async def _final(services: Services, view: SessionView, sent: ChatMessage) -> ChatMessage:
    async def final() -> ChatMessage | None:
        # The ledger may not know it yet.
        seen = await services.messages.get(TENANT, view.session_id, sent.message_id)
        return seen if seen.state.final else None

    found = await eventually(final, timeout_s=15, what="it has ended")
    assert found is not None
    return found


async def test_an_interrupted_ending_is_repeated_as_it_was_and_another_life_ends_anew(
    nats: EmbeddedNats,  # noqa: F811
    bus: Bus,  # noqa: F811
    sandbox: Sandbox,  # noqa: F811
    book: PhoneBook,  # noqa: F811
    tmp_path: Path,
) -> None:
    jetstream = JetStream(bus)
    # The stream forgets a repeat at once, as it does in the long run.
    await _change(jetstream, EVENTS, duplicate_window=100_000_000)
    async with node(nats, sandbox, tmp_path):
        async with control_plane(nats) as services:
            await node_is(services, NodeState.ALIVE)
            view, _phone = await linked(services, book, "628110000001")
            # The ledger takes nothing: no message can end.
            limit = (await jetstream.stream_info(LEDGER)).config["max_msg_size"]
            await _change(jetstream, LEDGER, max_msg_size=1)
            sent = await services.messages.accept(
                TENANT, view.session_id, f"{LATE}@c.us", Text("hello")
            )
            await eventually(lambda: _endings(jetstream), timeout_s=10)
            # From now on it could be sent.
            friend = await book.create(LATE)

            async def repeated() -> bool:
                return len(await _endings(jetstream)) > 1

            await eventually(repeated, timeout_s=10, what="the same replica repeats the ending")
        await _change(jetstream, LEDGER, max_msg_size=limit)
        second = msgspec.structs.replace(SETTINGS, replica="cp-second")
        async with control_plane(nats, second) as services:
            ended = await _final(services, view, sent)
            assert ended.state is MessageState.FAILED
            told = await _endings(jetstream)
            assert len({msgspec.structs.replace(one, epoch=0) for one in told}) == 1
            assert await book.log(0, "message.accepted") == []
            dead = DeadLetterCount(TENANT, view.session_id, 1)
            assert await services.dead_letters.counts(TENANT) == (dead,)
            assert await services.dead_letters.counts(None) == (dead,)
            assert await services.dead_letters.counts("rival") == ()
            await services.dead_letters.redrive(
                TENANT, view.session_id, sent.message_id, force=False
            )
            assert (await _final(services, view, sent)).state is MessageState.SENT
            assert await services.dead_letters.counts(None) == ()
            assert len(await friend.messages("628110000001@c.us")) == 1


async def test_every_life_ends_with_an_event_of_its_own(
    nats: EmbeddedNats,  # noqa: F811
    bus: Bus,  # noqa: F811
    sandbox: Sandbox,  # noqa: F811
    book: PhoneBook,  # noqa: F811
    tmp_path: Path,
) -> None:
    jetstream = JetStream(bus)
    async with control_plane(nats) as services, node(nats, sandbox, tmp_path):
        await node_is(services, NodeState.ALIVE)
        view, _phone = await linked(services, book, "628110000001")
        sent = await services.messages.accept(
            TENANT, view.session_id, f"{LATE}@c.us", Text("hello")
        )
        for life in range(3):
            ended = await _final(services, view, sent)
            assert (ended.state, ended.redrives) == (MessageState.FAILED, life)
            told = await _endings(jetstream)
            lives = [one.data.redrives for one in told if isinstance(one.data, MessageFailed)]
            assert lives == list(range(life + 1))
            assert len({one.event_id for one in told}) == life + 1
            await services.dead_letters.redrive(
                TENANT, view.session_id, sent.message_id, force=False
            )
