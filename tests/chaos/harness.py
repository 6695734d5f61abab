"""A small fleet of real processes to break: nats-server, control planes, nodes, and the sandbox.

Owns the fleet's set-up, what is asked of it, and the look for what stays behind at its end. The
sandbox's switch runs in the test's own process and is the ground truth. Faults are in `faults.py`
and `bench/bus_proxy.py`, the traffic in `load.py`, the invariants in `truth.py`.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec

from bench.bus_proxy import BusProxy
from bench.chaos_faults import Death
from bench.process_tree import count_files
from bench.stage import Linked, Stage, all_sessions, link_sessions, open_stage, wait_kept
from cli.client import Api
from cli.stack import NodePlan, control_plane_name
from sandbox.phone import Phone
from schemas.api import SessionView
from schemas.errors import BlazzError
from schemas.states import EngineKind, NodeState, SessionState
from swarm_node.core.snapshot_rules import CapturePolicy
from swarm_node.vault.settings import VaultSettings
from tests.chaos import faults, truth
from tests.chaos.load import Load
from tests.waiting import eventually, free_port

NODE, OTHER = "node-a", "node-b"
FRIEND = "15559990000"
PERIOD_S = 0.4
"""Between two messages of a session, each way."""
GONE_WITHIN_S = 10.0
QUICK_KEEPING = VaultSettings(policy=CapturePolicy(first_s=0.5))
"""Without a browser a copy is whole from the first moment."""

FAILOVER_S = 25.0
"""The bound on being online elsewhere; goals are the bench's, this is where patience ends."""

Views = Mapping[str, SessionView]
Where = Callable[[SessionView], bool]


def moved_from(before: Views) -> Where:
    """Online on another node, under a higher epoch."""
    return lambda v: (
        v.node_id != before[v.session_id].node_id
        and (v.epoch or 0) > (before[v.session_id].epoch or 0)
    )


def newer_than(before: Views) -> Where:
    """Online anew, wherever."""
    return lambda v: (v.state_since or 0) > (before[v.session_id].state_since or 0)


def same_as(before: Views) -> Where:
    """Still where it was, under the same epoch."""
    return lambda v: (
        (v.node_id, v.epoch) == (before[v.session_id].node_id, before[v.session_id].epoch)
    )


