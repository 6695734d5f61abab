"""The historian's stream has the whole fleet, then every change, and no tenant's under another."""

from __future__ import annotations

import time
from contextlib import aclosing

import msgspec

from control_plane.core.liveness import LivenessRules
from control_plane.history import Historian
from control_plane.state.fleet_state import FleetState
from schemas.history import HistoryBaseline, HistoryPage, HistoryPulses
from schemas.keys import assignment_key, node_key
from schemas.records import Heartbeat, LeaseRecord
from schemas.resources import FLEET, FLEET_HISTORY
from schemas.subjects import (
    HISTORY_ALL,
    HISTORY_BASELINES,
    HISTORY_NODES,
    HISTORY_PULSES,
    history_of_tenant,
)
from schemas.transport.background import Background
from schemas.transport.connection import Bus
from schemas.transport.jetstream import JetStream
from schemas.transport.kv import Bucket, Put
from schemas.transport.streams import read_stored
from tests.tui.fleet_sample import NODES, SESSIONS, heartbeat, records
from tests.waiting import eventually


async def messages(bus: Bus, subject: str) -> list[bytes]:
    async with aclosing(read_stored(JetStream(bus), FLEET_HISTORY, subject)) as found:
        return [message.data async for message in found]


async def pages(bus: Bus, subject: str) -> list[HistoryPage]:
    return [msgspec.json.decode(data, type=HistoryPage) for data in await messages(bus, subject)]


async def test_a_copy_then_changes_then_deletions(bus: Bus) -> None:
    bucket = Bucket(bus, FLEET)
    for key, record in records():
        await bucket.batch([Put(key=key, value=record)])
    state = FleetState(LivenessRules.of(bus.settings.profile), now=time.monotonic())
    for key, record in records():
        state.fold(key, msgspec.json.encode(record), 1, now=time.monotonic())
    pulse: Heartbeat = heartbeat(NODES[0])
    state.hear(pulse, time.monotonic())
    async with Background() as tasks:
        me = LeaseRecord("cp", "life", time.time())
        tasks.start(Historian(bus, state).run(me), name="history")

        async def copied() -> list[bytes]:
            return await messages(bus, HISTORY_BASELINES)

        (marker,) = await eventually(copied, timeout_s=10)
        baseline = msgspec.json.decode(marker, type=HistoryBaseline)
        assert baseline.began_at < baseline.ended_at
        written = await pages(bus, HISTORY_ALL.replace(">", "tenant.>"))
        nodes = await pages(bus, HISTORY_NODES)
        assert all(page.baseline for page in [*written, *nodes])
        keys = {write.key for page in [*written, *nodes] for write in page.writes}
        assert keys == {key for key, _ in records()}

        gone = SESSIONS[0]
        await bucket.delete(assignment_key(gone.session_id))

        async def told() -> bool:
            last = (await pages(bus, history_of_tenant(gone.tenant_id)))[-1]
            return not last.baseline and last.writes[-1].key == assignment_key(gone.session_id)

        await eventually(told, timeout_s=10)
        last = (await pages(bus, history_of_tenant(gone.tenant_id)))[-1]
        assert bytes(last.writes[-1].value) == b"null"
        others = await pages(bus, history_of_tenant("casa"))
        assert {b"casa" in bytes(w.value) for page in others for w in page.writes} == {True}
        (heard,) = await messages(bus, HISTORY_PULSES)
        past = msgspec.json.decode(heard, type=HistoryPulses)
        assert [line.node_id for line in past.nodes] == [NODES[0].node_id]
        assert node_key(NODES[0].node_id) in {w.key for page in nodes for w in page.writes}
