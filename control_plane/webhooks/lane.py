"""A webhook's lane: everything that is delivered to one webhook, by the replica that owns it.

Owns the first attempt of each event, the later ones from the queue, and what one webhook's trouble
means for its own lane. Never touches another webhook: each has its own tasks and its own bounds.

An event is acknowledged only after it was delivered or stands in the queue; if its replica dies in
between, it is delivered once more under the same id.
"""

import asyncio
import random
import time
from contextlib import aclosing
from typing import Final

import msgspec
import structlog

from control_plane import metrics
from control_plane.core.backoff import delay_s
from control_plane.core.webhook_backlog import Backlog, Health, Place
from control_plane.core.webhook_delivery import Outcome, Verdict, after
from control_plane.core.webhook_events import body_of, type_of, wants
from control_plane.webhooks.endpoints import GONE, Endpoints
from control_plane.webhooks.hand import Hand
from control_plane.webhooks.losses import Losses
from control_plane.webhooks.queue import Conflict, DeliveryStore
from control_plane.webhooks.sender import Sender
from control_plane.webhooks.settings import WebhookSettings
from schemas import log_keys
from schemas.errors import BlazzError
from schemas.resources import EVENTS, webhook_durable
from schemas.subjects import event_named, events_of_tenant
from schemas.transport.background import Background
from schemas.transport.checkpoints import At, checkpoint
from schemas.transport.connection import Bus
from schemas.transport.durable import DurableSpec, InHand, Work, consume
from schemas.webhooks import AnyEvent, Delivery, DeliveryState, WebhookRecord

log = structlog.get_logger()

_AGAIN_AFTER_S: Final = 5.0
_AGAIN_MAX_S: Final = 600.0
_LOOK_S: Final = 1.0
HOLD_MAX_S: Final = 3_600.0
"""`Retry-After` holds back the delivery it answered for as long as it says, the others for at most
this."""


class LaneParts(msgspec.Struct, frozen=True):
    """What all lanes of a replica share."""

    bus: Bus
    endpoints: Endpoints
    store: DeliveryStore
    sender: Sender
    losses: Losses
    settings: WebhookSettings


