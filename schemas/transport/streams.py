"""Streams, read in order: gap-free, repeat-free, across reconnects and server restarts.

Owns the short-lived ordered consumer: made, re-made after any doubt from the last sequence seen,
and removed. Never acknowledges (see `durable.py`) and never hides a gap: what was pruned before
it was read comes out as a `Gap`.
"""

import asyncio
import math
import random
import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import Any, Final

import msgspec
import structlog

from schemas.errors import BlazzError, ErrorCode
from schemas.transport.connection import BusMessage
from schemas.transport.jetstream import JetStream, StoredMessage

log = structlog.get_logger()

NEW: Final = 0
"""Start position: only what comes from now on."""
_BATCH: Final = 256
_INACTIVE_S: Final = 60.0
_LOOK_S: Final = 2.0
"""How often a reader that is far behind looks where the stream begins."""


class Gap(msgspec.Struct, frozen=True):
    """Sequences `from_seq` to `to_seq` of the stream are gone for good (pruned by age or size,
    or, when `from_seq` is above `to_seq`, the stream is shorter than what was read before: it
    was restored or damaged). The reader must not believe that it has seen everything."""

    from_seq: int
    to_seq: int


class Position(msgspec.Struct, frozen=True):
    """Where a delivered message lies: the stream's sequence, the consumer's, what is left; and
    when it was stored (Unix seconds)."""

    stream_seq: int
    consumer_seq: int
    pending: int
    delivered: int
    stored_at: float = 0.0


def position_of(reply: str) -> Position:
    """Read a delivered message's reply subject: `$JS.ACK.<stream>.<consumer>.<delivered>.
    <stream seq>.<consumer seq>.<time>.<pending>`, or the form with domain and account."""
    tokens = reply.split(".")
    if len(tokens) >= 11:  # $JS.ACK.<domain>.<account>.<stream>…
        tokens = tokens[:2] + tokens[4:]
    if len(tokens) < 9 or tokens[:2] != ["$JS", "ACK"]:
        raise BlazzError(ErrorCode.INTERNAL, "not a JetStream delivery")
    return Position(
        stream_seq=int(tokens[5]),
        consumer_seq=int(tokens[6]),
        pending=int(tokens[8]),
        delivered=int(tokens[4]),
        stored_at=int(tokens[7]) / 1e9,
    )


def gap_before(wanted_seq: int, first_seq: int, last_seq: int) -> Gap | None:
    """What a reader that wants `wanted_seq` next can no longer get, given the stream's ends."""
    if wanted_seq < first_seq:
        return Gap(wanted_seq, first_seq - 1)
    if wanted_seq > last_seq + 1:
        return Gap(wanted_seq, last_seq)
    return None


async def read_ordered(
    jetstream: JetStream,
    stream: str,
    subject: str,
    *,
    start_seq: int = NEW,
    headers_only: bool = False,
) -> AsyncGenerator[StoredMessage | Gap, None]:
    """Every message on `subject` in order, for ever; each exactly once.

    `start_seq` is the first sequence wanted (`Last-Event-ID` + 1), or `NEW`. Survives outages by
    itself. A reader so slow that the stream is pruned before it gets a `Gap` too. Raises
    `not_found` if the stream is gone and `forbidden`; close it with `aclosing`.
    """
    looked_s = -math.inf
    state = (await jetstream.stream_info(stream)).state
    next_seq = state.last_seq + 1 if start_seq == NEW else start_seq
    while True:
        try:
            state = (await jetstream.stream_info(stream)).state
            gap = gap_before(next_seq, state.first_seq, state.last_seq)
            if gap is not None:
                yield gap
                next_seq = gap.to_seq + 1
            config = {
                "deliver_policy": "by_start_sequence",
                "opt_start_seq": next_seq,
                "filter_subject": subject,
                "headers_only": headers_only,
            }
            async with aclosing(run_consumer(jetstream, stream, config)) as deliveries:
                async for delivery in deliveries:
                    message = delivery.message
                    if message is not None and message.seq >= next_seq:
                        # Far behind, and some are missing: those of others, or pruned ones.
                        behind = message.seq > next_seq and delivery.pending >= _BATCH
                        if behind and time.monotonic() - looked_s > _LOOK_S:
                            looked_s = time.monotonic()
                            state = (await jetstream.stream_info(stream)).state
                            if state.first_seq > next_seq:
                                yield Gap(next_seq, min(state.first_seq, message.seq) - 1)
                        next_seq = message.seq + 1
                        yield message
        except BlazzError as error:
            await pause_unless_final(jetstream, error)


async def read_last_per_subject(
    jetstream: JetStream, stream: str, subject: str, *, headers_only: bool = False
) -> AsyncGenerator[StoredMessage, None]:
    """The last message of every subject under `subject`, once; raises on an outage half-way."""
    config = {
        "deliver_policy": "last_per_subject",
        "filter_subject": subject,
        "headers_only": headers_only,
    }
    async with aclosing(run_consumer(jetstream, stream, config)) as deliveries:
        async for delivery in deliveries:
            if delivery.message is not None:
                yield delivery.message
            if delivery.pending == 0:
                return
    raise BlazzError(ErrorCode.NATS_UNAVAILABLE, "the listing was interrupted")


