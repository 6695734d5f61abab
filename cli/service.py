"""A process as a service: ready, alive, busy ending. Told to systemd as long as it is true.

Owns when each is said. Alive is proven, not assumed: the event loop gets here, and every loop that
the process lives by went round in its time. Never kills anything: whoever is told nothing does.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from cli.systemd import Notifier
from schemas import log_keys
from schemas.turns import Turn, overdue

log = structlog.get_logger()

_LOOK_EVERY_S: Final = 10.0
ENDING_GRACE_S: Final = 60.0
"""While it ends: so long after one thing less is left, more time is asked for."""


class Vitals(msgspec.Struct, frozen=True):
    """A process at this moment. `words`: for people; `left`: how many things must be ended before
    it can."""

    words: str
    turns: tuple[Turn, ...] = ()
    left: int = 0


class Ending(msgspec.Struct, frozen=True):
    """How far the end has come: what is left, and since when (monotonic) it is that."""

    left: int
    since_s: float

    def now(self, left: int, now_s: float) -> "Ending":
        """As seen now."""
        return Ending(left, now_s) if left < self.left else self

    def goes_on(self, now_s: float) -> bool:
        """Whether it deserves more time: something is left, and lately there was more."""
        return self.left > 0 and now_s - self.since_s <= ENDING_GRACE_S


class Service:
    """One process's word to systemd. `run` is started before anything that may take its time."""

    def __init__(
        self,
        notifier: Notifier,
        *,
        stop: asyncio.Event,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._notifier = notifier
        self._stop = stop
        self._clock = clock
        self._vitals: Callable[[], Vitals] | None = None
        self._wake = asyncio.Event()
        self._ending: Ending | None = None
        self._stuck: str | None = None
        self._words = ""

    def ready(self, vitals: Callable[[], Vitals]) -> None:
        """It is up; from now on `vitals` is asked (it must not block)."""
        self._vitals = vitals
        self._notifier.ready()
        self._wake.set()

    async def run(self) -> None:
        """Tell, for ever. Ends at once where nobody listens."""
        if not self._notifier.heard:
            return
        watchdog_s = self._notifier.watchdog_s
        period_s = min(_LOOK_EVERY_S, watchdog_s / 2) if watchdog_s else _LOOK_EVERY_S
        async with asyncio.TaskGroup() as group:
            group.create_task(self._notice_stop(), name="notice stop")
            while True:
                self.look()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(period_s):
                        await self._wake.wait()
                self._wake.clear()

    async def _notice_stop(self) -> None:
        await self._stop.wait()
        self._wake.set()

    def look(self) -> None:
        """One look, and what follows from it."""
        now_s = self._clock()
        vitals = self._vitals() if self._vitals is not None else Vitals("starting")
        late = overdue(vitals.turns, now_s)
        if late is None:
            self._notifier.alive()
            self._stuck = None
        else:
            self._say_stuck(late, now_s)
        words = vitals.words if late is None else f"stuck: {late.name}; {vitals.words}"
        if self._stop.is_set():
            words = self._end(vitals.left, now_s)
        if words != self._words:
            self._notifier.words(words)
            self._words = words

    def _say_stuck(self, late: Turn, now_s: float) -> None:
        if self._stuck != late.name:
            log.error(
                "service.stuck",
                name=late.name,
                **{log_keys.DURATION: round(now_s - late.at_s, 1)},
            )
        self._stuck = late.name

    def _end(self, left: int, now_s: float) -> str:
        if self._ending is None:
            self._notifier.stopping()
            self._ending = Ending(left, now_s)
        self._ending = self._ending.now(left, now_s)
        if self._ending.goes_on(now_s):
            self._notifier.more_time(ENDING_GRACE_S)
        return f"stopping: {left} sessions left" if left else "stopping"
