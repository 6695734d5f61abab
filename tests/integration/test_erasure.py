"""A tenant is erased: with a real bus, a real node (loopback), the switch and the vault."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest
import uuid_utils

from cli.embedded.server import EmbeddedNats
from control_plane.config import Role
from control_plane.ports import Services
from sandbox.phone import PhoneBook
from sandbox.server import Sandbox
from schemas.api import ErasureView
from schemas.commands import AskTold, Told
from schemas.errors import BlazzError, ErrorCode
from schemas.events import Event, MessageAck
from schemas.facts import fact_event_id
from schemas.ids import session_id
from schemas.messages import Text
from schemas.resources import BUCKETS, EVENTS, LEDGER, STREAMS, bucket_stream
from schemas.states import Ack, NodeState
from schemas.subjects import event, events_of_tenant, ledger_tenant, node_told
from schemas.tenant_data import BY_OTHER_NAMES, tenant_subjects
from schemas.transport import typed
from schemas.transport.connection import Bus
from schemas.transport.jetstream import JetStream
from swarm_node.outbox.entry import Entry
from swarm_node.outbox.journal import EventJournal
from swarm_node.outbox.outbox import EventOutbox
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


def test_no_stream_is_forgotten() -> None:
    streams = {spec.name for spec in STREAMS} | {bucket_stream(spec.name) for spec in BUCKETS}
    named = {stream for stream, _ in tenant_subjects("acme")}
    assert named | BY_OTHER_NAMES.keys() == streams
    for _, subject in tenant_subjects("acme"):
        assert "acme" in subject.split(".")


async def test_all_of_a_tenant_goes_and_nothing_of_another(
    nats: EmbeddedNats,  # noqa: F811
    bus: Bus,  # noqa: F811
    sandbox: Sandbox,  # noqa: F811
    book: PhoneBook,  # noqa: F811
    tmp_path: Path,
) -> None:
    async with control_plane(nats) as services, node(nats, sandbox, tmp_path):
        await node_is(services, NodeState.ALIVE)
        _, text = await services.access.create_key(
            TENANT, name=None, scopes=("messages",), expires_in_s=None
        )
        _, kept = await services.access.create_key(
            "operators", name=None, scopes=("operator",), expires_in_s=None
        )
        view, phone = await linked(services, book, "628110000001")
        await services.access.create_link(
            TENANT, view.session_id, expires_in_s=600, return_url=None
        )
        friend = await book.create("628110000002", name="Friend")
        sent = await services.messages.accept(TENANT, view.session_id, friend.wid, Text("hello"))
        await services.messages.wait_final(TENANT, view.session_id, sent.message_id, timeout_s=10)

        with pytest.raises(BlazzError):
            await services.erasures.begin("nobody", "0123456789ab")
        begun = await services.erasures.begin(TENANT, "0123456789ab")
        assert begun.left["sessions"] == 1
        again = await services.erasures.begin(TENANT, "0123456789ac")
        assert again.requested_at == begun.requested_at

        async def finished() -> ErasureView | None:
            view = await services.erasures.get(TENANT)
            return view if view.finished_at is not None else None

        done = await eventually(finished, timeout_s=30, what="the erasure is finished")
        assert done is not None
        assert done.left == {}
        assert await phone.devices() == []
        jetstream = JetStream(bus)
        assert not await jetstream.subjects(LEDGER, ledger_tenant(TENANT))
        assert not await jetstream.subjects(EVENTS, events_of_tenant(TENANT))
        with pytest.raises(BlazzError) as refused:
            await services.messages.get(TENANT, view.session_id, sent.message_id)
        assert refused.value.code is ErrorCode.SESSION_NOT_FOUND

        async def key_is_gone() -> bool:
            try:
                await services.access.authenticate(text)
            except BlazzError as error:
                return error.code is ErrorCode.UNAUTHENTICATED
            return False

        await eventually(key_is_gone, timeout_s=10, what="the key works no more")
        assert (await services.access.authenticate(kept)).tenant_id == "operators"


async def test_nothing_new_begins_in_the_name_of_a_tenant_that_is_erased(
    nats: EmbeddedNats,  # noqa: F811
    bus: Bus,  # noqa: F811
) -> None:
    # Nobody carries it out: it stays unfinished.
    only_api = msgspec.structs.replace(SETTINGS, roles=frozenset({Role.API}))
    async with control_plane(nats, only_api) as services:
        await _key(services)
        await services.erasures.begin(TENANT, "0123456789ab")
        with pytest.raises(BlazzError) as refused:
            await _key(services)
        assert refused.value.code is ErrorCode.CONFLICT


async def _key(services: Services) -> None:
    await services.access.create_key(TENANT, name=None, scopes=("messages",), expires_in_s=None)


def _session() -> str:
    """An id as the control plane makes them: it says when."""
    return session_id(uuid_utils.uuid7().bytes)


async def test_a_node_that_was_away_tells_nothing_of_a_tenant_that_was_erased_meanwhile(
    nats: EmbeddedNats,  # noqa: F811
    bus: Bus,  # noqa: F811
    tmp_path: Path,
) -> None:
    """What its journal kept of the erased tenant goes nowhere; another tenant's is told."""
    gone, kept = _session(), _session()

    def waits(tenant: str, session: str) -> Entry:
        data = MessageAck("3EB0" + "0" * 18, "1@c.us", Ack.READ)
        event_id = fact_event_id(session, data)
        assert event_id is not None
        return Entry(Event(event_id, time.time() - 60.0, tenant, session, "node-a", 1, data))

    async def publish(told: Event) -> None:
        subject = event(told.node_id, told.tenant_id, told.session_id, told.data)
        await typed.publish_durable(bus, subject, told, told.event_id)

    async def ask(tenant: str, session: str, after_seq: int) -> Told:
        asked = AskTold("node-a", tenant, session, after_seq)
        return await typed.request(bus, node_told("node-a"), asked, Told, timeout_s=5)

    journal = EventJournal(tmp_path / "events")
    async with journal.open():
        journal.add(waits(TENANT, gone))
        journal.add(waits("other", kept))
    async with control_plane(nats) as services:
        await _key(services)
        await services.erasures.begin(TENANT, "0123456789ab")

        async def finished() -> bool:
            return (await services.erasures.get(TENANT)).finished_at is not None

        await eventually(finished, timeout_s=30, what="the erasure is finished")
        # A tenant may come back under that name: what its former self left is not its own.
        await _key(services)
        journal = EventJournal(tmp_path / "events")
        outbox = EventOutbox("node-a", journal, publish=publish, ask=ask)
        jetstream = JetStream(bus)
        async with outbox.running():

            async def told(tenant: str) -> bool:
                return bool(await jetstream.subjects(EVENTS, events_of_tenant(tenant)))

            await eventually(lambda: told("other"), timeout_s=5)
            later = outbox.of(tenant_id=TENANT, session_id=_session(), epoch=1, waiting_max=9)
            assert not await told(TENANT)
            await later.put(MessageAck("3EB0" + "1" * 18, "1@c.us", Ack.READ))
            await eventually(lambda: told(TENANT), timeout_s=5)
        async with EventJournal(tmp_path / "events").open() as left:
            assert left == []
        (subject,) = await jetstream.subjects(EVENTS, events_of_tenant(TENANT))
        assert gone not in subject
