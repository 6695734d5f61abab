"""The terminal shows a moment that the historian wrote down, over a real bus, with its keys."""

from __future__ import annotations

import asyncio
import time

import msgspec
import pytest

from cli.embedded.server import EmbeddedNats
from control_plane.core.liveness import LivenessRules
from control_plane.history import Historian
from control_plane.state.fleet_state import FleetState
from schemas.errors import BlazzError, ErrorCode
from schemas.keys import observed_key
from schemas.records import LeaseRecord
from schemas.resources import FLEET, FLEET_HISTORY
from schemas.states import SessionState
from schemas.subjects import HISTORY_BASELINES
from schemas.transport.background import Background
from schemas.transport.connection import Bus
from schemas.transport.jetstream import JetStream
from schemas.transport.kv import Bucket, Put
from tests.tui.fleet_sample import NODES, SESSIONS, heartbeat, observed, records
from tests.waiting import eventually
from tui.app import FleetApp
from tui.clock import SystemClock
from tui.past.past_feed import PastFeed
from tui.settings import TuiSettings


async def written(bus: Bus) -> tuple[float, float]:
    """Write a past: the sample fleet, then its first session fails. Two moments: before, after."""
    bucket, jetstream = Bucket(bus, FLEET), JetStream(bus)
    state = FleetState(LivenessRules.of(bus.settings.profile), now=time.monotonic())
    for key, record in records():
        await bucket.batch([Put(key=key, value=record)])
        state.fold(key, msgspec.json.encode(record), 1, now=time.monotonic())
    for node in NODES:
        state.hear(heartbeat(node), time.monotonic())
    async with Background() as tasks:
        me = LeaseRecord("cp", "life", time.time())
        tasks.start(Historian(bus, state).run(me), name="history")

        async def count() -> int:
            return sum((await jetstream.subjects(FLEET_HISTORY, ">")).values())

        async def copied() -> bool:
            return HISTORY_BASELINES in await jetstream.subjects(FLEET_HISTORY, ">")

        await eventually(copied, timeout_s=10)
        before, pages = time.time(), await count()
        failed = msgspec.structs.replace(SESSIONS[0], state=SessionState.FAILED)
        key = observed_key(failed.node_id, failed.session_id)
        await bucket.batch([Put(key=key, value=observed(failed))])

        async def noted() -> bool:
            return await count() > pages

        await eventually(noted, timeout_s=10)
        return before, time.time()


async def test_the_past_is_shown_and_stepped_through(nats: EmbeddedNats, bus: Bus) -> None:
    before, after = await written(bus)
    settings = TuiSettings(
        servers=(nats.url,), nkey_seed_file=nats.viewer.seed_file, context="t", at=before
    )
    past = PastFeed(settings.bus(), before, SystemClock())
    app = FleetApp(settings, past, past.clock, deck=past)

    def text() -> str:
        strips = app.screen._compositor.render_strips()
        return "\n".join(strip.text for strip in strips)

    async with app.run_test(size=(140, 40)) as pilot:

        async def shows(wanted: str) -> bool:
            await pilot.pause()
            return wanted in text() and "THE PAST" in text()

        await eventually(lambda: shows("● online     "), timeout_s=15, what="the moment before")
        line = next(each for each in text().splitlines() if "support" in each)
        assert "● online" in line
        assert "Read-only" not in line
        past.step_s(after - before)
        await eventually(lambda: shows("✗ failed"), timeout_s=15)

        async def failed() -> bool:
            await pilot.pause()
            return any("support" in row and "✗ failed" in row for row in text().splitlines())

        await eventually(failed, timeout_s=10, what="the moment after")
        past.step_s(before - after)

        async def online() -> bool:
            await pilot.pause()
            return any("support" in row and "● online" in row for row in text().splitlines())

        await eventually(online, timeout_s=10, what="the moment before, again")
        await pilot.press("left_curly_bracket")
        await eventually(lambda: shows("nothing was written down"), timeout_s=10)
        assert app.desk.actor is None


async def test_a_moment_before_the_record_is_refused(nats: EmbeddedNats, bus: Bus) -> None:
    before, _ = await written(bus)
    settings = TuiSettings(servers=(nats.url,), nkey_seed_file=nats.viewer.seed_file)
    past = PastFeed(settings.bus(), before - 3_600, SystemClock())
    with pytest.raises(BlazzError) as refused:
        async with asyncio.timeout(10):
            await past.run(lambda _batch: past.taken())
    assert refused.value.code is ErrorCode.NOT_FOUND
    assert "begins at" in refused.value.detail
