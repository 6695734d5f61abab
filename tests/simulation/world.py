"""The world of one run: the broker, the switch, and real nodes and control planes on them.

Owns the composition and the lives of simulated processes: start, crash, restart by their service
manager, stall, clean stop. What runs inside a process is the product's own code. Never decides
which fault comes when (`schedule.py`) or whether something is wrong (`invariants.py`).
"""

import asyncio
import contextvars
import random
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from control_plane.config import ControlPlaneSettings
from control_plane.core.liveness import LivenessRules
from control_plane.node_commands import NodeCommands
from control_plane.ports import SnapshotAdmission
from control_plane.reconciler.acts import Acts
from control_plane.reconciler.loop import Reconciler
from control_plane.sessions import FleetSessions
from control_plane.state.commits import Commits
from control_plane.state.fleet_state import FleetState
from control_plane.state.fleet_watch import keep_fed
from control_plane.state.fleet_writer import FleetWriter
from control_plane.state.placement_writer import PlacementWriter
from control_plane.vault.admission import NoSnapshots
from control_plane.vault.settings import VaultSettings
from control_plane.vault.vault import open_vault, serve_vault
from schemas.errors import BlazzError
from schemas.records import LeaseRecord
from schemas.resources import FLEET
from schemas.states import EngineKind
from schemas.timing import PROFILES
from schemas.transport.background import Background
from schemas.transport.connection import Bus, BusSettings
from schemas.transport.kv import Bucket
from swarm_node.app import _Node
from swarm_node.config import NodeSettings
from swarm_node.data_dir import DataDir
from swarm_node.engines.contract import Engine, EngineSpec
from swarm_node.engines.registry import EngineRegistry
from swarm_node.session.timings import SessionTimings
from tests.simulation.broker import Broker
from tests.simulation.switch import SimEngine, Switch
from tests.simulation.vault_store import MemorySnapshotStore
from tests.simulation.virtual_time import WALL_AT_0_S, Process, VirtualLoop
from tests.simulation.wire import Network

_CLOCK_RATE_ERROR: Final = 0.002
_WALL_ERROR_S: Final = 3.0
_RESPAWN_S: Final = 1.0
_SERVER: Final = "nats://127.0.0.1:4222"
NOBODY: Final = contextvars.Context()
"""The context of what happens in the world itself, in no process."""


class Service:
    """One process that a service manager keeps running: a node or a control plane."""

    def __init__(self, world: "World", name: str) -> None:
        self.world = world
        self.name = name
        self.process: Process | None = None
        self.wanted = False
        self.generation = 0
        self._root: asyncio.Task[Any] | None = None

    @property
    def up(self) -> bool:
        """Whether its process is there."""
        return self.process is not None and self.process.alive

    def start(self) -> None:
        """Have it run from now on."""
        self.wanted = True
        if not self.up:
            self._spawn()

    def _spawn(self) -> None:
        world = self.world
        self.generation += 1
        self.process = process = world.new_process(self.name)
        world.note(self.name, "process started")
        self._root = process.spawn(self._life(process), name=f"{self.name} main")

    async def _life(self, process: Process) -> None:
        try:
            await self.main(process)
        except BlazzError as error:
            self.world.note(self.name, f"process ended: {error.code}")
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not happen
            self.world.breach(f"{self.name} crashed by itself: {error!r}")
        finally:
            if process.alive:
                self._ended(process)

    def _ended(self, process: Process) -> None:
        self.world.bury(process)
        if self.wanted:
            loop = self.world.loop
            loop.call_at_true(loop.now + _RESPAWN_S, self._respawn, context=NOBODY)

    def _respawn(self) -> None:
        if self.wanted and not self.up:
            self._spawn()

    def crash(self, *, down_s: float | None) -> None:
        """Kill it (as `kill -9`); it is started again after `down_s`, or (None) by hand only."""
        process, root = self.process, self._root
        if process is None or root is None or not process.alive:
            return
        self.world.note(self.name, "killed")
        self.world.bury(process)
        # What its code still does on its way out reaches nobody: its sockets are closed.
        root.cancel()
        if down_s is None:
            self.wanted = False
        else:
            loop = self.world.loop
            loop.call_at_true(loop.now + down_s, self._respawn, context=NOBODY)

    def finish(self) -> None:
        """The run is over: end everything, so that nothing is left to the garbage collector."""
        self.wanted = False
        if self._root is not None:
            self._root.cancel()

    async def main(self, process: Process) -> None:
        """What the process does."""
        raise NotImplementedError


class NodeService(Service):
    """A node: the product's own, on a simulated bus and simulated browsers."""

    def __init__(self, world: "World", name: str, *, sessions_max: int, **place: str) -> None:
        super().__init__(world, name)
        self.settings = NodeSettings(
            node_id=name,
            data_dir=world.folder / name,
            sessions_max=sessions_max,
            engines=(world.engine,),
            timing=world.timing,
            memory_period_s=30.0,
            session=SessionTimings(probe_period_s=10.0),
            **place,  # type: ignore[arg-type]
        )
        self.node: _Node | None = None
        self.stop_wanted: asyncio.Event | None = None

    async def main(self, process: Process) -> None:
        """As `swarm_node.app.run_node`, without the files and the port."""

        def make(spec: EngineSpec) -> Engine:
            return SimEngine(self.world.switch, spec)

        engines = EngineRegistry({self.world.engine: make}, chromium_sandbox=True)
        data = DataDir(self.settings.data_dir)
        self.stop_wanted = stop = asyncio.Event()
        async with Bus.connect(self.settings.bus_settings()) as bus:
            self.node = _Node(self.settings, data, engines, bus)
            async with self.node.running() as node:
                self.world.note(self.name, "running")
                await stop.wait()
                await node.stop()

    def stop_cleanly(self) -> None:
        """As `systemctl stop`; it stays down until it is started."""
        self.wanted = False
        if self.stop_wanted is not None and self.process is not None:
            self.world.loop.call_at_true(
                self.world.loop.now, self.stop_wanted.set, context=self.process.context
            )


