"""One browser a session: the simplest host, and the smallest blast radius.

Owns one Playwright driver for the node and every browser it launched. Never knows what a page
is for. A browser dies with its driver's pipe, and the driver with this process, so that even
`kill -9` of the node leaves no browser; what could still be left is reaped at the next start.
"""

import asyncio
import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit, urlunsplit

import structlog
from playwright.async_api import (
    BrowserContext,
    Page,
    Playwright,
    ProxySettings,
    async_playwright,
)
from playwright.async_api import Error as PlaywrightError

from schemas import log_keys
from schemas.errors import BlazzError, ErrorCode
from swarm_node.engines.chromium.executable import (
    browser_build,
    find_executable,
    why_not_sandboxed,
    why_this_not_sandboxed,
)
from swarm_node.engines.chromium.flags import browser_args
from swarm_node.engines.chromium.hosts import processes
from swarm_node.engines.chromium.hosts.session_groups import SessionGroup, SessionGroups
from swarm_node.engines.chromium.settings import ChromiumSettings

log = structlog.get_logger()

_DRIVER_GONE = ("Connection closed", "Target page, context or browser has been closed")
_NO_DRIVER = "Playwright's driver does not start (on a bare Debian it lacks libatomic1)"
_DRIVER_STOP_S = 10.0
_ARTIFACTS = "blazz-artifacts"
_TEMP_DIR_CHARS_MAX = 60
_SHORT_TEMP_DIR = "/tmp"  # noqa: S108 - Chromium makes a directory of a random name in it


class IsolatedProfile:
    """A browser with one profile."""

    def __init__(
        self,
        context: BrowserContext,
        profile_dir: Path,
        artifacts: Path,
        close_timeout_s: float,
        group: SessionGroup | None,
    ) -> None:
        self._context = context
        self._profile_dir = profile_dir
        self._artifacts = artifacts
        self._close_timeout_s = close_timeout_s
        self._group = group
        self._pid = processes.main_pid(profile_dir)
        self._page: Page | None = context.pages[0] if context.pages else None
        self._fresh = self._page is not None
        self._gone = asyncio.Event()
        context.on("close", lambda _: self._gone.set())

    @property
    def pids(self) -> list[int]:
        """The browser's processes, the main one first."""
        found = processes.browser_pids(self._profile_dir)
        return sorted(found, key=lambda pid: (pid != self._pid, pid))

    @property
    def gone(self) -> bool:
        """Whether the browser has ended."""
        return self._gone.is_set()

    def oom_killed(self) -> bool:
        """Whether the kernel killed one of its processes for want of memory since last asked."""
        return self._group is not None and self._group.oom_killed()

    async def new_page(self) -> Page:
        """A fresh page; the one the browser opened with is used first."""
        if self._fresh and self._page is not None:
            self._fresh = False
            return self._page
        old = self._page
        try:
            async with asyncio.timeout(self._close_timeout_s):
                # The new one first: a browser without a page would end.
                self._page = await self._context.new_page()
                if old is not None:
                    with contextlib.suppress(PlaywrightError):
                        await old.close()
        except (PlaywrightError, TimeoutError) as error:
            raise BlazzError(ErrorCode.BROWSER_CRASHED, "the browser opens no page") from error
        return self._page

    async def wait_closed(self) -> None:
        """Return once the browser has gone."""
        await self._gone.wait()

    async def close(self) -> None:
        """Close the browser, so that it writes its profile out; kill it and raise `timeout` if it
        does not."""
        try:
            async with asyncio.timeout(self._close_timeout_s):
                await self._context.close()
        except TimeoutError:
            log.warning("browser.close_timed_out", **{log_keys.DURATION: self._close_timeout_s})
            raise BlazzError(ErrorCode.TIMEOUT, "the browser did not close") from None
        except PlaywrightError:
            # It had gone before; what it left is cleared below.
            pass
        finally:
            await self.kill()

    async def kill(self) -> None:
        """SIGKILL whatever is left of the browser, and clear its locks and temporary files."""
        self._gone.set()
        processes.kill_browser(self._pid, self._profile_dir)
        processes.clear_locks(self._profile_dir)
        shutil.rmtree(self._artifacts, ignore_errors=True)
        # Once: later a cgroup of this name is another browser's.
        group, self._group = self._group, None
        if group is not None:
            group.kill()
            await group.remove()


