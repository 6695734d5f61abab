"""A Chromium engine on the sandbox, with its events kept and its phones at hand.

Owns the rig's lifetime. Reaches the engine through its contract only; the switch's log is the
witness for what was really sent.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import msgspec
import psutil

from sandbox.phone import Phone, PhoneBook
from sandbox.server import Sandbox
from sandbox.settings import SandboxSettings
from schemas.errors import BlazzError
from schemas.messages import Media, MediaRef, Text
from schemas.states import MessageKind
from swarm_node.engines.chromium import ChromiumEngine, ChromiumSettings, open_host
from swarm_node.engines.chromium.hosts import BrowserHost
from swarm_node.engines.contract import (
    EngineEvent,
    EngineSpec,
    Linked,
    MessageArrived,
    QrShown,
    SendOutcome,
    SendRequest,
)
from tests.waiting import eventually, never

E = TypeVar("E")
ME, BOB = "15550001", "15550002"
BOB_WID = f"{BOB}@c.us"


def hex_id(number: int) -> str:
    """A message id as the control plane makes them."""
    return f"3EB0{number:018X}"


def settings_for(sandbox: Sandbox, **changes: object) -> ChromiumSettings:
    """An engine's settings for this sandbox: only its resolver rules, and shorter limits."""
    base = ChromiumSettings(
        extra_args=tuple(sandbox.chromium_args()),
        page_ready_timeout_s=15.0,
        call_timeout_s=5.0,
        send_timeout_s=6.0,
        watch_period_s=0.5,
        watch_period_busy_s=0.2,
        catch_up_period_s=1.0,
        close_timeout_s=5.0,
    )
    return msgspec.structs.replace(base, **changes)


class Rig:
    """One engine after another on one profile; `events` are those of the current one."""

    def __init__(self, book: PhoneBook, host: BrowserHost, settings: ChromiumSettings, root: Path):
        self.book = book
        self.host = host
        self.settings = settings
        self.profile = root / "profile"
        self.events: list[EngineEvent] = []
        self.engine: ChromiumEngine | None = None
        self.reading = asyncio.Event()
        """While it is clear, the reader keeps the event it has in hand."""
        self.reading.set()
        self._reader: asyncio.Task[None] | None = None

    @property
    def live(self) -> ChromiumEngine:
        assert self.engine is not None, "no engine was started"
        return self.engine

    async def start(
        self,
        settings: ChromiumSettings | None = None,
        *,
        proxy: str | None = None,
        page_storage: dict[str, str] | None = None,
    ) -> ChromiumEngine:
        spec = EngineSpec("ses_rig", "acme", 1, self.profile, proxy, page_storage)
        self.engine = ChromiumEngine(spec, settings or self.settings, self.host)
        self.events = []
        await self.engine.start()
        self._reader = asyncio.create_task(self._read(self.engine, self.events))
        return self.engine

    async def stop(self) -> None:
        if self.engine is not None:
            await self.engine.stop()
        await self._end_reader()

    async def stop_unread(self) -> None:
        """As `stop`, but the reader dies with what it has in hand."""
        await self.live.stop()
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait({self._reader})
            self._reader = None
        self.reading.set()

    async def kill(self) -> None:
        if self.engine is not None:
            await self.engine.kill()
        await self._end_reader()

    async def link(self, phone: Phone) -> None:
        """Scan the code on show, and wait until the engine is online."""
        shown = await self.event(QrShown)
        await phone.scan(shown.value)
        await self.event(Linked)
        await self.online()

    async def online(self, timeout_s: float = 20.0) -> None:
        async def probed() -> bool:
            with contextlib.suppress(BlazzError):
                return (await self.live.probe()).online
            return False

        await eventually(probed, timeout_s=timeout_s, what="online")

    async def event(self, kind: type[E], *, timeout_s: float = 15.0, **fields: object) -> E:
        """The first event of this kind with these fields."""

        def seen() -> E | None:
            for event in self.events:
                if isinstance(event, kind) and all(
                    getattr(event, name) == value for name, value in fields.items()
                ):
                    return event
            return None

        try:
            found = await eventually(seen, timeout_s=timeout_s, what=f"{kind.__name__} {fields}")
        except AssertionError as error:
            error.add_note(f"events: {self.events}")
            raise
        assert found is not None
        return found

    async def quiet(self, kind: type[E], *, for_s: float) -> None:
        """No event of this kind comes for so long."""
        await never(lambda: any(isinstance(event, kind) for event in self.events), for_s=for_s)

    async def arrived(self, message_id: str) -> MessageArrived:
        """The event of one message's arrival."""

        def seen() -> MessageArrived | None:
            for event in self.events:
                if isinstance(event, MessageArrived) and event.message.message_id == message_id:
                    return event
            return None

        found = await eventually(seen, timeout_s=15, what=f"arrival of {message_id}")
        assert found is not None
        return found

    async def send(self, number: int, text: str, to: str = BOB_WID) -> SendOutcome:
        return await self.live.send(SendRequest(hex_id(number), to, Text(text)))

    async def send_file(
        self, number: int, kind: MessageKind, path: Path, mimetype: str, to: str = BOB_WID
    ) -> SendOutcome:
        size = (await asyncio.to_thread(path.stat)).st_size
        media = MediaRef("med_rig", mimetype, size, "0" * 64, path.name)
        content = Media(kind=kind, media=media, caption=f"a {kind}")
        return await self.live.send(SendRequest(hex_id(number), to, content, path))

    def renderer_pid(self) -> int:
        """The process of the biggest renderer: WhatsApp's page."""
        renderers = [
            process
            for process in (psutil.Process(pid) for pid in self.live.pids)
            if "--type=renderer" in " ".join(process.cmdline())
        ]
        return max(renderers, key=lambda process: process.memory_info().rss).pid

    async def accepted(self, number: int) -> int:
        """How often the switch took this message for a new one."""
        log = await self.book.log(0, "message.accepted")
        return sum(1 for entry in log if entry.id == hex_id(number))

    async def _read(self, engine: ChromiumEngine, events: list[EngineEvent]) -> None:
        async for some in engine.events():
            events += some
            await self.reading.wait()

    async def _end_reader(self) -> None:
        if self._reader is not None:
            async with asyncio.timeout(20):
                await self._reader
            self._reader = None


@asynccontextmanager
async def rigged(
    root: Path, *, sandbox_settings: SandboxSettings | None = None, **changes: object
) -> AsyncIterator[Rig]:
    """A sandbox with two accounts, a host and a rig; nothing is started yet."""
    async with Sandbox(sandbox_settings) as sandbox, PhoneBook(sandbox.api_url) as book:
        await book.create(ME, "Me", lid="7770001")
        await book.create(BOB, "Bob")
        settings = settings_for(sandbox, **changes)
        async with open_host(settings) as host:
            rig = Rig(book, host, settings, root)
            try:
                yield rig
            finally:
                await rig.kill()
