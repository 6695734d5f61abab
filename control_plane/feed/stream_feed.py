"""The event feed: EVENTS read in order for one reader at a time.

Owns the filter by tenant, resuming and the bound on readers. Never hides a gap. The filter is the
server's: another tenant's events never reach this process for a reader.

Each reader is a short-lived consumer on the server and holds at most one pull of messages in
memory; a slow reader is simply further behind.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Final

import structlog

from control_plane.ports import FeedGap, FeedItem
from schemas.errors import BlazzError, ErrorCode
from schemas.events import Event
from schemas.ids import SessionId, TenantId
from schemas.resources import EVENTS
from schemas.subjects import EVENTS_ALL, events_of_session, events_of_tenant
from schemas.transport.connection import Bus
from schemas.transport.jetstream import JetStream
from schemas.transport.streams import NEW, Gap, read_ordered
from schemas.transport.typed import decode

log = structlog.get_logger()

RETRY_AFTER_S: Final = 5


class StreamFeed:
    """Implements `ports.EventFeed`."""

    def __init__(self, bus: Bus, *, followers_max: int) -> None:
        self._jetstream = JetStream(bus)
        self._followers_max = followers_max
        self._followers = 0

    async def follow(
        self,
        tenant: TenantId,
        *,
        session: SessionId | None = None,
        after_sequence: int | None = None,
    ) -> AsyncIterator[FeedItem | FeedGap]:
        """See `ports.EventFeed.follow`. Raises `rate_limited` when too many read already."""
        subject = (
            events_of_tenant(tenant) if session is None else events_of_session(tenant, session)
        )
        async with aclosing(self._read(subject, tenant, after_sequence)) as items:
            async for item in items:
                yield item

    async def follow_all(self) -> AsyncIterator[FeedItem | FeedGap]:
        """Everybody's events, from now: for operators alone."""
        async with aclosing(self._read(EVENTS_ALL, None, None)) as items:
            async for item in items:
                yield item

    async def _read(
        self, subject: str, tenant: str | None, after_sequence: int | None
    ) -> AsyncGenerator[FeedItem | FeedGap, None]:
        if self._followers >= self._followers_max:
            raise BlazzError(
                ErrorCode.RATE_LIMITED, "too many event readers", retry_after_s=RETRY_AFTER_S
            )
        self._followers += 1
        start = NEW if after_sequence is None else after_sequence + 1
        try:
            reading = read_ordered(self._jetstream, EVENTS, subject, start_seq=start)
            async with aclosing(reading) as messages:
                async for message in messages:
                    if isinstance(message, Gap):
                        yield FeedGap(message.from_seq, message.to_seq)
                        continue
                    event = _event(message.data)
                    if event is not None and tenant in (None, event.tenant_id):
                        yield FeedItem(message.seq, event)
        finally:
            self._followers -= 1


def _event(data: bytes) -> Event | None:
    try:
        return decode(data, Event)
    except BlazzError:
        log.warning("feed.event_malformed")
        return None
