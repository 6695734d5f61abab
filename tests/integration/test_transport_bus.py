"""Connection and typed messages on a real server."""

import asyncio
import os
import signal
import time
from functools import partial
from pathlib import Path

import msgspec
import pytest

from cli.embedded.server import EmbeddedNats
from schemas.errors import BlazzError, ErrorCode
from schemas.resources import EVENTS
from schemas.transport import typed
from schemas.transport.connection import Bus, BusMessage, BusSettings, NoResponders, TlsSettings
from schemas.transport.jetstream import JetStream
from tests.integration.nats_fixture import QUICK
from tests.waiting import eventually

pytestmark = pytest.mark.nats


class Question(msgspec.Struct, frozen=True):
    number: int


class Answer(msgspec.Struct, frozen=True):
    number: int


class NewerQuestion(msgspec.Struct, frozen=True):
    number: int
    added_later: str


async def double(question: Question, _message: BusMessage) -> Answer:
    return Answer(question.number * 2)


async def ask(bus: Bus, number: int, subject: str = "blazz.test.double") -> int:
    answer = await typed.request(bus, subject, Question(number), Answer, timeout_s=5.0)
    return answer.number


async def test_a_request_is_answered_and_unknown_fields_are_ignored(bus: Bus) -> None:
    async with typed.serve(bus, "blazz.test.double", Question, double):
        assert await ask(bus, 21) == 42
        newer = NewerQuestion(4, "?")
        answer = await typed.request(bus, "blazz.test.double", newer, Answer, timeout_s=5.0)
        assert answer.number == 8


async def test_an_error_crosses_the_bus_with_its_code(bus: Bus) -> None:
    async def refuse(_question: Question, _message: BusMessage) -> Answer:
        raise BlazzError(ErrorCode.NODE_AT_CAPACITY, "full", sessions_max=3)

    async def crash(_question: Question, _message: BusMessage) -> Answer:
        raise RuntimeError("a secret of ours")

    async with (
        typed.serve(bus, "blazz.test.refuse", Question, refuse),
        typed.serve(bus, "blazz.test.crash", Question, crash),
    ):
        with pytest.raises(BlazzError) as refused:
            await ask(bus, 1, "blazz.test.refuse")
        assert refused.value.code is ErrorCode.NODE_AT_CAPACITY
        assert refused.value.fields == {"sessions_max": 3}
        with pytest.raises(BlazzError) as crashed:
            await ask(bus, 1, "blazz.test.crash")
        assert crashed.value.code is ErrorCode.INTERNAL
        assert "secret" not in str(crashed.value)
        with pytest.raises(BlazzError) as malformed:
            await typed.request(bus, "blazz.test.crash", Pongless("x"), Answer, timeout_s=5.0)
        assert malformed.value.code is ErrorCode.MALFORMED_REQUEST


class Pongless(msgspec.Struct, frozen=True):
    number: str


async def test_nobody_there_is_told_at_once(bus: Bus) -> None:
    began_at = time.monotonic()
    with pytest.raises(NoResponders) as raised:
        await ask(bus, 1, "blazz.node.nobody.cmd.ping")
    assert raised.value.code is ErrorCode.NATS_UNAVAILABLE
    assert time.monotonic() - began_at < 2.0


async def test_handlers_run_at_once_up_to_their_bound(bus: Bus) -> None:
    running = 0
    most = 0
    full = asyncio.Event()

    async def slow(question: Question, _message: BusMessage) -> Answer:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 3:
            full.set()
        await asyncio.wait_for(full.wait(), 5.0)
        await asyncio.sleep(0)
        running -= 1
        return Answer(question.number)

    async with typed.serve(bus, "blazz.test.slow", Question, slow, max_concurrency=3):
        numbers = await asyncio.gather(*(ask(bus, n, "blazz.test.slow") for n in range(9)))
    assert numbers == list(range(9))
    assert most == 3


async def test_the_end_of_serving_finishes_what_runs_and_refuses_what_waits(bus: Bus) -> None:
    began = asyncio.Event()
    go = asyncio.Event()

    async def slow(question: Question, _message: BusMessage) -> Answer:
        began.set()
        await go.wait()
        return Answer(question.number)

    async with asyncio.TaskGroup() as callers:  # noqa: SIM117 - the callers outlive the service
        async with typed.serve(bus, "blazz.test.slow", Question, slow, max_concurrency=1):
            first = callers.create_task(ask(bus, 1, "blazz.test.slow"))
            await began.wait()
            second = callers.create_task(expect_error(ask(bus, 2, "blazz.test.slow")))
            await bus.round_trip(2.0)
            go.set()
    assert first.result() == 1
    assert second.result() is ErrorCode.SHUTTING_DOWN


async def expect_error(work: "asyncio.Future[int] | object") -> ErrorCode:
    with pytest.raises(BlazzError) as raised:
        await work  # type: ignore[misc]
    return raised.value.code


async def test_a_killed_server_comes_back_on_its_port_and_nothing_needs_care(
    nats: EmbeddedNats, bus: Bus
) -> None:
    url = nats.url
    reconnects: list[int] = []
    bus.on_reconnect(lambda: reconnects.append(bus.generation))
    async with typed.serve(bus, "blazz.test.double", Question, double):
        assert await ask(bus, 1) == 2
        os.kill(nats.pid, signal.SIGKILL)
        await eventually(lambda: bus.generation == 2, timeout_s=10.0)
        assert await ask(bus, 2) == 4
    assert nats.url == url
    assert nats.restarts == 1
    assert bus.outages == 1
    assert bus.last_outage is not None
    assert bus.last_outage.ended_at is not None
    assert reconnects == [2]


