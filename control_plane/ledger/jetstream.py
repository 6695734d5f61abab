"""The ledger on JetStream: the stream LEDGER keeps the last message of each subject.

Owns reading, compare-and-set writing, the order of lists and the notice of final states. Never
decides what an event means (`core.ledger_fold` does).

Cost: `get` is one read. `list` is one read a message shown; the first list of a session on this
replica reads all of its messages once, later ones use the bounded index. A search reads all of the
session's messages, one search at a time. Every write of every replica comes back through `follow`,
which feeds index and waiters.
"""

import asyncio
import time
from contextlib import aclosing
from typing import Final

import msgspec
import structlog

from control_plane.core import paging, text_search
from control_plane.ledger.changing import NOTHING, change_stored
from control_plane.ledger.index import Entries, IndexEntry, LedgerIndex, SessionKey
from control_plane.ledger.port import Change, LedgerQuery, RetentionOf
from control_plane.ledger.waiters import FinalWaiters, Key
from schemas.api import Page
from schemas.errors import BlazzError
from schemas.messages import ChatMessage
from schemas.resources import LEDGER
from schemas.subjects import (
    LEDGER_ALL,
    ledger_message,
    ledger_session,
    ledger_tenant,
    message_of_ledger_subject,
)
from schemas.transport.connection import Bus
from schemas.transport.jetstream import EXPECT_SUBJECT_SEQ, TTL, Conflict, JetStream
from schemas.transport.streams import Gap, read_last_per_subject, read_ordered
from schemas.transport.typed import decode

log = structlog.get_logger()

_READS_AT_ONCE: Final = 32