class Lane:
    """One webhook's; `run` works until it is cancelled. `webhook` may be replaced meanwhile."""

    def __init__(self, parts: LaneParts, webhook: WebhookRecord, backlog: Backlog) -> None:
        self.webhook = webhook
        self.unread = 0
        """Events it had not been given yet when it was last given one."""
        self._parts = parts
        self._settings = parts.settings
        self._place = self.spec(webhook_durable(webhook.webhook_id))
        self._kept = InHand(self._place)
        self.hand = Hand(parts.settings.hand_max, self._kept)
        self._store = parts.store
        self._backlog = backlog
        self._health = Health()
        self._hold_until = 0.0
        self._wake = asyncio.Event()
        self._sends = asyncio.Semaphore(parts.settings.sends_max)
        self._retries = asyncio.Semaphore(parts.settings.retries_max)

    def spec(self, name: str, start_at: float | None = None) -> DurableSpec:
        """A place in EVENTS of this webhook."""
        return DurableSpec(
            name=name,
            subject=events_of_tenant(self.webhook.tenant_id),
            ack_wait_s=self._settings.ack_wait_s,
            max_ack_pending=self._settings.hand_max,
            start_seq=self.webhook.start_seq if start_at is None else 0,
            start_at=start_at,
        )

    async def run(self) -> None:
        """Deliver for ever. Raises what no waiting mends."""
        # Before anything is read: what a look finds gone later may have been delivered.
        await self._parts.losses.look(self.webhook, stands_still=False)
        async with Background() as tasks:
            tasks.start(self._retry(), name="webhook retries")
            tasks.start(self._kept.run(), name="webhook keep-alive")
            works = consume(self._parts.bus, EVENTS, self._place, batch=self.room)
            async with aclosing(works):
                async for work in works:
                    self.unread = work.pending
                    tasks.start(self.handle(work), name="webhook event")

    def poke(self) -> None:
        """Something in the backlog has changed."""
        self._wake.set()

    async def room(self) -> int:
        """Wait until more events can be taken; how many."""
        while True:
            self.hand.freed.clear()
            if self.hand.room > 0 and not self.paused:
                return self.hand.room
            try:
                async with asyncio.timeout(_LOOK_S):
                    await self.hand.freed.wait()
            except TimeoutError:
                continue

    @property
    def paused(self) -> bool:
        """Whether it takes no events for now."""
        if time.monotonic() < self._hold_until:
            return True
        # A dead webhook's events are as safe in the stream, where they cost nothing.
        return self._health.down and self._backlog.waiting >= self._settings.waiting_max

    # The first attempt ---------------------------------------------------------------------------

    async def handle(self, work: Work) -> None:
        """See an event through: delivered, queued, or not wanted."""
        async with self.hand.hold(work):
            try:
                event = _event_of(work)
                if event is None:
                    await work.give_up()
                elif not self._wants(event):
                    await work.ack()
                else:
                    await self._first(work, event)
                    await work.ack()
            except BlazzError as error:
                log.info(
                    "webhook.event_postponed",
                    webhook_id=self.webhook.webhook_id,
                    **{log_keys.CODE: error.code},
                )
                await _again(work)
            except Exception:
                # One odd event must not stop the others.
                log.exception("webhook.event_crashed", webhook_id=self.webhook.webhook_id)
                await _again(work)

    def _wants(self, event: AnyEvent) -> bool:
        hook = self.webhook
        return wants(hook.events, hook.sessions, type_of(event), event.session_id)

    async def _first(self, work: Work, event: AnyEvent) -> None:
        if work.attempt > 1 and await self._store.queued(self.webhook, event.event_id):
            # Its replica died between queueing it and saying so.
            return
        delivery = new_delivery(self.webhook, event, work.seq)
        async with self.hand.turn(event.session_id), self._sends:
            checkpoint(At.WEBHOOK_BEFORE_POST)
            sent_to, outcome = await self._send(delivery)
            checkpoint(At.WEBHOOK_AFTER_POST)
        await self._settle(delivery, 0, sent_to, outcome)
        checkpoint(At.WEBHOOK_BEFORE_ACK)

    # Later ones ----------------------------------------------------------------------------------

    async def _retry(self) -> None:
        async with Background() as tasks:
            while True:
                self._wake.clear()
                await self._retries.acquire()
                due = self._backlog.take_due(time.time())
                if due is not None:
                    tasks.start(self._again(*due), name="webhook retry")
                    continue
                self._retries.release()
                await self._next_due()

    async def _next_due(self) -> None:
        at = self._backlog.next_due()
        pause_s = self._settings.sweep_s
        if at is not None:
            pause_s = min(pause_s, max(0.0, at - time.time()))
        try:
            async with asyncio.timeout(pause_s):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _again(self, event_id: str, seq: int) -> None:
        try:
            found = await self._store.queued(self.webhook, event_id)
            if found is None:
                self._backlog.drop(event_id, seq)
            elif found[1] == seq:
                await self._settle(*found, *await self._send(found[0]))
        except BlazzError as error:
            log.info(
                "webhook.retry_postponed",
                webhook_id=self.webhook.webhook_id,
                **{log_keys.CODE: error.code},
            )
        finally:
            # Nothing came of it, or we were cancelled: it is still ours to try.
            self._backlog.put_back(event_id, seq, time.time() + _AGAIN_AFTER_S)
            self._retries.release()

    # An attempt and its end ----------------------------------------------------------------------

    async def _send(self, delivery: Delivery) -> tuple[WebhookRecord, Outcome]:
        await self._asked_pause()
        webhook = self.webhook
        sender = self._parts.sender
        return webhook, await sender.send(webhook, delivery.event_id, delivery.body)

    async def _settle(
        self, delivery: Delivery, seq: int, sent_to: WebhookRecord, outcome: Outcome
    ) -> None:
        """Write down what came of it; `seq` is the delivery's in the queue (0: it is new)."""
        metrics.WEBHOOK_DELIVERIES.labels(result=outcome.verdict).inc()
        tried = after(
            delivery,
            outcome,
            now=time.time(),
            unit_random=random.random(),
            schedule=self._settings.schedule_s,
        )
        if outcome.verdict is Verdict.DELIVERED:
            await self._delivered(tried, seq)
        else:
            await self._failed(tried, seq, outcome)
            if outcome.verdict is Verdict.GONE:
                await self._parts.endpoints.disable(sent_to, GONE, time.time())

    async def _asked_pause(self) -> None:
        while True:
            left_s = self._hold_until - time.monotonic()
            if left_s <= 0:
                return
            await asyncio.sleep(left_s)

    async def _delivered(self, delivery: Delivery, seq: int) -> None:
        if self._health.succeeded():
            log.info("webhook.recovered", webhook_id=self.webhook.webhook_id)
            self._backlog.all_due(time.time())
            self.poke()
        try:
            await self._store.note_delivered(delivery)
        except BlazzError as error:
            # The log is for people: it must not bring a delivery about twice.
            log.info("webhook.log_failed", **{log_keys.CODE: error.code})
        if seq:
            await self._store.remove(seq)
            self._backlog.drop(delivery.event_id, seq)

    async def _failed(self, delivery: Delivery, seq: int, outcome: Outcome) -> None:
        self._health.failed()
        if outcome.retry_after_s is not None:
            hold_s = min(outcome.retry_after_s, HOLD_MAX_S)
            self._hold_until = max(self._hold_until, time.monotonic() + hold_s)
        crowded = self._backlog.waiting >= self._settings.waiting_max and not self._health.down
        if crowded and seq == 0:
            delivery = msgspec.structs.replace(delivery, state=DeliveryState.DEAD, due_at=None)
        try:
            written = await self._store.write(delivery, seq)
        except Conflict:
            # Somebody asked for it anew meanwhile, or it was in the queue already: that one stands.
            return
        self._backlog.note(delivery.event_id, Place(written, delivery.due_at))
        self.poke()
        if delivery.state is DeliveryState.DEAD:
            metrics.WEBHOOK_DELIVERIES.labels(result=DeliveryState.DEAD).inc()
            log.warning(
                "webhook.delivery_given_up",
                webhook_id=delivery.webhook_id,
                event_id=delivery.event_id,
                **{log_keys.TENANT: delivery.tenant_id, log_keys.ATTEMPT: delivery.round},
            )
            for event_id, dead_seq in self._backlog.oldest_dead(self._settings.dead_kept):
                await self._store.remove(dead_seq)
                self._backlog.drop(event_id, dead_seq)


