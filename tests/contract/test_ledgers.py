"""One suite on every ledger: the embedded one and MongoDB.

MongoDB is a real server where `BLAZZ_TEST_MONGO_URI` names one, else a wire-compatible one in a
process of its own.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
from motor.motor_asyncio import AsyncIOMotorClient

from cli.embedded.server import EmbeddedNats
from control_plane.access.tenant_cache import TenantCache
from control_plane.core.text_search import words_of
from control_plane.ledger.opening import TenantRetention, open_ledger
from control_plane.ledger.port import Change, Ledger, LedgerQuery
from control_plane.ledger.settings import LedgerSettings, LedgerStoreKind
from schemas.errors import BlazzError, ErrorCode
from schemas.keys import tenant_key
from schemas.messages import ChatMessage, Location
from schemas.records import TenantRecord
from schemas.resources import ACCESS
from schemas.states import MessageDirection, MessageKind, MessageState
from schemas.transport.background import Background
from schemas.transport.connection import Bus
from schemas.transport.ensure import ensure_all
from schemas.transport.kv import Bucket
from tests.integration.nats_fixture import QUICK, SCALE
from tests.integration.nats_fixture import SETTINGS as NATS_SETTINGS
from tests.waiting import eventually

pytestmark = [pytest.mark.nats, pytest.mark.xdist_group("ledgers")]
SESSION = "ses_" + "0" * 25 + "1"
OTHER = "ses_" + "0" * 25 + "2"
CHAT = "15550000002@c.us"
NOW = float(int(time.time()))


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[Bus]:
    async with (
        EmbeddedNats(tmp_path / "nats", NATS_SETTINGS) as nats,
        Bus.connect(nats.bus_settings(nats.control_plane, profile=QUICK)) as bus,
    ):
        await ensure_all(bus, scale=SCALE)
        yield bus


@pytest.fixture(params=[LedgerStoreKind.JETSTREAM, LedgerStoreKind.MONGO])
async def settings(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[LedgerSettings]:
    if request.param is LedgerStoreKind.JETSTREAM:
        yield LedgerSettings()
        return
    uri: str = request.getfixturevalue("mongo")
    uri_file = tmp_path / "uri"
    uri_file.write_text(uri + "\n")
    database = f"blazz_test_{secrets.token_hex(6)}"
    yield LedgerSettings(
        store=LedgerStoreKind.MONGO, mongo_uri_file=uri_file, mongo_database=database
    )
    client: Any = AsyncIOMotorClient(uri)
    await client.drop_database(database)
    client.close()


def opened(bus: Bus, settings: LedgerSettings) -> AbstractAsyncContextManager[Ledger]:
    retention_of = TenantRetention(TenantCache(bus), settings.retention_s)
    return open_ledger(bus, settings, retention_of)


@pytest.fixture
async def ledger(bus: Bus, settings: LedgerSettings) -> AsyncIterator[Ledger]:
    async with AsyncExitStack() as stack:
        ledger = await stack.enter_async_context(opened(bus, settings))
        tasks = await stack.enter_async_context(Background())
        tasks.start(ledger.follow(), name="follow")
        yield ledger


def message(number: int = 1, **changes: Any) -> ChatMessage:
    made = ChatMessage(
        message_id=f"3EB0{number:018d}",
        session_id=SESSION,
        direction=MessageDirection.OUTBOUND,
        kind=MessageKind.TEXT,
        state=MessageState.ACCEPTED,
        chat_id=CHAT,
        created_at=NOW - 1000 + number,
        text=f"text {number}",
    )
    return msgspec.structs.replace(made, **changes)


def put(new: ChatMessage) -> Change:
    return lambda old: new if old is None else None


async def keep(
    ledger: Ledger, *messages: ChatMessage, tenant: str = "acme", session: str = SESSION
) -> None:
    for each in messages:
        await ledger.change(tenant, session, each.message_id, put(each))


async def listed(ledger: Ledger, session: str = SESSION, **query: Any) -> list[str]:
    page = await ledger.list("acme", session, LedgerQuery(**query))
    return [each.text or "" for each in page.data]


async def test_what_was_written_is_read_as_it_was(ledger: Ledger) -> None:
    full = message(
        reactions={"15550000003@c.us": "👍", "a.b$c": "❤"},
        location=Location(1.5, -2.5, "Café"),
        poll_votes={"x.y": ("a", "b")},
    )
    assert await ledger.get("acme", SESSION, full.message_id) is None
    await keep(ledger, full)
    assert await ledger.get("acme", SESSION, full.message_id) == full
    for tenant, session in (("other", SESSION), ("acme", OTHER)):
        assert await ledger.get(tenant, session, full.message_id) is None


async def test_a_change_sees_what_stands_and_may_leave_it(ledger: Ledger) -> None:
    await keep(ledger, message())
    seen: list[ChatMessage | None] = []

    def change(old: ChatMessage | None) -> ChatMessage | None:
        seen.append(old)
        return None

    assert await ledger.change("acme", SESSION, message().message_id, change) == message()
    assert seen == [message()]


async def test_what_is_likely_new_overwrites_nothing_that_is_there(ledger: Ledger) -> None:
    first, second = message(), message(text="a second one")

    def put_once(new: ChatMessage) -> Change:
        return lambda old: new if old is None else None

    for each in (first, second):
        stands = await ledger.change(
            "acme", SESSION, first.message_id, put_once(each), likely_new=True
        )
        assert stands == first
    assert await ledger.get("acme", SESSION, first.message_id) == first


async def test_changes_at_once_lose_none(ledger: Ledger) -> None:
    await keep(ledger, message())

    def react(who: int) -> Change:
        def change(old: ChatMessage | None) -> ChatMessage | None:
            assert old is not None
            return msgspec.structs.replace(old, reactions={**old.reactions, str(who): "👍"})

        return change

    await asyncio.gather(
        *(ledger.change("acme", SESSION, message().message_id, react(n)) for n in range(6))
    )
    stands = await ledger.get("acme", SESSION, message().message_id)
    assert stands is not None
    assert len(stands.reactions) == 6


async def test_lists_newest_first_in_pages_without_repeat_or_gap(ledger: Ledger) -> None:
    same_moment = [message(n, created_at=NOW - 10) for n in range(20, 23)]
    await keep(ledger, *(message(n) for n in range(1, 6)), *same_moment)
    await keep(ledger, message(9, session_id=OTHER), session=OTHER)
    found: list[str] = []
    cursor = None
    while True:
        page = await ledger.list("acme", SESSION, LedgerQuery(limit=3, cursor=cursor))
        found += [each.text or "" for each in page.data]
        assert page.has_more == (page.next_cursor is not None)
        if page.next_cursor is None:
            break
        cursor = page.next_cursor
        # What comes in meanwhile neither hides nor repeats anything.
        await keep(ledger, message(100 + len(found), created_at=NOW))
    assert found == [f"text {n}" for n in (22, 21, 20, 5, 4, 3, 2, 1)]
    assert await listed(ledger, OTHER) == ["text 9"]


async def test_lists_one_chat(ledger: Ledger) -> None:
    await keep(ledger, message(1), message(2, chat_id="1-2@g.us"), message(3))
    assert await listed(ledger, chat="1-2@g.us") == ["text 2"]
    assert await listed(ledger, chat=CHAT, limit=1) == ["text 3"]


async def test_a_foreign_cursor_is_refused(ledger: Ledger) -> None:
    with pytest.raises(BlazzError) as refused:
        await listed(ledger, cursor="zzzz")
    assert refused.value.code is ErrorCode.VALIDATION_FAILED


async def test_finds_words_in_any_case_and_anywhere(ledger: Ledger) -> None:
    await keep(
        ledger,
        message(1, text="Pembayaran LUNAS (100%)"),
        message(2, text="bayar besok"),
        message(3, text=None, location=Location(0, 0, "Kantor Bayar")),
        message(4, text="STRASSE, straße"),
        message(5, text="pembayaran", chat_id="1-2@g.us"),
    )
    assert await listed(ledger, words=words_of("BAYAR")) == [
        "pembayaran",
        "",
        "bayar besok",
        "Pembayaran LUNAS (100%)",
    ]
    assert await listed(ledger, words=words_of("lunas bayar")) == ["Pembayaran LUNAS (100%)"]
    assert await listed(ledger, words=words_of("(100%)")) == ["Pembayaran LUNAS (100%)"]
    assert await listed(ledger, words=words_of(".*")) == []
    assert await listed(ledger, words=words_of("Straße")) == ["STRASSE, straße"]
    assert await listed(ledger, words=words_of("bayar"), chat="1-2@g.us") == ["pembayaran"]
    page = await ledger.list("acme", SESSION, LedgerQuery(words=words_of("bayar"), limit=3))
    rest = LedgerQuery(words=words_of("bayar"), cursor=page.next_cursor)
    assert [each.text for each in (await ledger.list("acme", SESSION, rest)).data] == [
        "Pembayaran LUNAS (100%)"
    ]


async def test_a_waiter_hears_of_the_end_from_another_replica(
    bus: Bus, settings: LedgerSettings, ledger: Ledger
) -> None:
    await keep(ledger, message())
    async with (
        opened(bus, settings) as other,
        Background() as tasks,
    ):
        tasks.start(other.follow(), name="follow")
        waiting = asyncio.ensure_future(
            other.wait_final("acme", SESSION, message().message_id, timeout_s=10)
        )
        await asyncio.sleep(0)
        sent = message(state=MessageState.SENT)
        await ledger.change("acme", SESSION, sent.message_id, lambda _: sent)
        assert await waiting == sent
    assert await ledger.wait_final("acme", SESSION, sent.message_id, timeout_s=10) == sent


async def test_a_wait_ends_in_time(ledger: Ledger) -> None:
    await keep(ledger, message())
    found = await ledger.wait_final("acme", SESSION, message().message_id, timeout_s=0.2)
    assert found == message()
    assert await ledger.wait_final("acme", SESSION, "3EB0" + "F" * 18, timeout_s=5) is None


async def test_erases_a_chat_a_session_a_tenant(ledger: Ledger) -> None:
    await keep(ledger, message(1), message(2, chat_id="1-2@g.us"), message(3))
    await keep(ledger, message(4), session=OTHER)
    await keep(ledger, message(5), tenant="other")
    await ledger.erase("acme", session_id=SESSION, chat=CHAT)
    assert await listed(ledger) == ["text 2"]
    await ledger.erase("acme", session_id=SESSION)
    assert await listed(ledger) == []
    assert await listed(ledger, OTHER) == ["text 4"]
    await ledger.erase("acme")
    await ledger.erase("acme")
    assert await listed(ledger, OTHER) == []
    assert await ledger.get("other", SESSION, message(5).message_id) == message(5)


async def test_a_tenant_may_keep_messages_for_a_shorter_time(
    bus: Bus, settings: LedgerSettings
) -> None:
    hours = TenantRecord(tenant_id="hours", created_at=NOW, message_retention_s=3_600.0)
    await Bucket(bus, ACCESS).create(tenant_key("hours"), hours)
    old = message(1, created_at=NOW - 3_601)
    soon_gone = message(2, created_at=NOW - 3_595)
    async with (
        opened(bus, settings) as ledger,
        Background() as tasks,
    ):
        tasks.start(ledger.follow(), name="follow")
        for tenant in ("hours", "days"):
            await keep(ledger, old, soon_gone, tenant=tenant)
        assert await ledger.get("days", SESSION, old.message_id) == old
        assert await ledger.get("hours", SESSION, old.message_id) is None
        if settings.store is LedgerStoreKind.MONGO:
            # A server looks for what has expired once a minute: that it is marked must do.
            return

        async def gone() -> bool:
            return await ledger.get("hours", SESSION, soon_gone.message_id) is None

        await eventually(gone, timeout_s=20, what="the message expires")
        assert await ledger.get("days", SESSION, soon_gone.message_id) == soon_gone


def test_a_retention_that_the_store_cannot_keep_is_refused() -> None:
    year_s = 365 * 86_400.0
    assert LedgerSettings(store=LedgerStoreKind.MONGO).checked(year_s) == year_s
    for wrong in (year_s, 60.0):
        with pytest.raises(BlazzError):
            LedgerSettings().checked(wrong)
