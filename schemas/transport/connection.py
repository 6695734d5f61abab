"""The bus: one supervised connection to NATS for the life of a process.

Owns dialling for ever with jitter, the self-ping, subscriptions that outlive a connection, and
the record of outages. Never decodes a payload (see `typed.py`) and never knows a stream.

    async with Bus.connect(BusSettings(servers=("nats://127.0.0.1:4222",), name="node-1")) as bus:
        await bus.publish("blazz.node.node-1.announce", b"{}")
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Final, Self

import msgspec
import structlog
from nats.aio.msg import Msg

from schemas.errors import BlazzError, ErrorCode
from schemas.transport.background import Background
from schemas.transport.link import (
    Answers,
    BusMessage,
    BusSettings,
    Link,
    NoResponders,
    TlsSettings,
    message_of,
    unavailable,
)
from schemas.turns import Turn

__all__ = [
    "Bus",
    "BusMessage",
    "BusSettings",
    "Inflow",
    "NoResponders",
    "Outage",
    "TlsSettings",
    "redial_delay",
]

log = structlog.get_logger()

_CLOSE_FLUSH_TIMEOUT_S: Final = 1.0
_REDIAL_LOG_EVERY: Final = 20
_TURN_MAX_S: Final = 120.0
"""One look at a link, or one round of dials to servers that let each time out."""


class Outage(msgspec.Struct, frozen=True):
    """A time without the bus, by this process's monotonic clock (seconds)."""

    began_at: float
    ended_at: float | None
    reason: str


def redial_delay(attempt: int, unit_random: float, *, min_s: float, max_s: float) -> float:
    """Seconds before redial `attempt` (from 0): doubling, capped, between half and all of it."""
    ceiling = min(max_s, min_s * 2.0 ** min(attempt, 30))
    return ceiling * (0.5 + 0.5 * unit_random)


async def _nothing() -> None:
    """An inflow that no link carries needs no unsubscribing."""


class Inflow:
    """A subscription's bounded queue: `async for message in inflow`.

    It outlives connections. Core NATS is at most once, so when the reader is too slow the newest
    message is dropped and counted in `dropped` rather than memory growing.
    """

    def __init__(self, subject: str, queue_group: str, pending_max: int) -> None:
        self.subject = subject
        self.queue_group = queue_group
        self.dropped = 0
        self._queue: asyncio.Queue[BusMessage] = asyncio.Queue(pending_max)
        self._refused = asyncio.Event()
        self.unsubscribe: Callable[[], Awaitable[None]] = _nothing

    async def accept(self, msg: Msg) -> None:
        """nats-py's callback: quick and never raising, for callbacks run one at a time."""
        if self._queue.full():
            self.dropped += 1
            if self.dropped & (self.dropped - 1) == 0:  # 1, 2, 4, 8 …: a flood logs little
                log.warning("bus.message_dropped", subject=self.subject, dropped=self.dropped)
            return
        self._queue.put_nowait(message_of(msg))

    def refuse(self) -> None:
        """The server does not let this identity subscribe here."""
        self._refused.set()

    def check(self) -> None:
        """Raise `forbidden` if the server refused the subscription."""
        if self._refused.is_set():
            raise BlazzError(
                ErrorCode.FORBIDDEN, "the bus refuses this subject to us", subject=self.subject
            )

    async def next(self) -> BusMessage:
        """The next message, however long it takes."""
        return await self._queue.get()

    def take_pending(self) -> list[BusMessage]:
        """All that waits in the queue, at once."""
        return [self._queue.get_nowait() for _ in range(self._queue.qsize())]

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> BusMessage:
        return await self._queue.get()


