"""The pacing desk: grants and holds a session's messages, and keeps what was used up.

Owns reading and writing of a session's pacing state, one desk a shard and only while its lease is
held. Never decides: `core.pacing` does. A grant is written before the message is handed over, so
that another dispatcher grants nothing anew and knows what may have gone out.
"""

import random
import time
from typing import Final

import msgspec
import structlog

from control_plane.core.lanes import Lane
from control_plane.core.pacing import Go, Hold, Standing, decide
from control_plane.pacing.book import PacingBook, local_time
from control_plane.state.fleet_state import FleetState
from schemas.errors import BlazzError, ErrorCode
from schemas.keys import contact_key, linked_key, pacing_state_key
from schemas.pacing import (
    ContactRecord,
    LinkedRecord,
    PacingRules,
    PacingState,
    SendClass,
)
from schemas.resources import PACING
from schemas.transport.connection import Bus
from schemas.transport.kv import Bucket, Conflict, Entry

log = structlog.get_logger()

_STATE_TTL_S: Final = 30 * 86_400.0
"""What was used up a month ago limits nothing any more."""


class _Known(msgspec.Struct):
    state: Entry[PacingState]
    linked_at: float | None


class PacingDesk:
    """One shard's; forgets all when the lease is lost, by being thrown away."""

    def __init__(self, bus: Bus, book: PacingBook, fleet: FleetState) -> None:
        self._bucket = Bucket(bus, PACING)
        self._book = book
        self._fleet = fleet
        self._known: dict[str, _Known] = {}

    def rules(self, lane: Lane) -> PacingRules:
        """What is in force for a lane."""
        return self._book.rules(lane.tenant_id, lane.session_id)

    async def standing(self, lane: Lane, digest: str) -> Standing:
        """When a chat last wrote to the session."""
        key = contact_key(lane.tenant_id, lane.session_id, digest)
        contact = (await self._bucket.get(key, ContactRecord)).value
        return Standing(None if contact is None else contact.last_at)

    async def may_have_gone(self, lane: Lane) -> frozenset[str]:
        """Ids of the messages that a dispatcher before us was granted last."""
        state = (await self._of(lane)).state.value
        return (
            frozenset() if state is None else frozenset({state.message_id, state.cold_message_id})
        )

    async def ask(self, lane: Lane, sending: SendClass, message_id: str) -> Hold | None:
        """None: it may go, and that is written down. Raises `lease_lost` when another dispatcher
        has written, and what the bus raises: then nothing may go."""
        known = await self._of(lane)
        rules, now = self.rules(lane), time.time()
        state = known.state.value or PacingState(lane.session_id)
        decision = decide(
            rules,
            state,
            sending,
            message_id,
            now=now,
            local=local_time(rules, now),
            linked_at=await self._linked_at(lane, known, now),
            unit_random=random.random(),
        )
        if isinstance(decision, Hold):
            return decision
        if decision.charged:
            await self._keep(lane, known, decision)
        return None

    def forget(self, lane: Lane) -> None:
        """The lane is empty."""
        self._known.pop(lane.session_id, None)

    async def _keep(self, lane: Lane, known: _Known, go: Go) -> None:
        key = pacing_state_key(lane.tenant_id, lane.session_id)
        try:
            revision = await self._bucket.update(
                key, go.state, known.state.revision, ttl_s=_STATE_TTL_S
            )
        except Conflict:
            self.forget(lane)
            raise BlazzError(
                ErrorCode.LEASE_LOST, "another dispatcher has sent for this session"
            ) from None
        except BlazzError:
            # It may have been written: read it again.
            self.forget(lane)
            raise
        known.state = Entry(key, go.state, revision)

    async def _of(self, lane: Lane) -> _Known:
        known = self._known.get(lane.session_id)
        if known is None:
            state = await self._bucket.get(
                pacing_state_key(lane.tenant_id, lane.session_id), PacingState
            )
            known = self._known[lane.session_id] = _Known(state, None)
        return known

    async def _linked_at(self, lane: Lane, known: _Known, now: float) -> float:
        if known.linked_at is None:
            linked = (
                await self._bucket.get(linked_key(lane.tenant_id, lane.session_id), LinkedRecord)
            ).value
            record = self._fleet.session(lane.tenant_id, lane.session_id)
            created_at = record.created_at if record is not None else now
            known.linked_at = linked.since if linked is not None else created_at
        return known.linked_at
