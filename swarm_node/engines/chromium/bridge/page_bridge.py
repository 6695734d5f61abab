"""Calls into one page, and the batches of events that come out of it.

Owns the two-sided time limit of every call, the turning of page errors into `BlazzError`, and the
acknowledging of events. Never retries and never decides what an event means.
"""

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog
from playwright.async_api import ElementHandle, Page
from playwright.async_api import Error as PlaywrightError

from schemas import log_keys
from schemas.errors import BlazzError, ErrorCode
from swarm_node.engines.chromium.bridge.script import BINDING

log = structlog.get_logger()

PYTHON_GRACE_S: Final = 2.0
"""How much longer Python waits than the page: the page's own answer says more."""
MEDIA_CHUNK_BYTES: Final = 3 * 1024 * 1024
"""Read at a time; a multiple of three, so that base64 chunks join without padding."""

STORAGE_CHARS_MAX: Final = 5 * 1024 * 1024
"""Chromium's own bound on an origin's localStorage: 10 MB of two-byte characters."""

_CALL: Final = """async ([name, argument, limitMs]) =>
  window.__blazz ? window.__blazz.call(name, argument, limitMs) : { code: 'not_installed' }"""
_INPUT: Final = "() => window.__blazz ? window.__blazz.input : null"

CODES: Final[dict[str, tuple[ErrorCode, str]]] = {
    "timeout": (ErrorCode.PAGE_TIMEOUT, "no answer from WhatsApp in time"),
    "not_installed": (ErrorCode.PAGE_NOT_READY, "the page is loading"),
    "not_main": (ErrorCode.SESSION_NOT_ONLINE, "WhatsApp Web is not in use yet"),
    "not_connected": (ErrorCode.SESSION_NOT_ONLINE, "WhatsApp Web has no connection"),
    "already_linked": (ErrorCode.SESSION_ALREADY_LINKED, ""),
    "no_code": (ErrorCode.PAIRING_CODE_REFUSED, ""),
    "not_on_whatsapp": (ErrorCode.RECIPIENT_NOT_ON_WHATSAPP, ""),
    "chat_not_found": (ErrorCode.CHAT_NOT_FOUND, ""),
    "target_not_found": (ErrorCode.MESSAGE_NOT_FOUND, "this device does not know that message"),
    "query_failed": (ErrorCode.PAGE_TIMEOUT, "WhatsApp did not answer who that is"),
    "not_subscribed": (ErrorCode.PAGE_TIMEOUT, "WhatsApp took no subscription"),
    "not_ours": (ErrorCode.MESSAGE_REFUSED, "that message is not ours"),
    "edit_message_error": (ErrorCode.MESSAGE_REFUSED, "WhatsApp lets it be edited no more"),
    "quoted_msg_can_not_reply": (ErrorCode.MESSAGE_REFUSED, "that message takes no reply"),
    "mentioned_is_not_user": (ErrorCode.RECIPIENT_INVALID, "only people can be mentioned"),
    "can_not_send_message_to_this_groupType": (
        ErrorCode.MESSAGE_REFUSED,
        "a community takes no messages; write to its announcement group",
    ),
    "not_forwardable": (ErrorCode.MESSAGE_REFUSED, "such a message can't be forwarded"),
    "invalid_wid": (ErrorCode.RECIPIENT_INVALID, ""),
    "refused": (ErrorCode.MESSAGE_REFUSED, "WhatsApp gave the send's result as failed"),
    "send_failed": (ErrorCode.PAGE_TIMEOUT, "the send did not get through"),
    "media_unsupported": (ErrorCode.MEDIA_UNSUPPORTED, ""),
    "media_missing": (ErrorCode.MEDIA_NOT_FOUND, "no bytes came with it"),
    "not_a_picture": (ErrorCode.MEDIA_UNSUPPORTED, "the browser can't read it as a picture"),
    "media_not_found": (ErrorCode.MEDIA_NOT_FOUND, ""),
    "media_unreadable": (ErrorCode.MEDIA_NOT_FOUND, ""),
    "message_not_contains_media": (ErrorCode.MEDIA_NOT_FOUND, "that message has no media"),
    "msg_not_found": (ErrorCode.MEDIA_NOT_FOUND, "this device does not know that message"),
    "storage_too_large": (ErrorCode.SNAPSHOT_TOO_LARGE, "the page's localStorage"),
    "file_too_large": (ErrorCode.MEDIA_TOO_LARGE, "above WhatsApp's own limit for that kind"),
}


class PageEvent(msgspec.Struct, frozen=True):
    """One event as the page told it. `t`: its clock, in ms."""

    seq: int
    kind: str
    data: dict[str, Any]
    t: float


OnEvent = Callable[[PageEvent], Awaitable[None]]
Settled = Callable[[], Awaitable[bool]]
"""Waits until what was taken so far can no longer be lost; False: it may be."""


