"""Durable consumption: work that is acknowledged, or comes again.

Owns the durable consumer's settings and the three answers to a delivery. Never decides how often
to try or how long to wait: the reader does, by what it answers.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import msgspec
import structlog

from schemas.errors import BlazzError
from schemas.transport.connection import Bus, BusMessage
from schemas.transport.jetstream import JetStream
from schemas.transport.streams import pause_unless_final, position_of
from schemas.transport.typed import decode

log = structlog.get_logger()

T = TypeVar("T")
_ACK: Final = b"+ACK"
_TERM: Final = b"+TERM"
_IN_PROGRESS: Final = b"+WPI"


class DurableSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A named reader of a stream that keeps its place on the server.

    Several processes may share one: each delivery goes to one of them. Do not edit `subject` of
    one that exists: messages behind its place would be stranded. `ack_wait_s` without an answer,
    and a delivery comes again.
    """

    name: str
    subject: str
    ack_wait_s: float = 30.0
    max_ack_pending: int = 64
    max_deliver: int = -1
    start_new: bool = False
    """Begin with what comes from now on, not with what is stored."""
    start_seq: int = 0
    """Instead: begin with this sequence. One that is lost and made anew begins there again."""
    start_at: float | None = None
    """Instead: begin with what was stored at this time (Unix seconds) or later."""
    replicas: int = 0
    """0: as the stream."""


class Work:
    """One delivery. Answer it exactly once: `ack`, `again` or `give_up`."""

    def __init__(self, jetstream: JetStream, raw: BusMessage) -> None:
        position = position_of(raw.reply)
        self._jetstream = jetstream
        self._reply = raw.reply
        self.subject = raw.subject
        self.data = raw.data
        self.headers = raw.headers
        self.seq = position.stream_seq
        self.attempt = position.delivered
        """From 1; counted by the server."""
        self.pending = position.pending

    def value(self, kind: type[T]) -> T:
        """The payload as `kind`. Raises `malformed_request`."""
        return decode(self.data, kind)

    async def ack(self) -> None:
        """Done. Waits until the server has it, so that a crash of ours cannot bring it back (one
        of the server's still may: at least once)."""
        await self._answer(_ACK)

    async def again(self, delay_s: float) -> None:
        """Not done: deliver it again after `delay_s`."""
        body = msgspec.json.encode({"delay": int(delay_s * 1e9)})
        await self._jetstream.bus.publish(self._reply, b"-NAK " + body)

    async def give_up(self) -> None:
        """Never deliver it again. Waits as `ack` does."""
        await self._answer(_TERM)

    async def still_working(self) -> None:
        """Restart `ack_wait_s`."""
        await self._jetstream.bus.publish(self._reply, _IN_PROGRESS)

    async def _answer(self, word: bytes) -> None:
        bus = self._jetstream.bus
        await bus.request(self._reply, word, timeout_s=self._jetstream.timeout_s)


class InHand:
    """Deliveries that wait for their answer longer than `ack_wait_s`: `run` keeps them ours for as
    long as this process lives, so that the wait can be short and a crash is noticed soon."""

    def __init__(self, spec: DurableSpec) -> None:
        self._period_s = spec.ack_wait_s / 3
        self._works: set[Work] = set()

    def take(self, work: Work) -> None:
        """It is being worked on."""
        self._works.add(work)

    def leave(self, work: Work) -> None:
        """It is about to be answered."""
        self._works.discard(work)

    async def run(self) -> None:
        """Renew, for ever, what has been in hand for a while."""
        while True:
            old = list(self._works)
            await asyncio.sleep(self._period_s)
            for work in old:
                if work not in self._works:
                    continue
                try:
                    await work.still_working()
                except BlazzError as error:
                    # The bus is away: they come again, which is harmless.
                    log.debug("durable.renewal_failed", code=error.code)
                    break


def durable_config(spec: DurableSpec) -> dict[str, Any]:
    """The server's JSON for a durable."""
    start: dict[str, Any] = {"deliver_policy": "new" if spec.start_new else "all"}
    if spec.start_seq:
        start = {"deliver_policy": "by_start_sequence", "opt_start_seq": spec.start_seq}
    elif spec.start_at is not None:
        moment = datetime.fromtimestamp(spec.start_at, UTC).isoformat().replace("+00:00", "Z")
        start = {"deliver_policy": "by_start_time", "opt_start_time": moment}
    return {
        "durable_name": spec.name,
        "filter_subject": spec.subject,
        **start,
        "ack_policy": "explicit",
        "ack_wait": int(spec.ack_wait_s * 1e9),
        "max_ack_pending": spec.max_ack_pending,
        "max_deliver": spec.max_deliver,
        "replay_policy": "instant",
        "num_replicas": spec.replicas,
    }


async def consume(
    bus: Bus, stream: str, spec: DurableSpec, *, batch: int | Callable[[], Awaitable[int]] = 32
) -> AsyncGenerator[Work, None]:
    """Deliveries for ever, at least once each; makes the durable if it is not there.

    At most `batch` are handed to this process ahead of its answers; a function is asked before
    each pull, and waits while there is no room. Survives outages: what was not acknowledged comes
    again. Close it with `aclosing`. Raises `not_found` if the stream is gone, `forbidden`.
    """
    jetstream = JetStream(bus)
    made = False
    while True:
        try:
            if not made:
                await jetstream.create_consumer(stream, spec.name, durable_config(spec))
                made = True
            room = batch if isinstance(batch, int) else await batch()
            pull = jetstream.fetch(
                stream, spec.name, batch=room, expires_s=bus.settings.profile.fetch_timeout_s
            )
            async with aclosing(pull) as messages:
                async for raw in messages:
                    yield Work(jetstream, raw)
        except BlazzError as error:
            made = False
            log.info("durable.interrupted", stream=stream, durable=spec.name, code=error.code)
            await pause_unless_final(jetstream, error)
