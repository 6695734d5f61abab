"""A Chromium with wa-js at the sandbox's origin, driven the way an engine does it.

Owns the browser's lifetime and the way events reach a test. Never injects anything into the page
besides wa-js itself and a listener.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import Page, async_playwright

from sandbox.server import ORIGIN, Sandbox
from sandbox.settings import find_wa_js
from tests.waiting import eventually

CHROMIUM = "/usr/bin/chromium"
IN_USE = (
    "WPP.isFullReady && WPP.conn.isAuthenticated() && WPP.conn.isMainLoaded() "
    "&& WPP.conn.getStreamData().mode === 'MAIN'"
)

# Events reach the test as plain JSON, kept in the page.
_WATCH = """
window.events = [];
(() => {
  const plain = (value) => JSON.parse(JSON.stringify(value ?? null, (key, inner) =>
    inner && inner._serialized ? inner._serialized : key === "msg" ? undefined : inner));
  // quotedMsgId is a getter that throws on a message which is no reply.
  const message = (it) => ({
    id: String(it.id), body: it.body, caption: it.caption, type: it.type,
    quoted: it.quotedStanzaID ? String(it.quotedMsgId) : "", author: String(it.author ?? ""),
  });
  const watch = () => {
    if (!window.WPP?.onAny) return setTimeout(watch, 5);
    WPP.onAny((name, first) => {
      if (!/^(conn|chat)\\./.test(name) || name === "conn.backend_event") return;
      events.push({ name, data: name === "chat.new_message" ? message(first) : plain(first) });
    });
  };
  watch();
})();
"""


class Driver:
    """A page with wa-js in it."""

    def __init__(self, page: Page) -> None:
        self.page = page

    async def run(self, script: str, argument: object = None) -> Any:
        """The value of a script, or of the function it is, called with the argument."""
        return await self.page.evaluate(script, argument)

    async def until(self, expression: str) -> Any:
        """The expression's first true value; what it throws counts as not yet."""
        script = f"async () => {{ try {{ return await ({expression}) }} catch {{ return null }} }}"
        return await eventually(lambda: self.run(script), timeout_s=15, what=expression)

    async def event(self, name: str, **data: object) -> dict[str, Any]:
        """The first event of this name whose data has these fields."""

        async def attempt() -> dict[str, Any] | None:
            for event in await self.run("events"):
                found = event["data"] if isinstance(event["data"], dict) else {}
                if event["name"] == name and data.items() <= found.items():
                    return {"name": name, **found}
            return None

        try:
            return await eventually(attempt, timeout_s=15, what=f"{name} {data}")
        except AssertionError as error:
            error.add_note(f"events: {await self.run('events')}")
            raise

    async def ack(self, key: str, ack: int) -> None:
        """Wait until a message has this ack."""
        await self.until(f"WPP.chat.getMessageById({key!r}).then((m) => m.ack === {ack})")


@asynccontextmanager
async def driven_page(sandbox: Sandbox, profile: Path) -> AsyncIterator[Driver]:
    """A browser on this profile, at WhatsApp's origin, which is the sandbox."""
    args = sandbox.chromium_args() + (["--no-sandbox"] if os.geteuid() == 0 else [])
    async with async_playwright() as playwright:
        context = await playwright.chromium.launch_persistent_context(
            profile, executable_path=CHROMIUM, args=args, headless=True
        )
        try:
            await context.add_init_script(
                "window.WPPConfig = {disableGoogleAnalytics: true};" + find_wa_js().read_text()
            )
            await context.add_init_script(_WATCH)
            await context.pages[0].goto(ORIGIN)
            yield Driver(context.pages[0])
        finally:
            await context.close()
