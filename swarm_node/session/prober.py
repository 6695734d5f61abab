"""The prober: asks the engine, again and again, whether the session is really online.

Owns the rhythm: a period, and at once when there is a reason to look. Never judges a result: it
goes to the runner, which asks the table.
"""

import asyncio
import time
from typing import Protocol

import structlog

from schemas.errors import BlazzError, ErrorCode
from schemas.states import SessionState
from swarm_node.engines.contract import Engine
from swarm_node.session.engine_slot import EngineSlot
from swarm_node.session.mailbox import Probed
from swarm_node.session.timings import SessionTimings

log = structlog.get_logger()


class Probable(Protocol):
    """What the prober needs of a runner."""

    @property
    def timings(self) -> SessionTimings: ...
    @property
    def state(self) -> SessionState: ...
    @property
    def linked(self) -> bool: ...
    @property
    def slot(self) -> EngineSlot | None: ...
    async def probed(self, result: Probed) -> None: ...


class Prober:
    """One runner's probes, one at a time."""

    def __init__(self, session: Probable) -> None:
        self._session = session
        self._wanted = asyncio.Event()
        self._unanswered = 0
        self._slot: EngineSlot | None = None

    def soon(self) -> None:
        """There is a reason to look now."""
        self._wanted.set()

    async def run(self) -> None:
        """Probe for ever; while nothing is linked, wait for `soon`."""
        while True:
            await self._wait_for_turn()
            self._wanted.clear()
            slot = self._session.slot
            if slot is None or slot.engine is None or slot.ending or not self._session.linked:
                continue
            started_s = time.monotonic()
            await self._session.probed(await self._probe(slot, slot.engine))
            # Reasons to look come in bursts; a probe answers all that came before it.
            gap_s = self._session.timings.probe_gap_s - (time.monotonic() - started_s)
            await asyncio.sleep(max(0.0, gap_s))

    async def _wait_for_turn(self) -> None:
        if not self._session.linked:
            await self._wanted.wait()
            return
        timings = self._session.timings
        online = self._session.state is SessionState.ONLINE
        period_s = timings.probe_period_s if online else timings.probe_unsettled_s
        try:
            async with asyncio.timeout(period_s):
                await self._wanted.wait()
        except TimeoutError:
            return

    async def _probe(self, slot: EngineSlot, engine: Engine) -> Probed:
        if slot is not self._slot:
            self._slot, self._unanswered = slot, 0
        try:
            async with asyncio.timeout(self._session.timings.probe_timeout_s):
                probe = await engine.probe()
        except TimeoutError:
            code = ErrorCode.PAGE_TIMEOUT
        except BlazzError as error:
            code = error.code
        except Exception:
            log.exception("engine.probe_failed")
            code = ErrorCode.INTERNAL
        else:
            self._unanswered = 0
            return Probed(slot, probe=probe)
        self._unanswered += 1
        return Probed(slot, error=code, unanswered=self._unanswered)
