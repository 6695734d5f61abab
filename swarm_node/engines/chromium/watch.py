"""Watching one loaded page: what it says and what it is, as engine events.

Owns the reading of the page's state and of the events about its life: codes, login, stream,
logout. Decides when the page must be replaced, and says so by raising `PageUnfit`; replacing it is
the keeper's part. Never changes anything in the account.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec
import structlog

from schemas import log_keys
from schemas.errors import BlazzError, ErrorCode
from schemas.messages import ChatMessage
from swarm_node.engines.chromium import link_mark
from swarm_node.engines.chromium.bridge.page_bridge import PageBridge, PageEvent
from swarm_node.engines.chromium.bridge.translate import translate
from swarm_node.engines.chromium.qr import QrRun
from swarm_node.engines.chromium.settings import ChromiumSettings
from swarm_node.engines.chromium.snapshot import PageState
from swarm_node.engines.contract import (
    ConnectionChanged,
    EngineEvent,
    EngineSpec,
    Linked,
    LoggedOut,
    MessageArrived,
    PasskeyAsked,
    Replaced,
    SyncProgress,
)

log = structlog.get_logger()

Emit = Callable[[EngineEvent], Awaitable[bool]]

_RENEW_AFTER_S: Final = 600.0
"""A page younger than that is not renewed for its size or an update: the next could be alike."""
_TOLD_MAX: Final = 5000
_SUBSCRIBED_MAX: Final = 500
_SILENT_MAX: Final = 3
"""State calls that may fail in a row before the page counts as hung."""


class PageUnfit(Exception):
    """The page must be replaced. `planned`: nothing is wrong with it."""

    def __init__(self, code: ErrorCode, detail: str, *, planned: bool = False) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.planned = planned


class Account:
    """What is known of the login across the pages of one engine."""

    def __init__(self, profile_dir: Path) -> None:
        self.profile_dir = profile_dir
        self.linked = False
        self.expected = link_mark.is_linked(profile_dir)
        """The profile was linked before: codes then mean that it no longer is."""
        self.logged_out = False
        self.replaced = False
        self.logout_reason = ""
        self.subscribed: OrderedDict[str, None] = OrderedDict()
        """Chats whose presence was asked for, as long as the engine runs; the oldest first."""
        self._told: OrderedDict[tuple[str, str], None] = OrderedDict()

    def subscribe(self, chat_id: str) -> None:
        """Remember a chat whose presence was asked for; the oldest are forgotten first."""
        self.subscribed[chat_id] = None
        self.subscribed.move_to_end(chat_id)
        if len(self.subscribed) > _SUBSCRIBED_MAX:
            self.subscribed.popitem(last=False)

    def first_told(self, message: ChatMessage) -> bool:
        """Whether this message is told for the first time.

        A page that was replaced before it could note an acknowledgement leaves the message to the
        next one, which tells it again.
        """
        key = (message.chat_id, message.message_id)
        if key in self._told:
            return False
        self._told[key] = None
        if len(self._told) > _TOLD_MAX:
            self._told.popitem(last=False)
        return True


class PageWatch:
    """Watches one page from its load to its end."""

    def __init__(
        self, spec: EngineSpec, settings: ChromiumSettings, account: Account, emit: Emit
    ) -> None:
        self._spec = spec
        self._settings = settings
        self._account = account
        self._emit = emit
        self._qr = QrRun(settings)
        self._wake = asyncio.Event()
        self._loaded_at = time.monotonic()
        self._caught_up_at = float("-inf")
        self._update_wanted = False
        self._passkey = False
        self._percent = -1
        self._connection: tuple[str | None, str | None] | None = None
        self._dropped = 0
        self.ready = asyncio.Event()
        """Set once the page has passed its self-test."""
        self.crashed = False
        self.version: str | None = None

    def touch(self) -> None:
        """Look at the page now rather than at the next period."""
        self._wake.set()

    def page_crashed(self) -> None:
        """The browser told that the page's process has gone."""
        self.crashed = True
        self.touch()

    def new_qr_run(self) -> None:
        """New codes were asked for: the next is the first of its run."""
        self._qr.reset()

    async def run(self, bridge: PageBridge, idle: Callable[[], bool]) -> None:
        """Watch until the page must be replaced; `idle` says whether no call is in flight.

        Raises `PageUnfit`.
        """
        silent = 0
        self._loaded_at = time.monotonic()
        while True:
            self._wake.clear()
            self._check_alive(bridge)
            state = PageState()
            try:
                state = await self._state(bridge)
            except BlazzError as error:
                self._check_alive(bridge)
                silent += 1
                await self._follow_silence(silent, error)
            else:
                silent = 0
                await self._follow(state, bridge)
            self._check_fit(state, idle)
            await self._pause(state)

    async def on_event(self, event: PageEvent) -> None:
        """Take one event of the page."""
        life = self._LIFE.get(event.kind)
        if life is not None:
            await life(self, event)
            return
        try:
            translated = translate(event.kind, event.data, self._spec.session_id)
        except (KeyError, TypeError, ValueError):
            log.warning("page.event_malformed", kind=event.kind)
            return
        for one in translated:
            if isinstance(one, MessageArrived) and not self._account.first_told(one.message):
                continue
            await self._emit(one)

    async def _state(self, bridge: PageBridge) -> PageState:
        raw = await bridge.call("state", timeout_s=self._settings.call_timeout_s)
        try:
            return msgspec.convert(raw, PageState, strict=False)
        except msgspec.ValidationError as error:
            raise BlazzError(ErrorCode.PAGE_ERROR, "the page's state is malformed") from error

    def _check_alive(self, bridge: PageBridge) -> None:
        if self.crashed or bridge.page.is_closed():
            raise PageUnfit(ErrorCode.BROWSER_CRASHED, "the page's process has gone")

    def _check_fit(self, state: PageState, idle: Callable[[], bool]) -> None:
        age_s = time.monotonic() - self._loaded_at
        fault = state.self_test.fault
        if fault is not None:
            raise PageUnfit(ErrorCode.PAGE_SELF_TEST_FAILED, fault)
        if not self.ready.is_set():
            if state.full_ready:
                self.ready.set()
                self.version = state.version
                log.info(
                    "page.ready", version=state.version, **{log_keys.DURATION: round(age_s, 2)}
                )
            elif age_s > self._settings.page_ready_timeout_s:
                raise PageUnfit(ErrorCode.PAGE_NOT_READY, f"not ready within {age_s:.0f} s")
            return
        if not idle():
            return
        reason = self._reason_to_renew(state, age_s)
        if reason is not None:
            raise PageUnfit(ErrorCode.PAGE_NOT_READY, reason, planned=True)

    def _reason_to_renew(self, state: PageState, age_s: float) -> str | None:
        if age_s > self._settings.page_age_max_s:
            return "the page has grown old"
        if age_s < _RENEW_AFTER_S:
            return None
        if state.heap > self._settings.page_heap_max_bytes:
            return "the page has grown large"
        return "WhatsApp has a new version" if self._update_wanted else None

    async def _follow_silence(self, silent: int, error: BlazzError) -> None:
        if not self.ready.is_set():
            return
        if silent >= _SILENT_MAX:
            raise PageUnfit(ErrorCode.PAGE_TIMEOUT, "the page has hung") from error
        if silent == 1:
            await self._emit(ConnectionChanged("the page does not answer"))

    async def _follow(self, state: PageState, bridge: PageBridge) -> None:
        if state.news_closed:
            log.info("page.news_closed")
        if state.dropped > self._dropped:
            log.error("page.events_dropped", count=state.dropped - self._dropped)
            self._dropped = state.dropped
        if state.replaced:
            await self._replaced()
        if state.passkey and not self._passkey:
            await self._emit(PasskeyAsked())
        self._passkey = state.passkey
        if state.linked and not self._account.linked:
            await self._linked(state)
        if state.sync is not None and int(state.sync) != self._percent:
            self._percent = int(state.sync)
            await self._emit(SyncProgress(max(0, min(100, self._percent))))
        await self._follow_connection(state)
        if state.main:
            await self._catch_up(bridge)

    async def _follow_connection(self, state: PageState) -> None:
        connection = (state.mode, state.socket)
        if connection == self._connection or not self._account.linked:
            return
        known, self._connection = self._connection is not None, connection
        if known:
            await self._emit(ConnectionChanged(f"stream {state.mode}, socket {state.socket}"))

    async def _linked(self, state: PageState) -> None:
        if state.identity is None or self._account.logged_out:
            return
        self._account.linked = True
        self._account.expected = True
        link_mark.mark_linked(self._account.profile_dir)
        self._qr.reset()
        await self._emit(Linked(state.identity))

    async def _catch_up(self, bridge: PageBridge) -> None:
        now = time.monotonic()
        if now - self._caught_up_at < self._settings.catch_up_period_s:
            return
        self._caught_up_at = now
        try:
            wanted = {"subscribed": list(self._account.subscribed)}
            told = await bridge.call("catchUp", wanted, timeout_s=self._settings.call_timeout_s)
        except BlazzError as error:
            log.warning("page.catch_up_failed", **{log_keys.CODE: error.code})
            return
        if told:
            log.info("page.caught_up", count=told)

    async def _pause(self, state: PageState) -> None:
        settings = self._settings
        period_s = settings.watch_period_s if state.settled else settings.watch_period_busy_s
        try:
            async with asyncio.timeout(period_s):
                await self._wake.wait()
        except TimeoutError:
            return

    # ---- events about the page's life ----------------------------------------------------------

    async def _on_qr(self, event: PageEvent) -> None:
        value = event.data.get("value")
        if not value or self._account.logged_out:
            return
        if self._account.linked or self._account.expected:
            await self._logged_out(
                self._account.logout_reason or "the profile is not linked any more"
            )
            return
        shown = self._qr.shown(str(value))
        if shown is not None:
            await self._emit(shown)

    async def _on_qr_idle(self, _event: PageEvent) -> None:
        expired = self._qr.expired()
        if expired is not None:
            await self._emit(expired)

    async def _on_stream(self, event: PageEvent) -> None:
        if event.data.get("mode") == "CONFLICT":
            await self._replaced()
        self.touch()

    async def _on_logout(self, _event: PageEvent) -> None:
        await self._logged_out(self._account.logout_reason or "unlinked")

    async def _on_logout_reason(self, event: PageEvent) -> None:
        self._account.logout_reason = str(event.data.get("reason") or "")

    async def _on_needs_update(self, _event: PageEvent) -> None:
        self._update_wanted = True

    async def _on_news(self, _event: PageEvent) -> None:
        self.touch()

    async def _replaced(self) -> None:
        if not self._account.replaced:
            self._account.replaced = True
            await self._emit(Replaced())

    async def _logged_out(self, reason: str) -> None:
        if self._account.logged_out:
            return
        self._account.logged_out = True
        self._account.linked = False
        self._account.expected = False
        link_mark.mark_unlinked(self._account.profile_dir)
        await self._emit(LoggedOut(reason))

    _LIFE: Final[dict[str, Callable[["PageWatch", PageEvent], Awaitable[None]]]] = {
        "qr": _on_qr,
        "qr_idle": _on_qr_idle,
        "stream": _on_stream,
        "logout": _on_logout,
        "logout_reason": _on_logout_reason,
        "needs_update": _on_needs_update,
        "full_ready": _on_news,
        "authenticated": _on_news,
        "main_loaded": _on_news,
        "network": _on_news,
        "link_code": _on_news,
        "link_code_expired": _on_qr_idle,
    }
