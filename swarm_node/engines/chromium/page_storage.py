"""The page's localStorage: put in place before the first load.

Owns the blank page of WhatsApp's origin on which that happens. It is answered by us, so nothing
of the real page runs and nothing goes over the network. Reading it while the page runs is the
bridge's part.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Page, Route

from schemas.errors import BlazzError, ErrorCode
from swarm_node.engines.chromium.settings import ORIGIN

BLANK_URL: Final = f"{ORIGIN}/blazz-blank"
_BLANK: Final = "<!doctype html><title>Blazz</title>"

_REPLACE: Final = """(items) => {
  localStorage.clear();
  for (const [key, value] of items) localStorage.setItem(key, value);
}"""


async def replace_storage(page: Page, items: Mapping[str, str], *, timeout_s: float) -> None:
    """Make the origin's localStorage hold exactly `items`; the page ends on the blank page.

    For a page that has no init script yet. Raises `page_timeout`, `browser_crashed`,
    `page_error` when the page does not take the items.
    """
    try:
        async with asyncio.timeout(timeout_s), blank_page(page, timeout_s=timeout_s):
            await page.evaluate(_REPLACE, list(items.items()))
    except TimeoutError as error:
        raise BlazzError(ErrorCode.PAGE_TIMEOUT, "the blank page does not answer") from error
    except PlaywrightError as error:
        if page.is_closed():
            raise BlazzError(ErrorCode.BROWSER_CRASHED, "the browser has gone") from error
        # Never the page's own text: it may quote a value.
        raise BlazzError(ErrorCode.PAGE_ERROR, "the page's storage can't be set") from error


@asynccontextmanager
async def blank_page(page: Page, *, timeout_s: float) -> AsyncIterator[None]:
    """Have an empty page of WhatsApp's origin open, for the block. Raises Playwright's errors."""

    async def answer(route: Route) -> None:
        await route.fulfill(content_type="text/html", body=_BLANK)

    devtools = await page.context.new_cdp_session(page)
    try:
        # A kept service worker would answer in our place, with the real page.
        await devtools.send("Network.enable")
        await devtools.send("Network.setBypassServiceWorker", {"bypass": True})
        await page.route(BLANK_URL, answer)
        try:
            await page.goto(BLANK_URL, wait_until="commit", timeout=timeout_s * 1000)
            yield
        finally:
            if not page.is_closed():
                await page.unroute(BLANK_URL, answer)
    finally:
        if not page.is_closed():
            await devtools.detach()