async def read_stored(
    jetstream: JetStream,
    stream: str,
    subject: str,
    *,
    start_at: datetime | None = None,
    headers_only: bool = False,
    batch: int = _BATCH,
) -> AsyncGenerator[StoredMessage, None]:
    """Every message on `subject` that is there now (with `start_at`: and was stored then or
    later), in order, once; raises on an outage half-way. What is removed meanwhile may be left
    out. `batch` are asked for at once."""
    name = f"ord-{secrets.token_hex(8)}"
    config: dict[str, Any] = {
        "deliver_policy": "all",
        "filter_subject": subject,
        "headers_only": headers_only,
    }
    if start_at is not None:
        config |= {"deliver_policy": "by_start_time", "opt_start_time": start_at.isoformat()}
    info = await jetstream.create_consumer(stream, name, ordered_config(config))
    expires_s = jetstream.bus.settings.profile.fetch_timeout_s
    expected = 1
    try:
        while info.num_pending:
            # No waiting: the last ones may have been removed since they were counted.
            pull = jetstream.fetch(stream, name, batch=batch, expires_s=expires_s, wait=False)
            begun = expected
            async with aclosing(pull) as messages:
                async for raw in messages:
                    position = position_of(raw.reply)
                    if position.consumer_seq != expected:
                        raise BlazzError(ErrorCode.NATS_UNAVAILABLE, "a message was dropped")
                    expected += 1
                    yield stored(raw, position)
            info = await jetstream.consumer_info(stream, name)
            if info.num_pending and expected == begun:
                raise BlazzError(ErrorCode.NATS_UNAVAILABLE, "the listing was interrupted")
    finally:
        if jetstream.bus.connected:
            await _forget(jetstream, stream, name)


class Delivery(msgspec.Struct, frozen=True):
    """A step of an ordered consumer: a message, or (first of all, and where a look was asked for)
    only how many are `pending`."""

    message: StoredMessage | None
    pending: int


async def run_consumer(
    jetstream: JetStream, stream: str, config: dict[str, Any], *, look_every_s: float | None = None
) -> AsyncGenerator[Delivery, None]:
    """One ordered consumer's messages until something is doubtful: then it ends or raises.

    The first delivery carries no message, only `pending`: what there was when it was made. With
    `look_every_s` there is one without a message at least so often.
    """
    name = f"ord-{secrets.token_hex(8)}"
    info = await jetstream.create_consumer(stream, name, ordered_config(config))
    try:
        pending = info.num_pending
        yield Delivery(None, pending)
        expected = 1
        expires_s = look_every_s or jetstream.bus.settings.profile.fetch_timeout_s
        while True:
            pull = jetstream.fetch(stream, name, batch=_BATCH, expires_s=expires_s)
            async with aclosing(pull) as messages:
                async for raw in messages:
                    position = position_of(raw.reply)
                    if position.consumer_seq != expected:
                        # One was dropped on the way: the next consumer starts behind the last.
                        log.info("stream.delivery_gap", stream=stream)
                        return
                    expected += 1
                    pending = position.pending
                    yield Delivery(stored(raw, position), pending)
            if look_every_s:
                yield Delivery(None, pending)
    finally:
        if jetstream.bus.connected:
            await _forget(jetstream, stream, name)


def ordered_config(config: dict[str, Any]) -> dict[str, Any]:
    """A consumer that keeps no state worth keeping: in memory, unreplicated, unacknowledged."""
    return {
        "ack_policy": "none",
        "mem_storage": True,
        "num_replicas": 1,
        "replay_policy": "instant",
        "inactive_threshold": int(_INACTIVE_S * 1e9),
        **config,
    }


def stored(raw: BusMessage, position: Position) -> StoredMessage:
    """A delivered message as a stored one."""
    return StoredMessage(
        raw.subject, position.stream_seq, raw.data, dict(raw.headers), position.stored_at
    )


async def pause_unless_final(jetstream: JetStream, error: BlazzError) -> None:
    """After an error of a reader that resumes: wait a jittered moment, or raise what no waiting
    mends (no such stream, not permitted). A consumer that vanished with its server is re-made."""
    if error.code is ErrorCode.FORBIDDEN or (
        error.code is ErrorCode.NOT_FOUND and getattr(error, "err_code", 0) == 10059
    ):
        raise error
    if error.code not in (ErrorCode.NATS_UNAVAILABLE, ErrorCode.TIMEOUT, ErrorCode.NOT_FOUND):
        raise error
    profile = jetstream.bus.settings.profile
    try:
        await jetstream.bus.wait_connected(profile.jetstream_timeout_s)
    except BlazzError as away:
        log.debug("stream.waiting_for_bus", code=away.code)
    await asyncio.sleep(random.uniform(0.1, 1.0) * profile.resync_jitter_s)


async def _forget(jetstream: JetStream, stream: str, name: str) -> None:
    try:
        await jetstream.delete_consumer(stream, name)
    except BlazzError as error:
        # It goes by itself after its inactive threshold.
        log.debug("stream.consumer_left", stream=stream, code=error.code)
