"""The crash matrix: a process dies, or is cut off the bus, at every step there is.

One fleet for all of it, with messages both ways all the while, for a fleet's start costs more than
a fault. Each test breaks one step and sees that the fleet goes on; the last one judges every
message of all of them. `blazz bench chaos` does the same for longer and in an order of chance.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from itertools import zip_longest

import pytest
import pytest_asyncio

from bench.chaos_faults import BUS, Breaker, Fault, Kind
from bench.chaos_fleet import Fleet, open_fleet
from bench.chaos_judge import judge
from bench.chaos_traffic import Traffic
from schemas.states import EngineKind
from schemas.transport.checkpoints import At, Part
from tests.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

SESSIONS = 4
NODES = ("node-a", "node-b")
OUT_PERIOD_S, IN_PERIOD_S = 0.2, 0.4
GOES_ON_WITHIN_S = 15.0
SETTLE_MAX_S = 60.0
PAIRS = [
    tuple(at for at in pair if at is not None)
    for pair in zip_longest(
        *([at for at in At if at.part is part] for part in (Part.CONTROL_PLANE, Part.NODE))
    )
]
"""Every step once; two at a time take half as long."""
WHOLE = os.environ.get("BLAZZ_TEST_WHOLE_MATRIX") == "1"
"""Every step takes some minutes: `just matrix`. A test run takes a third of them."""
STEPS = PAIRS if WHOLE else PAIRS[::3]
CUT_AT = (
    At.ACCEPT_AFTER_APPEND,
    At.REQUEST_BEFORE,
    At.SEND_AFTER,
    At.ACK_BEFORE,
    At.DELETE_BEFORE,
    At.EVENT_AFTER_PUBLISH,
)
"""Where a lost answer leaves most in doubt."""


class Matrix:
    """The fleet, its traffic, and what breaks it."""

    def __init__(self, fleet: Fleet, traffic: Traffic) -> None:
        self.fleet = fleet
        self.traffic = traffic
        self.breaker = Breaker(fleet, random.Random(0))

    async def survives(self, *faults: Fault) -> None:
        """Break them at once; then messages are accepted again."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.breaker.carry_out(fault)) for fault in faults]
        for fault, task in zip(faults, tasks, strict=True):
            assert task.result() is not None, f"nobody passed {fault.at}"
        before = len(self.traffic.record.accepted)
        await eventually(
            lambda: len(self.traffic.record.accepted) > before + SESSIONS,
            timeout_s=GOES_ON_WITHIN_S,
            what="messages are accepted again",
        )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def matrix() -> AsyncIterator[Matrix]:
    async with open_fleet(EngineKind.LOOPBACK, SESSIONS, nodes=NODES) as fleet:
        traffic = Traffic(fleet, out_period_s=OUT_PERIOD_S, in_period_s=IN_PERIOD_S)
        async with traffic.running():
            yield Matrix(fleet, traffic)


@pytest.mark.parametrize("steps", STEPS, ids="+".join)
async def test_a_process_dies_at(matrix: Matrix, steps: tuple[At, ...]) -> None:
    """A control plane at one step, and a node at another."""
    await matrix.survives(*(Fault(Kind.KILL_AT, at=at) for at in steps))


@pytest.mark.parametrize("at", CUT_AT, ids=str)
async def test_a_process_is_cut_off_the_bus_at(matrix: Matrix, at: At) -> None:
    await matrix.survives(Fault(Kind.CUT_AT, at=at))


async def test_the_bus_dies(matrix: Matrix) -> None:
    await matrix.survives(Fault(Kind.KILL, process=BUS))


async def test_after_all_of_it_every_message_is_where_it_belongs_once_and_in_order(
    matrix: Matrix,
) -> None:
    await matrix.traffic.stop()
    verdict = await judge(
        matrix.fleet, matrix.traffic.record, matrix.breaker.broken, settle_max_s=SETTLE_MAX_S
    )
    assert verdict.broken() == {}, verdict
    assert verdict.states.keys() == {"sent"}, (verdict.unknown, verdict.failed)
    assert verdict.accepted > SESSIONS
