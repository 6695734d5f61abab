"""Buckets and watches on a real server."""

import asyncio
import os
import signal
from collections.abc import Awaitable
from contextlib import aclosing

import msgspec
import pytest

from cli.embedded.server import EmbeddedNats
from schemas.errors import BlazzError, ErrorCode
from schemas.resources import ACCESS, FLEET, all_streams
from schemas.transport.connection import Bus
from schemas.transport.ensure import ensure_all, ensure_stream
from schemas.transport.jetstream import JetStream
from schemas.transport.kv import Bucket, Conflict, Delete, Fence, Put
from schemas.transport.watch import ChangeKind, KvChange, watch, watch_typed
from tests.integration.nats_fixture import SCALE
from tests.waiting import eventually

pytestmark = pytest.mark.nats


class Count(msgspec.Struct, frozen=True):
    n: int


async def test_compare_and_set(bus: Bus) -> None:
    bucket = Bucket(bus, FLEET)
    assert (await bucket.get("count.a", Count)).revision == 0
    first = await bucket.create("count.a", Count(1))
    with pytest.raises(Conflict):
        await bucket.create("count.a", Count(9))
    second = await bucket.update("count.a", Count(2), first)
    with pytest.raises(Conflict):
        await bucket.update("count.a", Count(9), first)
    with pytest.raises(Conflict):
        await bucket.delete("count.a", first)
    entry = await bucket.get("count.a", Count)
    assert (entry.value, entry.revision) == (Count(2), second)
    await bucket.delete("count.a", second)
    gone = await bucket.get("count.a", Count)
    assert not gone.exists
    assert gone.revision > second
    again = await bucket.create("count.a", Count(3))
    assert (await bucket.get("count.a", Count)).revision == again


@pytest.mark.parametrize(("name", "leaves_marker"), [(FLEET, False), (ACCESS, True)])
async def test_an_expired_key_can_be_created_again(
    bus: Bus, name: str, leaves_marker: bool
) -> None:
    bucket = Bucket(bus, name)
    await bucket.create("count.a", Count(1), ttl_s=1.0)

    async def expired() -> bool:
        return not (await bucket.get("count.a", Count)).exists

    def look() -> bool | Awaitable[bool]:
        return expired()

    await eventually(look, timeout_s=5.0)
    marker = await bucket.get_raw("count.a")
    assert (marker.revision > 1) is leaves_marker, "a marker counts for CAS"
    await bucket.create("count.a", Count(2))


async def test_a_prefix_is_read_without_its_dead_keys(bus: Bus) -> None:
    bucket = Bucket(bus, FLEET)
    assert await bucket.read_prefix("node.", Count) == []
    for number in range(300):
        await bucket.put(f"node.n{number}", Count(number))
    await bucket.put("other.n1", Count(0))
    await bucket.delete("node.n7")
    entries = await bucket.read_prefix("node.", Count)
    assert {entry.key for entry in entries} == {f"node.n{n}" for n in range(300) if n != 7}
    jetstream = JetStream(bus)
    assert (await jetstream.subjects("KV_blazz_fleet", "$KV.blazz_fleet.other.>")) == {
        "$KV.blazz_fleet.other.n1": 1
    }


async def test_an_illegal_key_is_refused_before_it_is_sent(bus: Bus) -> None:
    for key in ("628@c.us", "a b", "a.*", "a.", ""):
        with pytest.raises(BlazzError):
            await Bucket(bus, FLEET).get_raw(key)


async def test_forty_creators_for_ten_places(bus: Bus) -> None:
    bucket = Bucket(bus, FLEET)
    await bucket.create("capacity.n1", Count(0))

    async def create(number: int) -> bool:
        while True:
            capacity = await bucket.get("capacity.n1", Count)
            assert capacity.value is not None
            if capacity.value.n >= 10:
                return False
            taken = Count(capacity.value.n + 1)
            try:
                await bucket.batch(
                    [
                        Put(key="capacity.n1", value=taken, expect_revision=capacity.revision),
                        Put(key=f"assignment.s{number}", value=Count(1), expect_revision=0),
                    ]
                )
            except Conflict:
                continue
            return True

    won = await asyncio.gather(*(create(number) for number in range(40)))
    assert sum(won) == 10
    assert len(await bucket.read_prefix("assignment.", Count)) == 10
    assert (await bucket.get("capacity.n1", Count)).value == Count(10)


async def test_a_batch_is_all_or_nothing_and_may_delete(bus: Bus) -> None:
    bucket = Bucket(bus, FLEET)
    a = await bucket.put("x.a", Count(1))
    b = await bucket.put("x.b", Count(1))
    with pytest.raises(Conflict):
        await bucket.batch(
            [
                Put(key="x.a", value=Count(2), expect_revision=a),
                Delete(key="x.b", expect_revision=b + 7),
            ]
        )
    assert (await bucket.get("x.a", Count)).value == Count(1)
    last = await bucket.batch(
        [Put(key="x.a", value=Count(2), expect_revision=a), Delete(key="x.b", expect_revision=b)]
    )
    assert (await bucket.get("x.a", Count)).revision == last - 1
    assert not (await bucket.get("x.b", Count)).exists


async def test_a_fenced_write_is_refused_once_the_fence_moved(bus: Bus) -> None:
    bucket = Bucket(bus, FLEET)
    fence = Fence("epoch.node.n1", await bucket.put("epoch.node.n1", Count(1)))
    await bucket.batch([Put(key="observed.n1.s", value=Count(1), fence=fence)])
    await bucket.put("epoch.node.n1", Count(2))
    with pytest.raises(Conflict):
        await bucket.batch([Put(key="observed.n1.s", value=Count(9), fence=fence)])
    assert (await bucket.get("observed.n1.s", Count)).value == Count(1)


