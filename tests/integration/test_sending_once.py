"""One message per idempotency key, whatever died in between; and the way back from a dead end."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cli.embedded.server import EmbeddedNats
from control_plane.core.message_identity import OnceKey
from control_plane.outbox import OutboxLanes
from control_plane.ports import Services
from sandbox.phone import PhoneBook
from sandbox.server import Sandbox
from schemas.api import SessionView
from schemas.errors import BlazzError, ErrorCode
from schemas.messages import ChatMessage, Text
from schemas.pacing import PacingRules
from schemas.records import DeadLetter, OutboxItem
from schemas.resources import DEAD_LETTERS, LEDGER, OUTBOX
from schemas.states import MessageState, NodeState
from schemas.subjects import dead_letter, ledger_message
from schemas.transport.connection import Bus
from schemas.transport.jetstream import JetStream
from schemas.transport.typed import decode, publish_durable
from tests.integration.control_fixture import (
    NO_DISPATCHER,
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

ACCEPTING = msgspec.structs.replace(SETTINGS, roles=NO_DISPATCHER)
ORDER = OnceKey("key1", "order-17", "a" * 64)
AGAIN = OnceKey("key1", "order-17", "a" * 64, seen_before=True)


async def _forget_duplicates(bus: Bus) -> None:  # noqa: F811
    """Shrink the outbox's duplicate window and wait until it forgets: as if much time passed."""
    jetstream = JetStream(bus)
    config: dict[str, Any] = (await jetstream.stream_info(OUTBOX)).config
    probe = "blazz.out.0.probe.probe"
    windows_ns = itertools.cycle((100_000_000, 110_000_000))

    async def forgotten() -> bool:
        # Each change of the window sets the server's timer anew: one alone was seen to be missed.
        config["duplicate_window"] = next(windows_ns)
        await jetstream.api(f"STREAM.UPDATE.{OUTBOX}", config, msgspec.Raw)
        ack = await jetstream.publish(probe, b"", headers={"Nats-Msg-Id": "probe"})
        return not ack.duplicate

    await forgotten()
    await eventually(forgotten, timeout_s=20)
    await jetstream.purge(OUTBOX, probe)


async def _final(services: Services, view: SessionView, sent: ChatMessage) -> ChatMessage:
    found = await services.messages.wait_final(
        view.tenant_id, view.session_id, sent.message_id, timeout_s=15
    )
    assert found.state.final, found
    return found


async def test_a_key_makes_one_message_whatever_died_after_the_append(
    nats: EmbeddedNats,  # noqa: F811
    bus: Bus,  # noqa: F811
    sandbox: Sandbox,  # noqa: F811
    book: PhoneBook,  # noqa: F811
    tmp_path: Path,
) -> None:
    jetstream = JetStream(bus)
    lanes = OutboxLanes(bus, depth_max=100)
    async with node(nats, sandbox, tmp_path):
        async with control_plane(nats, ACCEPTING) as services:
            await node_is(services, NodeState.ALIVE)
            view, phone = await linked(services, book, "628110000001")
            friend = await book.create("628110000002")

            async def accept(once: OnceKey) -> ChatMessage:
                return await services.messages.accept(
                    TENANT, view.session_id, friend.wid, Text(text="once"), once
                )

            first = await accept(ORDER)
            assert (await accept(ORDER)).message_id == first.message_id
            others = {
                (await accept(OnceKey(*other))).message_id
                for other in (
                    ("key2", "order-17", "a" * 64),
                    ("key1", "order-18", "a" * 64),
                    ("key1", "order-17", "b" * 64),
                )
            }
            assert len(others | {first.message_id}) == 4
            assert await lanes.depth(TENANT, view.session_id) == 4
            # Its process died before the ledger knew; who waits for its end writes it down.
            record = ledger_message(TENANT, view.session_id, first.message_id)
            await jetstream.purge(LEDGER, record)
            waited = await services.messages.wait_final(
                TENANT, view.session_id, first.message_id, timeout_s=0.1
            )
            assert waited.state is MessageState.ACCEPTED
            assert await jetstream.last_by_subject(LEDGER, record) is not None
            # The retry comes long after.
            await jetstream.purge(LEDGER, record)
            await _forget_duplicates(bus)
            found = await services.messages.get(TENANT, view.session_id, first.message_id)
            assert found.state is MessageState.ACCEPTED
            # Another replica has no secret of its own.
            async with control_plane(nats, ACCEPTING) as other_replica:
                again = await other_replica.messages.accept(
                    TENANT, view.session_id, friend.wid, Text(text="once"), AGAIN
                )
            assert again.message_id == first.message_id
            assert await lanes.depth(TENANT, view.session_id) == 4
        async with control_plane(nats) as services:
            assert (await _final(services, view, first)).state is MessageState.SENT
            await eventually(lambda: _is_empty(lanes, view), timeout_s=10)
            # Long after its end, too, the key stands for that message.
            answered = await services.messages.accept(
                TENANT, view.session_id, friend.wid, Text(text="once"), ORDER
            )
            assert (answered.message_id, answered.state) == (first.message_id, MessageState.SENT)
            assert len(await friend.messages(phone.wid)) == 4


