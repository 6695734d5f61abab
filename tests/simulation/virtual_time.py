"""Virtual time: an event loop whose clock jumps, and processes that have clocks of their own.

Owns the loop, what a simulated process is (its clock's rate, its stalls, its end) and the patches
that make `time`, `random`, `secrets` and ids come from the seed. Never a bus, a node or a fault.

Which process a callback belongs to is told by its context (`PROCESS`): so every task, timer and
socket callback that a process makes is its own, without any of our code knowing.
"""

import asyncio
import contextvars
import heapq
import os
import random
import secrets
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import structlog
import uuid_utils

from schemas.transport.lease import Lease

PROCESS: Final[contextvars.ContextVar["Process | None"]] = contextvars.ContextVar(
    "process", default=None
)
WALL_AT_0_S: Final = 1_800_000_000.0
_STEPS_AT_ONCE_MAX: Final = 200_000
_TICK_S: Final = 1e-6


class BusyLoopError(Exception):
    """Callbacks went on and on while no time passed: somebody waits without waiting."""


class Process:
    """One simulated operating-system process: a clock, and whether it can run code now.

    `rate` is how fast its clock runs; `offset_s` is what its monotonic clock showed at time 0;
    `wall_error_s` is how wrong its wall clock is.
    """

    def __init__(
        self, loop: "VirtualLoop", name: str, *, rate: float, offset_s: float, wall_error_s: float
    ) -> None:
        self.name = name
        self.loop = loop
        self.rate = rate
        self.alive = True
        self.stalled_until: float | None = None
        self.last_stall: tuple[float, float] = (-1.0, -1.0)
        self.backlog: deque[asyncio.Handle] = deque()
        self.disk_s: Callable[[], float] = lambda: 0.0
        self._offset_s = offset_s
        self._wall_error_s = wall_error_s
        self.context = contextvars.copy_context()
        self.context.run(PROCESS.set, self)

    def monotonic(self) -> float:
        """What its monotonic clock shows now."""
        return self._offset_s + self.rate * self.loop.now

    def wall(self) -> float:
        """What its wall clock shows now."""
        return WALL_AT_0_S + self._wall_error_s + self.loop.now

    def true_time(self, monotonic: float) -> float:
        """When its monotonic clock shows (or showed) `monotonic`."""
        return (monotonic - self._offset_s) / self.rate

    def spawn(self, work: Any, *, name: str) -> "asyncio.Task[Any]":
        """Run a coroutine as this process."""
        context = self.context.copy()
        return context.run(self.loop.create_task, work, name=name)

    def stall(self, for_s: float) -> None:
        """Nothing of this process runs for so long; its clock goes on."""
        until = self.loop.now + for_s
        if self.stalled_until is not None and self.stalled_until >= until:
            return
        began = self.last_stall[0] if self.stalled_until is not None else self.loop.now
        self.stalled_until = until
        self.last_stall = (began, until)
        self.loop.call_at_true(until, self._wake)

    def _wake(self) -> None:
        if self.stalled_until is not None and self.stalled_until <= self.loop.now:
            self.stalled_until = None
            self.loop.take_back(self.backlog)