class Bus:
    """One process's way to NATS; made by `async with Bus.connect(settings)`.

    `connected` is what the last self-ping or socket event said; `generation` rises with every
    connection; `outages` counts the losses and `last_outage` describes the latest.
    """

    def __init__(self, settings: BusSettings) -> None:
        self.settings = settings
        self.generation = 0
        self.outages = 0
        self.last_outage: Outage | None = None
        self.refused: BlazzError | None = None
        """Set while the server refuses our identity: redialling goes on, but needs a person."""
        self.round_trip_s = 0.0
        self._link: Link | None = None
        self._pinged_at = self._dialled_at = time.monotonic()
        self._up = asyncio.Event()
        self._inflows: set[Inflow] = set()
        self._listeners: list[Callable[[], None]] = []
        self._tasks = Background()

    @classmethod
    def connect(cls, settings: BusSettings) -> Self:
        """Make a bus for `async with`: enters once connected. Raises `nats_unavailable` after
        `first_connect_timeout_s`, or `config_invalid` at once if the identity is refused."""
        return cls(settings)

    async def __aenter__(self) -> Self:
        deadline = time.monotonic() + self.settings.first_connect_timeout_s
        attempt = 0
        while True:
            try:
                await self._dial()
                break
            except BlazzError as error:
                delay = self._redial_delay(attempt)
                if not error.retryable or time.monotonic() + delay > deadline:
                    raise
            await asyncio.sleep(delay)
            attempt += 1
        await self._tasks.__aenter__()
        self._tasks.start(self._supervise(), name="bus supervisor")
        self._tasks.start(self._self_ping(), name="bus self-ping")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self.connected:
                # Published but not yet on the wire: a round trip behind it proves it went out.
                await self.round_trip(_CLOSE_FLUSH_TIMEOUT_S)
        except BlazzError as late:
            log.info("bus.closed_unflushed", code=late.code)
        finally:
            try:
                await self._tasks.__aexit__(kind, error, trace)
            finally:
                if self._link is not None:
                    await self._link.close()

    # State -------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether the bus was there when last looked at."""
        return self._up.is_set() and self._link is not None and not self._link.lost.is_set()

    @property
    def turn(self) -> Turn:
        """When whoever keeps this bus last did something; it does while the bus is away, too."""
        at_s = self._pinged_at
        if not self.connected:
            lost_at_s = self.last_outage.began_at if self.last_outage is not None else 0.0
            at_s = min(at_s, max(self._dialled_at, lost_at_s))
        return Turn("bus", at_s, _TURN_MAX_S)

    async def wait_connected(self, timeout_s: float) -> None:
        """Return at once when connected. Raises `nats_unavailable` after `timeout_s`."""
        await self._ready(timeout_s)

    def on_reconnect(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after each reconnect (it must not block or raise). Returns the undo."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    # Messages ----------------------------------------------------------------------------------

    async def publish(
        self, subject: str, payload: bytes, headers: dict[str, str] | None = None
    ) -> None:
        """Send at most once. Raises `nats_unavailable` at once during an outage."""
        link = self._link
        if link is None or not self.connected:
            raise unavailable("the bus is away")
        await link.publish(subject, payload, headers)

    async def reply(self, to: BusMessage, payload: bytes) -> None:
        """Answer a request; a caller that wants no answer gets none."""
        if to.reply:
            await self.publish(to.reply, payload)

    async def request(
        self,
        subject: str,
        payload: bytes,
        *,
        timeout_s: float,
        headers: dict[str, str] | None = None,
    ) -> BusMessage:
        """Ask and wait for one answer.

        Waits for a connection within `timeout_s`. Raises `NoResponders` (surely not received),
        `timeout` or `nats_unavailable` (both: outcome unknown once sent), `forbidden`.
        """
        began_at = time.monotonic()
        link = await self._ready(timeout_s)
        with link.expect(subject) as answers:
            await link.publish(subject, payload, headers, answers.reply_subject)
            return await answers.next(max(0.001, timeout_s - (time.monotonic() - began_at)))

    @asynccontextmanager
    async def request_many(
        self, subject: str, payload: bytes, *, answers_max: int, timeout_s: float
    ) -> AsyncIterator[Answers]:
        """Ask and read up to `answers_max` answers with `answers.next(timeout_s)` in the block."""
        link = await self._ready(timeout_s)
        async with link.expect_many(subject, answers_max) as answers:
            await link.publish(subject, payload, None, answers.reply_subject)
            yield answers

    async def round_trip(self, timeout_s: float) -> float:
        """Seconds for a message to ourselves. All sent before is then on the server."""
        link = self._link
        if link is None or link.lost.is_set():
            raise unavailable("the bus is away")
        return await self._round_trip_on(link, timeout_s)

    @asynccontextmanager
    async def subscribe(
        self, subject: str, *, queue_group: str = "", pending_max: int = 1024
    ) -> AsyncIterator[Inflow]:
        """Subscribe for the block; active on the server once entered, again after each reconnect.

        Raises `forbidden` if the identity may not, `nats_unavailable`.
        """
        inflow = Inflow(subject, queue_group, pending_max)
        link = await self._ready(self.settings.profile.jetstream_timeout_s)
        inflow.unsubscribe = await link.subscribe(subject, queue_group, inflow.accept)
        # No await between: from here on every new link subscribes it again.
        self._inflows.add(inflow)
        try:
            await self._round_trip_on(link, self.settings.profile.jetstream_timeout_s)
            inflow.check()
            yield inflow
        finally:
            self._inflows.discard(inflow)
            await inflow.unsubscribe()

    # Supervision ---------------------------------------------------------------------------------

    async def _ready(self, timeout_s: float) -> Link:
        if not self.connected:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._up.wait()
            except TimeoutError:
                raise unavailable("the bus did not come back in time") from None
        link = self._link
        if link is None or link.lost.is_set():
            raise unavailable("the bus is away")
        return link

    async def _dial(self) -> None:
        servers = list(self.settings.servers)
        random.shuffle(servers)
        last = unavailable("no servers are configured")
        for server in servers:
            link = Link(self.settings, server)
            link.on_subscription_refused = self._refuse
            try:
                await link.open()
                for inflow in list(self._inflows):
                    inflow.unsubscribe = await link.subscribe(
                        inflow.subject, inflow.queue_group, inflow.accept
                    )
                self.round_trip_s = await self._round_trip_on(
                    link, self.settings.profile.connect_timeout_s
                )
            except BlazzError as error:
                await link.close()
                last = error
                continue
            except BaseException:
                await link.close()
                raise
            self._link = link
            self.generation += 1
            self.refused = None
            self._up.set()
            return
        raise last

    def _refuse(self, subject: str) -> None:
        for inflow in self._inflows:
            if inflow.subject.lower() == subject.lower():
                inflow.refuse()

    async def _supervise(self) -> None:
        while True:
            link = self._link
            if link is None:
                raise RuntimeError("supervised before the first dial")
            await link.lost.wait()
            self._up.clear()
            self.outages += 1
            began_at = time.monotonic()
            self.last_outage = Outage(began_at, None, link.lost_reason)
            log.warning("bus.lost", reason=link.lost_reason, bus=self.settings.name)
            await link.close()
            await self._redial_for_ever()
            self.last_outage = Outage(began_at, time.monotonic(), link.lost_reason)
            log.info(
                "bus.restored",
                bus=self.settings.name,
                duration_s=round(time.monotonic() - began_at, 3),
            )
            for listener in list(self._listeners):
                listener()

    async def _redial_for_ever(self) -> None:
        attempt = 0
        while True:
            await asyncio.sleep(self._redial_delay(attempt))
            self._dialled_at = time.monotonic()
            try:
                await self._dial()
            except BlazzError as error:
                if error.code is ErrorCode.CONFIG_INVALID:
                    if self.refused is None:
                        log.error("bus.identity_refused", bus=self.settings.name)
                    self.refused = error
                elif attempt % _REDIAL_LOG_EVERY == 0:
                    log.warning("bus.redial_failed", attempt=attempt, detail=error.detail)
                attempt += 1
            else:
                return

    def _redial_delay(self, attempt: int) -> float:
        profile = self.settings.profile
        return redial_delay(
            attempt,
            random.random(),
            min_s=profile.redial_delay_min_s,
            max_s=profile.redial_delay_max_s,
        )

    async def _self_ping(self) -> None:
        profile = self.settings.profile
        while True:
            await asyncio.sleep(profile.self_ping_interval_s)
            self._pinged_at = time.monotonic()
            link = self._link
            if link is None or link.lost.is_set():
                continue
            try:
                self.round_trip_s = await self._round_trip_on(link, profile.self_ping_timeout_s)
            except BlazzError as error:
                link.declare_lost(f"self-ping failed: {error.code}")

    async def _round_trip_on(self, link: Link, timeout_s: float) -> float:
        began_at = time.monotonic()
        with link.expect("") as answers:
            await link.publish(answers.reply_subject, b"", None)
            await answers.next(timeout_s)
        return time.monotonic() - began_at
