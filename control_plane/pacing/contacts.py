"""Contacts and wishes: who wrote to whom, who wants out, and since when a number is linked.

Owns writing these records, from events (by one durable reader that all replicas share) and for
the API. Each write can be repeated, in any order with older ones. Never logs a chat id.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable
from contextlib import aclosing
from typing import Final, TypeVar

import msgspec
import structlog

from control_plane.core.contacts import chat_digest, is_direct
from control_plane.core.pacing import Wish, wish_of
from control_plane.pacing.book import PacingBook
from schemas import log_keys
from schemas.errors import BlazzError
from schemas.events import Event, MessageReceived, SessionLinked
from schemas.keys import alias_key, contact_key, linked_key, opt_out_key
from schemas.pacing import ChatAlias, ContactRecord, LinkedRecord, OptOutRecord
from schemas.resources import EVENTS, PACING
from schemas.states import MessageDirection
from schemas.subjects import events_named
from schemas.transport.background import Background
from schemas.transport.connection import Bus
from schemas.transport.durable import DurableSpec, Work, consume
from schemas.transport.kv import Bucket, Conflict

log = structlog.get_logger()

T = TypeVar("T")

RECEIVED: Final = DurableSpec(name="pacing-received", subject=events_named("message.received"))
LINKED: Final = DurableSpec(name="pacing-linked", subject=events_named("session.linked"))
_CONTACT_LAG_S: Final = 3_600.0
_CONTACT_TTL_S: Final = 365 * 86_400.0
_ALIAS_TTL_S: Final = 365 * 86_400.0
_SEEN_MAX: Final = 50_000
_AGAIN_AFTER_S: Final = 1.0
_TRIES_MAX: Final = 8


class Contacts:
    """The records about recipients, written."""

    def __init__(self, bus: Bus, book: PacingBook) -> None:
        self._bus = bus
        self._bucket = Bucket(bus, PACING)
        self._book = book
        self._seen: OrderedDict[str, float] = OrderedDict()
        self._aliases: OrderedDict[str, None] = OrderedDict()

    async def follow(self) -> None:
        """Take in the events for ever."""
        async with Background() as tasks:
            tasks.start(self._consume(RECEIVED), name="pacing received")
            tasks.start(self._consume(LINKED), name="pacing linked")
            await asyncio.Event().wait()

    async def _consume(self, spec: DurableSpec) -> None:
        async with aclosing(consume(self._bus, EVENTS, spec)) as works:
            async for work in works:
                await self._take(work)

    async def _take(self, work: Work) -> None:
        try:
            event = work.value(Event)
        except BlazzError:
            # The ledger's reader logs it.
            await _quietly(work.give_up())
            return
        try:
            await self.note(event)
        except BlazzError as error:
            log.info("pacing.note_postponed", **{log_keys.CODE: error.code})
            await _quietly(work.again(_AGAIN_AFTER_S))
        else:
            await _quietly(work.ack())

    async def note(self, event: Event) -> None:
        """What an event says about a recipient or a number."""
        if isinstance(event.data, SessionLinked):
            await self._note_linked(event, event.data.phone)
        elif isinstance(event.data, MessageReceived):
            message = event.data.message
            if message.direction is MessageDirection.INBOUND:
                await self._note_contact(event, message.chat_id)
                if message.text is not None and is_direct(message.chat_id):
                    await self._note_wish(event, message.chat_id, message.text)

    async def _note_linked(self, event: Event, phone: str) -> None:
        key = linked_key(event.tenant_id, event.session_id)
        held = await self._bucket.get(key, LinkedRecord)
        # The same number linked again keeps its age.
        if held.value is None or held.value.phone != phone:
            await self._bucket.put(key, LinkedRecord(event.session_id, phone, event.at))

    async def _note_contact(self, event: Event, chat_id: str) -> None:
        own = contact_key(event.tenant_id, event.session_id, chat_digest(chat_id))
        if event.at - self._seen.get(own, 0.0) < _CONTACT_LAG_S:
            return
        alias = await self._alias(event, chat_id)
        for chat in (chat_id,) if alias is None else (alias, chat_id):
            key = contact_key(event.tenant_id, event.session_id, chat_digest(chat))
            held = await self._bucket.get(key, ContactRecord)
            if held.value is None or event.at - held.value.last_at >= _CONTACT_LAG_S:
                record = ContactRecord(event.session_id, event.at)
                await self._bucket.put(key, record, ttl_s=_CONTACT_TTL_S)
        _remember(self._seen, own, event.at)

    async def _note_wish(self, event: Event, chat_id: str, text: str) -> None:
        wish = wish_of(text, self._book.rules(event.tenant_id, event.session_id))
        if wish is None:
            return
        alias = await self._alias(event, chat_id)
        for chat in (chat_id,) if alias is None else (chat_id, alias):
            await self.set_wish(
                event.tenant_id, chat, active=wish is Wish.OUT, at=event.at, by="word"
            )
        log.info(
            "recipient.wish_noted",
            **{log_keys.TENANT: event.tenant_id, log_keys.SESSION: event.session_id},
            wish=wish.value,
        )

    async def set_wish(
        self, tenant_id: str, chat_id: str, *, active: bool, at: float, by: str
    ) -> OptOutRecord:
        """Opt a recipient out or in, unless a later wish stands. Answers what stands then."""
        key = opt_out_key(tenant_id, chat_digest(chat_id))
        new = OptOutRecord(tenant_id, chat_id, at, active, by)
        for _ in range(_TRIES_MAX):
            held = await self._bucket.get(key, OptOutRecord)
            if held.value is not None and held.value.at >= at:
                return held.value
            if held.value is None and not active:
                return new
            try:
                await self._bucket.update(key, new, held.revision)
            except Conflict:
                continue
            self._book.fold(key, msgspec.json.encode(new))
            return new
        raise Conflict("the recipient's wish is changed by others all the time")

    async def learn_alias(self, tenant_id: str, session_id: str, to: str, chat_id: str) -> None:
        """WhatsApp calls the chat `chat_id`, the customer `to`: what is known of the one holds for
        the other."""
        key = alias_key(tenant_id, session_id, chat_digest(chat_id))
        if key in self._aliases:
            return
        held = await self._bucket.get(key, ChatAlias)
        if held.value is None or held.value.to != to:
            await self._bucket.put(key, ChatAlias(session_id, to), ttl_s=_ALIAS_TTL_S)
            await self._copy(tenant_id, session_id, to, chat_id)
        _remember(self._aliases, key, None)

    async def _copy(self, tenant_id: str, session_id: str, to: str, chat_id: str) -> None:
        source = contact_key(tenant_id, session_id, chat_digest(chat_id))
        contact = (await self._bucket.get(source, ContactRecord)).value
        if contact is not None:
            target = contact_key(tenant_id, session_id, chat_digest(to))
            await self._bucket.put(target, contact, ttl_s=_CONTACT_TTL_S)
        if self._book.opted_out(tenant_id, chat_id):
            await self.set_wish(tenant_id, to, active=True, at=time.time(), by="word")

    async def _alias(self, event: Event, chat_id: str) -> str | None:
        key = alias_key(event.tenant_id, event.session_id, chat_digest(chat_id))
        held = await self._bucket.get(key, ChatAlias)
        return held.value.to if held.value is not None else None


def _remember(kept: OrderedDict[str, T], key: str, value: T) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > _SEEN_MAX:
        kept.popitem(last=False)


async def _quietly(answer: Awaitable[None]) -> None:
    """Answer a delivery; if that fails it comes again by itself."""
    try:
        await answer
    except BlazzError as error:
        log.debug("pacing.answer_failed", **{log_keys.CODE: error.code})