class World:
    """A running fleet."""

    def __init__(
        self, stage: Stage, apis: Sequence[Api], proxies: Mapping[str, BusProxy], friend: Phone
    ) -> None:
        self.stage = stage
        self.apis = apis
        self.proxies = proxies
        self.friend = friend
        self.linked: list[Linked] = []
        self.holds_wanted = 0
        """How often the switch is expected to see a device held twice; a test says so before."""
        self.deaths: list[Death] = []
        """Nodes with browsers that were killed; a test that does it says so."""
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        """One line for whoever reads a failed test's output."""
        sys.stderr.write(f"{time.monotonic() - self._began:7.2f} s  {text}\n")

    async def link(self, count: int) -> None:
        """Link so many sessions, each to a phone of its own; then their state has been kept."""
        numbers = [f"1555000{number:04}" for number in range(1, count + 1)]
        self.linked = await link_sessions(self.stage, numbers)
        await wait_kept(self.stage, self.linked)
        self.say(f"{count} sessions online on {[one.session.node_id for one in self.linked]}")

    def load(self) -> Load:
        """Traffic of every linked session."""
        return Load(self.apis, self.linked, self.friend, period_s=PERIOD_S)

    async def views(self) -> dict[str, SessionView]:
        """How all sessions stand, by whichever control plane answers; empty if none does."""
        for api in self.apis:
            try:
                return {view.session_id: view for view in await all_sessions(api)}
            except BlazzError:
                continue
        return {}

    async def on(self, node_id: str) -> list[Linked]:
        """The sessions whose place is a node."""
        views = await self.views()
        return [one for one in self.linked if views[one.session.session_id].node_id == node_id]

    async def online(
        self,
        sessions: Sequence[Linked],
        where: Where = lambda _view: True,
        *,
        within_s: float,
    ) -> float:
        """Wait until each is online in a way that `where` accepts; seconds it took."""
        began = time.monotonic()

        async def all_online() -> bool:
            views = await self.views()
            assert views, "no control plane answers"
            seen = [views[linked.session.session_id] for linked in sessions]
            left = [v for v in seen if v.state is not SessionState.ONLINE or not where(v)]
            assert not left, [
                f"{v.state} ({v.reason}) on {v.node_id} under epoch {v.epoch}" for v in left
            ]
            return True

        await eventually(all_online, timeout_s=within_s, what=f"{len(sessions)} sessions online")
        took = time.monotonic() - began
        self.say(f"{len(sessions)} sessions online after {took:.2f} s")
        return took

    async def node_alive(self, node_id: str, *, within_s: float = FAILOVER_S) -> None:
        """Wait until a node counts as alive, and may be given sessions."""

        async def alive() -> bool:
            states = {node.node_id: node.state for node in (await self.stage.api.nodes()).data}
            return states.get(node_id) is NodeState.ALIVE

        await eventually(alive, timeout_s=within_s, what=f"{node_id} is alive")
        self.say(f"{node_id} is alive")

    async def flows(self, *, within_s: float) -> None:
        """Every session still sends: a new message of each is final within the time."""
        load, mark = self.load(), f"flows {time.monotonic()}"
        async with asyncio.timeout(within_s):
            for linked in self.linked:
                await load.send_one(linked, f"{mark} {linked.phone.number}")
        await truth.settle(self.stage, load, within_s=within_s)
        self.say("every session sends")

    async def one_browser_each(self) -> bool:
        """Whether each account has one device, held by one browser run."""
        for linked in self.linked:
            devices = await linked.phone.devices()
            assert [len(device.instances) for device in devices] == [1], linked.phone.number
        return True

    async def lines_closed(self, *, within_s: float) -> None:
        """Wait until no device of ours is online: every node has let go."""

        async def closed() -> bool:
            for linked in self.linked:
                assert not any(device.online for device in await linked.phone.devices())
            return True

        await eventually(closed, timeout_s=within_s, what="every device is offline")
        self.say("every node has let go")

    async def check(self, load: Load) -> truth.Outcome:
        """Every invariant; answers what became of the traffic."""
        outcome = await truth.settle(self.stage, load)
        self.say(f"traffic: {msgspec.to_builtins(outcome)}")
        events = await truth.read_events(self.stage)
        excused = await truth.died_with(self.stage, load, events, self.deaths)
        lost = [one for one in outcome.inbound_missing if one not in excused]
        assert not lost, f"{len(lost)} inbound messages lost"
        asked = truth.codes_after_link(events)
        assert not asked, truth.course(events, self.linked[0])
        held = await truth.holds(self.stage)
        courses = [truth.course(events, linked) for linked in self.linked]
        assert held <= self.holds_wanted, f"the switch saw {held} double holds: {courses}"
        return outcome

    def tell_logs(self) -> None:
        """The warnings and errors of every process: what a failed test is read by."""
        for name, child in self.stage.stack.children.items():
            text = child.spec.log_file.read_text(encoding="utf-8", errors="replace")
            for line in text.splitlines():
                if '"warning"' in line or '"error"' in line or "Traceback" in line:
                    sys.stderr.write(f"{name}: {line[:600]}\n")


@asynccontextmanager
async def open_world(
    engine: EngineKind = EngineKind.LOOPBACK,
    *,
    nodes: Sequence[NodePlan] = (NodePlan(NODE), NodePlan(OTHER)),
    control_planes: int = 1,
    proxied: Sequence[str] = (),
) -> AsyncIterator[World]:
    """A fleet for the block; at its end nothing of it may be left, neither process nor file.

    `proxied` are the nodes that reach the bus only through a proxy of ours.
    """
    async with AsyncExitStack() as outer:
        proxies = {node: await outer.enter_async_context(BusProxy()) for node in proxied}

        def address(node_id: str, url: str) -> str:
            if node_id not in proxies:
                return url
            proxies[node_id].target = url
            return proxies[node_id].url

        folder: Path | None = None
        temp_files = 0
        async with open_stage(
            engine,
            tuple(nodes),
            # A control plane that was killed comes back where its customers look for it.
            port=free_port(),
            control_planes=control_planes,
            node_bus=address,
            node_vault=QUICK_KEEPING if engine is EngineKind.LOOPBACK else VaultSettings(),
        ) as stage:
            folder = stage.temp_dir.parent
            async with AsyncExitStack() as inner:
                others = [
                    stage.stack.children[control_plane_name(number)].child.facts["port"]
                    for number in range(2, control_planes + 1)
                ]
                apis = [stage.api]
                for port in others:
                    api = Api(f"http://127.0.0.1:{port}", stage.stack.api_key)
                    apis.append(await inner.enter_async_context(api))
                world = World(stage, apis, proxies, await stage.book.create(FRIEND))
                try:
                    yield world
                except BaseException:
                    world.tell_logs()
                    raise
            for child in reversed(list(stage.stack.children.values())):
                await child.stop()
            temp_files = await asyncio.to_thread(count_files, stage.temp_dir)
        assert temp_files == 0, f"{temp_files} temporary files were left behind"
        await eventually(
            lambda: not faults.of_folder(folder),
            timeout_s=GONE_WITHIN_S,
            what="no process is left",
        )
        assert not folder.exists(), "the fleet's directory was left behind"