class IsolatedHost:
    """Launches one persistent browser a profile. Used as `async with`."""

    def __init__(self, settings: ChromiumSettings, groups: SessionGroups | None = None) -> None:
        self._settings = settings
        self._groups = groups
        self._playwright: Playwright | None = None
        self._starting = asyncio.Lock()
        self._open: list[IsolatedProfile] = []
        self._executable: Path | None = None
        self._why_not_sandboxed = why_not_sandboxed()

    async def __aenter__(self) -> Self:
        if self._why_not_sandboxed is not None:
            with contextlib.suppress(BlazzError):  # a missing browser is told where it is needed
                self._why_not_sandboxed = await why_this_not_sandboxed(self.executable)
        if self._why_not_sandboxed is not None:
            log.warning("browser.sandbox_off", **{log_keys.REASON: self._why_not_sandboxed})
        return self

    async def __aexit__(self, *_: object) -> None:
        # One that does not close is killed all the same, and the others still close.
        await asyncio.gather(*(profile.close() for profile in self._open), return_exceptions=True)
        self._open.clear()
        await self._stop_driver()

    @property
    def executable(self) -> Path:
        """The browser's binary. Raises `browser_missing`."""
        if self._executable is None:
            bundled = Path(self._playwright.chromium.executable_path) if self._playwright else None
            self._executable = find_executable(self._settings, bundled=bundled)
        return self._executable

    async def build(self) -> str:
        """The browser's version, such as `156.0.8078.79`. Raises `browser_missing`."""
        await self._driver()  # it knows where Playwright's own browser would be
        return await browser_build(self.executable)

    @property
    def sandboxed(self) -> bool:
        """Whether Chromium's own sandbox is on."""
        return self._why_not_sandboxed is None

    async def open_profile(self, profile_dir: Path, *, proxy: str | None = None) -> IsolatedProfile:
        """Launch a browser on this profile."""
        profile_dir = _prepare(profile_dir)
        if processes.main_pid(profile_dir) is not None:
            raise BlazzError(ErrorCode.DATA_DIR_LOCKED, "a live browser uses this profile")
        processes.kill_browser(None, profile_dir)
        processes.clear_locks(profile_dir)
        group = None if self._groups is None else await self._groups.make(profile_dir.name)
        try:
            opened = await self._launch(profile_dir, proxy, group)
        except (BlazzError, asyncio.CancelledError):
            processes.kill_browser(None, profile_dir)
            processes.clear_locks(profile_dir)
            if group is not None:
                group.kill()
                await group.remove()
            raise
        self._open = [profile for profile in self._open if not profile.gone]
        self._open.append(opened)
        return opened

    async def _launch(
        self, profile_dir: Path, proxy: str | None, group: SessionGroup | None
    ) -> IsolatedProfile:
        try:
            return await self._launch_once(profile_dir, proxy, group)
        except PlaywrightError as error:
            if not any(text in str(error) for text in _DRIVER_GONE):
                raise _start_failed(error) from error
        # The driver itself may have died; a new one is worth one try.
        await self._stop_driver()
        try:
            return await self._launch_once(profile_dir, proxy, group)
        except PlaywrightError as error:
            raise _start_failed(error) from error

    async def _launch_once(
        self, profile_dir: Path, proxy: str | None, group: SessionGroup | None
    ) -> IsolatedProfile:
        settings = self._settings
        server = _proxy(proxy) if proxy else None
        # In the profile, so that a killed node leaves nothing outside its data directory.
        artifacts = profile_dir / _ARTIFACTS
        artifacts.mkdir(exist_ok=True, mode=0o700)
        try:
            async with asyncio.timeout(settings.launch_timeout_s):
                playwright = await self._driver()
                program, before = self.executable, list[str]()
                if group is not None:
                    program, before = group.launcher(program)
                context = await playwright.chromium.launch_persistent_context(
                    profile_dir,
                    executable_path=program,
                    # Every argument is in our own table.
                    ignore_default_args=True,
                    args=[
                        *before,
                        *browser_args(settings, sandboxed=self.sandboxed),
                        *([f"--proxy-server={server['server']}"] if server else []),
                        f"--user-data-dir={profile_dir}",
                        "about:blank",
                    ],
                    headless=False,
                    chromium_sandbox=self.sandboxed,
                    viewport={
                        "width": settings.viewport_width,
                        "height": settings.viewport_height,
                    },
                    proxy=server,
                    accept_downloads=False,
                    artifacts_dir=artifacts,
                    env={**os.environ, "TMPDIR": _temp_dir()},
                    timeout=settings.launch_timeout_s * 1000,
                    # The node stops its browsers itself, in order.
                    handle_sigint=False,
                    handle_sigterm=False,
                    handle_sighup=False,
                )
        except BaseException as error:
            shutil.rmtree(artifacts, ignore_errors=True)
            if isinstance(error, TimeoutError):
                raise BlazzError(
                    ErrorCode.BROWSER_START_FAILED,
                    f"no answer within {settings.launch_timeout_s:g} s",
                ) from error
            raise
        return IsolatedProfile(context, profile_dir, artifacts, settings.close_timeout_s, group)

    async def _driver(self) -> Playwright:
        async with self._starting:
            if self._playwright is None:
                try:
                    self._playwright = await async_playwright().start()
                except Exception as error:  # nothing narrower: Playwright raises just that
                    raise BlazzError(ErrorCode.BROWSER_START_FAILED, _NO_DRIVER) from error
            return self._playwright

    async def _stop_driver(self) -> None:
        playwright, self._playwright = self._playwright, None
        if playwright is None:
            return
        try:
            async with asyncio.timeout(_DRIVER_STOP_S):
                await playwright.stop()
        except (PlaywrightError, TimeoutError):
            log.warning("browser.driver_stop_failed")


def _temp_dir() -> str:
    """Where the browser puts its socket: a Unix socket's path ends at 108 bytes, and a browser
    under a longer one does not start."""
    usual = tempfile.gettempdir()
    return usual if len(usual) <= _TEMP_DIR_CHARS_MAX else _SHORT_TEMP_DIR


def _prepare(profile_dir: Path) -> Path:
    # Chromium's processes are looked for by this very text, so it must not depend on the cwd.
    profile_dir = profile_dir.absolute()
    profile_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    return profile_dir


def _start_failed(error: PlaywrightError) -> BlazzError:
    # The first line says what; the rest is the browser's whole command line and log.
    reason = str(error).splitlines()[0][:200] if str(error) else "no reason given"
    return BlazzError(ErrorCode.BROWSER_START_FAILED, reason)


def _proxy(url: str) -> ProxySettings:
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    server = urlunsplit((parts.scheme, f"{parts.hostname}{port}", "", "", ""))
    proxy = ProxySettings(server=server)
    if parts.username:
        proxy["username"] = parts.username
    if parts.password:
        proxy["password"] = parts.password
    return proxy
