"""Traces: a message's whole way, gathered from where it is kept.

Owns the gathering: ledger, events, lane, dead letters, webhooks. Never keeps anything of its own,
and reads a bounded number of events.
"""

from contextlib import aclosing
from datetime import UTC, datetime
from typing import Final

import structlog

from control_plane.core import message_trace
from control_plane.ports import Messages, Webhooks
from control_plane.sending_ports import DeadLetters, Sending
from schemas.api_sending import DeadLetterView, TraceView
from schemas.errors import BlazzError, ErrorCode
from schemas.events import Event
from schemas.ids import MessageId, SessionId, TenantId
from schemas.resources import EVENTS
from schemas.states import MessageState
from schemas.subjects import message_events_of_session
from schemas.transport.connection import Bus
from schemas.transport.jetstream import JetStream
from schemas.transport.streams import read_stored
from schemas.transport.typed import decode

log = structlog.get_logger()

EVENTS_READ_MAX: Final = 50_000
_CLOCKS_APART_S: Final = 60.0
"""An event may be stored before the ledger's time of the message, by as much as clocks differ."""
_CUT: Final = f"events after the first {EVENTS_READ_MAX} of its session since it came"


class StreamTraces:
    """Implements `ports.Traces`."""

    def __init__(
        self,
        bus: Bus,
        messages: Messages,
        sending: Sending,
        dead_letters: DeadLetters,
        webhooks: Webhooks,
    ) -> None:
        self._jetstream = JetStream(bus)
        self._messages = messages
        self._sending = sending
        self._dead_letters = dead_letters
        self._webhooks = webhooks

    async def trace(self, tenant: TenantId, session: SessionId, message: MessageId) -> TraceView:
        """See `ports.Traces.trace`."""
        found = await self._messages.get(tenant, session, message)
        events, cut = await self._events(tenant, session, message, found.created_at)
        deliveries = await self._webhooks.deliveries_of(
            tenant, frozenset(event.event_id for event in events)
        )
        letter = await self._letter(tenant, session, message)
        made = message_trace.steps(found, events, letter, deliveries)
        waits = None
        if found.state is MessageState.ACCEPTED:
            waits = await self._sending.outbox(tenant, session)
        unknown = message_trace.not_known(found, made)
        return TraceView(
            message, session, found.state, made, waits, [*unknown, _CUT] if cut else unknown
        )

    async def _events(
        self, tenant: TenantId, session: SessionId, message: MessageId, since: float
    ) -> tuple[list[Event], bool]:
        subject = message_events_of_session(tenant, session)
        start = datetime.fromtimestamp(max(0.0, since - _CLOCKS_APART_S), UTC)
        found: list[Event] = []
        reading = read_stored(self._jetstream, EVENTS, subject, start_at=start)
        async with aclosing(reading) as stored:
            read = 0
            async for each in stored:
                event = _event(each.data)
                if event is not None and message_trace.concerns(event, message):
                    found.append(event)
                read += 1
                if read >= EVENTS_READ_MAX:
                    return found, True
        return found, False

    async def _letter(
        self, tenant: TenantId, session: SessionId, message: MessageId
    ) -> DeadLetterView | None:
        try:
            return await self._dead_letters.get(tenant, session, message)
        except BlazzError as error:
            if error.code is not ErrorCode.DEAD_LETTER_NOT_FOUND:
                raise
            return None


def _event(data: bytes) -> Event | None:
    try:
        return decode(data, Event)
    except BlazzError:
        log.warning("trace.event_malformed")
        return None
