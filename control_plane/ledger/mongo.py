"""The ledger on MongoDB: a document a message.

Owns the documents, their indexes and compare-and-set by a version. Never decides what an event
means (`core.ledger_fold` does) and never a client's settings (`control_plane.mongo`).

A document is the message as JSON (`m`, exact), beside what is asked by: tenant, session, chat,
time, the folded text (`w`), and when it expires. Cost: `change` is one read and one write, `list`
one query on an index; a search reads the session's messages of the store, newest first, until
there are enough, 5 s at most.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import structlog
from pymongo.errors import DuplicateKeyError, PyMongoError

from control_plane.core import paging, text_search
from control_plane.ledger.changing import NOTHING, change_stored
from control_plane.ledger.port import Change, LedgerQuery, RetentionOf
from control_plane.ledger.waiters import FinalWaiters, Key
from schemas.api import Page
from schemas.errors import BlazzError, ErrorCode
from schemas.messages import ChatMessage
from schemas.subjects import ALL_LEDGER_NOTICES, ledger_notice, message_of_ledger_notice
from schemas.transport.connection import Bus
from schemas.transport.typed import decode

log = structlog.get_logger()

_QUERY_MS: Final = 5_000
_NOTICE_POLL_S: Final = 1.0
"""Notices are core messages and may be lost; a waiter looks by itself this often."""


class MongoLedger:
    """Implements `port.Ledger` on one collection; `prepare` makes the indexes once."""

    def __init__(self, collection: Any, bus: Bus, *, retention_of: RetentionOf) -> None:
        self._messages = collection
        self._bus = bus
        self._retention_of = retention_of
        self._waiters = FinalWaiters(_NOTICE_POLL_S)

    async def prepare(self) -> None:
        """Make the indexes. Raises `ledger_unavailable`."""
        async with _answering():
            for by in (["t", "s", "at", "_id"], ["t", "s", "c", "at", "_id"]):
                keys = [(name, -1 if name in ("at", "_id") else 1) for name in by]
                await self._messages.create_index(keys)
            await self._messages.create_index([("x", 1)], expireAfterSeconds=0)

    async def follow(self) -> None:
        """See `port.Ledger`."""
        async with self._bus.subscribe(ALL_LEDGER_NOTICES) as notices:
            async for notice in notices:
                self._waiters.notice(message_of_ledger_notice(notice.subject))

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

        async def write(new: ChatMessage, version: int) -> bool:
            written = await self._write(key, new, version, retention_s)
            if written:
                await self._told(key, new)
            return written

        return await change_stored(lambda: self._read(key), write, change, likely_new=likely_new)

    async def _write(
        self, key: Key, message: ChatMessage, version: int, retention_s: float
    ) -> bool:
        """Write it if its version is still this (0: there is none); False if it is not."""
        expires_at = datetime.fromtimestamp(message.created_at + retention_s, UTC)
        if version == NOTHING and expires_at <= datetime.now(UTC):
            return True
        fields = {
            "c": message.chat_id,
            "at": message.created_at,
            "w": text_search.searched(message),
            "x": expires_at,
            "v": version + 1,
            "m": msgspec.json.encode(message),
        }
        async with _answering():
            if version:
                found = {"_id": _id(key), "v": version}
                changed = await self._messages.update_one(found, {"$set": fields})
                return bool(changed.matched_count)
            try:
                await self._messages.insert_one(
                    {"_id": _id(key), "t": key[0], "s": key[1], **fields}
                )
            except DuplicateKeyError:
                return False
            return True

    async def _told(self, key: Key, message: ChatMessage) -> None:
        if not message.state.final:
            return
        self._waiters.notice(key)
        try:
            await self._bus.publish(ledger_notice(*key), b"")
        except BlazzError as error:
            log.debug("ledger.notice_lost", code=error.code)

    async def _read(self, key: Key) -> tuple[ChatMessage | None, int]:
        async with _answering():
            found = await self._messages.find_one({"_id": _id(key)}, {"m": 1, "v": 1})
        if found is None:
            return None, NOTHING
        return decode(found["m"], ChatMessage), int(found["v"])

    async def get(self, tenant_id: str, session_id: str, message_id: str) -> ChatMessage | None:
        """See `port.Ledger`."""
        message, _version = await self._read((tenant_id, session_id, message_id))
        return message

    async def list(self, tenant_id: str, session_id: str, query: LedgerQuery) -> Page[ChatMessage]:
        """See `port.Ledger`. Raises `timeout` for a search that takes too long."""
        wanted: dict[str, Any] = {"t": tenant_id, "s": session_id}
        if query.chat is not None:
            wanted["c"] = query.chat
        conditions: list[dict[str, Any]] = [
            {"w": {"$regex": re.escape(word)}} for word in query.words
        ]
        if query.cursor is not None:
            at, message_id = paging.decode(query.cursor)
            after = _id((tenant_id, session_id, message_id))
            conditions.append({"$or": [{"at": {"$lt": at}}, {"at": at, "_id": {"$lt": after}}]})
        if conditions:
            wanted["$and"] = conditions
        limit = paging.clamp(query.limit)
        async with _answering():
            found = (
                self._messages.find(wanted, {"m": 1})
                .sort([("at", -1), ("_id", -1)])
                .limit(limit + 1)
                .max_time_ms(_QUERY_MS)
            )
            documents = [document async for document in found]
        messages = [decode(document["m"], ChatMessage) for document in documents[:limit]]
        if len(documents) <= limit:
            return Page(messages)
        last = messages[-1]
        return Page(messages, True, paging.encode((last.created_at, last.message_id)))

    async def wait_final(
        self, tenant_id: str, session_id: str, message_id: str, *, timeout_s: float
    ) -> ChatMessage | None:
        """See `port.Ledger`."""
        key = (tenant_id, session_id, message_id)
        return await self._waiters.wait(key, lambda: self.get(*key), timeout_s=timeout_s)

    async def erase(
        self, tenant_id: str, *, session_id: str | None = None, chat: str | None = None
    ) -> None:
        """See `port.Ledger`."""
        wanted = {"t": tenant_id}
        if session_id is not None:
            wanted["s"] = session_id
            if chat is not None:
                wanted["c"] = chat
        async with _answering():
            await self._messages.delete_many(wanted)


def _id(key: Key) -> str:
    return "/".join(key)


@asynccontextmanager
async def _answering() -> AsyncIterator[None]:
    try:
        yield
    except PyMongoError as error:
        # Its text may quote the URI.
        raise BlazzError(ErrorCode.LEDGER_UNAVAILABLE, type(error).__name__) from error