async def _is_empty(lanes: OutboxLanes, view: SessionView) -> bool:
    return await lanes.depth(TENANT, view.session_id) == 0


async def test_a_full_lane_takes_no_more_and_says_so(
    nats: EmbeddedNats,  # noqa: F811
    bus: Bus,  # noqa: F811
    sandbox: Sandbox,  # noqa: F811
    book: PhoneBook,  # noqa: F811
    tmp_path: Path,
) -> None:
    del bus
    small = msgspec.structs.replace(ACCEPTING, lane_depth_max=5)
    async with node(nats, sandbox, tmp_path), control_plane(nats, small) as services:
        await node_is(services, NodeState.ALIVE)
        view, _phone = await linked(services, book, "628110000001")

        async def accept() -> ChatMessage:
            return await services.messages.accept(
                TENANT, view.session_id, "628110000002@c.us", Text(text="x")
            )

        for _ in range(5):
            await accept()
        with pytest.raises(BlazzError) as caught:
            await accept()
        assert caught.value.code is ErrorCode.QUEUE_FULL
        assert caught.value.fields["depth"] == 5


async def test_a_dead_letter_is_redriven_under_its_id(
    nats: EmbeddedNats,  # noqa: F811
    bus: Bus,  # noqa: F811
    sandbox: Sandbox,  # noqa: F811
    book: PhoneBook,  # noqa: F811
    tmp_path: Path,
) -> None:
    del bus
    late = "628110000007"
    async with control_plane(nats) as services, node(nats, sandbox, tmp_path):
        await node_is(services, NodeState.ALIVE)
        view, phone = await linked(services, book, "628110000001")
        letters = services.dead_letters
        sent = await services.messages.accept(
            TENANT, view.session_id, f"{late}@c.us", Text(text="hello")
        )
        assert (await _final(services, view, sent)).state is MessageState.FAILED

        async def the_letter(redrives: int) -> bool:
            page = await letters.list(TENANT, view.session_id, limit=10, cursor=None)
            return [(v.message_id, v.redrives) for v in page.data] == [(sent.message_id, redrives)]

        await eventually(lambda: the_letter(0), timeout_s=5)
        # Still nobody there: it fails again, in its second life, and is a dead letter again.
        risen = await letters.redrive(TENANT, view.session_id, sent.message_id, force=False)
        assert (risen.state, risen.redrives) == (MessageState.ACCEPTED, 1)
        assert (await _final(services, view, sent)).state is MessageState.FAILED
        await eventually(lambda: the_letter(1), timeout_s=5)
        friend = await book.create(late)
        done = await letters.redrive_all(TENANT, view.session_id, force=False)
        assert (done.redriven, done.left, done.unsafe) == (1, 0, 0)
        ended = await _final(services, view, sent)
        assert (ended.state, ended.redrives, ended.error_code) == (MessageState.SENT, 2, None)
        assert [m.message.body for m in await friend.messages(phone.wid)] == ["hello"]
        with pytest.raises(BlazzError) as caught:
            await letters.get(TENANT, view.session_id, sent.message_id)
        assert caught.value.code is ErrorCode.DEAD_LETTER_NOT_FOUND


