"""One link token's session: read its view, follow it, start it, get a pairing code.

Owns what a link token may do: nothing beyond its one session. Never a route or markup.
"""

import asyncio
from collections.abc import Callable

import msgspec
import structlog

from control_plane.http.event_stream import Emit, closing_feed, frame
from control_plane.link.views import View, view, view_of
from control_plane.ports import FeedItem, Services
from schemas import log_keys
from schemas.commands import PairingCodeAnswer, QrAnswer
from schemas.errors import BlazzError, ErrorCode
from schemas.events import SessionQr, SessionQrIdle
from schemas.records import LinkTokenRecord
from schemas.states import DesiredState, SessionState

log = structlog.get_logger()


class SessionLink:
    """A link page's session while one page is open on it."""

    def __init__(
        self, services: Services, record: LinkTokenRecord, clock: Callable[[], float]
    ) -> None:
        self._services = services
        self._tenant = record.tenant_id
        self._session = record.session_id
        self._clock = clock
        self._qr: QrAnswer | None = None
        self._qr_until = 0.0
        self._idle = False

    async def read(self) -> View:
        """The view right now; trouble on the way is a view as well."""
        try:
            session = await self._services.sessions.get(self._tenant, self._session)
        except BlazzError as error:
            gone = error.code is ErrorCode.SESSION_NOT_FOUND
            return view("gone" if gone else "unavailable")
        if session.state is not SessionState.PAIRING:
            self._qr = None
            self._idle = False
            return view_of(session, None, None)
        qr, trouble = await self._read_qr()
        return view_of(session, qr, trouble)

    async def _read_qr(self) -> tuple[QrAnswer | None, ErrorCode | None]:
        left_s = self._qr_until - self._clock()
        if self._qr is not None and left_s > 0:
            # Known and alive: no command to the node for every page and tick.
            return msgspec.structs.replace(self._qr, expires_in_s=left_s), None
        self._qr = None
        try:
            qr = await self._services.sessions.qr(self._tenant, self._session, renew=False)
        except BlazzError as error:
            waiting = error.code is ErrorCode.QR_NOT_AVAILABLE
            return None, ErrorCode.QR_EXPIRED if waiting and self._idle else error.code
        self._qr, self._qr_until = qr, self._clock() + qr.expires_in_s
        return qr, None

    async def follow(self, emit: Emit, tick_s: float) -> None:
        """Emit the view whenever it changes, until cancelled: at events, and every `tick_s`."""
        changed = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._wake(changed))
            known: tuple[str | None, ...] | None = None
            while True:
                changed.clear()
                now = await self.read()
                if now.identity != known:
                    known = now.identity
                    await emit(frame("view", msgspec.json.encode(now)))
                pause_s = min(tick_s, now.expires_in_s or tick_s)
                try:
                    async with asyncio.timeout(pause_s):
                        await changed.wait()
                except TimeoutError:
                    continue

    async def _wake(self, changed: asyncio.Event) -> None:
        """Set `changed` at each of the session's events."""
        try:
            feed = self._services.feed.follow(self._tenant, session=self._session)
            async with closing_feed(feed) as items:
                async for item in items:
                    self._note(item)
                    changed.set()
        except BlazzError as error:
            # The tick goes on without it.
            log.warning("link.feed.ended", **{log_keys.CODE: error.code})

    def _note(self, item: object) -> None:
        data = item.event.data if isinstance(item, FeedItem) else None
        if isinstance(data, SessionQr):
            self._qr, self._idle = None, False
        elif isinstance(data, SessionQrIdle):
            self._qr, self._idle = None, True

    async def start(self, *, pressed: bool) -> None:
        """Bring about that a code is shown. Only a person's press (not a page's opening) restarts
        what has failed. What runs already stays as it is."""
        sessions = self._services.sessions
        session = await sessions.get(self._tenant, self._session)
        if session.state in (SessionState.FAILED, SessionState.FENCED):
            if pressed:
                await sessions.restart(self._tenant, self._session)
        elif (
            session.desired is not DesiredState.RUNNING or session.state is SessionState.LOGGED_OUT
        ):
            await sessions.start(self._tenant, self._session)
        elif session.state is SessionState.PAIRING:
            await self._renew()

    async def _renew(self) -> None:
        try:
            await self._services.sessions.qr(self._tenant, self._session, renew=True)
        except BlazzError as error:
            # The renewed code isn't drawn yet; the page is told when it is.
            if error.code not in (ErrorCode.QR_NOT_AVAILABLE, ErrorCode.QR_EXPIRED):
                raise

    async def pairing_code(self, phone: str) -> PairingCodeAnswer:
        """A code for this phone number (digits)."""
        return await self._services.sessions.pairing_code(self._tenant, self._session, phone)

    async def qr(self) -> QrAnswer:
        """The code on show, for browsers without scripts; never asks for new ones."""
        return await self._services.sessions.qr(self._tenant, self._session, renew=False)
