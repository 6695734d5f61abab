"""Typed messages over the bus: structs in, structs out, errors as `BlazzError`.

Owns JSON coding, the reply envelope and how many handlers run at once. Fields a newer peer added
are ignored, so that a fleet can be upgraded one process at a time. Never picks a subject.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

import msgspec
import structlog

from schemas.envelope import HEADER_MESSAGE_ID, HEADER_TRACE, ErrorBody, Reply
from schemas.errors import BlazzError, ErrorCode
from schemas.permissions import may_be_answered
from schemas.transport.background import Background
from schemas.transport.connection import Bus, BusMessage
from schemas.transport.jetstream import JetStream

log = structlog.get_logger()

T = TypeVar("T")
_DRAIN_S: Final = 5.0


def decode(data: bytes, kind: type[T]) -> T:
    """JSON to `kind`. Raises `malformed_request` without quoting the payload."""
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.MsgspecError as error:
        raise BlazzError(
            ErrorCode.MALFORMED_REQUEST, f"not a {getattr(kind, '__name__', kind)} on the bus"
        ) from error


async def publish(
    bus: Bus, subject: str, value: msgspec.Struct, *, trace: str | None = None
) -> None:
    """Send at most once. Raises `nats_unavailable` at once during an outage."""
    await bus.publish(subject, msgspec.json.encode(value), _trace_headers(trace))


async def publish_durable(
    bus: Bus, subject: str, value: msgspec.Struct, message_id: str, *, trace: str | None = None
) -> int:
    """Store in the stream that owns `subject`; returns its sequence once the disk has it.

    Repeat it with the same `message_id` after `timeout` or `nats_unavailable`: within the stream's
    duplicate window the first copy counts and its sequence is returned.
    """
    headers = {HEADER_MESSAGE_ID: message_id, **(_trace_headers(trace) or {})}
    ack = await JetStream(bus).publish(subject, msgspec.json.encode(value), headers=headers)
    return ack.seq


async def request(
    bus: Bus,
    subject: str,
    value: msgspec.Struct,
    reply_type: type[T],
    *,
    timeout_s: float,
    trace: str | None = None,
) -> T:
    """Ask a `serve`d subject. Raises the error its handler raised, with its code; `NoResponders`
    if nobody serves it; `timeout` or `nats_unavailable` when the outcome is unknown."""
    answer = await bus.request(
        subject, msgspec.json.encode(value), timeout_s=timeout_s, headers=_trace_headers(trace)
    )
    reply = decode(answer.data, Reply)
    if reply.error is not None:
        raise reply.error.to_error()
    if not bytes(reply.ok):
        raise BlazzError(ErrorCode.INTERNAL, "an empty reply came over the bus")
    return decode(bytes(reply.ok), reply_type)


@asynccontextmanager
async def subscribe(
    bus: Bus, subject: str, kind: type[T], *, queue_group: str = "", pending_max: int = 1024
) -> AsyncIterator[AsyncIterator[tuple[str, T]]]:
    """For the block, an iterator of `(subject, value)`; what does not decode is logged, dropped."""
    async with bus.subscribe(subject, queue_group=queue_group, pending_max=pending_max) as inflow:

        async def values() -> AsyncIterator[tuple[str, T]]:
            async for message in inflow:
                try:
                    value = decode(message.data, kind)
                except BlazzError:
                    log.warning("bus.message_malformed", subject=message.subject)
                    continue
                yield message.subject, value

        yield values()


Handler = Callable[[T, BusMessage], Awaitable[msgspec.Struct]]


@asynccontextmanager
async def serve(
    bus: Bus,
    subject: str,
    kind: type[T],
    handler: Handler[T],
    *,
    queue_group: str = "",
    max_concurrency: int = 64,
    pending_max: int = 1024,
    handler_timeout_s: float = 120.0,
) -> AsyncIterator[None]:
    """For the block, answer requests to `subject` with what `handler(value, message)` returns.

    Each request runs in its own task (nats-py runs callbacks one at a time), at most
    `max_concurrency` at once; the rest wait in a bounded queue. A `BlazzError` goes back to the
    caller as it is, any other exception as `internal`. At the end no new request is taken and
    running ones get a few seconds to finish.
    """
    places = asyncio.Semaphore(max_concurrency)

    async def answer(message: BusMessage) -> None:
        try:
            if not may_be_answered(message.subject, message.reply):
                log.warning("bus.reply_misdirected", subject=message.subject)
                return
            try:
                value = decode(message.data, kind)
                async with asyncio.timeout(handler_timeout_s):
                    reply = Reply(
                        ok=msgspec.Raw(msgspec.json.encode(await handler(value, message)))
                    )
            except BlazzError as error:
                reply = Reply(error=ErrorBody.of(error))
            except TimeoutError:
                reply = Reply(error=ErrorBody.of(BlazzError(ErrorCode.TIMEOUT)))
            except Exception:
                log.exception("bus.handler_failed", subject=message.subject)
                reply = Reply(error=ErrorBody.of(BlazzError(ErrorCode.INTERNAL)))
            try:
                await bus.reply(message, msgspec.json.encode(reply))
            except BlazzError as error:
                log.warning("bus.reply_failed", subject=message.subject, code=error.code)
        finally:
            places.release()

    async with (
        bus.subscribe(subject, queue_group=queue_group, pending_max=pending_max) as inflow,
        Background() as running,
    ):

        async def take() -> None:
            while True:
                await places.acquire()
                running.start(answer(await inflow.next()), name=f"serve {subject}")

        taker = running.start(take(), name=f"take {subject}")
        try:
            yield
        finally:
            taker.cancel()
            await inflow.unsubscribe()
            for message in inflow.take_pending():
                # Not begun: the caller may ask another process at once.
                await _refuse(bus, message)
            await running.drain(_DRAIN_S)


async def _refuse(bus: Bus, message: BusMessage) -> None:
    reply = Reply(error=ErrorBody.of(BlazzError(ErrorCode.SHUTTING_DOWN)))
    try:
        await bus.reply(message, msgspec.json.encode(reply))
    except BlazzError as error:
        log.warning("bus.reply_failed", subject=message.subject, code=error.code)


def _trace_headers(trace: str | None) -> dict[str, str] | None:
    return {HEADER_TRACE: trace} if trace else None
