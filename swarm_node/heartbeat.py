"""The node's pulse: it announces itself, then beats.

Owns the node's record (KV, on change only), the announcements and the heartbeats (core bus, at
most once: the next one tells the same). Never judges who is alive.
"""

import asyncio
import os
import time
from collections.abc import Callable

import msgspec
import structlog

from schemas import log_keys
from schemas.errors import BlazzError
from schemas.keys import node_key
from schemas.records import Heartbeat, NodeRecord, SessionLoad
from schemas.resources import FLEET
from schemas.subjects import node_announce, node_heartbeat
from schemas.transport.connection import Bus
from schemas.transport.kv import Bucket
from schemas.transport.typed import publish
from schemas.turns import Turn
from swarm_node import memory
from swarm_node.metrics import NodeMetrics

log = structlog.get_logger()

_RETRY_S = 1.0
_BEAT_MAX_S = 60.0
_MEASURE_MAX_S = 120.0


class Pulse:
    """One incarnation's announcements and heartbeats."""

    def __init__(
        self,
        bus: Bus,
        record: NodeRecord,
        *,
        loads: Callable[[], tuple[SessionLoad, ...]],
        metrics: NodeMetrics,
        period_s: float,
        memory_period_s: float,
    ) -> None:
        self.record = record
        self._bus = bus
        self._bucket = Bucket(bus, FLEET)
        self._loads = loads
        self._metrics = metrics
        self._period_s = period_s
        self._memory_period_s = memory_period_s
        self._memory = memory.MemoryUse()
        self._began_s = time.monotonic()
        self._sequence = 0
        self._announce_wanted = asyncio.Event()
        self._beat_at = self._measured_at = self._began_s

    async def announce(self) -> None:
        """Write the record and say that we are here. Raises `BlazzError` when the bus is away."""
        await self._bucket.put(node_key(self.record.node_id), self.record)
        await publish(self._bus, node_announce(self.record.node_id), self.record)
        log.info("node.announced", **{log_keys.NODE: self.record.node_id})

    async def farewell(self, timeout_s: float) -> None:
        """Say that we stop, so that nobody has to wait for silence. Bounded, best effort."""
        self.record = msgspec.structs.replace(self.record, stopped=True)
        try:
            async with asyncio.timeout(timeout_s):
                await self.announce()
        except (BlazzError, TimeoutError) as error:
            log.warning("node.farewell_failed", detail=type(error).__name__)

    def announce_soon(self) -> None:
        """Announce again: the bus was away, and readers may have forgotten us."""
        self._announce_wanted.set()

    @property
    def turns(self) -> tuple[Turn, Turn]:
        """When it last beat, over all sessions, and last measured, in a thread: proof of both."""
        return (
            Turn("heartbeat", self._beat_at, _BEAT_MAX_S + self._period_s),
            Turn("threads", self._measured_at, _MEASURE_MAX_S + self._memory_period_s),
        )

    async def run_announcements(self) -> None:
        """Announce whenever that is wanted, until it got through. For ever."""
        while True:
            await self._announce_wanted.wait()
            self._announce_wanted.clear()
            try:
                await self.announce()
            except BlazzError as error:
                log.info("node.announce_delayed", **{log_keys.CODE: error.code})
                await asyncio.sleep(_RETRY_S)
                self._announce_wanted.set()

    async def run_heartbeats(self) -> None:
        """Beat for ever; a beat that the bus doesn't take is left out."""
        while True:
            beat = self._beat()
            self._beat_at = time.monotonic()
            try:
                await publish(self._bus, node_heartbeat(beat.node_id), beat)
            except BlazzError as error:
                log.debug("node.heartbeat_skipped", **{log_keys.CODE: error.code})
            await asyncio.sleep(self._period_s)

    async def run_memory(self) -> None:
        """Measure the memory now and then, for ever."""
        while True:
            self._memory = await asyncio.to_thread(memory.measure)
            self._measured_at = time.monotonic()
            await asyncio.sleep(self._memory_period_s)

    def _beat(self) -> Heartbeat:
        loads = self._loads()
        self._metrics.set_sessions([load.state for load in loads])
        self._sequence += 1
        return Heartbeat(
            node_id=self.record.node_id,
            incarnation=self.record.incarnation,
            sequence=self._sequence,
            sessions_max=self.record.sessions_max,
            sessions=loads,
            memory_used_bytes=self._memory.used_bytes,
            memory_free_bytes=self._memory.free_bytes,
            cpu_load=round(os.getloadavg()[0] / (os.cpu_count() or 1), 3),
            uptime_s=round(time.monotonic() - self._began_s, 1),
        )