async def test_a_watch_tells_what_is_then_what_changes(bus: Bus) -> None:
    bucket = Bucket(bus, FLEET)
    await bucket.put("node.a", Count(1))
    await bucket.put("lease.node.a", Count(1))
    async with aclosing(watch_typed(bucket, "node.", Count)) as changes:
        first = await anext(changes)
        assert (first.kind, first.key, first.value) == (ChangeKind.PUT, "node.a", Count(1))
        assert (await anext(changes)).kind is ChangeKind.SYNCED
        await bucket.put("node.b", Count(2))
        await bucket.delete("node.a")
        second, third = await anext(changes), await anext(changes)
        assert (second.key, second.value) == ("node.b", Count(2))
        assert (third.kind, third.key) == (ChangeKind.DELETE, "node.a")


@pytest.mark.parametrize("name", [FLEET, ACCESS])
async def test_a_watch_tells_of_an_expired_key_with_and_without_markers(
    bus: Bus, name: str
) -> None:
    bucket = Bucket(bus, name)
    await bucket.put("count.short", Count(1), ttl_s=1.0)
    await bucket.put("count.long", Count(1), ttl_s=600.0)
    told: list[KvChange[Count]] = []
    async with asyncio.timeout(30), aclosing(watch_typed(bucket, "count.", Count)) as changes:
        async for change in changes:
            told.append(change)
            if change.kind is ChangeKind.DELETE:
                break
    assert told[-1].key == "count.short"
    await bucket.put("count.short", Count(2))
    assert (await bucket.get("count.short", Count)).value == Count(2)


async def test_a_watch_of_an_empty_prefix_is_synced_at_once(bus: Bus) -> None:
    async with aclosing(watch(Bucket(bus, FLEET), "node.")) as changes:
        assert (await asyncio.wait_for(anext(changes), 2.0)).kind is ChangeKind.SYNCED


async def test_a_watch_survives_the_server_and_tells_what_it_missed(
    nats: EmbeddedNats, bus: Bus
) -> None:
    bucket = Bucket(bus, FLEET)
    for key in ("node.kept", "node.purged"):
        await bucket.put(key, Count(1))
    told: list[KvChange[Count]] = []
    changed_meanwhile = asyncio.Event()

    async def read() -> None:
        async with aclosing(watch_typed(bucket, "node.", Count)) as changes:
            async for change in changes:
                told.append(change)
                if change.kind is ChangeKind.STALE:
                    # A server that is back at once must not be read again before it has changed.
                    await changed_meanwhile.wait()

    async with asyncio.TaskGroup() as tasks:
        reader = tasks.create_task(read())
        await eventually(lambda: len(told) == 3)
        os.kill(nats.pid, signal.SIGKILL)
        # Gone without a trace, as a key whose tombstone expired during a long outage.
        await eventually(lambda: nats.restarts == 1 and nats.pid, timeout_s=5.0)
        async with Bus.connect(nats.bus_settings(nats.control_plane)) as other:
            await JetStream(other).purge(bucket.stream, bucket.subject("node.purged"))
            await Bucket(other, FLEET).put("node.new", Count(2))
        changed_meanwhile.set()
        await eventually(lambda: len(told) >= 7, timeout_s=10.0)
        await bucket.put("node.after", Count(3))
        await eventually(lambda: told[-1].key == "node.after", timeout_s=5.0)
        reader.cancel()
    seen = [(change.kind.value, change.key) for change in told[3:]]
    assert seen[0] == ("stale", "")
    assert ("put", "node.kept") not in seen, "nothing is told twice"
    assert seen.count(("put", "node.new")) == 1
    assert ("delete", "node.purged") in seen
    assert ("synced", "") in seen


async def test_ensure_is_idempotent_updates_and_refuses_clearly(bus: Bus) -> None:
    assert await ensure_all(bus, scale=SCALE) == ()
    jetstream = JetStream(bus)
    changed = await ensure_all(bus, scale=SCALE * 1.1)
    grown = {
        spec.name
        for spec in all_streams()
        if spec.config(scale=SCALE, replicas=1) != spec.config(scale=SCALE * 1.1, replicas=1)
    }
    assert set(changed) == grown
    assert len(grown) > 10, "few are so small that they have the least size at both scales"
    info = await jetstream.stream_info(f"KV_{ACCESS}")
    wanted = next(spec for spec in all_streams() if spec.name == f"KV_{ACCESS}")
    assert info.config["max_bytes"] == int(wanted.max_bytes * SCALE * 1.1)
    memory = wanted.config(scale=SCALE * 1.1, replicas=1) | {"storage": "memory"}
    with pytest.raises(BlazzError) as raised:
        await ensure_stream(jetstream, memory)
    assert raised.value.code is ErrorCode.CONFIG_INVALID
    assert "storage" in raised.value.detail
    with pytest.raises(BlazzError) as too_large:
        await ensure_all(bus, scale=50.0)
    assert too_large.value.code is ErrorCode.CONFIG_INVALID


async def test_a_bucket_of_an_older_version_loses_its_markers_in_place(nats: EmbeddedNats) -> None:
    async with Bus.connect(nats.bus_settings(nats.control_plane)) as connected:
        jetstream = JetStream(connected)
        wanted = next(spec for spec in all_streams() if spec.name == "KV_blazz_fleet")
        older = msgspec.structs.replace(wanted, limit_marker_ttl_s=60.0)
        assert await ensure_stream(jetstream, older.config(scale=0.05, replicas=1))
        assert await ensure_stream(jetstream, wanted.config(scale=0.05, replicas=1))
        assert not await ensure_stream(jetstream, wanted.config(scale=0.05, replicas=1))
        config = (await jetstream.stream_info(wanted.name)).config
        assert not config.get("allow_rollup_hdrs")