class PageBridge:
    """One page's bridge. `install` before the first load; it holds for reloads too."""

    def __init__(self, page: Page, on_event: OnEvent, settled: Settled) -> None:
        self.page = page
        self._on_event = on_event
        self._settled = settled
        self._taking = asyncio.Lock()
        self._taken_seq = 0
        self._load = 0
        self._files = asyncio.Lock()

    async def install(self, script: str, timeout_s: float) -> None:
        """Prepare the page: our binding and the init script."""
        try:
            async with asyncio.timeout(timeout_s):
                await self.page.expose_binding(BINDING, self._pushed)
                await self.page.add_init_script(script=script)
        except TimeoutError as error:
            raise BlazzError(ErrorCode.PAGE_TIMEOUT, "the page takes no script") from error
        except PlaywrightError as error:
            raise BlazzError(ErrorCode.BROWSER_CRASHED, "the page takes no script") from error

    def begin_load(self) -> None:
        """A new document counts its events from one again."""
        self._load += 1
        self._taken_seq = 0

    async def call(self, name: str, argument: object = None, *, timeout_s: float) -> Any:
        """Call one of the page's functions; limited on both sides.

        Raises `page_timeout`, `page_error`, `browser_crashed`, or what `CODES` makes of the page's
        own code.
        """
        try:
            async with asyncio.timeout(timeout_s + PYTHON_GRACE_S):
                answer = await self.page.evaluate(_CALL, [name, argument, timeout_s * 1000])
        except TimeoutError as error:
            raise BlazzError(ErrorCode.PAGE_TIMEOUT, f"the page does not answer {name}") from error
        except PlaywrightError as error:
            raise _lost(self.page, name) from error
        if "ok" in answer:
            return answer["ok"]
        raise _refusal(name, str(answer.get("code")), str(answer.get("message") or ""))

    async def drain(self, timeout_s: float) -> None:
        """Take what the page still holds; for the moment before it ends. Never raises."""
        load = self._load
        try:
            rows = await self.call("take", timeout_s=timeout_s)
        except BlazzError:
            return
        await self._take(rows, load)

    async def page_storage(self, *, timeout_s: float) -> dict[str, str]:
        """The page's localStorage. Raises what `call` raises."""
        limit = {"charsMax": STORAGE_CHARS_MAX}
        answer = await self.call("pageStorage", limit, timeout_s=timeout_s)
        if answer["skipped"]:
            log.warning("page.storage_skipped", count=answer["skipped"])
        return dict(answer["items"])

    async def call_with_file(
        self, name: str, path: Path, argument: dict[str, object], *, timeout_s: float
    ) -> Any:
        """`call` with a file from disk. One at a time: the page has one file input.

        Raises `media_not_found` and what `call` raises.
        """
        try:
            async with asyncio.timeout(timeout_s), self._files:
                field = await self._file_input()
                await field.set_input_files(path)
                try:
                    return await self.call(name, argument, timeout_s=timeout_s)
                finally:
                    await self.call("dropFile", timeout_s=PYTHON_GRACE_S)
                    await field.dispose()
        except TimeoutError as error:
            raise BlazzError(ErrorCode.PAGE_TIMEOUT, "the page takes no file") from error
        except PlaywrightError as error:
            raise _lost(self.page, name) from error

    async def read_media(
        self, key: dict[str, object], *, timeout_s: float, bytes_max: int
    ) -> tuple[bytes, str]:
        """Bytes and mimetype of a message's media, fetched in chunks.

        Raises `media_not_found`, `media_too_large`.
        """
        opened = await self.call("openMedia", key, timeout_s=timeout_s)
        handle, size = int(opened["handle"]), int(opened["size"])
        try:
            if size > bytes_max:
                raise BlazzError(ErrorCode.MEDIA_TOO_LARGE, f"{size} bytes", size=size)
            parts = []
            for offset in range(0, size, MEDIA_CHUNK_BYTES):
                chunk = {"handle": handle, "offset": offset, "length": MEDIA_CHUNK_BYTES}
                text = await self.call("readMedia", chunk, timeout_s=timeout_s)
                parts.append(base64.b64decode(text, validate=True))
        except binascii.Error as error:
            raise BlazzError(ErrorCode.MEDIA_CORRUPT, "the page gave broken bytes") from error
        finally:
            await self._close_media(handle)
        return b"".join(parts), str(opened["mimetype"])

    async def _close_media(self, handle: int) -> None:
        try:
            await self.call("closeMedia", {"handle": handle}, timeout_s=PYTHON_GRACE_S)
        except BlazzError:
            # The page has gone, and its blobs with it.
            return

    async def _file_input(self) -> ElementHandle:
        found = await self.page.evaluate_handle(_INPUT)
        element = found.as_element()
        if element is None:
            raise BlazzError(ErrorCode.PAGE_NOT_READY, "the page is loading")
        return element

    async def _pushed(self, _source: object, rows: list[dict[str, Any]]) -> int | None:
        return await self._take(rows, self._load)

    async def _take(self, rows: list[dict[str, Any]], load: int) -> int | None:
        async with self._taking:
            for row in rows:
                if load != self._load:
                    return None
                try:
                    event = msgspec.convert(row, PageEvent, strict=False)
                except msgspec.ValidationError as error:
                    log.warning("page.event_malformed", **{log_keys.DETAIL: str(error)})
                    continue
                # A batch whose acknowledgement got lost comes again.
                if event.seq <= self._taken_seq:
                    continue
                await self._on_event(event)
                self._taken_seq = event.seq
            taken_seq = self._taken_seq
        # Only then may the page forget them, and note that it told.
        return taken_seq if await self._settled() and load == self._load else None


def _refusal(name: str, code: str, message: str) -> BlazzError:
    known = CODES.get(code)
    if known is not None:
        return BlazzError(known[0], known[1])
    # Never the page's own text: it may quote a number or a message.
    log.warning("page.call_failed", **{log_keys.CODE: code, "call": name, log_keys.DETAIL: message})
    return BlazzError(ErrorCode.PAGE_ERROR, f"{name}: {code}")


def _lost(page: Page, name: str) -> BlazzError:
    if page.is_closed():
        return BlazzError(ErrorCode.BROWSER_CRASHED, f"the page was gone during {name}")
    # A navigation or a crashed renderer ends a call in the middle: the same call may work later.
    return BlazzError(ErrorCode.PAGE_TIMEOUT, f"the page was lost during {name}")