class ControlPlaneService(Service):
    """A control-plane replica: its state, its reconciler and the session service."""

    def __init__(self, world: "World", name: str) -> None:
        super().__init__(world, name)
        self.settings = ControlPlaneSettings(replica=name, default_engine=world.engine)
        self.sessions: FleetSessions | None = None
        self.state: FleetState | None = None
        self.placements: PlacementWriter | None = None
        self.nodes: NodeCommands | None = None

    async def main(self, process: Process) -> None:
        """As `control_plane.services.open_services`, with what concerns the fleet."""
        profile = PROFILES[self.world.timing]
        bus_settings = BusSettings(servers=(_SERVER,), name=self.name, profile=profile)
        try:
            async with Bus.connect(bus_settings) as bus:
                await self._serve(bus, self.settings, process)
        finally:
            self.sessions = None

    async def _serve(self, bus: Bus, settings: ControlPlaneSettings, process: Process) -> None:
        liveness = settings.liveness or LivenessRules.of(bus.settings.profile)
        self.state = state = FleetState(liveness, now=process.monotonic())
        bucket = Bucket(bus, FLEET)
        commits = Commits(bucket, state)
        writer, self.placements = FleetWriter(commits), PlacementWriter(commits)
        self.nodes = nodes = NodeCommands(bus)
        async with (
            keep_fed(bus, state, sync_timeout_s=settings.sync_timeout_s),
            AsyncExitStack() as stack,
            Background() as tasks,
        ):
            me = LeaseRecord(self.name, f"{random.getrandbits(64):x}", process.wall())
            admission: SnapshotAdmission = NoSnapshots()
            if self.world.switch.keeps_profiles:
                kept = VaultSettings(master_key_file=self.world.master_key_file)
                vault = await stack.enter_async_context(open_vault(bus, kept))
                await stack.enter_async_context(serve_vault(bus, state, vault, kept, me))
                admission = vault.admission
            rules = settings.reconciler.rules.needs
            acts = Acts(state, writer, self.placements, nodes, admission, rules)
            reconciler = Reconciler(bus, state, acts, settings.reconciler)
            tasks.start(reconciler.run(me), name="reconciler")
            self.sessions = FleetSessions(
                bucket,
                state,
                writer,
                nodes,
                default_engine=settings.default_engine,
            )
            self.world.note(self.name, "running")
            await asyncio.Event().wait()


class World:
    """Everything of one run; made inside `virtual_world`."""

    def __init__(self, loop: VirtualLoop, seed: int, folder: Path, *, tell: bool = False) -> None:
        self.loop = loop
        self.seed = seed
        self.folder = folder
        self.master_key_file = folder / "master.key"
        self.tell = tell
        self.clocks = random.Random(f"clocks {seed}")
        self.network = Network(loop, random.Random(f"network {seed}"))
        self.broker = Broker(self.network, random.Random(f"broker {seed}"))
        self.switch = Switch(loop, random.Random(f"switch {seed}"))
        self.vault = MemorySnapshotStore(random.Random(f"vault {seed}"))
        self.disks: dict[str, tuple[float, float]] = {}
        self.nodes: dict[str, NodeService] = {}
        self.control_planes: dict[str, ControlPlaneService] = {}
        self.dead: list[Process] = []
        self.engine = EngineKind.LOOPBACK
        self.timing = "fast"
        self.trace: list[tuple[float, str, str]] = []
        self.breaches: list[str] = []

    def services(self) -> Iterator[Service]:
        """Every node and control plane."""
        yield from self.nodes.values()
        yield from self.control_planes.values()

    def wall(self) -> float:
        """Unix seconds, by a clock that is right."""
        return WALL_AT_0_S + self.loop.now

    def note(self, who: str, what: str) -> None:
        """Add a line to the trace."""
        self.trace.append((self.loop.now, who, what))

    def breach(self, what: str) -> None:
        """An invariant is broken."""
        self.breaches.append(f"{self.loop.now:8.3f} {what}")
        self.note("BREACH", what)

    def new_process(self, name: str) -> Process:
        """A process with a clock that is a little wrong."""
        clocks = self.clocks
        process = Process(
            self.loop,
            name,
            rate=1.0 + clocks.uniform(-_CLOCK_RATE_ERROR, _CLOCK_RATE_ERROR),
            offset_s=clocks.uniform(10.0, 100_000.0),
            wall_error_s=clocks.uniform(-_WALL_ERROR_S, _WALL_ERROR_S),
        )
        process.disk_s = lambda: clocks.uniform(*self.disks.get(name, (0.0005, 0.005)))
        return process

    def bury(self, process: Process) -> None:
        """A process has ended, by itself or not: the kernel cleans up behind it."""
        process.alive = False
        self.dead.append(process)
        self.network.end_process(process)
        self.switch.end_process(process)
