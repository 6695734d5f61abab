"""The keeper: downloads media that arrived, where the tenant's policy wants it.

Owns the work's durability (a durable reader of EVENTS, shared by all replicas), how much is done at
once, and the events that tell the end. A download that a crash interrupts is begun again by another
replica; what was told is told again under the same id. Never decides what is wanted
(`core.media_policy`) and never reads media itself (`inbound`).
"""

import asyncio
import hashlib
import random
import time
from collections import Counter
from contextlib import aclosing
from typing import Final

import msgspec
import structlog

from control_plane.access.tenant_cache import TenantCache
from control_plane.core import media_policy
from control_plane.core.backoff import delay_s
from control_plane.feed.event_work import event_of
from control_plane.ledger.port import Ledger, RetentionOf
from control_plane.media.inbound import InboundMedia
from control_plane.media.inbound_store import MediaPlace
from control_plane.state.fleet_state import FleetState
from schemas import log_keys
from schemas.errors import BlazzError, ErrorCode
from schemas.events import (
    Event,
    MediaFailed,
    MediaReady,
    MessageDeleted,
    MessageReceived,
)
from schemas.facts import fact_event_id
from schemas.messages import ChatMessage, MediaPolicy
from schemas.records import Assignment, StoredMedia
from schemas.resources import EVENTS
from schemas.subjects import CONTROL_PLANE, event, events_named
from schemas.transport.background import Background
from schemas.transport.connection import Bus
from schemas.transport.durable import DurableSpec, InHand, Work, consume
from schemas.transport.typed import publish_durable

log = structlog.get_logger()

ARRIVED: Final = DurableSpec(
    name="inbound-media",
    subject=events_named("message.received"),
    # What a killed replica had in hand is taken by another after this; a living one renews.
    ack_wait_s=3.0,
    # Media of sessions that are away waits here, at the server; beyond this, the rest waits too.
    max_ack_pending=20_000,
)
DELETED: Final = DurableSpec(
    name="inbound-media-deleted", subject=events_named("message.deleted"), ack_wait_s=3.0
)
_IN_HAND_MAX: Final = 64
_BUSY_S: Final = 1.0


class InboundMediaSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is done with media that arrives.

    - `policy`: for tenants that want nothing otherwise.
    - `downloads_max`, `node_downloads_max`: so many at once on a replica, and from one node.
    - `away_max_s`: media whose session was away for so long is left to be read on demand.
    """

    policy: MediaPolicy = MediaPolicy()
    downloads_max: int = 8
    node_downloads_max: int = 2
    away_max_s: float = 86_400.0
    backoff_min_s: float = 1.0
    backoff_max_s: float = 60.0


class MediaKeeper:
    """One replica's share of the work; `run` it for ever."""

    def __init__(
        self,
        bus: Bus,
        state: FleetState,
        inbound: InboundMedia,
        tenants: TenantCache,
        retention_of: RetentionOf,
        ledger: Ledger,
        settings: InboundMediaSettings,
    ) -> None:
        self._bus = bus
        self._state = state
        self._inbound = inbound
        self._tenants = tenants
        self._retention_of = retention_of
        self._ledger = ledger
        self._settings = settings
        self._downloads: Counter[str] = Counter()
        self._taken = 0
        self._freed = asyncio.Event()

    async def run(self) -> None:
        """Work, until cancelled."""
        async with Background() as tasks:
            tasks.start(self._forget_deleted(), name="inbound media deleted")
            in_hand = InHand(ARRIVED)
            tasks.start(in_hand.run(), name="inbound media renewal")
            works = consume(self._bus, EVENTS, ARRIVED, batch=self._room)
            async with aclosing(works) as arrived:
                async for work in arrived:
                    self._taken += 1
                    in_hand.take(work)
                    tasks.start(self._see_to(work, in_hand), name="inbound media")

    async def _room(self) -> int:
        while self._taken >= _IN_HAND_MAX:
            self._freed.clear()
            await self._freed.wait()
        return _IN_HAND_MAX - self._taken

    async def _see_to(self, work: Work, in_hand: InHand) -> None:
        try:
            pause_s: float | None = _BUSY_S
            try:
                seen = event_of(work)
                pause_s = None if seen is None else await self._keep(seen, work.attempt)
            except BlazzError as error:
                log.info("media.keeping_postponed", **{log_keys.CODE: error.code})
            except Exception:
                # One odd message must not stop the others.
                log.exception("media.keeping_crashed")
                pause_s = self._settings.backoff_max_s
            in_hand.leave(work)
            if pause_s is None:
                await work.ack()
            else:
                await work.again(pause_s)
        except BlazzError as error:
            # It comes again by itself after the durable's ack wait.
            log.debug("media.answer_failed", **{log_keys.CODE: error.code})
        finally:
            in_hand.leave(work)
            self._taken -= 1
            self._freed.set()

    async def _keep(self, seen: Event, tries: int) -> float | None:
        """See to one message's media. Answers when to look again; None: there is no more to do."""
        if not isinstance(seen.data, MessageReceived):
            return None
        message = seen.data.message
        policy = await self._policy(seen.tenant_id)
        if not media_policy.wanted(policy, message):
            return None
        life_s = message.created_at + await self._retention_of(seen.tenant_id) - time.time()
        if life_s <= 0:
            return None
        place = MediaPlace.of(seen.tenant_id, seen.session_id, message)
        stored = await self._inbound.store.stat(place)
        if stored is None:
            if self._state.session(seen.tenant_id, seen.session_id) is None:
                # Deleted, unless we have not heard of anything yet.
                return None if self._state.synced else _BUSY_S
            if await self._deleted(place):
                return None
            try:
                assignment = self._ready(seen)
                if not self._begin(assignment):
                    return _BUSY_S
                try:
                    stored = await self._download(place, assignment, message, policy, life_s)
                finally:
                    self._end(assignment)
            except BlazzError as error:
                return await self._after(seen, message, error, tries)
            if await self._deleted(place):
                await self._inbound.store.remove(place)
                return None
        if stored is not None:
            ready = MediaReady(
                message.message_id,
                message.chat_id,
                stored.mimetype,
                stored.size_bytes,
                stored.sha256,
            )
            await self._tell(seen, ready)
        return None

    async def _deleted(self, place: MediaPlace) -> bool:
        """Whether its message was deleted for everyone meanwhile."""
        message = await self._ledger.get(place.tenant_id, place.session_id, place.message_id)
        return message is not None and message.deleted

    async def _policy(self, tenant_id: str) -> MediaPolicy:
        record = await self._tenants.get(tenant_id)
        own = record.media_policy if record is not None else None
        return own or self._settings.policy

    # One download ----------------------------------------------------------------------------

    def _ready(self, seen: Event) -> Assignment:
        """Where to ask. Raises `session_not_online`: then nobody need be asked."""
        record = self._state.session(seen.tenant_id, seen.session_id)
        assignment = self._state.assignment(seen.session_id)
        if (
            record is None
            or assignment is None
            or assignment.node_id is None
            or not self._state.view(record, time.monotonic()).state.can_send
        ):
            raise BlazzError(ErrorCode.SESSION_NOT_ONLINE)
        return assignment

    def _begin(self, assignment: Assignment) -> bool:
        """Take a place for a download, if there is one."""
        node_id = assignment.node_id or ""
        settings = self._settings
        if (
            self._downloads.total() >= settings.downloads_max
            or self._downloads[node_id] >= settings.node_downloads_max
        ):
            return False
        self._downloads[node_id] += 1
        return True

    def _end(self, assignment: Assignment) -> None:
        node_id = assignment.node_id or ""
        self._downloads[node_id] -= 1
        if not self._downloads[node_id]:
            del self._downloads[node_id]

    async def _download(
        self,
        place: MediaPlace,
        assignment: Assignment,
        message: ChatMessage,
        policy: MediaPolicy,
        life_s: float,
    ) -> StoredMedia | None:
        """None: it is larger than was said, and than is wanted."""
        digest = hashlib.sha256()
        offset = index = 0
        while True:
            chunk = await self._inbound.ask(assignment, message, offset)
            if not media_policy.fits(policy, chunk.total_bytes):
                return None
            if chunk.offset != offset or not (chunk.data or chunk.total_bytes == 0):
                raise BlazzError(ErrorCode.MEDIA_CORRUPT, "the media ended early")
            await self._inbound.store.put(place, index, chunk.data, life_s=life_s)
            digest.update(chunk.data)
            offset, index = offset + len(chunk.data), index + 1
            if offset >= chunk.total_bytes:
                break
        stored = StoredMedia(chunk.mimetype, offset, digest.hexdigest())
        await self._inbound.store.seal(place, stored, life_s=life_s)
        return stored

    async def _after(
        self, seen: Event, message: ChatMessage, error: BlazzError, tries: int
    ) -> float | None:
        settings = self._settings
        age_s = time.time() - seen.at
        if media_policy.given_up(
            error.code, tries=tries, age_s=age_s, away_max_s=settings.away_max_s
        ):
            failed = MediaFailed(
                message.message_id, message.chat_id, error.code.value, error.detail or None
            )
            await self._tell(seen, failed)
            return None
        return delay_s(
            tries, random.random(), min_s=settings.backoff_min_s, max_s=settings.backoff_max_s
        )

    async def _tell(self, seen: Event, data: MediaReady | MediaFailed) -> None:
        event_id = fact_event_id(seen.session_id, data)
        assert event_id is not None
        assignment = self._state.assignment(seen.session_id)
        told = Event(
            event_id=event_id,
            at=time.time(),
            tenant_id=seen.tenant_id,
            session_id=seen.session_id,
            node_id=CONTROL_PLANE,
            epoch=assignment.epoch if assignment else 0,
            data=data,
        )
        subject = event(CONTROL_PLANE, seen.tenant_id, seen.session_id, data)
        await publish_durable(self._bus, subject, told, event_id)

    # What was deleted for everyone -----------------------------------------------------------

    async def _forget_deleted(self) -> None:
        async with aclosing(consume(self._bus, EVENTS, DELETED)) as works:
            async for work in works:
                seen = event_of(work)
                try:
                    if seen is not None and isinstance(seen.data, MessageDeleted):
                        data = seen.data
                        place = MediaPlace(
                            seen.tenant_id, seen.session_id, data.chat_id, data.message_id
                        )
                        await self._inbound.store.remove(place)
                    await work.ack()
                except BlazzError as error:
                    # It comes again after the durable's ack wait.
                    log.info("media.forgetting_postponed", **{log_keys.CODE: error.code})
