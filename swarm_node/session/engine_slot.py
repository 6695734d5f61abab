"""The engine slot: one launched engine from its launch to its end.

Owns the launch (through the start gate: first its profile is made ready, then it starts), the
reader of its events, and the two ways to end it: `stop` asks and falls back to killing, `kill`
doesn't ask. Never decides why or when.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog

from schemas import log_keys
from schemas.errors import BlazzError, ErrorCode
from swarm_node.engines.contract import Engine, EngineEvent, EngineFailed
from swarm_node.session.start_gate import StartGate
from swarm_node.session.timings import SessionTimings

log = structlog.get_logger()

READ_OUT_MAX_S: Final = 1.0
"""After a kill, which is in a hurry: to write down what was reported takes some 50 ms."""

OnEvents = Callable[["EngineSlot", Sequence[EngineEvent]], Awaitable[None]]
MakeEngine = Callable[[dict[str, str] | None], Engine]
"""Makes an engine with this page storage; see `EngineSpec.page_storage`."""
Prepare = Callable[[], Awaitable[Engine]]
"""Makes the profile ready and the engine for it. Bounded. Raises `BlazzError`."""


class EngineSlot:
    """One engine's life. `drive` runs as a task; `stop` or `kill` ends it, once."""

    def __init__(
        self, prepare: Prepare, *, gate: StartGate, timings: SessionTimings, on_events: OnEvents
    ) -> None:
        self.engine: Engine | None = None
        """None until its profile is ready."""
        self.ending = False
        """Set before the end begins: what the engine says of its state no longer matters."""
        self.ended_cleanly = False
        """Whether the engine, once launched, was closed in its own time."""
        self.driver: asyncio.Task[None] | None = None
        self._prepare = prepare
        self._gate = gate
        self._timings = timings
        self._on_events = on_events
        self._launched = False
        self._broken = False
        self._stop_limit: asyncio.Timeout | None = None

    @property
    def prepared(self) -> bool:
        """Whether its profile was made ready: what fails before that says nothing of an engine."""
        return self.engine is not None

    async def drive(self) -> None:
        """Launch and read until the end. Trouble is reported as `EngineFailed`, never raised."""
        try:
            async with self._gate.turn():
                self.engine = engine = await self._prepare()
                async with asyncio.timeout(self._timings.launch_max_s):
                    await engine.start()
            self._launched = True
            async for events in engine.events():
                await self._on_events(self, events)
            trouble = EngineFailed(ErrorCode.BROWSER_CRASHED, "the engine ended by itself")
        except BlazzError as error:
            trouble = EngineFailed(error.code, error.detail)
        except TimeoutError:
            trouble = EngineFailed(ErrorCode.BROWSER_START_FAILED, "the launch took too long")
        except Exception:
            log.exception("engine.driver_failed")
            trouble = EngineFailed(ErrorCode.INTERNAL, "the engine's driver failed")
        self._broken = True
        if not self.ending:
            await self._on_events(self, (trouble,))

    async def stop(self) -> None:
        """End it cleanly; what it still had to report is read out. Bounded; kills if it must."""
        was_well = self._launched and not self._broken
        self.ending = True
        if not self._launched:
            await self._end_driver()
        if self.engine is None:
            return
        try:
            async with asyncio.timeout(self._timings.stop_max_s) as self._stop_limit:
                await self.engine.stop()
        except (BlazzError, TimeoutError) as error:
            code = error.code if isinstance(error, BlazzError) else ErrorCode.TIMEOUT
            log.warning("engine.stop_failed", **{log_keys.CODE: code})
            await self.kill()
            return
        except Exception:
            log.exception("engine.stop_failed")
            await self.kill()
            return
        self.ended_cleanly = was_well
        await self._read_out(self._timings.drain_max_s)
        await self._end_driver()

    async def kill(self) -> None:
        """End it at once, and cut short a `stop` that is going on; what it had reported before is
        still read out. Bounded; never raises."""
        self.ending = self._broken = True
        if self._stop_limit is not None and not self._stop_limit.expired():
            with contextlib.suppress(RuntimeError):  # it has just ended by itself
                self._stop_limit.reschedule(asyncio.get_running_loop().time())
        if not self._launched:
            await self._end_driver()
        if self.engine is not None:
            await self._kill_engine(self.engine)
        await self._read_out(READ_OUT_MAX_S)
        await self._end_driver()

    async def _kill_engine(self, engine: Engine) -> None:
        try:
            async with asyncio.timeout(self._timings.kill_max_s):
                await engine.kill()
        except TimeoutError:
            log.exception("engine.kill_timed_out")
        except Exception:
            log.exception("engine.kill_failed")

    async def _read_out(self, timeout_s: float) -> None:
        """Its source may have forgotten what it reported: WhatsApp's page confirms by itself."""
        if self.driver is not None and self.driver is not asyncio.current_task():
            await asyncio.wait({self.driver}, timeout=timeout_s)

    async def _end_driver(self) -> None:
        driver = self.driver
        if driver is None or driver is asyncio.current_task():
            return
        driver.cancel()
        await asyncio.wait({driver}, timeout=self._timings.kill_max_s)