class SimTask(asyncio.Task[Any]):
    """A task whose place in a set does not depend on its address."""

    _made = 0

    def __init__(self, *args: Any, **named: Any) -> None:
        SimTask._made += 1
        self._number = SimTask._made
        super().__init__(*args, **named)

    def __hash__(self) -> int:
        return self._number


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop on virtual time: when nothing is ready, `now` jumps to the next timer.

    `now` is true time; `time()` is the running process's monotonic clock, so its time-outs and
    sleeps run at its own rate. Equal seeds give equal orders: timers due together run in the order
    they were made.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.steps = 0
        self.errors: list[str] = []
        self._timers: list[tuple[float, int, asyncio.Handle]] = []
        self._made = 0
        self._steps_at_once = 0
        SimTask._made = 0
        self.set_task_factory(self._task)
        self.set_exception_handler(self._note_error)

    @staticmethod
    def _task(
        loop: asyncio.AbstractEventLoop,
        work: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.Future[Any]:
        return SimTask(work, loop=loop, context=context)

    def _note_error(self, _loop: asyncio.AbstractEventLoop, about: dict[str, Any]) -> None:
        process = PROCESS.get()
        name = process.name if process else "world"
        self.errors.append(f"{name}: {about.get('message')}: {about.get('exception')!r}")

    def time(self) -> float:
        """The running process's monotonic clock."""
        process = PROCESS.get()
        return self.now if process is None else process.monotonic()

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """As asyncio's; `when` is on the process's own clock."""
        context = contextvars.copy_context() if context is None else context
        process = context.get(PROCESS)
        true = when if process is None else process.true_time(when)
        if when > self.time():
            # Between two clocks a wait may round to nothing, for ever: no real timer takes no time.
            true = max(true, self.now + _TICK_S)
        return self.call_at_true(true, callback, *args, context=context)

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """As asyncio's."""
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at_true(
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call at a true time, whatever a process's clock shows."""
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._made += 1
        heapq.heappush(self._timers, (when, self._made, handle))
        return handle

    def _timer_handle_cancelled(self, _handle: asyncio.TimerHandle) -> None:
        """Cancelled timers are skipped when their time comes."""

    def take_back(self, handles: deque[asyncio.Handle]) -> None:
        """Run what a stalled process could not."""
        self._ready.extend(handles)  # type: ignore[attr-defined]
        handles.clear()

    def _run_once(self) -> None:
        ready: deque[asyncio.Handle] = self._ready  # type: ignore[attr-defined]
        if not ready:
            self._jump(ready)
        self._steps_at_once += len(ready)
        if self._steps_at_once > _STEPS_AT_ONCE_MAX:
            raise BusyLoopError(f"at {self.now}: {ready[0]!r}")
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            process = handle._context.get(PROCESS)  # type: ignore[attr-defined]
            if process is not None and process.stalled_until is not None:
                process.backlog.append(handle)
                continue
            self.steps += 1
            handle._run()

    def _jump(self, ready: deque[asyncio.Handle]) -> None:
        timers = self._timers
        while timers and timers[0][2]._cancelled:
            heapq.heappop(timers)
        if not timers:
            raise BusyLoopError("nothing is left to happen")
        due = timers[0][0]
        if due > self.now:
            self.now = due
            self._steps_at_once = 0
        while timers and timers[0][0] <= self.now:
            ready.append(heapq.heappop(timers)[2])

    def run_in_executor(  # type: ignore[override]
        self, _executor: object, function: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """A thread's work: done in one piece, after as long as the process's disk takes."""
        future = self.create_future()
        process = PROCESS.get()

        def work() -> None:
            if future.cancelled() or (process is not None and not process.alive):
                return
            try:
                future.set_result(function(*args))
            except Exception as error:  # noqa: BLE001 - it is the waiter's, whatever it is
                future.set_exception(error)

        self.call_at_true(self.now + (process.disk_s() if process else 0.0), work)
        return future

    def _write_to_self(self) -> None:
        """There is nothing to wake."""


@contextmanager
def swapped(*parts: tuple[object, str, object]) -> Iterator[None]:
    """For the block, `(owner, name, value)` stand in place of what is there."""
    before = [(owner, name, getattr(owner, name)) for owner, name, _value in parts]
    for owner, name, value in parts:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


@contextmanager
def virtual_world(loop: VirtualLoop, seed: int) -> Iterator[None]:
    """For the block, clocks, chance and ids are the simulation's; restored after it."""

    def monotonic() -> float:
        process = PROCESS.get()
        return loop.now if process is None else process.monotonic()

    def wall() -> float:
        process = PROCESS.get()
        return WALL_AT_0_S + loop.now if process is None else process.wall()

    def token_bytes(count: int | None = None) -> bytes:
        return random.randbytes(32 if count is None else count)

    def token_hex(count: int | None = None) -> str:
        return token_bytes(count).hex()

    def uuid7(*_args: object) -> uuid.UUID:
        millis = int(wall() * 1000)
        return uuid.UUID(int=(millis << 80) | (7 << 76) | random.getrandbits(76))

    before = random.getstate()
    logging = structlog.get_config()
    random.seed(seed)
    with swapped(
        (time, "monotonic", monotonic),
        (time, "time", wall),
        (secrets, "token_hex", token_hex),
        (secrets, "token_bytes", token_bytes),
        (os, "urandom", token_bytes),
        (os, "getloadavg", lambda: (0.5, 0.5, 0.5)),
        (uuid, "uuid4", lambda: uuid.UUID(int=random.getrandbits(128))),
        (uuid_utils, "uuid7", uuid7),
        # It took `time.monotonic` as its default when it was defined.
        (Lease.__init__, "__defaults__", (monotonic,)),
    ):
        try:
            yield
        finally:
            random.setstate(before)
            structlog.configure(**logging)
