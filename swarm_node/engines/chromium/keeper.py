"""Keeping one good page alive in an open profile.

Owns which page is current and when it is replaced: after a crash of its process, a failed
self-test, a load that never gets ready, or as planned against growth. Gives up (returns
`EngineFailed`) when that happens too often. A page is always replaced by a new one in the same
profile: a crashed page can't be reloaded, and a hung one doesn't answer. Never logs out.
"""

import asyncio
import contextlib
import time
from collections import deque
from typing import Final

import structlog
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Page

from schemas import log_keys
from schemas.errors import BlazzError, ErrorCode
from swarm_node.engines.chromium.bridge.page_bridge import PageBridge, PageEvent, Settled
from swarm_node.engines.chromium.bridge.script import init_script
from swarm_node.engines.chromium.bundle import Bundle
from swarm_node.engines.chromium.hosts.contract import OpenProfile
from swarm_node.engines.chromium.page_storage import replace_storage
from swarm_node.engines.chromium.settings import ORIGIN, ChromiumSettings
from swarm_node.engines.chromium.watch import Account, Emit, PageUnfit, PageWatch
from swarm_node.engines.contract import ConnectionChanged, EngineFailed, EngineSpec

log = structlog.get_logger()

DRAIN_S: Final = 2.0
_CRASHES: Final = (ErrorCode.BROWSER_CRASHED, ErrorCode.BROWSER_OUT_OF_MEMORY)
_BACKOFF_FIRST_S: Final = 0.25
_BACKOFF_MAX_S: Final = 10.0


class Troubles:
    """How often something went wrong lately."""

    def __init__(self, settings: ChromiumSettings) -> None:
        self._crashes_max = settings.crashes_max
        self._otherwise = settings.reloads_max
        self._window_s = settings.crash_window_s
        self._seen: deque[tuple[float, ErrorCode]] = deque()

    def too_many(self, code: ErrorCode, now: float) -> bool:
        """Note one more; whether that is more than allowed. `now` is a monotonic clock's."""
        while self._seen and now - self._seen[0][0] > self._window_s:
            self._seen.popleft()
        self._seen.append((now, code))
        crashes = sum(1 for _, seen in self._seen if seen in _CRASHES)
        if code in _CRASHES:
            return crashes > self._crashes_max
        return len(self._seen) - crashes > self._otherwise

    def backoff_s(self) -> float:
        """How long to wait before the next page."""
        return float(min(_BACKOFF_MAX_S, _BACKOFF_FIRST_S * 2 ** max(0, len(self._seen) - 1)))


