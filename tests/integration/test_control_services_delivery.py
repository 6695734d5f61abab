"""Every accepted message ends once: across lost answers, restarts, offline sessions, deletions."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from cli.embedded.server import EmbeddedNats
from control_plane.core.delivery import DeliveryRules
from control_plane.ports import Services
from sandbox.phone import PhoneBook
from sandbox.server import Sandbox
from schemas.api import SessionView
from schemas.errors import BlazzError, ErrorCode
from schemas.messages import ChatMessage, Text
from schemas.resources import DEAD_LETTERS, OUTBOX
from schemas.states import MessageState, NodeState, SessionState
from schemas.subjects import dead_letter
from schemas.transport.connection import Bus
from schemas.transport.jetstream import JetStream
from swarm_node.engines.loopback.settings import LoopbackFaults
from tests.integration.control_fixture import (
    NO_DISPATCHER,
    SETTINGS,
    TENANT,
    book,  # noqa: F401
    control_plane,
    in_state,
    linked,
    nats,  # noqa: F401
    node,
    node_is,
    sandbox,  # noqa: F401
)
from tests.integration.nats_fixture import bus  # noqa: F401
from tests.waiting import eventually

NOBODY = "628119999999@c.us"


async def send(services: Services, view: SessionView, to: str, body: str) -> ChatMessage:
    return await services.messages.accept(view.tenant_id, view.session_id, to, Text(text=body))


async def final(
    services: Services, view: SessionView, sent: ChatMessage, timeout_s: float = 15
) -> ChatMessage:
    found = await services.messages.wait_final(
        view.tenant_id, view.session_id, sent.message_id, timeout_s=timeout_s
    )
    assert found.state.final, found
    return found


async def accepted_by_switch(book: PhoneBook, message_id: str) -> int:  # noqa: F811
    entries = await book.log(0, "message.accepted")
    return sum(1 for entry in entries if entry.id == message_id)


async def outbox_is_empty(bus: Bus) -> bool:  # noqa: F811
    return (await JetStream(bus).stream_info(OUTBOX)).state.messages == 0


async def test_a_lost_answer_is_looked_up_and_not_sent_twice(
    nats: EmbeddedNats,  # noqa: F811
    bus: Bus,  # noqa: F811
    sandbox: Sandbox,  # noqa: F811
    book: PhoneBook,  # noqa: F811
    tmp_path: Path,
) -> None:
    faults = LoopbackFaults(replies_lost=1)
    async with (
        control_plane(nats) as services,
        node(nats, sandbox, tmp_path, faults=faults),
    ):
        await node_is(services, NodeState.ALIVE)
        view, phone = await linked(services, book, "628110000001")
        friend = await book.create("628110000002")
        sent = await send(services, view, friend.wid, "once")
        assert (await final(services, view, sent)).state is MessageState.SENT
        assert await accepted_by_switch(book, sent.message_id) == 1
        assert len(await friend.messages(phone.wid)) == 1
        await eventually(lambda: outbox_is_empty(bus), timeout_s=5)


async def test_a_restart_between_acceptance_and_dispatch_loses_and_doubles_nothing(
    nats: EmbeddedNats,  # noqa: F811
    bus: Bus,  # noqa: F811
    sandbox: Sandbox,  # noqa: F811
    book: PhoneBook,  # noqa: F811
    tmp_path: Path,
) -> None:
    async with node(nats, sandbox, tmp_path):
        accepting_only = msgspec.structs.replace(SETTINGS, roles=NO_DISPATCHER)
        async with control_plane(nats, accepting_only) as services:
            await node_is(services, NodeState.ALIVE)
            view, phone = await linked(services, book, "628110000001")
            friend = await book.create("628110000002")
            sent = [await send(services, view, friend.wid, f"n{n}") for n in range(5)]
        async with control_plane(nats) as services:
            for message in sent:
                assert (await final(services, view, message)).state is MessageState.SENT
            got = await friend.messages(phone.wid)
            assert [m.message.body for m in got] == [f"n{n}" for n in range(5)]
            for message in sent:
                assert await accepted_by_switch(book, message.message_id) == 1


async def test_a_waiting_lane_holds_nobody_up_and_goes_on_when_its_session_is_back(
    nats: EmbeddedNats,  # noqa: F811
    bus: Bus,  # noqa: F811
    sandbox: Sandbox,  # noqa: F811
    book: PhoneBook,  # noqa: F811
    tmp_path: Path,
) -> None:
    # One message in flight at once, over all lanes: a lane that blocked would block them all.
    # And no polling within the test: what wakes the lane is its session's coming online.
    narrow = msgspec.structs.replace(
        SETTINGS,
        dispatcher=msgspec.structs.replace(
            SETTINGS.dispatcher,
            sends_max=1,
            rules=DeliveryRules(backoff_min_s=60.0, backoff_max_s=60.0),
        ),
    )
    async with control_plane(nats, narrow) as services, node(nats, sandbox, tmp_path):
        await node_is(services, NodeState.ALIVE)
        away, _phone = await linked(services, book, "628110000001")
        here, _phone = await linked(services, book, "628110000002")
        friend = await book.create("628110000003")
        await services.sessions.stop(TENANT, away.session_id)
        await in_state(services, away, SessionState.STOPPED)
        waiting = await send(services, away, friend.wid, "later")
        sent = await send(services, here, friend.wid, "now")
        assert (await final(services, here, sent)).state is MessageState.SENT
        still = await services.messages.get(TENANT, away.session_id, waiting.message_id)
        assert still.state is MessageState.ACCEPTED
        await services.sessions.start(TENANT, away.session_id)
        assert (await final(services, away, waiting)).state is MessageState.SENT


async def test_what_can_not_be_sent_fails_with_a_reason_and_an_event(
    nats: EmbeddedNats,  # noqa: F811
    bus: Bus,  # noqa: F811
    sandbox: Sandbox,  # noqa: F811
    book: PhoneBook,  # noqa: F811
    tmp_path: Path,
) -> None:
    async with control_plane(nats) as services, node(nats, sandbox, tmp_path):
        await node_is(services, NodeState.ALIVE)
        view, _phone = await linked(services, book, "628110000001")
        sent = await send(services, view, NOBODY, "hello?")
        ended = await final(services, view, sent)
        assert ended.state is MessageState.FAILED
        assert ended.error_code == ErrorCode.RECIPIENT_NOT_ON_WHATSAPP
        names = []
        async for item in services.feed.follow(TENANT, after_sequence=0):
            data = item.event.data  # type: ignore[union-attr]
            names.append(type(data).__struct_config__.tag)
            if getattr(data, "message_id", None) == sent.message_id:
                break
        assert names[-1] == "message.failed"


async def test_messages_of_a_deleted_session_fail(
    nats: EmbeddedNats,  # noqa: F811
    bus: Bus,  # noqa: F811
    sandbox: Sandbox,  # noqa: F811
    book: PhoneBook,  # noqa: F811
    tmp_path: Path,
) -> None:
    async with control_plane(nats) as services, node(nats, sandbox, tmp_path):
        await node_is(services, NodeState.ALIVE)
        view, _phone = await linked(services, book, "628110000001")
        await services.sessions.stop(TENANT, view.session_id)
        await in_state(services, view, SessionState.STOPPED)
        never = await send(services, view, NOBODY, "never")
        await services.sessions.delete(TENANT, view.session_id)
        await eventually(lambda: outbox_is_empty(bus), timeout_s=10)
        letter = await JetStream(bus).last_by_subject(
            DEAD_LETTERS, dead_letter(TENANT, view.session_id, never.message_id)
        )
        assert letter is not None
        with pytest.raises(BlazzError) as caught:
            await services.sessions.get(TENANT, view.session_id)
        assert caught.value.code is ErrorCode.SESSION_NOT_FOUND
        # A name is free again at once, and the place is given back.
        await eventually(lambda: _nothing_reserved(services), timeout_s=10)


async def _nothing_reserved(services: Services) -> bool:
    return [n.reserved for n in await services.fleet.nodes()] == [0]


async def test_a_message_that_waited_too_long_fails_and_says_so(
    nats: EmbeddedNats,  # noqa: F811
    bus: Bus,  # noqa: F811
    sandbox: Sandbox,  # noqa: F811
    book: PhoneBook,  # noqa: F811
    tmp_path: Path,
) -> None:
    impatient = msgspec.structs.replace(
        SETTINGS,
        dispatcher=msgspec.structs.replace(
            SETTINGS.dispatcher,
            rules=DeliveryRules(age_max_s=0.5, backoff_min_s=0.05, backoff_max_s=0.2),
        ),
    )
    async with control_plane(nats, impatient) as services, node(nats, sandbox, tmp_path):
        await node_is(services, NodeState.ALIVE)
        view, _phone = await linked(services, book, "628110000001")
        await services.sessions.stop(TENANT, view.session_id)
        await in_state(services, view, SessionState.STOPPED)
        sent = await send(services, view, NOBODY, "too late")
        ended = await final(services, view, sent)
        assert (ended.state, ended.error_code) == (MessageState.FAILED, ErrorCode.TIMEOUT)


async def test_a_silent_node_is_not_believed_and_a_new_run_of_it_starts_its_sessions_again(
    nats: EmbeddedNats,  # noqa: F811
    bus: Bus,  # noqa: F811
    sandbox: Sandbox,  # noqa: F811
    book: PhoneBook,  # noqa: F811
    tmp_path: Path,
) -> None:
    async with control_plane(nats) as services:
        async with node(nats, sandbox, tmp_path):
            await node_is(services, NodeState.ALIVE)
            view, phone = await linked(services, book, "628110000001")
        await node_is(services, NodeState.STOPPED)
        shown = await services.sessions.get(TENANT, view.session_id)
        assert not shown.state.can_send
        friend = await book.create("628110000002")
        sent = await send(services, view, friend.wid, "while you were out")
        async with node(nats, sandbox, tmp_path):
            back = await in_state(services, view, SessionState.ONLINE)
            assert back.epoch == view.epoch
            assert back.phone == phone.number
            assert (await final(services, view, sent)).state is MessageState.SENT


async def test_a_restart_is_a_new_epoch_and_a_logged_out_session_can_be_linked_again(
    nats: EmbeddedNats,  # noqa: F811
    bus: Bus,  # noqa: F811
    sandbox: Sandbox,  # noqa: F811
    book: PhoneBook,  # noqa: F811
    tmp_path: Path,
) -> None:
    async with control_plane(nats) as services, node(nats, sandbox, tmp_path):
        await node_is(services, NodeState.ALIVE)
        view, phone = await linked(services, book, "628110000001")
        await services.sessions.restart(TENANT, view.session_id)
        again = await in_state(services, view, SessionState.ONLINE)
        assert (view.epoch, again.epoch) == (1, 2)
        await phone.unlink()
        await in_state(services, view, SessionState.LOGGED_OUT)
        await services.sessions.start(TENANT, view.session_id)
        paired = await in_state(services, view, SessionState.PAIRING)
        assert paired.epoch == 3
        with pytest.raises(BlazzError) as caught:
            await services.sessions.logout("another", view.session_id)
        assert caught.value.code is ErrorCode.SESSION_NOT_FOUND
