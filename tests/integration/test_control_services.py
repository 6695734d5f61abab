"""The services with a real bus, real nodes (loopback) and the sandbox's switch."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cli.embedded.server import EmbeddedNats
from control_plane.ports import Services
from sandbox.phone import PhoneBook
from sandbox.server import Sandbox
from schemas.api import NewSession
from schemas.messages import Text
from schemas.states import EngineKind, MessageState, SessionState
from schemas.transport.connection import Bus
from tests.integration.control_fixture import (
    TENANT,
    book,  # noqa: F401
    control_plane,
    in_state,
    linked,
    nats,  # noqa: F401
    node,
    sandbox,  # noqa: F401
)
from tests.integration.nats_fixture import bus  # noqa: F401
from tests.waiting import eventually


@pytest.fixture
async def services(nats: EmbeddedNats, bus: Bus) -> AsyncIterator[Services]:  # noqa: F811
    async with control_plane(nats) as opened:
        yield opened


async def test_a_message_goes_from_acceptance_to_the_phone_and_back(
    services: Services,
    nats: EmbeddedNats,  # noqa: F811
    sandbox: Sandbox,  # noqa: F811
    book: PhoneBook,  # noqa: F811
    tmp_path: Path,
) -> None:
    async with node(nats, sandbox, tmp_path):
        await eventually(lambda: _alive(services), timeout_s=10, what="the node is alive")
        view, phone = await linked(services, book, "628110000001")
        friend = await book.create("628110000002", name="Friend")

        accepted = await services.messages.accept(
            TENANT, view.session_id, friend.wid, Text(text="hello")
        )
        assert accepted.state is MessageState.ACCEPTED
        final = await services.messages.wait_final(
            TENANT, view.session_id, accepted.message_id, timeout_s=10
        )
        assert final.state is MessageState.SENT
        got = await friend.messages(phone.wid)
        assert [m.message.body for m in got] == ["hello"]

        await friend.send_text(phone.wid, "hi yourself")

        async def listed() -> bool:
            page = await services.messages.list(
                TENANT, view.session_id, chat=None, limit=10, cursor=None
            )
            assert [m.text for m in page.data] == ["hi yourself", "hello"], page.data
            return True

        await eventually(listed, timeout_s=10, what="both messages, newest first")

        await services.sessions.stop(TENANT, view.session_id)
        await in_state(services, view, SessionState.STOPPED)
        await services.sessions.start(TENANT, view.session_id)
        await in_state(services, view, SessionState.ONLINE)
        await services.sessions.delete(TENANT, view.session_id)

        async def given_back() -> bool:
            return [n.reserved for n in await services.fleet.nodes()] == [0]

        await eventually(given_back, timeout_s=10, what="the place is given back")


async def _alive(services: Services) -> bool:
    return [n.state for n in await services.fleet.nodes()] == ["alive"]


async def test_nothing_can_be_placed_without_a_node(services: Services) -> None:
    with pytest.raises(Exception, match="no node"):
        await services.sessions.create(TENANT, NewSession(engine=EngineKind.LOOPBACK))