async def test_what_may_have_gone_out_is_redriven_by_force_and_not_doubled(
    nats: EmbeddedNats,  # noqa: F811
    bus: Bus,  # noqa: F811
    sandbox: Sandbox,  # noqa: F811
    book: PhoneBook,  # noqa: F811
    tmp_path: Path,
) -> None:
    async with control_plane(nats) as services, node(nats, sandbox, tmp_path):
        await node_is(services, NodeState.ALIVE)
        view, phone = await linked(services, book, "628110000001")
        friend = await book.create("628110000002")
        content = Text(text="maybe")
        sent = await services.messages.accept(TENANT, view.session_id, friend.wid, content)
        assert (await _final(services, view, sent)).state is MessageState.SENT
        item = OutboxItem(
            sent.message_id, TENANT, view.session_id, friend.wid, content, sent.created_at
        )
        letter = DeadLetter(item, 3, "node_unreachable", 2.0, "why", MessageState.UNKNOWN)
        subject = dead_letter(TENANT, view.session_id, sent.message_id)
        await publish_durable(bus, subject, letter, "unknown-1")
        with pytest.raises(BlazzError) as caught:
            await services.dead_letters.redrive(
                TENANT, view.session_id, sent.message_id, force=False
            )
        assert caught.value.code is ErrorCode.REDRIVE_UNSAFE
        left = await services.dead_letters.redrive_all(TENANT, view.session_id, force=False)
        assert (left.redriven, left.unsafe) == (0, 1)
        await services.dead_letters.redrive(TENANT, view.session_id, sent.message_id, force=True)
        ended = await _final(services, view, sent)
        assert (ended.state, ended.redrives) == (MessageState.SENT, 1)
        assert len(await book.log(0, "message.accepted")) == 1
        assert len(await friend.messages(phone.wid)) == 1


@pytest.mark.parametrize("pacing", [SETTINGS.pacing, PacingRules(quiet_until="21:00")])
async def test_only_what_may_have_gone_out_ends_as_unknown_and_says_why(
    nats: EmbeddedNats,  # noqa: F811
    bus: Bus,  # noqa: F811
    sandbox: Sandbox,  # noqa: F811
    book: PhoneBook,  # noqa: F811
    tmp_path: Path,
    pacing: PacingRules,
) -> None:
    dispatching = msgspec.structs.replace(SETTINGS, pacing=pacing)
    async with node(nats, sandbox, tmp_path):
        async with control_plane(nats, dispatching) as services:
            await node_is(services, NodeState.ALIVE)
            view, _phone = await linked(services, book, "628110000001")
            friend = await book.create("628110000002")
            await book.set_faults(ack_delay_ms=3_000)
            sent = [
                await services.messages.accept(
                    TENANT, view.session_id, friend.wid, Text(text=f"n{n}")
                )
                for n in range(3)
            ]

            async def handed_over() -> bool:
                return len(await book.log(0, "message.accepted")) == 1

            await eventually(handed_over, timeout_s=5)
        # The dispatcher went with the answer; before there is another one the session goes, too.
        async with control_plane(nats, ACCEPTING) as services:
            await services.sessions.delete(TENANT, view.session_id)
        async with control_plane(nats, dispatching):
            ends: list[DeadLetter] = []
            for message in sent:
                subject = dead_letter(TENANT, view.session_id, message.message_id)

                async def buried(subject: str = subject) -> DeadLetter | None:
                    stored = await JetStream(bus).last_by_subject(DEAD_LETTERS, subject)
                    return None if stored is None else decode(stored.data, DeadLetter)

                found = await eventually(buried, timeout_s=15, what="its end")
                assert found is not None
                ends.append(found)
        assert [letter.state for letter in ends] == [
            MessageState.UNKNOWN,
            MessageState.FAILED,
            MessageState.FAILED,
        ]
        assert "the dispatcher before this one" in (ends[0].error_detail or "")
        assert {letter.error_code for letter in ends} == {"session_not_found"}
