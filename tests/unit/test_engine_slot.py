"""The engine slot: what a killed engine had reported is not lost."""

import asyncio
from collections.abc import Sequence
from typing import cast

from schemas.transport.background import Background
from swarm_node.engines.contract import Engine, EngineEvent, SyncProgress
from swarm_node.engines.event_pipe import EventPipe
from swarm_node.session.engine_slot import EngineSlot
from swarm_node.session.start_gate import StartGate
from swarm_node.session.timings import SessionTimings
from tests.waiting import eventually


class Reporting:
    """What a slot needs of an engine."""

    def __init__(self) -> None:
        self.pipe = EventPipe()
        self.events = self.pipe.events

    async def start(self) -> None:
        """There is nothing to start."""

    async def kill(self) -> None:
        """What was reported stays to be read."""
        self.pipe.close()


class Reader:
    """Takes events down, slowly."""

    def __init__(self) -> None:
        self.taken: list[EngineEvent] = []
        self.goes_on = asyncio.Event()

    async def __call__(self, _slot: EngineSlot, events: Sequence[EngineEvent]) -> None:
        await self.goes_on.wait()
        self.taken += events


async def test_what_a_killed_engine_had_reported_is_read_out() -> None:
    engine, reader = Reporting(), Reader()

    async def prepare() -> Engine:
        return cast(Engine, engine)

    gate = StartGate(spacing_s=0.0, at_once_max=1)
    slot = EngineSlot(prepare, gate=gate, timings=SessionTimings(), on_events=reader)
    async with Background() as tasks:
        slot.driver = tasks.start(slot.drive(), name="driver")
        await eventually(lambda: slot.prepared)
        await engine.pipe.put(SyncProgress(1))
        await asyncio.sleep(0)
        await engine.pipe.put(SyncProgress(2))
        killed = tasks.start(slot.kill(), name="kill")
        await asyncio.sleep(0.05)
        reader.goes_on.set()
        await killed
    assert reader.taken == [SyncProgress(1), SyncProgress(2)]


async def test_a_kill_does_not_wait_for_a_reader_that_is_stuck() -> None:
    engine, reader = Reporting(), Reader()

    async def prepare() -> Engine:
        return cast(Engine, engine)

    gate = StartGate(spacing_s=0.0, at_once_max=1)
    slot = EngineSlot(prepare, gate=gate, timings=SessionTimings(), on_events=reader)
    async with Background() as tasks:
        slot.driver = tasks.start(slot.drive(), name="driver")
        await eventually(lambda: slot.prepared)
        await engine.pipe.put(SyncProgress(1))
        async with asyncio.timeout(5.0):
            await slot.kill()
        assert slot.driver.done()