class PageKeeper:
    """Keeps one page; `bridge` is the one to call, None while there is none."""

    def __init__(
        self,
        spec: EngineSpec,
        settings: ChromiumSettings,
        bundle: Bundle,
        profile: OpenProfile,
        emit: Emit,
        settled: Settled,
    ) -> None:
        self._spec = spec
        self._settings = settings
        self._bundle = bundle
        self._profile = profile
        self._emit = emit
        self._settled = settled
        self._account = Account(spec.profile_dir)
        self._page_storage = spec.page_storage
        self._watch: PageWatch | None = None
        self._calls = 0
        self._version: str | None = None
        self.bridge: PageBridge | None = None

    async def run(self) -> EngineFailed:
        """Keep a page until that is hopeless; say why."""
        troubles = Troubles(self._settings)
        while True:
            try:
                await self._one_page()
            except PageUnfit as unfit:
                if unfit.planned:
                    log.info("page.renewed", **{log_keys.REASON: unfit.detail})
                    await self._emit(ConnectionChanged("the page is loaded again, as planned"))
                    continue
                code, detail = self._blamed(unfit.code, unfit.detail)
                log.warning("page.lost", **{log_keys.CODE: code, log_keys.DETAIL: detail})
                if troubles.too_many(code, time.monotonic()):
                    return EngineFailed(code, detail)
                await self._emit(ConnectionChanged("the page is loaded again"))
                await asyncio.sleep(troubles.backoff_s())
            except BlazzError as error:
                return EngineFailed(*self._blamed(error.code, error.detail))

    def _blamed(self, code: ErrorCode, detail: str) -> tuple[ErrorCode, str]:
        """A crash, and the kernel's part in it."""
        if code is ErrorCode.BROWSER_CRASHED and self._profile.oom_killed():
            return ErrorCode.BROWSER_OUT_OF_MEMORY, "its cgroup was full"
        return code, detail

    def subscribed(self, chat_id: str) -> None:
        """A chat's presence was asked for: later pages ask for it, too."""
        self._account.subscribe(chat_id)

    async def drain(self) -> None:
        """Take over what the page still holds. Bounded; never raises."""
        bridge = self.bridge
        if bridge is None:
            return
        try:
            async with asyncio.timeout(DRAIN_S):
                await bridge.drain(DRAIN_S / 2)
        except TimeoutError:
            log.warning("page.drain_timed_out")

    @property
    def version(self) -> str | None:
        """The version of WhatsApp Web that got ready last."""
        return (self._watch.version if self._watch is not None else None) or self._version

    @property
    def ready(self) -> bool:
        """Whether there is a page that passed its self-test."""
        return self._watch is not None and self._watch.ready.is_set()

    def usable(self) -> PageBridge:
        """The bridge of a page that is ready. Raises `page_not_ready`."""
        if self.bridge is None or not self.ready:
            raise BlazzError(ErrorCode.PAGE_NOT_READY, "the page is loading")
        return self.bridge

    async def soon_usable(self, timeout_s: float) -> PageBridge:
        """`usable`, after waiting for the page that is loading. Raises `page_not_ready`."""
        watch = self._watch
        if watch is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await watch.ready.wait()
        return self.usable()

    def calling(self) -> "_Calling":
        """A block in which the page is not replaced as planned."""
        return _Calling(self)

    def enter_call(self) -> None:
        """A call that must not be cut off began."""
        self._calls += 1

    def leave_call(self) -> None:
        """It ended."""
        self._calls -= 1

    def new_qr_run(self) -> None:
        """New codes were asked for."""
        if self._watch is not None:
            self._watch.new_qr_run()

    async def _one_page(self) -> None:
        page = await self._profile.new_page()
        await self._seed(page)
        watch = PageWatch(self._spec, self._settings, self._account, self._emit)
        page.on("crash", lambda _: watch.page_crashed())
        page.on("close", lambda _: watch.touch())

        async def on_event(event: PageEvent) -> None:
            await watch.on_event(event)

        bridge = PageBridge(page, on_event, self._settled)
        await bridge.install(init_script(self._bundle), self._settings.navigation_timeout_s)
        self._watch, self.bridge = watch, bridge
        try:
            await self._load(page)
            await watch.run(bridge, lambda: self._calls == 0)
        except PageUnfit:
            if not page.is_closed() and not watch.crashed:
                await self.drain()
            raise
        finally:
            self._version = self.version
            # On the way to the next page nobody may call the old one; a stopping engine drains it.
            if not _cancelled():
                self._watch = self.bridge = None

    async def _seed(self, page: Page) -> None:
        """Put the snapshot's localStorage in place, once: later pages have newer values."""
        if self._page_storage is None:
            return
        try:
            await replace_storage(
                page, self._page_storage, timeout_s=self._settings.navigation_timeout_s
            )
        except BlazzError as error:
            raise PageUnfit(error.code, error.detail) from error
        self._page_storage = None

    async def _load(self, page: Page) -> None:
        timeout_s = self._settings.navigation_timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                await page.goto(ORIGIN + "/", wait_until="commit", timeout=timeout_s * 1000)
        except TimeoutError as error:
            raise PageUnfit(ErrorCode.PAGE_NOT_READY, "WhatsApp Web does not answer") from error
        except PlaywrightError as error:
            if page.is_closed():
                raise PageUnfit(ErrorCode.BROWSER_CRASHED, "the browser has gone") from error
            # `net::ERR_…` names the network's trouble and nothing private.
            reason = next((word for word in str(error).split() if word.startswith("net::")), "")
            detail = f"WhatsApp Web can't be loaded {reason}".strip()
            raise PageUnfit(ErrorCode.PAGE_NOT_READY, detail) from error


def _cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class _Calling:
    """Counts a call while its block runs."""

    def __init__(self, keeper: PageKeeper) -> None:
        self._keeper = keeper

    def __enter__(self) -> None:
        self._keeper.enter_call()

    def __exit__(self, *_: object) -> None:
        self._keeper.leave_call()
