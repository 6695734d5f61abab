"""Every engine of the contract suite, each on a real sandbox.

Owns how an engine is made for a test and how its events are watched. A new engine adds one entry
to `RIGS`; the suite itself never names an engine.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from sandbox.phone import Phone, PhoneBook
from sandbox.server import Sandbox
from sandbox.settings import SandboxSettings
from schemas.errors import BlazzError
from schemas.messages import Text
from schemas.states import EngineKind
from swarm_node.core.snapshot_delta import FileMark
from swarm_node.core.snapshot_format import Header, decode, encode
from swarm_node.engines.contract import (
    Engine,
    EngineEvent,
    EngineSpec,
    Linked,
    QrShown,
    SendOutcome,
    SendRequest,
)
from swarm_node.engines.loopback.engine import LoopbackEngine
from swarm_node.engines.loopback.settings import LoopbackSettings
from swarm_node.vault.capture import capture
from swarm_node.vault.profile_writer import ProfileWriter
from tests.waiting import eventually

E = TypeVar("E")
Make = Callable[[EngineSpec], Engine]

ONLINE_WITHIN_S = 30.0
EVENT_WITHIN_S = 20.0
STALE_AFTER_FRAMES = 20
"""A snapshot further behind than that is too old for the switch."""


class Watched:
    """An engine and all it has reported."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.events: list[EngineEvent] = []
        self.ended = asyncio.Event()

    async def read(self) -> None:
        """Read its events to their end."""
        async for events in self.engine.events():
            self.events += events
        self.ended.set()

    def all(self, kind: type[E]) -> list[E]:
        """Every event of a kind so far."""
        return [event for event in self.events if isinstance(event, kind)]

    async def sees(self, kind: type[E], check: Callable[[E], bool] = lambda _: True) -> E:
        """The first event of a kind that passes the check."""

        def there() -> E | None:
            return next((event for event in self.all(kind) if check(event)), None)

        found = await eventually(there, timeout_s=EVENT_WITHIN_S, what=kind.__name__)
        assert found is not None, self.events
        return found

    async def online(self) -> None:
        """Wait for a probe that says online."""

        async def probed() -> bool:
            try:
                probe = await self.engine.probe()
            except BlazzError as error:
                raise AssertionError(f"the probe ended in {error.code}") from error
            assert probe.online, probe
            return True

        await eventually(probed, timeout_s=ONLINE_WITHIN_S, what="online")

    async def link(self, phone: Phone) -> None:
        """Scan its code, and wait until it is online."""
        await phone.scan((await self.sees(QrShown)).value)
        await self.sees(Linked)
        await self.online()

    async def send(self, message_id: str, to: str, text: str) -> SendOutcome:
        """Send a text."""
        return await self.engine.send(SendRequest(message_id, to, Text(text)))


class Snapshots:
    """Snapshots of one profile as a node makes them: a baseline, then what changed since."""

    def __init__(self, profile: Path, kind: EngineKind) -> None:
        self._profile = profile
        self._kind = kind
        self._marks: dict[str, FileMark] = {}
        self._objects: list[bytes] = []
        self.page_storage: dict[str, str] | None = None

    async def take(self, engine: Engine) -> None:
        """Read its page storage, then capture the profile, while the engine runs."""
        self.page_storage = await engine.page_storage()
        found = await asyncio.to_thread(capture, self._profile, engine.snapshot_files, self._marks)
        self._marks = found.marks
        after = str(len(self._objects)) if self._objects else None
        self._objects.append(encode(Header(self._kind, found.parts, after), found.blobs))

    def restore(self, target: Path) -> None:
        """Write all that was captured into a new directory."""
        writer = ProfileWriter(target)
        for one in self._objects:
            writer.apply(*decode(one))
        writer.finish()


class Rig:
    """One kind of engine on one sandbox, with two phones."""

    def __init__(
        self,
        kind: EngineKind,
        make: Make,
        book: PhoneBook,
        phones: tuple[Phone, Phone],
        folder: Path,
    ) -> None:
        self.kind = kind
        self.book = book
        self.me, self.friend = phones
        self.folder = folder
        self._make = make
        self._running: list[tuple[Watched, asyncio.Task[None]]] = []

    async def start(
        self, profile: str = "profile", *, page_storage: dict[str, str] | None = None
    ) -> Watched:
        """A new engine, started, on a profile of this name."""
        spec = EngineSpec("ses_0", "acme", 1, self.folder / profile, page_storage=page_storage)
        watched = Watched(self._make(spec))
        await watched.engine.start()
        self._running.append((watched, asyncio.get_running_loop().create_task(watched.read())))
        return watched

    def snapshots(self) -> Snapshots:
        """Snapshots of the first profile."""
        return Snapshots(self.folder / "profile", self.kind)

    async def end(self) -> None:
        """Kill what a test left running."""
        for watched, reader in self._running:
            await watched.engine.kill()
            await asyncio.wait({reader}, timeout=5)
            reader.cancel()


def _loopback(sandbox: Sandbox) -> AbstractAsyncContextManager[Make]:
    @asynccontextmanager
    async def ready() -> AsyncIterator[Make]:
        settings = LoopbackSettings(
            link_url=sandbox.link_url, media_url=sandbox.media_base_url, ca_pem=sandbox.ca_pem
        )
        yield lambda spec: LoopbackEngine(spec, settings)

    return ready()


def _chromium(sandbox: Sandbox) -> AbstractAsyncContextManager[Make]:
    @asynccontextmanager
    async def ready() -> AsyncIterator[Make]:
        from swarm_node.engines.chromium import ChromiumEngine, ChromiumSettings, open_host

        settings = ChromiumSettings(
            extra_args=tuple(sandbox.chromium_args()),
            watch_period_s=0.5,
            watch_period_busy_s=0.2,
            catch_up_period_s=1.0,
        )
        async with open_host(settings) as host:
            yield lambda spec: ChromiumEngine(spec, settings, host)

    return ready()


RIGS: dict[EngineKind, Callable[[Sandbox], AbstractAsyncContextManager[Make]]] = {
    EngineKind.LOOPBACK: _loopback,
    EngineKind.CHROMIUM: _chromium,
}


@pytest.fixture(
    params=[
        EngineKind.LOOPBACK,
        pytest.param(EngineKind.CHROMIUM, marks=pytest.mark.browser),
    ]
)
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    """A rig of each kind in turn."""
    kind: EngineKind = request.param
    settings = SandboxSettings(stale_after_frames=STALE_AFTER_FRAMES)
    async with Sandbox(settings) as sandbox, PhoneBook(sandbox.api_url) as book:
        me = await book.create("15550001", "Me")
        friend = await book.create("15550002", "Friend")
        async with RIGS[kind](sandbox) as make:
            made = Rig(kind, make, book, (me, friend), tmp_path)
            try:
                yield made
            finally:
                await made.end()
