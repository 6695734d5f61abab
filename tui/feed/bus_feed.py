"""The feed from the bus: watches the fleet bucket, hears pulses, reads events.

Owns one task group and the bounded way from it to the application. Posts immutable batches and
never touches a widget or the view. When the application is slow, batches grow to a limit, then
the readers wait: the bucket's watch then skips to each key's latest value, and surplus pulses are
dropped by the transport.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable
from contextlib import aclosing
from typing import Final

import structlog

from schemas.errors import BlazzError, ErrorCode
from schemas.events import Event
from schemas.keys import (
    ASSIGNMENTS_PREFIX,
    CAPACITY_PREFIX,
    FLEET_WATCHED,
    INTENTS_PREFIX,
    NODES_PREFIX,
    OBSERVED_PREFIX,
    SESSIONS_PREFIX,
)
from schemas.records import (
    Assignment,
    CapacityRecord,
    Heartbeat,
    NodeIntent,
    NodeRecord,
    SessionObserved,
    SessionRecord,
)
from schemas.resources import EVENTS, FLEET
from schemas.speakers import speaks_for_itself
from schemas.subjects import ALL_HEARTBEATS, EVENTS_ALL
from schemas.transport.connection import Bus, BusSettings
from schemas.transport.jetstream import JetStream
from schemas.transport.kv import Bucket
from schemas.transport.streams import Gap, read_ordered
from schemas.transport.typed import decode
from schemas.transport.watch import ChangeKind, KvChange, watch
from tui.changes import (
    Batch,
    BusDown,
    BusUp,
    Change,
    EventsGap,
    FleetRecord,
    Happened,
    Pulse,
    RecordGone,
    RecordPut,
    ResyncBegan,
    ResyncDone,
    Trouble,
    Unreadable,
)
from tui.clock import Clock

log = structlog.get_logger()

QUEUED_MAX: Final = 4_096
BATCH_MAX: Final = 2_000
UNTAKEN_MAX: Final = 2
"""Batches posted and not yet folded."""
LOOK_PERIOD_S: Final = 0.25
"""How often the connection is looked at."""
SWEEP_PERIOD_S: Final = 600.0
"""The whole bucket is read again this often, whatever the watch says."""
RETRY_MIN_S: Final = 0.5
RETRY_MAX_S: Final = 2.0

_KINDS: Final[dict[str, type[FleetRecord]]] = {
    NODES_PREFIX: NodeRecord,
    INTENTS_PREFIX: NodeIntent,
    CAPACITY_PREFIX: CapacityRecord,
    SESSIONS_PREFIX: SessionRecord,
    ASSIGNMENTS_PREFIX: Assignment,
    OBSERVED_PREFIX: SessionObserved,
}


def change_of(change: KvChange[bytes]) -> Change | None:
    """A step of the bucket's watch as the model knows it; None for keys that are not shown."""
    prefix = change.key[: change.key.find(".") + 1]
    kind = _KINDS.get(prefix)
    if kind is None:
        return None
    if change.value is None:
        return RecordGone(change.key, change.revision)
    try:
        record = decode(change.value, kind)
    except BlazzError:
        return Unreadable(prefix.rstrip("."))
    if not speaks_for_itself(change.key, record):
        return Unreadable(prefix.rstrip("."))
    return RecordPut(change.key, change.revision, record)


