"""Media that arrives is downloaded by policy, once, and stays readable without its session."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cli.embedded.server import EmbeddedNats
from control_plane.config import ControlPlaneSettings
from control_plane.media.keeper import InboundMediaSettings
from control_plane.ports import Services
from sandbox.phone import PhoneBook
from sandbox.server import Sandbox
from schemas.api import SessionView
from schemas.api_accounts import TenantChange
from schemas.errors import BlazzError, ErrorCode
from schemas.events import Event, MediaFailed, MediaReady
from schemas.messages import MEDIA_CHUNK_BYTES, MediaMode, MediaPolicy
from schemas.resources import EVENTS, INBOUND_MEDIA
from schemas.states import MessageKind, NodeState, SessionState
from schemas.subjects import event_named, inbound_media_of_tenant
from schemas.transport.connection import Bus
from schemas.transport.jetstream import JetStream
from schemas.transport.typed import decode
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
    sandbox,  # noqa: F401
)
from tests.integration.nats_fixture import bus  # noqa: F401
from tests.waiting import eventually

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4
LARGE = b"\x89PNG\r\n\x1a\n" + bytes(2 * MEDIA_CHUNK_BYTES)
AUTO = MediaPolicy(MediaMode.AUTO)


def settings(policy: MediaPolicy = AUTO, **fields: Any) -> ControlPlaneSettings:
    inbound = InboundMediaSettings(policy=policy, backoff_max_s=0.5, **fields)
    return msgspec.structs.replace(SETTINGS, inbound_media=inbound)


async def told(jetstream: JetStream, name: str) -> list[Event]:
    found: list[Event] = []
    sequence = 0
    subject = event_named("*", TENANT, "*", name)
    while (stored := await jetstream.next_by_subject(EVENTS, subject, sequence + 1)) is not None:
        found.append(decode(stored.data, Event))
        sequence = stored.seq
    return found


async def ready(jetstream: JetStream, *message_ids: str) -> list[MediaReady]:
    async def all_there() -> list[MediaReady] | None:
        events = [one.data for one in await told(jetstream, "message.media_ready")]
        found = [data for data in events if isinstance(data, MediaReady)]
        return found if {one.message_id for one in found} >= set(message_ids) else None

    found = await eventually(all_there, timeout_s=15, what="the media is ready")
    assert found is not None
    return found


async def arrived(services: Services, view: SessionView, message_id: str) -> None:
    async def listed() -> bool:
        page = await services.messages.list(
            TENANT, view.session_id, chat=None, limit=20, cursor=None
        )
        return message_id in [message.message_id for message in page.data]

    await eventually(listed, timeout_s=10, what="the message is in the ledger")


async def read(services: Services, view: SessionView, message_id: str) -> bytes:
    data = b""
    while True:
        chunk = await services.messages.media(TENANT, view.session_id, message_id, len(data))
        data += chunk.data
        if len(data) >= chunk.total_bytes:
            return data


async def stop(services: Services, view: SessionView) -> None:
    await services.sessions.stop(TENANT, view.session_id)
    await in_state(services, view, SessionState.STOPPED)


@pytest.fixture
def jetstream(bus: Bus) -> JetStream:  # noqa: F811
    return JetStream(bus)


async def test_media_is_there_when_its_session_is_not(
    nats: EmbeddedNats,  # noqa: F811
    jetstream: JetStream,
    sandbox: Sandbox,  # noqa: F811
    book: PhoneBook,  # noqa: F811
    tmp_path: Path,
) -> None:
    async with control_plane(nats) as services, node(nats, sandbox, tmp_path):
        await node_is(services, NodeState.ALIVE)
        # The installation says on demand, the tenant says otherwise.
        changed = await services.tenants.change(TENANT, TenantChange(media_policy=AUTO))
        assert changed.media_policy == AUTO
        view, phone = await linked(services, book, "628110000001")
        friend = await book.create("628110000002")
        small = await friend.send_media(phone.wid, PNG, "image/png", caption="look")
        large = await friend.send_media(phone.wid, LARGE, "image/png")
        (one,) = [one for one in await ready(jetstream, small, large) if one.message_id == small]
        assert (one.size_bytes, one.mimetype) == (len(PNG), "image/png")
        assert one.sha256 == hashlib.sha256(PNG).hexdigest()
        await stop(services, view)
        assert await read(services, view, small) == PNG
        assert await read(services, view, large) == LARGE
        # What a person deletes from the history goes with its media.
        await services.messages.erase(TENANT, view.session_id, chat=friend.wid)
        assert not await jetstream.subjects(INBOUND_MEDIA, inbound_media_of_tenant(TENANT))


async def test_only_what_the_policy_wants_is_downloaded(
    nats: EmbeddedNats,  # noqa: F811
    jetstream: JetStream,
    sandbox: Sandbox,  # noqa: F811
    book: PhoneBook,  # noqa: F811
    tmp_path: Path,
) -> None:
    few = settings(MediaPolicy(MediaMode.AUTO, (MessageKind.IMAGE,), bytes_max=len(PNG)))
    async with control_plane(nats, few) as services, node(nats, sandbox, tmp_path):
        await node_is(services, NodeState.ALIVE)
        view, phone = await linked(services, book, "628110000001")
        friend = await book.create("628110000002")
        large = await friend.send_media(phone.wid, PNG + b"x", "image/png")
        other = await friend.send_media(phone.wid, b"a,b\n", "text/csv", type="document")
        fits = await friend.send_media(phone.wid, PNG, "image/png")
        assert {one.message_id for one in await ready(jetstream, fits)} == {fits}
        assert await read(services, view, large) == PNG + b"x"
        await stop(services, view)
        with pytest.raises(BlazzError):
            await read(services, view, other)
        assert await read(services, view, fits) == PNG
        assert {one.data for one in await told(jetstream, "message.media_failed")} == set()


async def test_a_killed_replica_s_download_is_ended_by_another_and_told_once(
    nats: EmbeddedNats,  # noqa: F811
    jetstream: JetStream,
    sandbox: Sandbox,  # noqa: F811
    book: PhoneBook,  # noqa: F811
    tmp_path: Path,
) -> None:
    async with node(nats, sandbox, tmp_path):
        async with control_plane(nats, settings()) as services:
            await node_is(services, NodeState.ALIVE)
            view, phone = await linked(services, book, "628110000001")
            friend = await book.create("628110000002")
            # The store takes two of three chunks: the download is half done, and stays so.
            normal = (await jetstream.stream_info(INBOUND_MEDIA)).config
            await _update(jetstream, {**normal, "discard": "new", "max_msgs": 2})
            message_id = await friend.send_media(phone.wid, LARGE, "image/png")

            async def half() -> bool:
                found = await jetstream.subjects(INBOUND_MEDIA, inbound_media_of_tenant(TENANT))
                return len(found) == 2

            await eventually(half, timeout_s=10)
        assert await told(jetstream, "message.media_ready") == []
        await _update(jetstream, normal)
        second = msgspec.structs.replace(settings(), replica="cp-second")
        async with control_plane(nats, second) as services:
            assert len(await ready(jetstream, message_id)) == 1
            await stop(services, view)
            assert await read(services, view, message_id) == LARGE


async def _update(jetstream: JetStream, config: dict[str, Any]) -> None:
    await jetstream.api(f"STREAM.UPDATE.{INBOUND_MEDIA}", config, msgspec.Raw)


async def test_media_waits_for_its_session_and_is_given_up_when_it_is_nowhere(
    nats: EmbeddedNats,  # noqa: F811
    jetstream: JetStream,
    sandbox: Sandbox,  # noqa: F811
    book: PhoneBook,  # noqa: F811
    tmp_path: Path,
) -> None:
    by_hand = msgspec.structs.replace(SETTINGS, replica="cp-on-demand")
    async with node(nats, sandbox, tmp_path):
        async with control_plane(nats, by_hand) as services:
            await node_is(services, NodeState.ALIVE)
            view, phone = await linked(services, book, "628110000001")
            friend = await book.create("628110000002")
        # While no control plane runs, media arrives, of which one is lost at WhatsApp.
        kept = await friend.send_media(phone.wid, PNG, "image/png")
        lost = await friend.send_media(phone.wid, LARGE, "image/png")
        (item,) = [key for key, (_, data) in _shelf(sandbox).items() if data == LARGE]
        del _shelf(sandbox)[item]
        async with control_plane(nats, settings()) as services:
            await node_is(services, NodeState.ALIVE)
            assert {one.message_id for one in await ready(jetstream, kept)} == {kept}

            async def failed() -> list[MediaFailed]:
                events = [one.data for one in await told(jetstream, "message.media_failed")]
                return [data for data in events if isinstance(data, MediaFailed)]

            (given_up,) = await eventually(failed, timeout_s=10)
            assert given_up.message_id == lost
            assert given_up.error_code == ErrorCode.MEDIA_NOT_FOUND
            await arrived(services, view, lost)
            # Deleted for everyone: its media goes as well.
            await friend.delete(phone.wid, kept)

            async def gone() -> bool:
                subject = inbound_media_of_tenant(TENANT)
                return not await jetstream.subjects(INBOUND_MEDIA, subject)

            await eventually(gone, timeout_s=10, what="nothing is kept")


def _shelf(sandbox: Sandbox) -> dict[str, tuple[str, bytes]]:  # noqa: F811
    return sandbox.switch.media._items
