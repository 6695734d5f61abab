"""WhatsApp's side, in memory: devices, who holds them, and engines that run on them.

Owns the ground truth: which browsers are alive, which hold a device, what each sent. `SimEngine`
is the engine contract over such a browser. A browser is a process of its own: it goes on while the
node's process is stalled, and dies with it.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec

from schemas.errors import BlazzError, ErrorCode
from schemas.states import Ack, EngineKind
from swarm_node.engines import contract
from swarm_node.engines.contract import EngineSpec, SendOutcome, SendRequest
from swarm_node.engines.event_pipe import EventPipe
from tests.simulation.no_account import NoAccountCalls
from tests.simulation.virtual_time import PROCESS, Process, VirtualLoop


class EngineWeather(msgspec.Struct):
    """How browsers fare on one node, now."""

    start_fails_share: float = 0.0
    internet_cut: bool = False
    kill_max_s: float = 0.15


class Profile:
    """A device's state on a node's disk: a journal with a line for each step of its life."""

    def __init__(self, folder: Path) -> None:
        self._journal = folder / "device" / "state.log"
        self.steps = 0
        if self._journal.exists():
            self.steps = len(self._journal.read_bytes().splitlines())

    def write(self, steps: int) -> None:
        """Append what is new."""
        self._journal.parent.mkdir(parents=True, exist_ok=True)
        with self._journal.open("ab") as file:
            file.writelines(b"step %d\n" % step for step in range(self.steps + 1, steps + 1))
        self.steps = steps


class Browser:
    """One running browser: from its launch until its process has ended."""

    _made = 0

    def __init__(self, switch: "Switch", spec: EngineSpec, process: Process) -> None:
        Browser._made += 1
        self.number = Browser._made
        self.switch = switch
        self.session_id = spec.session_id
        self.epoch = spec.epoch
        self.process = process
        self.alive = True
        self.holds = False
        self.pipe = EventPipe()
        self.profile = Profile(spec.profile_dir) if switch.keeps_profiles else None

    def live_on(self) -> None:
        """Something went through it: the profile's state goes one step on."""
        if self.profile is not None and self.alive:
            self.profile.write(self.profile.steps + 1)
            times = self.switch.stepped_at.setdefault(self.session_id, [])
            # What a lost state had lived through is lived through again.
            del times[self.profile.steps - 1 :]
            times.append(self.switch.loop.now)

    @property
    def name(self) -> str:
        """For traces: the session's last digits, the epoch and the node."""
        return f"{self.session_id[-4:]}@{self.epoch} on {self.process.name}"

    def end(self) -> None:
        """The process ends; the kernel closes its connection."""
        if self.alive:
            self.alive = False
            self.switch.let_go(self)
            self.switch.browsers.pop(self.number, None)

    def tell(self, event: contract.EngineEvent) -> None:
        """Have the node hear of something, when it can."""
        loop = self.switch.loop
        loop.call_at_true(loop.now, self._put, event, context=self.process.context)

    def _put(self, event: contract.EngineEvent) -> None:
        if self.process.alive:
            self.process.spawn(self.pipe.put(event), name="engine event")


OnHold = Callable[[Browser, list[Browser]], None]
"""Told of a browser that begins to hold a device, and who else held it at that moment."""
OnSend = Callable[[Browser, str], None]
OnLoad = Callable[[Browser, int], None]
"""Told of the state (its steps) that a browser begins with."""


class Switch:
    """All devices. The newest client of a device replaces the one before, as with WhatsApp."""

    def __init__(self, loop: VirtualLoop, chance: random.Random) -> None:
        self.loop = loop
        self.chance = chance
        self.browsers: dict[int, Browser] = {}
        self.holders: dict[str, list[Browser]] = {}
        self.weather: dict[str, EngineWeather] = {}
        self.unlinked: set[str] = set()
        self.linked: set[str] = set()
        self.keeps_profiles = False
        """Whether devices live in profiles on disk; else they follow their session."""
        self.captured: dict[tuple[str, int], list[tuple[float, int]]] = {}
        """By session and epoch: when (by the node's wall clock) a state was looked at for a
        snapshot, and at which step it was."""
        self.stepped_at: dict[str, list[float]] = {}
        """By session: when each step of its device's life was made."""
        self.on_load: OnLoad = lambda _browser, _steps: None
        self.on_hold: OnHold = lambda _browser, _others: None
        self.on_send: OnSend = lambda _browser, _message: None

    def weather_of(self, process: Process) -> EngineWeather:
        """How browsers fare there."""
        return self.weather_of_name(process.name)

    def weather_of_name(self, node_id: str) -> EngineWeather:
        """As `weather_of`, for a node whose process may be away."""
        return self.weather.setdefault(node_id, EngineWeather())

    def connect(self, browser: Browser) -> None:
        """A browser has loaded the page: it takes the device up."""
        if not browser.alive or browser.holds:
            return
        if self.weather_of(browser.process).internet_cut:
            self.loop.call_at_true(self.loop.now + 1.0, self.connect, browser)
            return
        if browser.session_id in self.unlinked:
            browser.tell(contract.LoggedOut("phone"))
            return
        if browser.profile is not None and not self._linked(browser, browser.profile):
            browser.tell(contract.QrShown("code", 1, 6, 20.0))
            return
        others = self.holders.setdefault(browser.session_id, [])
        self.on_hold(browser, list(others))
        for other in list(others):
            other.holds = False
            other.tell(contract.Replaced())
        others[:] = [browser]
        browser.holds = True
        browser.live_on()
        browser.tell(contract.Linked(contract.Identity("31612345678")))

    def _linked(self, browser: Browser, profile: Profile) -> bool:
        """Whether there are keys in its profile. A session that never was linked is linked now,
        by its owner's phone."""
        if browser.session_id not in self.linked:
            self.linked.add(browser.session_id)
            browser.live_on()
        self.on_load(browser, profile.steps)
        return profile.steps > 0

    def let_go(self, browser: Browser) -> None:
        """A browser's connection has ended."""
        browser.holds = False
        others = self.holders.get(browser.session_id, [])
        if browser in others:
            others.remove(browser)

    def end_process(self, process: Process) -> None:
        """The node's process was killed: its browsers go with it, not all at the same moment."""
        for browser in [b for b in self.browsers.values() if b.process is process]:
            self.loop.call_at_true(self.loop.now + self.chance.uniform(0.0, 0.2), browser.end)

    def crash(self, browser: Browser) -> None:
        """The browser dies by itself."""
        if browser.alive:
            browser.end()
            browser.tell(contract.EngineFailed(ErrorCode.BROWSER_CRASHED))