async def test_a_request_under_way_fails_with_the_connection_not_with_its_time_out(
    nats: EmbeddedNats, bus: Bus
) -> None:
    never = asyncio.Event()
    began = asyncio.Event()

    async def hang(_question: Question, _message: BusMessage) -> Answer:
        began.set()
        await never.wait()
        return Answer(0)

    server = nats.bus_settings(nats.control_plane, profile=QUICK)
    async with Bus.connect(server) as other, typed.serve(other, "blazz.test.hang", Question, hang):
        async with asyncio.TaskGroup() as tasks:
            request = typed.request(bus, "blazz.test.hang", Question(1), Answer, timeout_s=50.0)
            outcome = tasks.create_task(expect_error(request))
            await began.wait()
            os.kill(nats.pid, signal.SIGKILL)
        assert outcome.result() is ErrorCode.NATS_UNAVAILABLE
        never.set()


async def test_a_silent_server_is_found_by_the_self_ping(nats: EmbeddedNats, bus: Bus) -> None:
    pid = nats.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        await eventually(lambda: not bus.connected, timeout_s=5.0)
        with pytest.raises(BlazzError) as raised:
            await bus.publish("blazz.test.lost", b"")
        assert raised.value.code is ErrorCode.NATS_UNAVAILABLE
        # Away is not stuck: whoever keeps the bus goes round, and a watchdog may see it.
        before = bus.turn.at_s
        await eventually(lambda: bus.turn.at_s > before, timeout_s=15.0)
    finally:
        os.kill(pid, signal.SIGCONT)
    await eventually(lambda: bus.connected, timeout_s=10.0)
    assert "self-ping" in (bus.last_outage.reason if bus.last_outage else "")


async def test_a_dead_read_loop_is_found_by_the_self_ping(bus: Bus) -> None:
    assert bus._link is not None
    reading = bus._link._client._reading_task
    assert reading is not None
    reading.cancel()
    await eventually(lambda: bus.generation == 2, timeout_s=5.0)
    assert await bus.round_trip(2.0) < 2.0


async def test_a_refused_identity_fails_at_once_and_clearly(nats: EmbeddedNats) -> None:
    settings = msgspec.structs.replace(
        nats.bus_settings(nats.control_plane), nkey_seed_file=None, name="stranger"
    )
    began_at = time.monotonic()
    with pytest.raises(BlazzError) as raised:
        async with Bus.connect(settings):
            pass
    assert raised.value.code is ErrorCode.CONFIG_INVALID
    assert not raised.value.retryable
    assert time.monotonic() - began_at < 3.0


async def test_no_server_is_unavailable_after_the_first_wait() -> None:
    settings = BusSettings(
        servers=("nats://127.0.0.1:9",), name="x", profile=QUICK, first_connect_timeout_s=0.3
    )
    with pytest.raises(BlazzError) as raised:
        async with Bus.connect(settings):
            pass
    assert raised.value.code is ErrorCode.NATS_UNAVAILABLE


async def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    settings = BusSettings(servers=("tls://127.0.0.1:1",), name="nobody")
    for wrong in (
        msgspec.structs.replace(settings, tls=TlsSettings(ca_file=gone)),
        msgspec.structs.replace(settings, nkey_seed_file=gone),
    ):
        with pytest.raises(BlazzError, match=gone) as error:
            async with Bus.connect(wrong):
                pass
        assert error.value.code is ErrorCode.CONFIG_INVALID


async def test_an_error_in_the_block_comes_out_as_itself(nats: EmbeddedNats) -> None:
    with pytest.raises(LookupError):
        async with Bus.connect(nats.bus_settings(nats.control_plane)):
            raise LookupError


async def test_a_slow_reader_drops_and_counts_instead_of_growing(bus: Bus) -> None:
    async with bus.subscribe("blazz.test.flood", pending_max=5) as inflow:
        for number in range(12):
            await bus.publish("blazz.test.flood", str(number).encode())
        await bus.round_trip(2.0)
        await eventually(lambda: inflow.dropped == 7, timeout_s=2.0)
        assert [(await inflow.next()).data for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]


async def test_no_acknowledged_message_is_lost_when_the_server_is_killed(
    nats: EmbeddedNats, bus: Bus
) -> None:
    acknowledged: dict[str, int] = {}

    async def produce(lane: int) -> None:
        for number in range(60):
            message_id = f"{lane}-{number}"
            while message_id not in acknowledged:
                try:
                    acknowledged[message_id] = await typed.publish_durable(
                        bus, f"blazz.event.n.t.{lane}.x", Question(number), message_id
                    )
                except BlazzError as error:
                    if not error.retryable:
                        raise
                    await bus.wait_connected(10.0)
                    await asyncio.sleep(0.02)

    def written(more_than: int) -> bool:
        return len(acknowledged) > more_than

    def respawned(times: int) -> bool:
        return nats.restarts == times and nats.pid > 0

    async with asyncio.TaskGroup() as producers:
        for lane in range(4):
            producers.create_task(produce(lane))
        for kills in (1, 2):
            await eventually(partial(written, 60 * kills), timeout_s=20.0)
            os.kill(nats.pid, signal.SIGKILL)
            await eventually(partial(respawned, kills), timeout_s=10.0)
    jetstream = JetStream(bus)
    assert len(acknowledged) == 240
    assert (await jetstream.stream_info(EVENTS)).state.messages == 240
    for message_id, seq in acknowledged.items():
        message = await jetstream.by_sequence(EVENTS, seq)
        assert message is not None
        assert message.headers["Nats-Msg-Id"] == message_id
