"""The player: carries a schedule's actions out on a world, heals it and lets it settle.

Owns what each kind of action does. Never draws a schedule and never judges a run.
"""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

import msgspec

from control_plane.core.moves import even_out
from schemas.api import NewSession
from schemas.commands import SendMessage
from schemas.errors import BlazzError
from schemas.ids import message_id
from schemas.messages import Text
from schemas.records import Assignment
from tests.simulation.invariants import Invariants
from tests.simulation.schedule import FAULTS_BEGIN_S, Action, Schedule
from tests.simulation.world import NOBODY, ControlPlaneService, NodeService, Service, World

TENANT: Final = "acme"
_LOOK_EVERY_S: Final = 0.25
_SETTLE_MAX_S: Final = {"fast": 120.0, "cluster": 300.0}
_SETTLED_LOOKS: Final = 8
_REQUEST_MAX_S: Final = 20.0
_MOVES_NAMED_SHARE: Final = 0.4
"""So many moves name a node; the others go wherever there is room."""


class Player:
    """Plays one schedule."""

    def __init__(self, world: World, schedule: Schedule) -> None:
        self.world = world
        self.schedule = schedule
        self.chance = random.Random(f"player {schedule.seed}")
        self.invariants = Invariants(world)
        self.settled_after_s: float | None = None
        self._asked = 0
        world.engine, world.timing = schedule.engine, schedule.timing
        for number, places in enumerate(schedule.places):
            name = f"node-{number}"
            world.nodes[name] = NodeService(
                world,
                name,
                sessions_max=places,
                region=f"region-{number % 2}",
                provider=f"provider-{number % 3}",
                address=f"192.0.2.{number + 1}",
            )
        for number in range(schedule.replicas):
            name = f"control-{number}"
            world.control_planes[name] = ControlPlaneService(world, name)

    async def play(self) -> None:
        """The whole run: begin, trouble, healing, settling."""
        loop, schedule = self.world.loop, self.schedule
        for service in self.world.services():
            service.start()
        loop.call_at_true(3.0, self._create_first, context=NOBODY)
        for action in schedule.actions:
            loop.call_at_true(action.at_s, self._act, action, context=NOBODY)
        await self._watch_until(schedule.heal_s)
        self.heal()
        await self._settle()

    async def _watch_until(self, when_s: float) -> None:
        while self.world.loop.now < when_s and not self.world.breaches:
            self.invariants.look()
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _settle(self) -> None:
        """Until all is as it must be, and stays so for a while."""
        world = self.world
        good, trouble, most_s = 0, [""], _SETTLE_MAX_S[self.schedule.timing]
        while world.loop.now < self.schedule.heal_s + most_s and not world.breaches:
            self.invariants.look()
            await asyncio.sleep(_LOOK_EVERY_S)
            trouble = self.invariants.unsettled()
            good = 0 if trouble else good + 1
            if good >= _SETTLED_LOOKS:
                self.settled_after_s = world.loop.now - self.schedule.heal_s
                return
        for what in trouble if not world.breaches else []:
            world.breach(f"not settled {most_s} s after healing: {what}")

    def heal(self) -> None:
        """End every fault."""
        world = self.world
        world.note("PLAYER", "heal")
        if not world.network.server_up:
            world.broker.restart()
        world.broker.disk_s = lambda: 0.0
        world.vault.away = False
        for service in world.services():
            self._restore_weather(service)
            if service.name not in self.invariants.lost_nodes:
                service.start()
        world.switch.weather.clear()

    def _restore_weather(self, service: Service) -> None:
        if service.process is not None:
            self.world.network.set_weather(
                service.process,
                cut_out=False,
                cut_in=False,
                delay_min_s=0.0003,
                delay_max_s=0.003,
                drop_share=0.0,
                twice_share=0.0,
            )

    # Actions ---------------------------------------------------------------------------------

    def _act(self, action: Action) -> None:
        self.world.note("PLAYER", str(action))
        getattr(self, f"_{action.kind}")(action)

    def _later(self, for_s: float, act: Callable[..., None], *args: Any) -> None:
        """Undo a fault, unless healing has done it already."""

        def undo() -> None:
            if self.world.loop.now < self.schedule.heal_s:
                act(*args)

        self.world.loop.call_at_true(self.world.loop.now + for_s, undo, context=NOBODY)

    def _node(self, action: Action) -> NodeService:
        return self.world.nodes[f"node-{action.who}"]

    def _control(self, action: Action) -> ControlPlaneService:
        return self.world.control_planes[f"control-{action.who}"]

    def _crash_node(self, action: Action) -> None:
        self._node(action).crash(down_s=max(0.3, action.for_s))

    def _lose_node(self, action: Action) -> None:
        lost = self.invariants.lost_nodes
        # The fleet needs somewhere to go.
        if len(lost) + 1 < len(self.world.nodes):
            lost.add(self._node(action).name)
            self._node(action).crash(down_s=None)

    def _stop_node(self, action: Action) -> None:
        self._node(action).stop_cleanly()
        self._later(action.for_s + 1.0, self._node(action).start)

    def _stall_node(self, action: Action) -> None:
        self._stall(self._node(action), action)

    def _stall_control(self, action: Action) -> None:
        self._stall(self._control(action), action)

    def _stall(self, service: Service, action: Action) -> None:
        if service.up and service.process is not None:
            service.process.stall(min(action.for_s, 20.0))

    def _crash_control(self, action: Action) -> None:
        self._control(action).crash(down_s=max(0.3, action.for_s))

    def _cut_node(self, action: Action) -> None:
        self._weather(self._node(action), action, cut_out=True, cut_in=True)

    def _deafen_node(self, action: Action) -> None:
        self._weather(self._node(action), action, cut_in=True)

    def _mute_node(self, action: Action) -> None:
        self._weather(self._node(action), action, cut_out=True)

    def _slow_node(self, action: Action) -> None:
        self._weather(
            self._node(action), action, delay_min_s=0.01, delay_max_s=0.05 + action.amount
        )

    def _cut_control(self, action: Action) -> None:
        self._weather(self._control(action), action, cut_out=True, cut_in=True)

    def _deafen_control(self, action: Action) -> None:
        self._weather(self._control(action), action, cut_in=True)

    def _mute_control(self, action: Action) -> None:
        self._weather(self._control(action), action, cut_out=True)

    def _weather(self, service: Service, action: Action, **changes: Any) -> None:
        if service.process is not None:
            self.world.network.set_weather(service.process, **changes)
            self._later(action.for_s, self._restore_weather, service)

    def _lose_messages(self, action: Action) -> None:
        for service in self.world.services():
            self._weather(service, action, drop_share=0.05 + 0.25 * action.amount)

    def _repeat_messages(self, action: Action) -> None:
        for service in self.world.services():
            self._weather(service, action, twice_share=0.3)

    def _crash_bus(self, action: Action) -> None:
        world = self.world
        if world.network.server_up:
            world.broker.crash()
            self._later(min(action.for_s, 12.0), self._restart_bus)

    def _restart_bus(self) -> None:
        if not self.world.network.server_up:
            self.world.broker.restart()

    def _slow_disk(self, action: Action) -> None:
        broker, most = self.world.broker, 0.02 + 0.4 * action.amount**2
        broker.disk_s = lambda: broker.chance.uniform(0.005, most)
        self._later(action.for_s, self._quick_disk)

    def _quick_disk(self) -> None:
        self.world.broker.disk_s = lambda: 0.0

    def _lose_vault(self, action: Action) -> None:
        self.world.vault.away = True
        self._later(action.for_s, lambda: setattr(self.world.vault, "away", False))

    def _crash_browser(self, action: Action) -> None:
        browsers = sorted(self.world.switch.browsers.values(), key=lambda b: b.number)
        self.invariants.vault.rollback_allowed = True
        if browsers:
            which = min(int(action.amount * len(browsers)), len(browsers) - 1)
            self.world.switch.crash(browsers[which])

    def _cut_internet(self, action: Action) -> None:
        weather = self.world.switch.weather_of_name(self._node(action).name)
        weather.internet_cut = True
        self._later(action.for_s, lambda: setattr(weather, "internet_cut", False))

    def _spoil_starts(self, action: Action) -> None:
        weather = self.world.switch.weather_of_name(self._node(action).name)
        weather.start_fails_share = 0.3 + 0.7 * action.amount
        self.invariants.starts_spoiled = True
        self.invariants.vault.rollback_allowed = True
        self._later(action.for_s, lambda: setattr(weather, "start_fails_share", 0.0))

    # Requests --------------------------------------------------------------------------------

    def _create_first(self) -> None:
        for _ in range(self.schedule.sessions):
            self._create(Action(FAULTS_BEGIN_S, "create"))

    def _create(self, _action: Action) -> None:
        self._asked += 1
        name = f"session {self._asked}"

        async def create(control: ControlPlaneService) -> None:
            assert control.sessions is not None
            await control.sessions.create(TENANT, NewSession(name=name))

        self._request("create", create)

    def _stop(self, action: Action) -> None:
        self._of_session(action, "stop")

    def _start(self, action: Action) -> None:
        self._of_session(action, "start")

    def _restart(self, action: Action) -> None:
        self._of_session(action, "restart")

    def _delete(self, action: Action) -> None:
        self._of_session(action, "delete")

    def _of_session(self, action: Action, verb: str) -> None:
        session_id = self._session(action)

        async def ask(control: ControlPlaneService) -> None:
            await getattr(control.sessions, verb)(TENANT, session_id)

        if session_id is not None:
            self._request(f"{verb} {session_id[-4:]}", ask)

    def _session(self, action: Action) -> str | None:
        known = sorted(self.invariants.records)
        return known[action.who % len(known)] if known else None

    def _send(self, action: Action) -> None:
        """Hand some messages over, one after the other, to whoever is thought to hold it."""
        session_id = self._session(action)

        async def send(control: ControlPlaneService) -> None:
            assert control.state is not None
            for _ in range(4):
                assignment = control.state.assignment(session_id or "")
                if assignment is not None:
                    await self._send_one(control, assignment)
                await asyncio.sleep(0.7)

        if session_id is not None:
            self._request(f"send {session_id[-4:]}", send)

    async def _send_one(self, control: ControlPlaneService, assignment: Assignment) -> None:
        command = SendMessage(
            session_id=assignment.session_id,
            epoch=assignment.epoch,
            message_id=message_id(self.chance.randbytes(9)),
            to="31687654321@c.us",
            content=Text("hello"),
        )
        assert control.nodes is not None
        try:
            await control.nodes.ask(assignment, "send_message", command, timeout_s=5.0)
        except BlazzError as error:
            self.world.note(control.name, f"send: {error.code}")

    # Operators -------------------------------------------------------------------------------

    def _cordon(self, action: Action) -> None:
        self._intend(action, cordoned=True)

    def _uncordon(self, action: Action) -> None:
        self._intend(action, cordoned=False, draining=False, drain_deadline_at=None)

    def _drain(self, action: Action) -> None:
        deadline_at = self.world.wall() + 5.0 + action.for_s
        self._intend(action, draining=True, drain_deadline_at=deadline_at)

    def _intend(self, action: Action, **wanted: Any) -> None:
        node_id = self._node(action).name

        async def intend(control: ControlPlaneService) -> None:
            assert control.placements is not None
            await control.placements.intend(
                node_id, lambda held: msgspec.structs.replace(held, **wanted)
            )

        self._request(f"{action.kind} {node_id}", intend)

    def _move(self, action: Action) -> None:
        session_id = self._session(action)
        named = action.amount < _MOVES_NAMED_SHARE
        to = self.chance.choice(sorted(self.world.nodes)) if named else ""

        async def move(control: ControlPlaneService) -> None:
            assert control.placements is not None
            await control.placements.want_move(session_id or "", to, "move")

        if session_id is not None:
            self._request(f"move {session_id[-4:]} to {to or 'anywhere'}", move)

    def _rebalance(self, _action: Action) -> None:
        async def rebalance(control: ControlPlaneService) -> None:
            assert control.placements is not None
            assert control.state is not None
            fleet = control.state.snapshot(time.monotonic(), time.time())
            for move in even_out(fleet, 4):
                await control.placements.want_move(move.session_id, move.to_node, "rebalance")

        self._request("rebalance", rebalance)

    def _request(
        self, what: str, ask: Callable[[ControlPlaneService], Coroutine[Any, Any, None]]
    ) -> None:
        """Ask one of the replicas, as a load balancer would."""
        ready = [c for c in self.world.control_planes.values() if c.up and c.sessions is not None]
        if not ready:
            self.world.note("PLAYER", f"{what}: no replica is up")
            return
        control = self.chance.choice(ready)

        async def bounded() -> None:
            if control.sessions is None:
                self.world.note(control.name, f"{what}: it ended before it began")
                return
            try:
                async with asyncio.timeout(_REQUEST_MAX_S):
                    await ask(control)
            except BlazzError as error:
                self.world.note(control.name, f"{what}: {error.code}")
            except TimeoutError:
                self.world.note(control.name, f"{what}: no answer")
            else:
                self.world.note(control.name, f"{what}: done")

        assert control.process is not None
        control.process.spawn(bounded(), name=what)
