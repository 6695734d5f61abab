"""Sending as customers see and steer it: pacing settings, opt-outs, and what a lane waits for.

Owns those answers and the writing of settings. Never paces (`desk`) and never sends.
"""

import time
from typing import Final

from control_plane.core import paging
from control_plane.core.contacts import chat_digest
from control_plane.core.pacing import cold_limit, cold_sent_today, minutes_of_quiet_left
from control_plane.outbox import OutboxLanes
from control_plane.pacing.book import PacingBook, local_time
from control_plane.pacing.contacts import Contacts
from control_plane.sessions import FleetSessions
from schemas.api import Page
from schemas.api_sending import OptOutView, OutboxView, PacingView
from schemas.errors import BlazzError, ErrorCode
from schemas.ids import ChatId, SessionId, TenantId
from schemas.keys import linked_key, pacing_settings_key, pacing_state_key
from schemas.pacing import (
    AskLane,
    LaneReport,
    LaneState,
    LinkedRecord,
    OptOutRecord,
    PacingSettings,
    PacingState,
)
from schemas.resources import PACING
from schemas.subjects import lane_reports, shard_of
from schemas.transport.connection import Bus
from schemas.transport.kv import Bucket
from schemas.transport.typed import request

_REPORT_TIMEOUT_S: Final = 2.0


class BucketSending:
    """Implements `ports.Sending`."""

    def __init__(
        self,
        bus: Bus,
        sessions: FleetSessions,
        outbox: OutboxLanes,
        book: PacingBook,
        contacts: Contacts,
    ) -> None:
        self._bus = bus
        self._bucket = Bucket(bus, PACING)
        self._sessions = sessions
        self._outbox = outbox
        self._book = book
        self._contacts = contacts

    async def outbox(self, tenant: TenantId, session: SessionId) -> OutboxView:
        """See `ports.Sending.outbox`."""
        await self._sessions.record(tenant, session)
        depth = await self._outbox.depth(tenant, session)
        oldest = await self._outbox.head(tenant, session) if depth else None
        report = await self._report(tenant, session) if depth else LaneReport(LaneState.EMPTY)
        state = report.state
        if depth and state is LaneState.EMPTY:
            # Its dispatcher hears of it in a moment.
            state = LaneState.QUEUED
        return OutboxView(
            session_id=session,
            depth=depth,
            depth_max=self._outbox.depth_max,
            state=state,
            oldest_age_s=None if oldest is None else max(0.0, time.time() - oldest.entered_at),
            until=report.until,
            reason=report.reason,
            message_id=report.message_id,
            attempts=report.attempts,
        )

    async def _report(self, tenant: TenantId, session: SessionId) -> LaneReport:
        subject = lane_reports(shard_of(session))
        try:
            return await request(
                self._bus,
                subject,
                AskLane(tenant, session),
                LaneReport,
                timeout_s=_REPORT_TIMEOUT_S,
            )
        except BlazzError as error:
            if not error.retryable:
                raise
            return LaneReport(LaneState.UNATTENDED, reason=error.code.value)

    # Pacing --------------------------------------------------------------------------------------

    async def pacing(self, tenant: TenantId, session: SessionId | None) -> PacingView:
        """See `ports.Sending.pacing`."""
        settings, rules = self._book.settings(tenant, session), self._book.rules(tenant, session)
        now = time.time()
        local = local_time(rules, now)
        quiet = minutes_of_quiet_left(rules, local) > 0
        if session is None:
            return PacingView(rules=rules, settings=settings, quiet_now=quiet)
        record = await self._sessions.record(tenant, session)
        linked = (await self._bucket.get(linked_key(tenant, session), LinkedRecord)).value
        linked_at = linked.since if linked is not None else record.created_at
        state = (await self._bucket.get(pacing_state_key(tenant, session), PacingState)).value
        return PacingView(
            rules=rules,
            settings=settings,
            quiet_now=quiet,
            cold_sent_today=cold_sent_today(state or PacingState(session), local),
            cold_limit_today=cold_limit(rules, linked_at, now),
        )

    async def set_pacing(
        self, tenant: TenantId, session: SessionId | None, settings: PacingSettings
    ) -> PacingView:
        """See `ports.Sending.set_pacing`."""
        if session is not None:
            await self._sessions.record(tenant, session)
        key = pacing_settings_key(tenant, session)
        await self._bucket.put(key, settings)
        held = await self._bucket.get_raw(key)
        self._book.fold(key, held.value)
        return await self.pacing(tenant, session)

    # Opt-outs ------------------------------------------------------------------------------------

    async def opt_outs(
        self, tenant: TenantId, *, limit: int, cursor: str | None
    ) -> Page[OptOutView]:
        """Newest first."""
        page, after = paging.take(
            self._book.opt_outs(tenant),
            lambda record: (record.at, chat_digest(record.chat_id)),
            limit=limit,
            cursor=cursor,
        )
        return Page([_view(record) for record in page], after is not None, after)

    async def opt_out(self, tenant: TenantId, chat: ChatId) -> OptOutView:
        """See `ports.Sending.opt_out`."""
        return _view(
            await self._contacts.set_wish(tenant, chat, active=True, at=time.time(), by="api")
        )

    async def opt_in(self, tenant: TenantId, chat: ChatId) -> None:
        """See `ports.Sending.opt_in`."""
        if not self._book.opted_out(tenant, chat):
            raise BlazzError(ErrorCode.NOT_FOUND, "the recipient is not on the opt-out list")
        await self._contacts.set_wish(tenant, chat, active=False, at=time.time(), by="api")


def _view(record: OptOutRecord) -> OptOutView:
    return OptOutView(chat_id=record.chat_id, at=record.at, by=record.by)
