"""A trial: does the browser of this host start, and take the wa-js bundle?

Owns one scratch browser, without any network, in a directory of its own that is thrown away. It
runs the bundle on a blank page of WhatsApp's origin, as a session would, and nothing else. Never
touches a session's profile.
"""

import asyncio
import tempfile
from pathlib import Path
from typing import Final

import msgspec
from playwright.async_api import Error as PlaywrightError

from schemas.errors import BlazzError, ErrorCode
from swarm_node.engines.chromium.bundle import Bundle, find_bundle
from swarm_node.engines.chromium.drill import without_network
from swarm_node.engines.chromium.hosts import open_host
from swarm_node.engines.chromium.hosts.contract import OpenProfile
from swarm_node.engines.chromium.page_storage import blank_page
from swarm_node.engines.chromium.settings import ChromiumSettings

_WA_JS_VERSION: Final = "() => globalThis.WPP?.version ?? null"


class TrialReport(msgspec.Struct, frozen=True):
    """What started. `sandboxed`: with Chromium's own sandbox."""

    build: str
    sandboxed: bool
    wa_js: str


async def try_browser(settings: ChromiumSettings) -> TrialReport:
    """Start, load, look, end. Bounded by the settings' own limits.

    Raises `browser_missing`, `wa_js_missing`, `browser_start_failed`, `browser_crashed`,
    `page_timeout`, `page_error`.
    """
    bundle = await asyncio.to_thread(find_bundle, settings)
    with tempfile.TemporaryDirectory(prefix="blazz-trial-", ignore_cleanup_errors=True) as scratch:
        async with open_host(without_network(settings)) as host:
            build = await host.build()
            opened = await host.open_profile(Path(scratch) / "profile")
            try:
                version = await _load(opened, bundle, settings.navigation_timeout_s)
            finally:
                await opened.kill()
            return TrialReport(build=build, sandboxed=host.sandboxed, wa_js=version)


async def _load(opened: OpenProfile, bundle: Bundle, timeout_s: float) -> str:
    page = await opened.new_page()
    try:
        async with asyncio.timeout(timeout_s), blank_page(page, timeout_s=timeout_s):
            await page.evaluate(bundle.text)
            found = await page.evaluate(_WA_JS_VERSION)
    except TimeoutError as error:
        raise BlazzError(ErrorCode.PAGE_TIMEOUT, "a blank page does not load") from error
    except PlaywrightError as error:
        if page.is_closed():
            raise BlazzError(ErrorCode.BROWSER_CRASHED, "the browser has gone") from error
        raise BlazzError(ErrorCode.PAGE_ERROR, "a blank page does not take wa-js") from error
    if found != bundle.version:
        raise BlazzError(ErrorCode.PAGE_ERROR, f"the page runs wa-js {found}")
    return str(found)
