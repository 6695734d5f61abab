"""Where deliveries lie: the queue of those to be tried again or given up, and the log.

Owns their subjects, headers and compare-and-set writes. A delivery's place and time stand in its
headers, so that indexes are built without reading bodies. Never decides when to try.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

import msgspec

from schemas.errors import ErrorCode
from schemas.resources import EVENTS, WEBHOOK_LOG, WEBHOOK_QUEUE, webhook_durable
from schemas.subjects import (
    events_of_tenant,
    hook_log,
    hook_of_queue_subject,
    hook_queue,
    hook_queue_of,
    hook_queue_shard,
)
from schemas.transport.connection import Bus
from schemas.transport.jetstream import (
    EXPECT_SUBJECT_SEQ,
    Conflict,
    JetStream,
    JetStreamError,
    StoredMessage,
)
from schemas.transport.streams import Gap, read_ordered, read_stored
from schemas.transport.typed import decode
from schemas.webhooks import AnyEvent, Delivery, DeliveryState, WebhookRecord

_DUE: Final = "Blazz-Due"
_EVENT: Final = "Blazz-Event"
_EVENT_AT: Final = "Blazz-Event-At"
_TRIED_AT: Final = "Blazz-Tried-At"
_DEAD: Final = "dead"


class Listed(msgspec.Struct, frozen=True):
    """A delivery's place, from its headers alone. `tried_at` is its last attempt's time."""

    stream: str
    seq: int
    event_id: str
    state: DeliveryState
    event_at: float
    tried_at: float
    due_at: float | None = None


class DeliveryStore:
    """Both streams over a bus; holds nothing."""

    def __init__(self, bus: Bus) -> None:
        self._jetstream = JetStream(bus)

    # The queue -----------------------------------------------------------------------------------

    async def follow(self, shard: int) -> AsyncGenerator[tuple[str, Listed], None]:
        """`(webhook id, place)` of everything in a shard's queue, then of every write, for ever."""
        reading = read_ordered(
            self._jetstream, WEBHOOK_QUEUE, hook_queue_shard(shard), start_seq=1, headers_only=True
        )
        async with aclosing(reading) as messages:
            async for message in messages:
                # What a gap hides was delivered, or written anew behind it.
                if not isinstance(message, Gap):
                    webhook_id, _ = hook_of_queue_subject(message.subject)
                    yield webhook_id, _listed(WEBHOOK_QUEUE, message)

    async def queued(self, webhook: WebhookRecord, event_id: str) -> tuple[Delivery, int] | None:
        """A delivery in the queue, with its sequence."""
        subject = hook_queue(webhook.tenant_id, webhook.webhook_id, event_id)
        stored = await self._jetstream.last_by_subject(WEBHOOK_QUEUE, subject)
        return None if stored is None else (decode(stored.data, Delivery), stored.seq)

    async def write(self, delivery: Delivery, replaces_seq: int) -> int:
        """Put it into the queue in place of `replaces_seq` (0: it must not be there). Raises
        `Conflict`, `nats_unavailable` (also when the queue is full)."""
        tried_at = delivery.attempts[-1].at if delivery.attempts else delivery.event_at
        headers = {
            EXPECT_SUBJECT_SEQ: str(replaces_seq),
            _DUE: _DEAD if delivery.due_at is None else repr(delivery.due_at),
            _EVENT: delivery.event_id,
            _EVENT_AT: repr(delivery.event_at),
            _TRIED_AT: repr(tried_at),
        }
        subject = hook_queue(delivery.tenant_id, delivery.webhook_id, delivery.event_id)
        ack = await self._jetstream.publish(subject, msgspec.json.encode(delivery), headers=headers)
        return ack.seq

    async def remove(self, seq: int) -> None:
        """Take it out of the queue, unless it was written anew since."""
        await self._jetstream.delete_message(WEBHOOK_QUEUE, seq)

    async def purge(self, webhook: WebhookRecord) -> None:
        """Forget everything of a webhook."""
        hook = webhook.tenant_id, webhook.webhook_id
        await self._jetstream.purge(WEBHOOK_QUEUE, hook_queue_of(*hook))
        await self._jetstream.purge(WEBHOOK_LOG, hook_log(*hook))

    # The log -------------------------------------------------------------------------------------

    async def note_delivered(self, delivery: Delivery) -> None:
        """Write it into the webhook's log, without its body."""
        headers = {
            _EVENT: delivery.event_id,
            _EVENT_AT: repr(delivery.event_at),
            _TRIED_AT: repr(delivery.attempts[-1].at),
        }
        await self._jetstream.publish(
            hook_log(delivery.tenant_id, delivery.webhook_id),
            msgspec.json.encode(msgspec.structs.replace(delivery, body="")),
            headers=headers,
        )

    # Looking -------------------------------------------------------------------------------------

    async def list_queue(self, webhook: WebhookRecord) -> list[Listed]:
        """What waits or is dead."""
        subject = hook_queue_of(webhook.tenant_id, webhook.webhook_id)
        return await self._list(WEBHOOK_QUEUE, subject)

    async def list_log(self, webhook: WebhookRecord) -> list[Listed]:
        """What was delivered of late."""
        return await self._list(WEBHOOK_LOG, hook_log(webhook.tenant_id, webhook.webhook_id))

    async def read(self, listed: Listed) -> Delivery | None:
        """The delivery at a place; None if it went or was written anew meanwhile."""
        stored = await self._jetstream.by_sequence(listed.stream, listed.seq)
        return None if stored is None else decode(stored.data, Delivery)

    async def event(self, sequence: int) -> AnyEvent | None:
        """An event of EVENTS; None if it is no longer kept."""
        stored = await self._jetstream.by_sequence(EVENTS, sequence)
        return None if stored is None else decode(stored.data, AnyEvent)

    async def events_end(self) -> int:
        """The sequence of the newest event."""
        return (await self._jetstream.stream_info(EVENTS)).state.last_seq

    async def events_begin(self) -> int:
        """The sequence of the oldest event that is still kept."""
        return (await self._jetstream.stream_info(EVENTS)).state.first_seq

    async def next_unread(self, webhook: WebhookRecord) -> int | None:
        """The sequence of the tenant's first kept event that the webhook has not answered."""
        floor = webhook.start_seq - 1
        try:
            name = webhook_durable(webhook.webhook_id)
            floor = max(
                floor, (await self._jetstream.consumer_info(EVENTS, name)).ack_floor.stream_seq
            )
        except JetStreamError as error:
            if error.code is not ErrorCode.NOT_FOUND:
                raise
        subject = events_of_tenant(webhook.tenant_id)
        found = await self._jetstream.next_by_subject(EVENTS, subject, floor + 1)
        return None if found is None else found.seq

    async def unread(self, durable: str) -> int:
        """How many events a durable of EVENTS has yet to look at; 0 if it is not there yet."""
        try:
            info = await self._jetstream.consumer_info(EVENTS, durable)
        except JetStreamError as error:
            if error.code is ErrorCode.NOT_FOUND:
                return 0
            raise
        return info.num_pending + info.num_ack_pending

    async def forget_place(self, durable: str) -> None:
        """Remove a durable of EVENTS; one that is gone is fine."""
        await self._jetstream.delete_consumer(EVENTS, durable)

    async def _list(self, stream: str, subject: str) -> list[Listed]:
        reading = read_stored(self._jetstream, stream, subject, headers_only=True)
        async with aclosing(reading) as messages:
            return [_listed(stream, message) async for message in messages]


def _listed(stream: str, message: StoredMessage) -> Listed:
    headers = message.headers
    due = headers.get(_DUE)
    state = DeliveryState.DELIVERED
    if due is not None:
        state = DeliveryState.DEAD if due == _DEAD else DeliveryState.WAITING
    return Listed(
        stream=stream,
        seq=message.seq,
        event_id=headers.get(_EVENT, ""),
        state=state,
        event_at=float(headers.get(_EVENT_AT, "0")),
        tried_at=float(headers.get(_TRIED_AT, "0")),
        due_at=float(due) if due is not None and due != _DEAD else None,
    )


__all__ = ["Conflict", "DeliveryStore", "Listed"]