class JetStreamLedger:
    """Implements `port.Ledger`; `follow` must run beside it."""

    def __init__(self, bus: Bus, *, index_entries_max: int, retention_of: RetentionOf) -> None:
        self._jetstream = JetStream(bus)
        self._index = LedgerIndex(index_entries_max)
        self._loads: dict[SessionKey, asyncio.Lock] = {}
        self._waiters = FinalWaiters()
        self._retention_of = retention_of
        self._searching = asyncio.Lock()

    async def follow(self) -> None:
        """Feed the index and the waiters, until cancelled."""
        async with aclosing(read_ordered(self._jetstream, LEDGER, LEDGER_ALL)) as written:
            async for stored in written:
                if isinstance(stored, Gap):
                    self._index.clear()
                    continue
                try:
                    message = decode(stored.data, ChatMessage)
                except BlazzError:
                    log.warning("ledger.message_malformed")
                    continue
                self._note(message_of_ledger_subject(stored.subject), message)

    async def change(
        self,
        tenant_id: str,
        session_id: str,
        message_id: str,
        change: Change,
        *,
        likely_new: bool = False,
    ) -> ChatMessage | None:
        """See `port.Ledger`. Raises `conflict` when others write all the time."""
        key = (tenant_id, session_id, message_id)
        retention_s = await self._retention_of(tenant_id)

        async def write(new: ChatMessage, sequence: int) -> bool:
            return await self._write(key, new, sequence, retention_s)

        return await change_stored(lambda: self._read(key), write, change, likely_new=likely_new)

    async def _write(
        self, key: Key, message: ChatMessage, sequence: int, retention_s: float
    ) -> bool:
        left_s = int(message.created_at + retention_s - time.time())
        if left_s < 1 and sequence == NOTHING:
            return True
        headers = {EXPECT_SUBJECT_SEQ: str(sequence), TTL: f"{max(1, left_s)}s"}
        body = msgspec.json.encode(message)
        try:
            await self._jetstream.publish(ledger_message(*key), body, headers=headers)
        except Conflict:
            return False
        self._note(key, message)
        return True

    async def get(self, tenant_id: str, session_id: str, message_id: str) -> ChatMessage | None:
        """See `port.Ledger`."""
        message, _sequence = await self._read((tenant_id, session_id, message_id))
        return message

    async def list(
        self,
        tenant_id: str,
        session_id: str,
        query: LedgerQuery,
    ) -> Page[ChatMessage]:
        """See `port.Ledger`."""
        if query.words:
            return await self._search((tenant_id, session_id), query)
        chat, limit, cursor = query.chat, query.limit, query.cursor
        entries = await self._entries((tenant_id, session_id))
        wanted = [entry for entry in entries.values() if chat is None or entry.chat_id == chat]
        page, after = paging.take(wanted, lambda e: e.position, limit=limit, cursor=cursor)
        places = asyncio.Semaphore(_READS_AT_ONCE)

        async def read(entry: IndexEntry) -> ChatMessage | None:
            async with places:
                return await self.get(tenant_id, session_id, entry.message_id)

        async with asyncio.TaskGroup() as reads:
            tasks = [reads.create_task(read(entry)) for entry in page]
        # One that has aged out of the stream since it was indexed is no longer there.
        found = [message for task in tasks if (message := task.result()) is not None]
        return Page(found, after is not None, after)

    async def _search(self, key: SessionKey, query: LedgerQuery) -> Page[ChatMessage]:
        found: list[ChatMessage] = []
        async with self._searching:
            reading = read_last_per_subject(self._jetstream, LEDGER, ledger_session(*key))
            async with aclosing(reading) as messages:
                async for stored in messages:
                    message = decode(stored.data, ChatMessage)
                    wanted = query.chat in (None, message.chat_id)
                    if wanted and text_search.matches(message, query.words):
                        found.append(message)
        page, after = paging.take(
            found,
            lambda m: (m.created_at, m.message_id),
            limit=query.limit,
            cursor=query.cursor,
        )
        return Page(page, after is not None, after)

    async def erase(
        self, tenant_id: str, *, session_id: str | None = None, chat: str | None = None
    ) -> None:
        """See `port.Ledger`."""
        if session_id is None:
            await self._jetstream.purge(LEDGER, ledger_tenant(tenant_id))
        elif chat is None:
            await self._jetstream.purge(LEDGER, ledger_session(tenant_id, session_id))
        else:
            entries = await self._entries((tenant_id, session_id))
            for entry in [entry for entry in entries.values() if entry.chat_id == chat]:
                subject = ledger_message(tenant_id, session_id, entry.message_id)
                await self._jetstream.purge(LEDGER, subject)
        self._index.clear()

    async def wait_final(
        self, tenant_id: str, session_id: str, message_id: str, *, timeout_s: float
    ) -> ChatMessage | None:
        """See `port.Ledger`."""
        key = (tenant_id, session_id, message_id)
        return await self._waiters.wait(key, lambda: self.get(*key), timeout_s=timeout_s)

    def _note(self, key: Key, message: ChatMessage) -> None:
        self._index.put(key[:2], message)
        if message.state.final:
            self._waiters.notice(key)

    async def _read(self, key: Key) -> tuple[ChatMessage | None, int]:
        stored = await self._jetstream.last_by_subject(LEDGER, ledger_message(*key))
        if stored is None:
            return None, NOTHING
        return decode(stored.data, ChatMessage), stored.seq

    async def _entries(self, key: SessionKey) -> Entries:
        async with self._loads.setdefault(key, asyncio.Lock()):
            try:
                known = self._index.entries(key)
                return known if known is not None else await self._load(key)
            finally:
                self._loads.pop(key, None)

    async def _load(self, key: SessionKey) -> Entries:
        self._index.begin_load(key)
        loaded: Entries | None = None
        try:
            loaded = await self._read_session(key)
        finally:
            entries = self._index.end_load(key, loaded)
        return entries

    async def _read_session(self, key: SessionKey) -> Entries:
        entries: Entries = {}
        subject = ledger_session(*key)
        async with aclosing(read_last_per_subject(self._jetstream, LEDGER, subject)) as messages:
            async for stored in messages:
                message = decode(stored.data, ChatMessage)
                entries[message.message_id] = IndexEntry.of(message)
        return entries