class BusFeed:
    """See the module. One use: `run` once."""

    def __init__(self, settings: BusSettings, clock: Clock, *, events_history: int) -> None:
        self._settings = settings
        self._clock = clock
        self._events_history = events_history
        self._queue: asyncio.Queue[tuple[float, Change]] = asyncio.Queue(QUEUED_MAX)
        self._places = asyncio.Semaphore(UNTAKEN_MAX)

    def taken(self) -> None:
        """The application has folded one batch: another may be posted."""
        self._places.release()

    async def run(self, post: Callable[[Batch], object]) -> None:
        """Post batches until cancelled. Raises `config_invalid` or `forbidden` when the bus
        refuses this identity; everything else is waited out and told."""
        fatal: BlazzError | None = None
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._post_batches(post), name="feed batches")
                group.create_task(self._read(), name="feed readers")
        except* BlazzError as errors:
            fatal = _first(errors)
        if fatal is not None:
            raise fatal

    async def _tell(self, change: Change) -> None:
        await self._queue.put((self._clock.monotonic(), change))

    async def _post_batches(self, post: Callable[[Batch], object]) -> None:
        while True:
            # The place first: while none is free, changes gather and go out together.
            await self._places.acquire()
            received_at, change = await self._queue.get()
            changes = [change]
            while len(changes) < BATCH_MAX and not self._queue.empty():
                changes.append(self._queue.get_nowait()[1])
            # The oldest's time for all: a datum may look older than it is, never younger.
            post(Batch(received_at, tuple(changes)))

    async def _read(self) -> None:
        while True:
            error: BlazzError | None = None
            try:
                async with Bus.connect(self._settings) as bus, asyncio.TaskGroup() as group:
                    group.create_task(self._watch_connection(bus), name="feed connection")
                    group.create_task(self._watch_fleet(bus), name="feed fleet")
                    group.create_task(self._hear_pulses(bus), name="feed pulses")
                    group.create_task(self._read_events(bus), name="feed events")
            except* BlazzError as errors:
                error = _first(errors)
            if error is not None and not error.retryable:
                raise error
            await self._tell(BusDown(error.detail if error else ""))
            await _pause()

    async def _watch_connection(self, bus: Bus) -> None:
        told: tuple[bool, float] | None = None
        while True:
            now = (bus.connected, bus.round_trip_s)
            if now != told:
                told = now
                if bus.connected:
                    await self._tell(BusUp(bus.round_trip_s))
                else:
                    outage = bus.last_outage
                    reason = (
                        bus.refused.detail if bus.refused else (outage.reason if outage else "")
                    )
                    await self._tell(BusDown(reason))
            await asyncio.sleep(LOOK_PERIOD_S)

    async def _watch_fleet(self, bus: Bus) -> None:
        """The bucket, read whole again after every doubt: an outage must leave no ghost."""
        sweep = False
        while True:
            await self._tell(ResyncBegan(sweep=sweep))
            sweep = False
            try:
                async with asyncio.timeout(SWEEP_PERIOD_S * random.uniform(0.9, 1.1)):
                    await self._watch_once(Bucket(bus, FLEET))
            except TimeoutError:
                sweep = True
            except BlazzError as error:
                await self._tell_trouble("fleet", error)
            await _when_connected(bus)

    async def _watch_once(self, bucket: Bucket) -> None:
        async with aclosing(watch(bucket, *FLEET_WATCHED)) as steps:
            async for step in steps:
                match step.kind:
                    case ChangeKind.STALE:
                        return
                    case ChangeKind.SYNCED:
                        await self._tell(ResyncDone())
                        await self._tell(Trouble("fleet"))
                    case _:
                        change = change_of(step)
                        if change is not None:
                            await self._tell(change)

    async def _hear_pulses(self, bus: Bus) -> None:
        async with bus.subscribe(ALL_HEARTBEATS, pending_max=QUEUED_MAX) as inflow:
            async for message in inflow:
                change: Change = Unreadable("heartbeat")
                with contextlib.suppress(BlazzError):
                    pulse = decode(message.data, Heartbeat)
                    if speaks_for_itself(message.subject, pulse):
                        change = Pulse(pulse)
                await self._tell(change)

    async def _read_events(self, bus: Bus) -> None:
        jetstream = JetStream(bus)
        next_seq: int | None = None
        live_from = 0
        while True:
            try:
                if next_seq is None:
                    state = (await jetstream.stream_info(EVENTS)).state
                    live_from = state.last_seq + 1
                    next_seq = max(1, state.first_seq, live_from - self._events_history)
                await self._tell(Trouble("events"))
                reader = read_ordered(jetstream, EVENTS, EVENTS_ALL, start_seq=next_seq)
                async with aclosing(reader) as messages:
                    async for message in messages:
                        if isinstance(message, Gap):
                            next_seq = message.to_seq + 1
                            await self._tell(EventsGap(message.from_seq, message.to_seq))
                            continue
                        next_seq = message.seq + 1
                        await self._tell(_event_of(message.data, message.seq, live_from))
            except BlazzError as error:
                await self._tell_trouble("events", error)
            await _when_connected(bus)

    async def _tell_trouble(self, part: str, error: BlazzError) -> None:
        """An absent stream is a fleet that is not set up yet: say so and wait. A refusal is not
        mended by waiting."""
        if error.code is ErrorCode.FORBIDDEN:
            raise error
        if error.code is ErrorCode.NOT_FOUND:
            await self._tell(Trouble(part, "not there yet; is a control plane running?"))
        elif error.code is not ErrorCode.NATS_UNAVAILABLE:
            await self._tell(Trouble(part, error.detail or str(error.code)))


def _event_of(data: bytes, seq: int, live_from: int) -> Change:
    try:
        return Happened(seq, decode(data, Event), live=seq >= live_from)
    except BlazzError:
        return Unreadable("event")


def _first(group: BaseExceptionGroup[BlazzError]) -> BlazzError:
    for error in group.exceptions:
        return error if isinstance(error, BlazzError) else _first(error)
    raise AssertionError("an exception group is never empty")


async def _when_connected(bus: Bus) -> None:
    while not bus.connected:
        try:
            await bus.wait_connected(RETRY_MAX_S)
        except BlazzError as away:
            log.debug("tui.waiting_for_bus", code=away.code)
    await _pause()


async def _pause() -> None:
    await asyncio.sleep(random.uniform(RETRY_MIN_S, RETRY_MAX_S))