def new_delivery(webhook: WebhookRecord, event: AnyEvent, sequence: int) -> Delivery:
    """An event's delivery before its first attempt."""
    return Delivery(
        webhook_id=webhook.webhook_id,
        tenant_id=webhook.tenant_id,
        event_id=event.event_id,
        type=type_of(event),
        session_id=event.session_id,
        sequence=sequence,
        event_at=event.at,
        state=DeliveryState.WAITING,
        body=body_of(event, sequence),
    )


def _event_of(work: Work) -> AnyEvent | None:
    """The event, or None if it is not one, or says that it is somebody else's: the server checks
    who may publish on a subject, and the payload must not say otherwise."""
    try:
        event = work.value(AnyEvent)
    except BlazzError:
        log.warning("webhook.event_malformed", **{log_keys.SUBJECT: work.subject})
        return None
    at = event_named(event.node_id, event.tenant_id, event.session_id, type_of(event))
    if work.subject != at:
        log.warning("webhook.event_misplaced", **{log_keys.SUBJECT: work.subject})
        return None
    return event


async def _again(work: Work) -> None:
    pause_s = delay_s(work.attempt, random.random(), min_s=_AGAIN_AFTER_S, max_s=_AGAIN_MAX_S)
    try:
        await work.again(pause_s)
    except BlazzError as error:
        # It comes again by itself after the ack wait.
        log.debug("webhook.nak_failed", **{log_keys.CODE: error.code})
