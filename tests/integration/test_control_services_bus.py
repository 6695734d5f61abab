"""The services over a real bus: capacity, tenants kept apart, keys, idempotency, media, events.

No node runs here; where one is needed, a few lines write what a node would write.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing

import msgspec
import pytest

from cli.embedded.server import EmbeddedNats
from control_plane.access.keys import BucketAccess
from control_plane.ports import FeedGap, FeedItem, Services
from schemas import ids
from schemas.api import NewSession, SessionView
from schemas.commands import FetchMedia, MediaChunk
from schemas.errors import BlazzError, ErrorCode
from schemas.events import Event, MessageAck, MessageReceived, SessionQrIdle
from schemas.keys import capacity_key, node_key
from schemas.messages import MEDIA_CHUNK_BYTES, ChatMessage, Media, MediaRef, Text
from schemas.records import CapacityRecord, Heartbeat, NodeRecord
from schemas.resources import EVENTS, FLEET
from schemas.states import (
    Ack,
    EngineKind,
    MessageDirection,
    MessageKind,
    MessageState,
    SessionState,
)
from schemas.subjects import event, node_heartbeat, node_media
from schemas.transport import typed
from schemas.transport.connection import Bus
from schemas.transport.jetstream import JetStream
from schemas.transport.kv import Bucket
from tests.integration.control_fixture import TENANT, control_plane
from tests.integration.nats_fixture import bus, nats  # noqa: F401
from tests.waiting import eventually

OTHER = "rival"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4
CHAT = "628110000009@c.us"


@pytest.fixture
async def services(nats: EmbeddedNats, bus: Bus) -> AsyncIterator[Services]:  # noqa: F811
    async with control_plane(nats) as opened:
        yield opened


async def announce(bus: Bus, node_id: str, sessions_max: int, sequence: int = 1) -> None:  # noqa: F811
    """Write and say what a node would."""
    record = NodeRecord(node_id, "i1", "1", sessions_max, (EngineKind.LOOPBACK,), time.time())
    await Bucket(bus, FLEET).put(node_key(node_id), record)
    pulse = Heartbeat(node_id, "i1", sequence, sessions_max, ())
    await typed.publish(bus, node_heartbeat(node_id), pulse)


async def alive(services: Services, count: int = 1) -> None:
    async def look() -> bool:
        return [n.state for n in await services.fleet.nodes()] == ["alive"] * count

    await eventually(look, timeout_s=5, what="the nodes are alive")


async def created(services: Services, tenant: str = TENANT, **fields: object) -> SessionView:
    new = msgspec.convert({"engine": "loopback", **fields}, NewSession)
    return await services.sessions.create(tenant, new)


async def bytes_of(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def code_of(caught: pytest.ExceptionInfo[BlazzError]) -> ErrorCode:
    return caught.value.code


# Capacity ----------------------------------------------------------------------------------------


async def test_forty_creators_on_two_replicas_take_exactly_ten_places(
    services: Services,
    nats: EmbeddedNats,  # noqa: F811
    bus: Bus,  # noqa: F811
) -> None:
    async with control_plane(nats) as second:
        await announce(bus, "node-a", 4)
        await announce(bus, "node-b", 6)
        await alive(services, 2)
        await alive(second, 2)
        replicas = (services, second)
        results = await asyncio.gather(
            *(created(replicas[n % 2], start=False) for n in range(40)), return_exceptions=True
        )
        made = [result for result in results if isinstance(result, SessionView)]
        refused = [r.code for r in results if isinstance(r, BlazzError)]
        assert len(made) == 10
        assert refused == [ErrorCode.NO_NODE_AVAILABLE] * 30
        by_node = {n: sum(1 for view in made if view.node_id == n) for n in ("node-a", "node-b")}
        assert by_node == {"node-a": 4, "node-b": 6}
        reserved = await Bucket(bus, FLEET).get(capacity_key("node-b"), CapacityRecord)
        assert reserved.value == CapacityRecord("node-b", 6)


async def test_a_name_is_given_once_a_tenant_and_is_free_after_deletion(
    services: Services,
    bus: Bus,  # noqa: F811
) -> None:
    await announce(bus, "node-a", 10)
    await alive(services)
    results = await asyncio.gather(
        *(created(services, name="shop", start=False) for _ in range(8)), return_exceptions=True
    )
    made = [r for r in results if isinstance(r, SessionView)]
    assert len(made) == 1
    assert {r.code for r in results if isinstance(r, BlazzError)} == {ErrorCode.SESSION_EXISTS}
    await created(services, OTHER, name="shop", start=False)
    await services.sessions.delete(TENANT, made[0].session_id)
    await created(services, name="shop", start=False)


async def test_lists_are_paged_newest_first(services: Services, bus: Bus) -> None:  # noqa: F811
    await announce(bus, "node-a", 10)
    await alive(services)
    made = [(await created(services, start=False)).session_id for _ in range(5)]
    seen: list[str] = []
    cursor = None
    while True:
        page = await services.sessions.list(TENANT, limit=2, cursor=cursor)
        seen += [view.session_id for view in page.data]
        cursor = page.next_cursor
        assert page.has_more is (cursor is not None)
        if cursor is None:
            break
    assert seen == made[::-1]


async def test_a_session_of_a_node_that_does_not_answer_waits(
    services: Services,
    bus: Bus,  # noqa: F811
) -> None:
    await announce(bus, "node-a", 10)
    await alive(services)
    view = await created(services)
    assert view.state is SessionState.PENDING
    with pytest.raises(BlazzError) as caught:
        await services.sessions.qr(TENANT, view.session_id, renew=False)
    assert code_of(caught) is ErrorCode.QR_NOT_AVAILABLE
    with pytest.raises(BlazzError) as caught:
        await services.sessions.logout(TENANT, view.session_id)
    assert code_of(caught) is ErrorCode.NODE_UNREACHABLE


# Tenants -----------------------------------------------------------------------------------------

Call = Callable[[Services, SessionView, ChatMessage, MediaRef], Awaitable[object]]
FOREIGN: dict[str, tuple[Call, ErrorCode]] = {
    "get": (lambda s, v, m, r: s.sessions.get(OTHER, v.session_id), ErrorCode.SESSION_NOT_FOUND),
    "delete": (
        lambda s, v, m, r: s.sessions.delete(OTHER, v.session_id),
        ErrorCode.SESSION_NOT_FOUND,
    ),
    "start": (
        lambda s, v, m, r: s.sessions.start(OTHER, v.session_id),
        ErrorCode.SESSION_NOT_FOUND,
    ),
    "stop": (lambda s, v, m, r: s.sessions.stop(OTHER, v.session_id), ErrorCode.SESSION_NOT_FOUND),
    "restart": (
        lambda s, v, m, r: s.sessions.restart(OTHER, v.session_id),
        ErrorCode.SESSION_NOT_FOUND,
    ),
    "logout": (
        lambda s, v, m, r: s.sessions.logout(OTHER, v.session_id),
        ErrorCode.SESSION_NOT_FOUND,
    ),
    "qr": (
        lambda s, v, m, r: s.sessions.qr(OTHER, v.session_id, renew=False),
        ErrorCode.SESSION_NOT_FOUND,
    ),
    "pairing_code": (
        lambda s, v, m, r: s.sessions.pairing_code(OTHER, v.session_id, "+6281234567890"),
        ErrorCode.SESSION_NOT_FOUND,
    ),
    "accept": (
        lambda s, v, m, r: s.messages.accept(OTHER, v.session_id, CHAT, Text(text="x")),
        ErrorCode.SESSION_NOT_FOUND,
    ),
    "wait_final": (
        lambda s, v, m, r: s.messages.wait_final(OTHER, v.session_id, m.message_id, timeout_s=0.1),
        ErrorCode.SESSION_NOT_FOUND,
    ),
    "list_messages": (
        lambda s, v, m, r: s.messages.list(OTHER, v.session_id, chat=None, limit=5, cursor=None),
        ErrorCode.SESSION_NOT_FOUND,
    ),
    "get_message": (
        lambda s, v, m, r: s.messages.get(OTHER, v.session_id, m.message_id),
        ErrorCode.SESSION_NOT_FOUND,
    ),
    "message_media": (
        lambda s, v, m, r: s.messages.media(OTHER, v.session_id, m.message_id, 0),
        ErrorCode.SESSION_NOT_FOUND,
    ),
    "create_link": (
        lambda s, v, m, r: s.access.create_link(
            OTHER, v.session_id, expires_in_s=60, return_url=None
        ),
        ErrorCode.SESSION_NOT_FOUND,
    ),
    "media_ref": (lambda s, v, m, r: s.media.ref(OTHER, r.media_id), ErrorCode.MEDIA_NOT_FOUND),
}


async def test_no_method_answers_for_another_tenant(
    services: Services,
    bus: Bus,  # noqa: F811
) -> None:
    await announce(bus, "node-a", 10)
    await alive(services)
    view = await created(services, name="mine", start=False)
    theirs = await created(services, OTHER, start=False)
    message = await services.messages.accept(TENANT, view.session_id, CHAT, Text(text="private"))
    held = await services.media.put(TENANT, bytes_of(PNG), mimetype="image/png", filename=None)
    ref = held.ref
    for name, (call, code) in FOREIGN.items():
        with pytest.raises(BlazzError) as caught:
            await call(services, view, message, ref)
        assert code_of(caught) is code, name
    assert (await services.sessions.get(TENANT, view.session_id)).name == "mine"
    page = await services.sessions.list(OTHER, limit=10, cursor=None)
    assert [v.session_id for v in page.data] == [theirs.session_id]
    # Their own session with my media or my message's id:
    with pytest.raises(BlazzError) as caught:
        await services.messages.accept(
            OTHER, theirs.session_id, CHAT, Media(kind=MessageKind.IMAGE, media=ref)
        )
    assert code_of(caught) is ErrorCode.MEDIA_NOT_FOUND
    forged = msgspec.structs.replace(ref, sha256="0" * 64)
    with pytest.raises(BlazzError) as caught:
        await services.messages.accept(
            TENANT, view.session_id, CHAT, Media(kind=MessageKind.IMAGE, media=forged)
        )
    assert code_of(caught) is ErrorCode.MEDIA_NOT_FOUND
    with pytest.raises(BlazzError) as caught:
        await services.messages.get(OTHER, theirs.session_id, message.message_id)
    assert code_of(caught) is ErrorCode.MESSAGE_NOT_FOUND


async def test_events_reach_their_tenant_alone(services: Services, bus: Bus) -> None:  # noqa: F811
    mine, theirs = session_number(1), session_number(2)
    await tell(bus, OTHER, theirs, SessionQrIdle())
    await tell(bus, TENANT, mine, SessionQrIdle())
    async with aclosing(services.feed.follow(TENANT, after_sequence=0)) as items:  # type: ignore[type-var]
        first = await anext(items)
        assert isinstance(first, FeedItem)
        assert (first.event.tenant_id, first.sequence) == (TENANT, 2)
    spying = services.feed.follow(OTHER, session=mine, after_sequence=0)
    async with aclosing(spying) as items:  # type: ignore[type-var]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await anext(items)


def session_number(number: int) -> str:
    return f"ses_{number:026d}"


async def tell(bus: Bus, tenant: str, session: str, data: object) -> int:  # noqa: F811
    made = Event(
        ids.event_id(hashlib.sha256(repr((data, time.time_ns())).encode()).digest()[:16]),
        time.time(),
        tenant,
        session,
        "node-a",
        1,
        data,  # type: ignore[arg-type]
    )
    subject = event("node-a", tenant, session, made.data)
    return await typed.publish_durable(bus, subject, made, made.event_id)


# Events and ledger -------------------------------------------------------------------------------


async def test_an_event_ticket_opens_once_and_not_for_long(services: Services) -> None:
    _record, key = await services.access.create_key(
        TENANT, name=None, scopes=("messages",), expires_in_s=None
    )
    caller = await services.access.authenticate(key)
    ticket, expires_at = await services.access.create_ticket(caller, expires_in_s=30)
    assert time.time() < expires_at < time.time() + 31
    both = await asyncio.gather(
        *(services.access.redeem_ticket(ticket) for _ in range(2)), return_exceptions=True
    )
    assert [one for one in both if not isinstance(one, BaseException)] == [caller]
    late, _ = await services.access.create_ticket(caller, expires_in_s=0)
    for wrong in (ticket, late, "nonsense"):
        with pytest.raises(BlazzError) as refused:
            await services.access.redeem_ticket(wrong)
        assert refused.value.code is ErrorCode.UNAUTHENTICATED


async def test_a_feed_resumes_and_tells_of_gaps(services: Services, bus: Bus) -> None:  # noqa: F811
    session = session_number(1)
    sequences = [await tell(bus, TENANT, session, SessionQrIdle()) for _ in range(4)]
    async with aclosing(services.feed.follow(TENANT, after_sequence=sequences[1])) as items:  # type: ignore[type-var]
        item = await anext(items)
        assert isinstance(item, FeedItem)
        assert item.sequence == sequences[2]
    await JetStream(bus).purge(EVENTS, ">")
    await tell(bus, TENANT, session, SessionQrIdle())
    async with aclosing(services.feed.follow(TENANT, after_sequence=sequences[0])) as items:  # type: ignore[type-var]
        assert await anext(items) == FeedGap(sequences[1], sequences[3])
        item = await anext(items)
        assert isinstance(item, FeedItem)
        assert item.sequence == sequences[3] + 1


async def test_events_are_folded_once_whatever_comes_twice(
    services: Services,
    bus: Bus,  # noqa: F811
) -> None:
    await announce(bus, "node-a", 10)
    await alive(services)
    view = await created(services, start=False)
    arrived = ChatMessage(
        "3EB0" + "A" * 18,
        "ses_forged",
        MessageDirection.INBOUND,
        MessageKind.TEXT,
        MessageState.RECEIVED,
        CHAT,
        time.time() - 60.5,
        text="hi",
    )
    for data in (
        MessageReceived(arrived),
        MessageAck(arrived.message_id, CHAT, Ack.READ),
        MessageAck(arrived.message_id, CHAT, Ack.DELIVERED),
        MessageReceived(arrived),
    ):
        await tell(bus, TENANT, view.session_id, data)

    async def read() -> ChatMessage | None:
        try:
            found = await services.messages.get(TENANT, view.session_id, arrived.message_id)
        except BlazzError:
            return None
        return found if found.ack is Ack.READ else None

    found = await eventually(read, timeout_s=5)
    assert found is not None
    assert (found.session_id, found.text) == (view.session_id, "hi")
    for chat, count in ((CHAT, 1), ("628110000008@c.us", 0)):
        page = await services.messages.list(
            TENANT, view.session_id, chat=chat, limit=5, cursor=None
        )
        assert len(page.data) == count


# Media -------------------------------------------------------------------------------------------


async def test_an_upload_is_cut_hashed_and_given_to_its_sessions_node_alone(
    services: Services,
    bus: Bus,  # noqa: F811
) -> None:
    await announce(bus, "node-a", 10)
    await alive(services)
    view = await created(services, start=False)
    foreign = await created(services, OTHER, start=False)
    data = PNG + bytes(MEDIA_CHUNK_BYTES + 1000)
    pieces = (data[:7], data[7:600_000], data[600_000:])
    held = await services.media.put(
        TENANT, bytes_of(*pieces), mimetype="image/png", filename="a.png"
    )
    ref = held.ref
    assert ref.size_bytes == len(data)
    assert ref.sha256 == hashlib.sha256(data).hexdigest()

    async def fetch(
        offset: int, node_id: str = "node-a", session: str = "", said: str = ""
    ) -> MediaChunk:
        wanted = FetchMedia(said or node_id, session or view.session_id, ref.media_id, offset)
        return await typed.request(bus, node_media(node_id), wanted, MediaChunk, timeout_s=5)

    first, second = await fetch(0), await fetch(MEDIA_CHUNK_BYTES)
    assert first.data + second.data == data
    assert second.total_bytes == len(data)
    for wrong, code in (
        (fetch(1), ErrorCode.VALIDATION_FAILED),
        (fetch(2 * MEDIA_CHUNK_BYTES), ErrorCode.VALIDATION_FAILED),
        (fetch(0, node_id="node-b"), ErrorCode.FORBIDDEN),
        (fetch(0, node_id="node-b", said="node-a"), ErrorCode.FORBIDDEN),
        (fetch(0, session=foreign.session_id), ErrorCode.MEDIA_NOT_FOUND),
        (fetch(0, session=session_number(7)), ErrorCode.FORBIDDEN),
    ):
        with pytest.raises(BlazzError) as caught:
            await wrong
        assert code_of(caught) is code


async def test_a_refused_upload_leaves_nothing(services: Services, bus: Bus) -> None:  # noqa: F811
    async def endless() -> AsyncIterator[bytes]:
        yield PNG
        while True:
            yield bytes(1024 * 1024)

    for data, mimetype, code in (
        (endless(), "image/png", ErrorCode.MEDIA_TOO_LARGE),
        (bytes_of(b"<html>"), "image/png", ErrorCode.MEDIA_CORRUPT),
        (bytes_of(), "image/png", ErrorCode.MEDIA_CORRUPT),
        (bytes_of(PNG), "image/tiff", ErrorCode.MEDIA_UNSUPPORTED),
    ):
        with pytest.raises(BlazzError) as caught:
            await services.media.put(TENANT, data, mimetype=mimetype, filename=None)
        assert code_of(caught) is code
    assert (await JetStream(bus).stream_info("MEDIA")).state.messages == 0


# Access ------------------------------------------------------------------------------------------


async def test_keys_are_made_checked_listed_and_revoked(services: Services, bus: Bus) -> None:  # noqa: F811
    access = BucketAccess(bus, cache_s=0.2, cache_max=10)
    record, text = await access.create_key(
        TENANT, name="ci", scopes=("messages",), expires_in_s=None
    )
    who = await access.authenticate(text)
    assert (who.tenant_id, who.scopes) == (TENANT, frozenset({"messages"}))
    stored = await Bucket(bus, "blazz_access").get_raw(f"key.{record.key_id}")
    assert stored.value is not None
    assert text.encode() not in stored.value
    assert await services.access.list_keys(OTHER) == []
    with pytest.raises(BlazzError) as caught:
        await services.access.revoke_key(OTHER, record.key_id)
    assert code_of(caught) is ErrorCode.NOT_FOUND
    await services.access.revoke_key(TENANT, record.key_id)

    async def refused() -> bool:
        try:
            await access.authenticate(text)
        except BlazzError as error:
            return error.code is ErrorCode.UNAUTHENTICATED
        return False

    await eventually(refused, timeout_s=2, what="the revocation bites through the cache")
    assert [key.revoked for key in await access.list_keys(TENANT)] == [True]


@pytest.mark.parametrize("token", ["", "blz_live_x", "Bearer", "blz_live_" + "0" * 53, "é" * 60])
async def test_what_is_no_key_of_ours_is_refused(services: Services, token: str) -> None:
    with pytest.raises(BlazzError) as caught:
        await services.access.authenticate(token)
    assert code_of(caught) is ErrorCode.UNAUTHENTICATED


async def test_the_first_run_makes_one_key_and_shows_it_once(bus: Bus) -> None:  # noqa: F811
    access = BucketAccess(bus, cache_s=1.0, cache_max=10)
    text = await access.ensure_bootstrap_key(TENANT)
    assert text is not None
    assert "operator" in (await access.authenticate(text)).scopes
    assert await access.ensure_bootstrap_key(TENANT) is None


async def test_a_key_with_an_unknown_scope_is_refused(services: Services) -> None:
    with pytest.raises(BlazzError) as caught:
        await services.access.create_key(TENANT, name=None, scopes=("root",), expires_in_s=None)
    assert code_of(caught) is ErrorCode.VALIDATION_FAILED


async def test_a_link_token_opens_its_session_until_it_expires(
    services: Services,
    bus: Bus,  # noqa: F811
) -> None:
    await announce(bus, "node-a", 10)
    await alive(services)
    session = (await created(services, start=False)).session_id
    made, text = await services.access.create_link(
        TENANT, session, expires_in_s=60, return_url=None
    )
    assert text not in repr(made)
    assert (await services.access.open_link(text)).session_id == session
    _gone, late = await services.access.create_link(
        TENANT, session, expires_in_s=0, return_url=None
    )
    for wrong in (late, text[:-1], "", "x" * 400):
        with pytest.raises(BlazzError) as caught:
            await services.access.open_link(wrong)
        assert code_of(caught) is ErrorCode.LINK_TOKEN_INVALID


async def test_an_idempotency_key_is_begun_once(services: Services) -> None:
    keys = services.idempotency
    results = await asyncio.gather(
        *(keys.begin(TENANT, "messages", "k/🙂", "a" * 64) for _ in range(6)),
        return_exceptions=True,
    )
    assert results.count(None) == 1
    codes = {r.code for r in results if isinstance(r, BlazzError)}
    assert codes == {ErrorCode.IDEMPOTENCY_IN_FLIGHT}
    await keys.finish(TENANT, "messages", "k/🙂", "a" * 64, 202, "{}")
    done = await keys.begin(TENANT, "messages", "k/🙂", "a" * 64)
    assert done is not None
    assert (done.http_code, done.body) == (202, "{}")
    with pytest.raises(BlazzError) as caught:
        await keys.begin(TENANT, "messages", "k/🙂", "b" * 64)
    assert code_of(caught) is ErrorCode.IDEMPOTENCY_MISMATCH
    assert await keys.begin(OTHER, "messages", "k/🙂", "b" * 64) is None
    await keys.abandon(OTHER, "messages", "k/🙂")
    assert await keys.begin(OTHER, "messages", "k/🙂", "c" * 64) is None
