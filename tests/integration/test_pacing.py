"""Pacing on a real stack: replies overtake cold messages, wishes are kept, nothing is forgotten."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from cli.embedded.server import EmbeddedNats
from control_plane.outbox import OutboxLanes
from control_plane.ports import Services
from sandbox.phone import PhoneBook
from sandbox.server import Sandbox
from schemas.api import SessionView
from schemas.errors import BlazzError, ErrorCode
from schemas.keys import lease_key
from schemas.messages import ChatMessage, Text
from schemas.pacing import LaneState, PacingRules, PacingSettings
from schemas.records import LeaseRecord
from schemas.resources import FLEET
from schemas.states import MessageState, NodeState
from schemas.subjects import OUTBOX_SHARDS
from schemas.transport.connection import Bus
from schemas.transport.kv import Bucket
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

RULES = PacingRules(
    per_minute=6_000,
    burst=50,
    # One cold message, and the next one in an hour.
    cold_per_minute=0.02,
    warm_up_first_day=100,
    jitter=0.0,
    quiet_from="00:00",
    quiet_until="00:00",
)
PACED = msgspec.structs.replace(SETTINGS, pacing=RULES)


async def send(services: Services, view: SessionView, to: str, body: str) -> ChatMessage:
    return await services.messages.accept(TENANT, view.session_id, to, Text(text=body))


async def final(services: Services, view: SessionView, sent: ChatMessage) -> ChatMessage:
    found = await services.messages.wait_final(
        TENANT, view.session_id, sent.message_id, timeout_s=15
    )
    assert found.state.final, found
    return found


async def held(services: Services, view: SessionView, depth: int) -> bool:
    outbox = await services.sending.outbox(TENANT, view.session_id)
    return (outbox.depth, outbox.state, outbox.reason) == (depth, LaneState.PACED, "cold_pace")


async def test_replies_overtake_cold_messages_which_another_dispatcher_goes_on_holding(
    nats: EmbeddedNats,  # noqa: F811
    bus: Bus,  # noqa: F811
    sandbox: Sandbox,  # noqa: F811
    book: PhoneBook,  # noqa: F811
    tmp_path: Path,
) -> None:
    del bus
    async with node(nats, sandbox, tmp_path):
        async with control_plane(nats, PACED) as services:
            await node_is(services, NodeState.ALIVE)
            view, phone = await linked(services, book, "628110000001")
            ann, bob, cat = [await book.create(f"62811000000{n}") for n in (2, 3, 4)]
            first = await send(services, view, ann.wid, "a1")
            assert (await final(services, view, first)).state is MessageState.SENT
            cold = [await send(services, view, bob.wid, body) for body in ("b1", "b2")]
            await eventually(lambda: held(services, view, 2), timeout_s=5)
            # Who wrote to us is answered at once, whatever waits.
            await cat.send_text(phone.wid, "hello?")
            answer = await send(services, view, cat.wid, "c1")
            assert (await final(services, view, answer)).state is MessageState.SENT
            await eventually(lambda: held(services, view, 2), timeout_s=5)
        async with control_plane(nats, PACED) as services:
            # Another dispatcher grants nothing anew.
            await eventually(lambda: held(services, view, 2), timeout_s=10)
            standing = await services.sending.pacing(TENANT, view.session_id)
            assert (standing.cold_sent_today, standing.cold_limit_today) == (1, 100)
            third = await send(services, view, bob.wid, "b3")
            # Once Bob has written, what waits for him is a reply: all of it, in its order.
            await bob.send_text(phone.wid, "who are you?")
            for message in (*cold, third):
                assert (await final(services, view, message)).state is MessageState.SENT
            got = [m.message.body for m in await bob.messages(phone.wid)]
            assert [body for body in got if body.startswith("b")] == ["b1", "b2", "b3"]
            # What a session wants otherwise is in force at once.
            dan = await book.create("628110000005")
            waits = await send(services, view, dan.wid, "d1")
            await eventually(lambda: held(services, view, 1), timeout_s=5)
            await services.sending.set_pacing(
                TENANT, view.session_id, PacingSettings(enabled=False)
            )
            assert (await final(services, view, waits)).state is MessageState.SENT


async def test_a_recipient_who_writes_stop_gets_nothing_more_until_start(
    nats: EmbeddedNats,  # noqa: F811
    bus: Bus,  # noqa: F811
    sandbox: Sandbox,  # noqa: F811
    book: PhoneBook,  # noqa: F811
    tmp_path: Path,
) -> None:
    del bus
    async with control_plane(nats, PACED) as services, node(nats, sandbox, tmp_path):
        await node_is(services, NodeState.ALIVE)
        view, phone = await linked(services, book, "628110000001")
        ann, bob = [await book.create(f"62811000000{n}") for n in (2, 3)]
        assert (
            await final(services, view, await send(services, view, ann.wid, "a1"))
        ).error_code is None
        queued = await send(services, view, bob.wid, "b1")
        await eventually(lambda: held(services, view, 1), timeout_s=5)
        # By the API: what waits fails, and nothing more is taken.
        await services.sending.opt_out(TENANT, bob.wid)
        ended = await final(services, view, queued)
        assert (ended.state, ended.error_code) == (MessageState.FAILED, "recipient_opted_out")

        async def listed() -> list[str]:
            page = await services.sending.opt_outs(TENANT, limit=10, cursor=None)
            return sorted(view.by for view in page.data)

        assert await listed() == ["api"]
        await ann.send_text(phone.wid, "Stop!")

        async def both() -> bool:
            return await listed() in (["api", "word"], ["api", "word", "word"])

        await eventually(both, timeout_s=10)
        for friend in (ann, bob):
            with pytest.raises(BlazzError) as caught:
                await send(services, view, friend.wid, "once more")
            assert caught.value.code is ErrorCode.RECIPIENT_OPTED_OUT
        await services.sending.opt_in(TENANT, bob.wid)
        await ann.send_text(phone.wid, "start")

        async def nobody() -> bool:
            return await listed() == []

        await eventually(nobody, timeout_s=10)
        back = await send(services, view, ann.wid, "welcome back")
        assert (await final(services, view, back)).state is MessageState.SENT


async def test_what_waits_for_its_pace_ends_with_its_session(
    nats: EmbeddedNats,  # noqa: F811
    bus: Bus,  # noqa: F811
    sandbox: Sandbox,  # noqa: F811
    book: PhoneBook,  # noqa: F811
    tmp_path: Path,
) -> None:
    lanes = OutboxLanes(bus, depth_max=100)
    async with control_plane(nats, PACED) as services, node(nats, sandbox, tmp_path):
        await node_is(services, NodeState.ALIVE)
        view, _phone = await linked(services, book, "628110000001")
        ann, bob = [await book.create(f"62811000000{n}") for n in (2, 3)]
        first = await send(services, view, ann.wid, "a1")
        assert (await final(services, view, first)).state is MessageState.SENT
        for number in range(5):
            await send(services, view, bob.wid, f"b{number}")
        await eventually(lambda: held(services, view, 5), timeout_s=5)
        await services.sessions.delete(TENANT, view.session_id)

        async def empty() -> bool:
            return await lanes.depth(TENANT, view.session_id) == 0

        await eventually(empty, timeout_s=10)


async def test_replicas_share_the_shards_and_hand_them_over_without_a_slip(
    nats: EmbeddedNats,  # noqa: F811
    bus: Bus,  # noqa: F811
    sandbox: Sandbox,  # noqa: F811
    book: PhoneBook,  # noqa: F811
    tmp_path: Path,
) -> None:
    bucket = Bucket(bus, FLEET)

    async def shares(*wanted: int) -> bool:
        holders: list[str] = []
        for shard in range(OUTBOX_SHARDS):
            lease = (await bucket.get(lease_key("shard", str(shard)), LeaseRecord)).value
            if lease is not None:
                holders.append(lease.holder)
        return sorted(holders.count(name) for name in set(holders)) == sorted(wanted)

    second = msgspec.structs.replace(SETTINGS, replica="cp-second")
    async with node(nats, sandbox, tmp_path):
        async with control_plane(nats, second) as other:
            await node_is(other, NodeState.ALIVE)
            views = [(await linked(other, book, f"62811000001{n}"))[0] for n in range(3)]
            friend = await book.create("628110000002")
            await eventually(lambda: shares(4), timeout_s=10)
            sent: list[tuple[SessionView, ChatMessage]] = []

            async def more(services: Services, count: int) -> None:
                for _ in range(count):
                    for view in views:
                        body = f"{view.session_id} {len(sent):03d}"
                        sent.append((view, await send(services, view, friend.wid, body)))

            await more(other, 5)
            async with control_plane(nats) as services:
                await more(other, 10)
                await eventually(lambda: shares(2, 2), timeout_s=10)
                await more(services, 5)
            await more(other, 5)
            await eventually(lambda: shares(4), timeout_s=10)
            for view, message in sent:
                assert (await final(other, view, message)).state is MessageState.SENT
        entries = await book.log(0, "message.accepted")
        accepted = [entry.id for entry in entries]
        assert len(accepted) == len(set(accepted)) == len(sent)
        for view in views:
            mine = [message.message_id for of, message in sent if of is view]
            assert [seen for seen in accepted if seen in mine] == mine
