"""The bus: one supervised connection to NATS for the life of a process.

Owns dialling for ever with jitter, the self-ping, subscriptions that outlive a connection, the
change to a renewed credential without a gap, and the record of outages. Never decodes a payload
(see `typed.py`) and never knows a stream.

    async with Bus.connect(BusSettings(servers=("nats://127.0.0.1:4222",), name="node-1")) as bus:
        await bus.publish("blazz.node.node-1.announce", b"{}")
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Final, Self

import structlog

from schemas.errors import BlazzError, ErrorCode
from schemas.transport.background import Background
from schemas.transport.dialling import Opened, Outage, Stamp, redial_delay, retire, stamp_of
from schemas.transport.inflow import Inflow
from schemas.transport.link import (
    Answers,
    BusMessage,
    BusSettings,
    Link,
    NoResponders,
    TlsSettings,
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
        self._lost = asyncio.Event()
        self._changing = asyncio.Lock()
        self._signed_in_with: Stamp | None = None
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
        if self.settings.identity_file is not None:
            self._tasks.start(self._follow_identity(), name="bus identity")
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
        came_by: Link | None = to.via
        if not to.reply:
            return
        if came_by is None or came_by is self._link or came_by.lost.is_set():
            await self.publish(to.reply, payload)
        else:
            # Before a change of links: only who was asked may answer.
            await came_by.publish(to.reply, payload, None)

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
        await self._ready(self.settings.profile.jetstream_timeout_s)
        async with self._changing:
            link = await self._ready(self.settings.profile.jetstream_timeout_s)
            inflow.subscribed = await link.subscribe(subject, queue_group, inflow.taker(link))
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
        self._adopt(await self._open())

    async def _open(self) -> Opened:
        """A new link with every subscription on it, proven by a round trip."""
        servers = list(self.settings.servers)
        random.shuffle(servers)
        last = unavailable("no servers are configured")
        for server in servers:
            stamp = await asyncio.to_thread(stamp_of, self.settings.identity_file)
            link = Link(self.settings, server)
            link.on_subscription_refused = self._refuse
            try:
                await link.open()
                subscribed = {
                    inflow: await link.subscribe(
                        inflow.subject, inflow.queue_group, inflow.taker(link)
                    )
                    for inflow in list(self._inflows)
                }
                round_trip_s = await self._round_trip_on(
                    link, self.settings.profile.connect_timeout_s
                )
            except BlazzError as error:
                await link.close()
                last = error
                continue
            except BaseException:
                await link.close()
                raise
            return Opened(link, subscribed, round_trip_s, stamp)
        raise last

    def _adopt(self, opened: Opened) -> None:
        self._link = opened.link
        opened.link.on_lost = self._lost.set
        if opened.link.lost.is_set():
            self._lost.set()
        for inflow, subscribed in opened.subscribed.items():
            inflow.subscribed = subscribed
        self.round_trip_s = opened.round_trip_s
        self._signed_in_with = opened.stamp
        self.generation += 1
        self.refused = None
        self._up.set()

    # Changing links ------------------------------------------------------------------------------

    async def _follow_identity(self) -> None:
        """Sign in anew when the file has changed, long before the server ends the old sign-in."""
        while True:
            await asyncio.sleep(self.settings.identity_look_s)
            stamp = await asyncio.to_thread(stamp_of, self.settings.identity_file)
            if not self.connected or stamp in (None, self._signed_in_with):
                continue
            try:
                await self._change_over()
            except BlazzError as error:
                # The link that is there still holds; it is tried again at the next look.
                log.warning("bus.changeover_failed", bus=self.settings.name, code=error.code)
            else:
                log.info("bus.changed_over", bus=self.settings.name)

    async def _change_over(self) -> None:
        """To a new link, with no moment in which a subscription is on none."""
        async with self._changing:
            old, inflows = self._link, list(self._inflows)
            for inflow in inflows:
                inflow.begin_overlap()
            try:
                opened = await self._open()
                if old is None or old.lost.is_set():
                    # Somebody dials already.
                    await opened.link.close()
                    return
                before = [inflow.subscribed for inflow in inflows if inflow.subscribed]
                self._adopt(opened)
                self._tasks.start(retire(old), name="bus retire")
                for subscribed in before:
                    await subscribed.stop_deliveries()
                # Behind them, everything that either link brought has been taken in.
                for link in (old, opened.link):
                    await self._round_trip_on(link, self.settings.profile.connect_timeout_s)
            finally:
                for inflow in inflows:
                    inflow.end_overlap()

    def _refuse(self, subject: str) -> None:
        for inflow in self._inflows:
            if inflow.subject.lower() == subject.lower():
                inflow.refuse()

    async def _supervise(self) -> None:
        while True:
            await self._lost.wait()
            self._lost.clear()
            link = self._link
            if link is None or not link.lost.is_set():
                # One that was retired.
                continue
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
