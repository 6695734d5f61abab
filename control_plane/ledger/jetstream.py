"""The ledger on JetStream: the stream LEDGER keeps the last message of each subject.

Owns reading, compare-and-set writing, the order of lists and the notice of final states. Never
decides what an event means (`core.ledger_fold` does).

Cost: `get` is one read. `list` is one read a message shown; the first list of a session on this
replica reads all of its messages once, later ones use the bounded index. Every write of every
replica comes back through `follow`, which feeds index and waiters.
"""

import asyncio
import random
from contextlib import aclosing
from typing import Final

import msgspec
import structlog

from control_plane.core import paging
from control_plane.core.backoff import delay_s
from control_plane.ledger.index import Entries, IndexEntry, LedgerIndex, SessionKey
from control_plane.ledger.port import Change
from schemas.api import Page
from schemas.errors import BlazzError, ErrorCode
from schemas.messages import ChatMessage
from schemas.resources import LEDGER
from schemas.subjects import LEDGER_ALL, ledger_message, ledger_session, message_of_ledger_subject
from schemas.transport.connection import Bus
from schemas.transport.jetstream import EXPECT_SUBJECT_SEQ, Conflict, JetStream
from schemas.transport.streams import Gap, read_last_per_subject, read_ordered
from schemas.transport.typed import decode

log = structlog.get_logger()

_TRIES_MAX: Final = 12
_READS_AT_ONCE: Final = 32
_WAIT_POLL_S: Final = 5.0
"""A waiter looks by itself this often, should a notice be lost in an outage."""

Key = tuple[str, str, str]


class JetStreamLedger:
    """Implements `port.Ledger`; `follow` must run beside it."""

    def __init__(self, bus: Bus, *, index_entries_max: int) -> None:
        self._jetstream = JetStream(bus)
        self._index = LedgerIndex(index_entries_max)
        self._loads: dict[SessionKey, asyncio.Lock] = {}
        self._waiters: dict[Key, set[asyncio.Event]] = {}

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
        self, tenant_id: str, session_id: str, message_id: str, change: Change
    ) -> ChatMessage | None:
        """See `port.Ledger`. Raises `conflict` when others write all the time."""
        key = (tenant_id, session_id, message_id)
        for attempt in range(1, _TRIES_MAX + 1):
            old, sequence = await self._read(key)
            new = change(old)
            if new is None or new == old:
                return old
            try:
                await self._jetstream.publish(
                    ledger_message(*key),
                    msgspec.json.encode(new),
                    headers={EXPECT_SUBJECT_SEQ: str(sequence)},
                )
            except Conflict:
                await asyncio.sleep(delay_s(attempt, random.random(), min_s=0.002, max_s=0.1))
                continue
            self._note(key, new)
            return new
        raise BlazzError(ErrorCode.CONFLICT, "the message is changed by others all the time")

    async def get(self, tenant_id: str, session_id: str, message_id: str) -> ChatMessage | None:
        """See `port.Ledger`."""
        message, _sequence = await self._read((tenant_id, session_id, message_id))
        return message

    async def list(
        self,
        tenant_id: str,
        session_id: str,
        *,
        chat: str | None,
        limit: int,
        cursor: str | None,
    ) -> Page[ChatMessage]:
        """See `port.Ledger`."""
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

    async def wait_final(
        self, tenant_id: str, session_id: str, message_id: str, *, timeout_s: float
    ) -> ChatMessage | None:
        """See `port.Ledger`."""
        key = (tenant_id, session_id, message_id)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        noticed = asyncio.Event()
        waiters = self._waiters.setdefault(key, set())
        waiters.add(noticed)
        try:
            while True:
                noticed.clear()
                message, _sequence = await self._read(key)
                left_s = deadline - loop.time()
                if message is None or message.state.final or left_s <= 0:
                    return message
                try:
                    async with asyncio.timeout(min(left_s, _WAIT_POLL_S)):
                        await noticed.wait()
                except TimeoutError:
                    continue
        finally:
            waiters.discard(noticed)
            if not waiters:
                self._waiters.pop(key, None)

    def _note(self, key: Key, message: ChatMessage) -> None:
        self._index.put(key[:2], message)
        if message.state.final:
            for waiter in self._waiters.get(key, ()):
                waiter.set()

    async def _read(self, key: Key) -> tuple[ChatMessage | None, int]:
        stored = await self._jetstream.last_by_subject(LEDGER, ledger_message(*key))
        if stored is None:
            return None, 0
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
