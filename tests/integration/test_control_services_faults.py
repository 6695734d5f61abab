"""The services when a replica or the bus dies in the middle, and media through a real node."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from cli.embedded.server import EmbeddedNats
from sandbox.phone import PhoneBook
from sandbox.server import Sandbox
from schemas.api import NewSession
from schemas.messages import ChatMessage, Media, Text
from schemas.states import Ack, EngineKind, MessageKind, MessageState, NodeState, SessionState
from schemas.transport.connection import Bus
from tests.integration.control_fixture import (
    SETTINGS,
    TENANT,
    book,  # noqa: F401
    control_plane,
    in_state,
    linked,
    nats,  # noqa: F401
    node,
    node_is,
    qr_of,
    sandbox,  # noqa: F401
)
from tests.integration.nats_fixture import bus  # noqa: F401
from tests.waiting import eventually

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4


async def test_another_replica_takes_a_message_in_flight_over_without_doubling_it(
    nats: EmbeddedNats,  # noqa: F811
    bus: Bus,  # noqa: F811
    sandbox: Sandbox,  # noqa: F811
    book: PhoneBook,  # noqa: F811
    tmp_path: Path,
) -> None:
    second = msgspec.structs.replace(SETTINGS, replica="cp-second")
    async with node(nats, sandbox, tmp_path):
        async with control_plane(nats) as services:
            await node_is(services, NodeState.ALIVE)
            view, phone = await linked(services, book, "628110000001")
            friend = await book.create("628110000002")
            await book.set_faults(ack_delay_ms=1000)
            sent = await services.messages.accept(
                TENANT, view.session_id, friend.wid, Text(text="once")
            )

            async def handed_over() -> bool:
                return len(await book.log(0, "message.accepted")) == 1

            await eventually(handed_over, timeout_s=5)
        # The first replica is gone with the answer it waited for; the switch has the message.
        async with control_plane(nats, second) as services:
            await book.clear_faults()
            found = await services.messages.wait_final(
                TENANT, view.session_id, sent.message_id, timeout_s=20
            )
            assert found.state is MessageState.SENT
            assert len(await book.log(0, "message.accepted")) == 1
            assert await book.log(0, "message.resent") == []
            assert len(await friend.messages(phone.wid)) == 1


async def test_the_services_outlive_a_crash_of_the_bus(
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
        sent = [
            await services.messages.accept(
                TENANT, view.session_id, friend.wid, Text(text=f"before {n}")
            )
            for n in range(3)
        ]
        os.kill(nats.pid, signal.SIGKILL)
        await eventually(lambda: nats.restarts == 1 and nats.pid, timeout_s=10)

        async def accepted() -> ChatMessage | None:
            ready = await services.fleet.ready()
            if not all(ready.values()):
                return None
            return await services.messages.accept(
                TENANT, view.session_id, friend.wid, Text(text="after")
            )

        after = await eventually(accepted, timeout_s=15, what="ready again")
        assert after is not None
        for message in (*sent, after):
            found = await services.messages.wait_final(
                TENANT, view.session_id, message.message_id, timeout_s=20
            )
            assert found.state is MessageState.SENT, found
        got = [m.message.body for m in await friend.messages(phone.wid)]
        assert got == ["before 0", "before 1", "before 2", "after"]
        await in_state(services, view, SessionState.ONLINE)


async def test_pictures_go_out_and_come_in(
    nats: EmbeddedNats,  # noqa: F811
    bus: Bus,  # noqa: F811
    sandbox: Sandbox,  # noqa: F811
    book: PhoneBook,  # noqa: F811
    tmp_path: Path,
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield PNG

    async with control_plane(nats) as services, node(nats, sandbox, tmp_path):
        await node_is(services, NodeState.ALIVE)
        view, phone = await linked(services, book, "628110000001")
        friend = await book.create("628110000002")
        held = await services.media.put(TENANT, pieces(), mimetype="image/png", filename="a.png")
        sent = await services.messages.accept(
            TENANT,
            view.session_id,
            friend.wid,
            Media(kind=MessageKind.IMAGE, media=held.ref, caption="look"),
        )
        found = await services.messages.wait_final(
            TENANT, view.session_id, sent.message_id, timeout_s=10
        )
        assert found.state is MessageState.SENT, found
        (got,) = await friend.messages(phone.wid)
        assert got.message.media is not None
        assert await book.get_media(got.message.media.media_id) == PNG
        await friend.read(phone.wid)

        async def read() -> bool:
            seen = await services.messages.get(TENANT, view.session_id, sent.message_id)
            return seen.ack is Ack.READ

        await eventually(read, timeout_s=5, what="the read receipt is in the ledger")

        message_id = await friend.send_media(phone.wid, PNG, "image/png", caption="back")

        async def arrived() -> bool:
            page = await services.messages.list(
                TENANT, view.session_id, chat=None, limit=5, cursor=None
            )
            return message_id in [message.message_id for message in page.data]

        await eventually(arrived, timeout_s=5)
        chunk = await services.messages.media(TENANT, view.session_id, message_id, 0)
        assert (chunk.data, chunk.total_bytes, chunk.mimetype) == (PNG, len(PNG), "image/png")


async def test_many_sessions_start_staggered_and_all_get_a_code(
    nats: EmbeddedNats,  # noqa: F811
    bus: Bus,  # noqa: F811
    sandbox: Sandbox,  # noqa: F811
    tmp_path: Path,
) -> None:
    async with (
        control_plane(nats) as services,
        node(nats, sandbox, tmp_path, sessions_max=12),
    ):
        await node_is(services, NodeState.ALIVE)
        views = await asyncio.gather(
            *(
                services.sessions.create(TENANT, NewSession(engine=EngineKind.LOOPBACK))
                for _ in range(12)
            )
        )
        codes = await asyncio.gather(*(qr_of(services, view) for view in views))
        assert len({code.value for code in codes}) == 12


async def test_deleting_unlinks_the_device_and_does_not_wait_for_ever_to_do_so(
    nats: EmbeddedNats,  # noqa: F811
    bus: Bus,  # noqa: F811
    sandbox: Sandbox,  # noqa: F811
    book: PhoneBook,  # noqa: F811
    tmp_path: Path,
) -> None:
    async with control_plane(nats) as services, node(nats, sandbox, tmp_path):
        await node_is(services, NodeState.ALIVE)
        first, reachable = await linked(services, book, "628110000001")
        second, _cut_off = await linked(services, book, "628110000002")
        await book.set_faults("628110000002", offline=True)
        for view in (first, second):
            await services.sessions.delete(TENANT, view.session_id)

        async def given_back() -> bool:
            return [n.reserved for n in await services.fleet.nodes()] == [0]

        await eventually(given_back, timeout_s=20, what="both places are given back")
        assert await reachable.devices() == []