class SimEngine(NoAccountCalls):
    """An engine over a simulated browser."""

    def __init__(self, switch: Switch, spec: EngineSpec) -> None:
        self._switch = switch
        self._spec = spec
        self._browser: Browser | None = None
        self._ended = False

    @property
    def capabilities(self) -> contract.Capabilities:
        """What it can do."""
        return contract.Capabilities(kind=EngineKind.LOOPBACK)

    async def start(self) -> None:
        """Launch the browser; its page loads meanwhile."""
        process = PROCESS.get()
        assert process is not None
        chance, switch = self._switch.chance, self._switch
        await asyncio.sleep(chance.uniform(0.1, 0.8))
        if chance.random() < switch.weather_of(process).start_fails_share:
            raise BlazzError(ErrorCode.BROWSER_START_FAILED, "the simulation's wish")
        if self._ended or not process.alive:
            raise BlazzError(ErrorCode.BROWSER_START_FAILED, "ended while starting")
        self._browser = browser = Browser(switch, self._spec, process)
        switch.browsers[browser.number] = browser
        loads_s = chance.uniform(0.3, 2.0)
        switch.loop.call_at_true(switch.loop.now + loads_s, switch.connect, browser)

    async def stop(self) -> None:
        """Close it cleanly."""
        self._ended = True
        if self._browser is not None and self._browser.alive:
            await asyncio.sleep(self._switch.chance.uniform(0.05, 0.5))
        await self.kill()

    async def kill(self) -> None:
        """End the process; the kernel needs a moment."""
        self._ended = True
        browser = self._browser
        if browser is None:
            return
        if browser.alive:
            switch = self._switch
            takes_s = switch.chance.uniform(0.0, switch.weather_of(browser.process).kill_max_s)
            switch.loop.call_at_true(switch.loop.now + takes_s, browser.end)
            await asyncio.sleep(takes_s)
            browser.end()
        browser.pipe.close()

    async def events(self) -> AsyncIterator[tuple[contract.EngineEvent, ...]]:
        """What it sees."""
        assert self._browser is not None
        async for events in self._browser.pipe.events():
            yield events

    async def probe(self) -> contract.Probe:
        """Look whether it holds its device."""
        await asyncio.sleep(0.005)
        browser = self._browser
        if browser is None or not browser.alive:
            raise BlazzError(ErrorCode.PAGE_TIMEOUT, "the browser is gone")
        online = browser.holds and not self._switch.weather_of(browser.process).internet_cut
        return contract.Probe(
            authenticated=True,
            main_loaded=True,
            stream_main=online,
            socket_connected=online,
            round_trip_s=0.005,
        )

    @property
    def snapshot_files(self) -> contract.SnapshotFiles:
        """What of its profile makes the session."""
        return contract.SnapshotFiles(include=("device",), append_only=("*.log",))

    async def page_storage(self) -> dict[str, str] | None:
        """It keeps nothing but files; being asked means that a snapshot is made."""
        browser = self._browser
        if browser is not None and browser.profile is not None:
            looks = self._switch.captured.setdefault((browser.session_id, browser.epoch), [])
            looks.append((browser.process.wall(), browser.profile.steps))
        return None

    async def renew_qr(self) -> None:
        """It is always linked."""
        raise BlazzError(ErrorCode.SESSION_ALREADY_LINKED)

    async def pairing_code(self, phone: str) -> str:
        """It is always linked."""
        raise BlazzError(ErrorCode.SESSION_ALREADY_LINKED)

    async def send(self, request: SendRequest) -> SendOutcome:
        """Hand a message to WhatsApp."""
        browser = self._browser
        await asyncio.sleep(self._switch.chance.uniform(0.01, 0.2))
        if browser is None or not browser.holds:
            raise BlazzError(ErrorCode.SESSION_NOT_ONLINE)
        self._switch.on_send(browser, request.message_id)
        browser.live_on()
        return SendOutcome(request.to, Ack.SENT)

    async def download(self, key: contract.MediaKey) -> contract.MediaBytes:
        """It has no media."""
        raise BlazzError(ErrorCode.MEDIA_NOT_FOUND)

    async def logout(self) -> None:
        """Unlink the device."""
        browser = self._browser
        if browser is None or not browser.holds:
            raise BlazzError(ErrorCode.SESSION_NOT_ONLINE)
        self._switch.unlinked.add(browser.session_id)
        self._switch.let_go(browser)
        browser.tell(contract.LoggedOut("logout"))
