"""Leases on a real server: two holders never overlap, a zombie is fenced."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable

import msgspec
import pytest

from cli.embedded.server import EmbeddedNats
from schemas.errors import BlazzError, ErrorCode
from schemas.records import EpochRecord, LeaseRecord
from schemas.resources import FLEET
from schemas.transport.background import Background
from schemas.transport.connection import Bus
from schemas.transport.kv import Bucket, Conflict, Put
from schemas.transport.lease import Lease, LeaseSpec, hold, lead
from tests.integration.nats_fixture import QUICK
from tests.waiting import eventually

pytestmark = pytest.mark.nats

SPEC = LeaseSpec("shard", "3", QUICK)


def person(name: str, incarnation: str = "i1") -> LeaseRecord:
    return LeaseRecord(name, incarnation, time.time())


def lease(bus: Bus, name: str, incarnation: str = "i1") -> Lease:
    return Lease(Bucket(bus, FLEET), SPEC, person(name, incarnation))


async def test_one_holds_it_renews_it_and_gives_it_to_the_next(bus: Bus) -> None:
    first, second = lease(bus, "a"), lease(bus, "b")
    assert await first.acquire()
    assert not await second.acquire()
    before = first.deadline
    await first.renew()
    assert first.deadline > before
    assert first.still_held()
    await first.release()
    assert not first.still_held()
    assert await second.acquire()
    assert (first.epoch, second.epoch) == (1, 2)


async def test_an_abandoned_lease_runs_out_after_its_holder_has_stopped(bus: Bus) -> None:
    first, second = lease(bus, "a"), lease(bus, "b")
    assert await first.acquire()
    await first.renew()  # an update without a TTL would live for ever

    def taken_over() -> bool | Awaitable[bool]:
        return second.acquire()

    await eventually(taken_over, timeout_s=6.0)
    assert not first.still_held()
    assert time.monotonic() > first.deadline
    assert second.epoch == 2
    with pytest.raises(BlazzError) as raised:
        await first.renew()
    assert raised.value.code is ErrorCode.LEASE_LOST


async def test_a_renewed_lease_outlives_its_ttl(bus: Bus) -> None:
    other = lease(bus, "b")
    async with hold(bus, SPEC, person("a")) as held:
        until = time.monotonic() + QUICK.lease_ttl_s * 1.3
        while time.monotonic() < until:
            assert held.still_held()
            assert not await other.acquire()
            await asyncio.sleep(0.1)
    assert await other.acquire()


async def test_a_zombies_write_is_refused_by_the_server(bus: Bus) -> None:
    bucket = Bucket(bus, FLEET)
    zombie, heir = lease(bus, "a"), lease(bus, "b")
    assert await zombie.acquire()
    key = "assignment.s1"
    await bucket.batch([Put(key=key, value=EpochRecord(1), fence=zombie.fence())])
    await zombie.renew()
    await bucket.batch([Put(key=key, value=EpochRecord(2), fence=zombie.fence())])
    await bucket.delete(SPEC.key)  # as the server does on expiry
    assert await heir.acquire()
    with pytest.raises(Conflict):
        await bucket.batch([Put(key=key, value=EpochRecord(9), fence=zombie.fence())])
    await bucket.batch([Put(key=key, value=EpochRecord(3), fence=heir.fence())])
    with pytest.raises(BlazzError) as raised:
        await zombie.renew()
    assert raised.value.code is ErrorCode.LEASE_LOST
    assert not zombie.still_held()


async def test_a_renewal_whose_answer_was_lost_is_recognised(bus: Bus) -> None:
    held = lease(bus, "a")
    assert await held.acquire()
    acquired_until = held.deadline
    # The write of a renewal that we never heard of.
    await Bucket(bus, FLEET).put(SPEC.key, held.me, ttl_s=QUICK.lease_ttl_s)
    await held.renew()
    assert held.still_held()
    assert held.deadline >= acquired_until
    await held.renew()


async def test_a_new_incarnation_does_not_take_its_forerunners_lease(bus: Bus) -> None:
    assert await lease(bus, "a", "i1").acquire()
    assert not await lease(bus, "a", "i2").acquire()
    again = lease(bus, "a", "i1")
    assert await again.acquire()
    assert again.epoch == 2


async def test_the_block_is_cancelled_when_the_lease_is_taken(bus: Bus) -> None:
    cancelled = False
    with pytest.raises(BlazzError) as raised:  # noqa: PT012 - the block is the holder
        async with hold(bus, SPEC, person("a")) as held:
            await Bucket(bus, FLEET).put(SPEC.key, person("b"), ttl_s=2.0)
            try:
                await asyncio.wait_for(asyncio.Event().wait(), 10.0)
            except asyncio.CancelledError:
                cancelled = True
                assert not held.still_held()
                raise
    assert raised.value.code is ErrorCode.LEASE_LOST
    assert cancelled
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_an_unreachable_bus_ends_it_at_the_deadline_not_before(
    nats: EmbeddedNats, bus: Bus
) -> None:
    pid = nats.pid
    try:
        with pytest.raises(BlazzError) as raised:  # noqa: PT012 - the block is the holder
            async with hold(bus, SPEC, person("a")) as held:
                os.kill(pid, signal.SIGSTOP)
                stopped_at = time.monotonic()
                await asyncio.wait_for(asyncio.Event().wait(), 20.0)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert raised.value.code is ErrorCode.LEASE_LOST
    assert held.deadline <= time.monotonic()
    assert held.deadline - stopped_at > QUICK.lease_ttl_s * 0.3
    await eventually(lambda: bus.connected, timeout_s=10.0)


async def test_a_short_outage_does_not_cost_the_lease(nats: EmbeddedNats, bus: Bus) -> None:
    async with hold(bus, SPEC, person("a")) as held:
        revision = held.revision
        os.kill(nats.pid, signal.SIGKILL)
        await eventually(lambda: bus.generation == 2, timeout_s=5.0)
        await eventually(lambda: held.revision > revision + 1, timeout_s=5.0)
        assert held.still_held()
        assert held.epoch == 1


async def test_an_error_in_the_block_comes_out_and_the_lease_is_given_back(bus: Bus) -> None:
    with pytest.raises(LookupError):
        async with hold(bus, SPEC, person("a")):
            raise LookupError
    assert await lease(bus, "b").acquire()


async def test_waiting_for_a_held_lease_ends_in_time(bus: Bus) -> None:
    slow = LeaseSpec("shard", "3", msgspec.structs.replace(QUICK, lease_ttl_s=60.0))
    async with hold(bus, slow, person("a")):
        with pytest.raises(BlazzError) as raised:
            async with hold(bus, slow, person("b"), wait_s=0.2, poll_s=0.05):
                pytest.fail("two holders")
    assert raised.value.code is ErrorCode.LEASE_LOST


async def test_a_cancellation_that_nobody_asked_for_does_not_end_a_role(bus: Bus) -> None:
    begun: list[int] = []

    async def work(lease: Lease) -> None:
        begun.append(lease.epoch)
        if len(begun) == 1:
            lost = asyncio.get_running_loop().create_future()
            lost.cancel()
            await lost
        await asyncio.Event().wait()

    async with Background() as tasks:
        leading = tasks.start(lead(bus, SPEC, person("a"), work), name="lead")
        await eventually(lambda: len(begun) == 2, timeout_s=15)
        leading.cancel()
        await asyncio.wait({leading})
        assert leading.cancelled()
