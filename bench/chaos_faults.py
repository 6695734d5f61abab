"""Faults: processes killed and cut off at a named step or at any moment, and mended again.

Owns breaking and mending, and the deck of faults that a seed deals. Only touches processes of its
own fleet, by their ids. Never judges what came of it.
"""

import asyncio
import contextlib
import itertools
import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from bench.chaos_fleet import Fleet
from schemas.errors import BlazzError
from schemas.transport.checkpoints import Act, At, Part

FIRE_MAX_S: Final = 15.0
"""A step that nobody passes for so long is not on the way of this traffic."""
BACK_MAX_S: Final = 60.0
LOOK_EVERY_S: Final = 0.01
DEAD_S: Final = 0.3
CUT_S: Final = (0.5, 3.0)
LONG_CUT_S: Final = 9.0
"""Longer than a lease lives: the process has to let go."""
BUS: Final = "nats-server"
_MOVES: Final = frozenset(at for at in At if at.value.startswith("hand_over."))


class Kind(StrEnum):
    """How something is broken."""

    KILL_AT = "kill_at"
    CUT_AT = "cut_at"
    """Cut off the bus right at the step: it is frozen there, cut, and thawed."""
    KILL = "kill"
    CUT = "cut"
    BLACK_HOLE = "black_hole"


class Fault(msgspec.Struct, frozen=True):
    """One fault: at a step, or of a process (`nats-server` too) at no particular moment."""

    kind: Kind
    at: At | None = None
    process: str | None = None

    def __str__(self) -> str:
        return f"{self.kind} {self.at or self.process}"


class Broken(msgspec.Struct, frozen=True):
    """A fault that took place: what it hit, from when until it was mended (Unix seconds)."""

    fault: Fault
    process: str
    from_at: float
    until_at: float


class Death(msgspec.Struct, frozen=True):
    """A process that was killed, and when (Unix seconds)."""

    process: str
    at: float
    gone_at: float = 0.0
    """When the last of its browsers was gone, if that was watched: they outlive it a moment."""


def deck(rng: random.Random, processes: Sequence[str]) -> Iterator[Fault]:
    """Faults without end: each of them once, in an order of chance, and again in another."""
    faults = [Fault(kind, at=at) for kind in (Kind.KILL_AT, Kind.CUT_AT) for at in At]
    faults += [
        Fault(kind, process=name)
        for kind in (Kind.KILL, Kind.CUT, Kind.BLACK_HOLE)
        for name in processes
    ]
    faults += [Fault(Kind.KILL, process=BUS)] * 2
    while True:
        rng.shuffle(faults)
        yield from faults


class Breaker:
    """Carries faults out, one at a time."""

    def __init__(self, fleet: Fleet, rng: random.Random) -> None:
        self.broken: list[Broken] = []
        self.deaths: list[Death] = []
        self.never_passed: list[Fault] = []
        self._fleet = fleet
        self._rng = rng
        self._children = fleet.stage.stack.children
        self._turn = itertools.count()

    async def carry_out(self, fault: Fault) -> Broken | None:
        """Break, mend, and note it; None when the step was not passed in time."""
        from_at = time.time()
        process = fault.process
        if fault.at is not None:
            process = await (
                self._kill_at(fault.at) if fault.kind is Kind.KILL_AT else self._cut_at(fault.at)
            )
        elif process == BUS:
            await self._kill_bus()
        elif process is not None and fault.kind is Kind.KILL:
            await self._kill(process)
        elif process is not None:
            await self._off_the_bus(process, black_hole=fault.kind is Kind.BLACK_HOLE)
        if process is None:
            self.never_passed.append(fault)
            return None
        broken = Broken(fault, process, from_at, time.time())
        self.broken.append(broken)
        return broken

    # At a step -------------------------------------------------------------------------------

    async def _kill_at(self, at: At) -> str | None:
        candidates = self._fleet.armory.processes(at.part)
        with contextlib.ExitStack() as held:
            for name in candidates:
                held.enter_context(self._children[name].left_dead())
            fired = await self._fire(at, Act.KILL, candidates)
            if fired is not None:
                await asyncio.sleep(DEAD_S)
            # More than one may have fired in the same moment.
            for name in candidates:
                if (died_at := self._fleet.armory.fired_at(name, at)) is not None:
                    self.deaths.append(Death(name, died_at))
                if self._children[name].child.process.returncode is not None:
                    await self._children[name].start()
        return fired

    async def _cut_at(self, at: At) -> str | None:
        candidates = self._fleet.armory.processes(at.part)
        fired = await self._fire(at, Act.FREEZE, candidates)
        frozen = [name for name in candidates if self._fleet.armory.fired(name, at)]
        for name in frozen:
            await self._fleet.proxies[name].cut()
            os.kill(self._children[name].child.pid, signal.SIGCONT)
        if frozen:
            await asyncio.sleep(self._rng.uniform(*CUT_S))
        for name in frozen:
            self._fleet.proxies[name].heal()
        return fired

    async def _fire(self, at: At, act: Act, candidates: Sequence[str]) -> str | None:
        """Arm the step everywhere; the process at which it fired first."""
        armory = self._fleet.armory
        for name in candidates:
            armory.arm(name, at, act)
        try:
            if at in _MOVES:
                await self._move_one()

            def fired() -> str | None:
                return next((name for name in candidates if armory.fired(name, at)), None)

            return await _until(fired, FIRE_MAX_S)
        finally:
            for name in candidates:
                armory.disarm(name, at)

    async def _move_one(self) -> None:
        """Ask for a session to move, as an operator does."""
        linked = self._fleet.linked[next(self._turn) % len(self._fleet.linked)]
        path = f"/v1/sessions/{linked.session.session_id}/move"
        for api in self._fleet.apis:
            with contextlib.suppress(BlazzError):
                await api.call("POST", path, msgspec.Raw)
                return

    # At any moment --------------------------------------------------------------------------------

    async def _kill(self, name: str) -> None:
        child = self._children[name]
        self.deaths.append(Death(name, time.time()))
        await child.take_down()
        await asyncio.sleep(DEAD_S)
        await child.start()

    async def _kill_bus(self) -> None:
        nats = self._fleet.stage.stack.nats
        restarts = nats.restarts
        os.kill(nats.pid, signal.SIGKILL)
        await _until(lambda: nats.restarts > restarts and nats.pid, BACK_MAX_S)

    async def _off_the_bus(self, name: str, *, black_hole: bool) -> None:
        proxy = self._fleet.proxies[name]
        if black_hole:
            proxy.black_hole()
        else:
            await proxy.cut()
        long = self._rng.random() < 0.5
        await asyncio.sleep(LONG_CUT_S if long else self._rng.uniform(*CUT_S))
        proxy.heal()


async def _until(found: Callable[[], str | int | bool | None], limit_s: float) -> str | None:
    """The first true answer, as text; None after the time."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            while True:
                if answer := found():
                    return str(answer)
                await asyncio.sleep(LOOK_EVERY_S)
    return None


def parts_of(fleet: Fleet) -> list[str]:
    """Every process that can be killed or cut off, but for the bus itself."""
    return [name for part in Part for name in fleet.armory.processes(part)]
