"""Copies of whole streams, made and put back by the server itself.

Owns JetStream's snapshot and restore: one consistent moment of a stream, while it is written to,
with its sequences, times, headers and durable consumers. Never looks inside: what comes out is the
server's own archive, and a damaged store gives one without a word.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec

from schemas.errors import BlazzError, ErrorCode
from schemas.transport.connection import Inflow
from schemas.transport.jetstream import JetStream, StreamInfo, StreamState, raise_refusal

CHUNK_BYTES: Final = 128 * 1024
_SMALL_BYTES: Final = 2 * 1024
_SLOW_S: Final = 0.5
_QUICK_S: Final = 0.05
_CHUNKS_AHEAD: Final = 512
"""The server sends at most 8 MB ahead of our answers."""
_CHUNK_WAIT_S: Final = 60.0
_END: Final = "204"
_RESTORED_WAIT_S: Final = 300.0
"""It unpacks and reads all of it before it answers."""


class StreamArchive(msgspec.Struct, frozen=True):
    """A copy on its way: the stream's configuration and state at its moment, and the bytes."""

    info: StreamInfo
    chunks: AsyncIterator[bytes]


@asynccontextmanager
async def copy_out(jetstream: JetStream, stream: str) -> AsyncIterator[StreamArchive]:
    """A copy of `stream`; read `chunks` to their end within the block.

    Not with the server's own check of messages: that drops what it finds damaged from the store.
    Raises `not_found`, `forbidden`, `nats_unavailable`, `timeout`.
    """
    bus = jetstream.bus
    subject = f"{bus.settings.inbox_prefix}.copy.{secrets.token_hex(8)}"
    async with bus.subscribe(subject, pending_max=_CHUNKS_AHEAD) as inflow:
        wanted = {"deliver_subject": subject, "no_consumers": False, "chunk_size": CHUNK_BYTES}
        info = await jetstream.api(f"STREAM.SNAPSHOT.{stream}", wanted, StreamInfo)
        yield StreamArchive(info, _chunks(jetstream, stream, inflow))


async def _chunks(jetstream: JetStream, stream: str, inflow: Inflow) -> AsyncIterator[bytes]:
    while True:
        try:
            async with asyncio.timeout(_CHUNK_WAIT_S):
                message = await inflow.next()
        except TimeoutError:
            raise BlazzError(
                ErrorCode.TIMEOUT, "the server's copy stopped", stream=stream
            ) from None
        if inflow.dropped:
            raise BlazzError(ErrorCode.NATS_UNAVAILABLE, "a part of the copy was lost on the way")
        if message.nats_state not in ("", _END):
            words = message.headers.get("Description", message.nats_state)
            raise BlazzError(
                ErrorCode.NATS_UNAVAILABLE, f"the server broke off: {words}", stream=stream
            )
        if not message.data:
            return
        yield message.data
        await jetstream.bus.reply(message, b"")


async def copy_in(
    jetstream: JetStream, config: dict[str, Any], state: StreamState, chunks: AsyncIterator[bytes]
) -> StreamState:
    """Make the stream that `config` names out of a copy; what it holds then.

    There must be none of that name, nor one with its subjects. Raises `internal` when the server
    refuses the copy, `nats_unavailable`, `timeout`, `forbidden`.
    """
    bus, name = jetstream.bus, config["name"]
    size = _SMALL_BYTES
    wanted = {"config": config, "state": msgspec.to_builtins(state)}
    place = await jetstream.api(f"STREAM.RESTORE.{name}", wanted, _Place)
    async for chunk in chunks:
        begin = 0
        while begin < len(chunk):
            part = chunk[begin : begin + size]
            begin += len(part)
            began_at = time.monotonic()
            taken = await bus.request(place.deliver_subject, part, timeout_s=_CHUNK_WAIT_S)
            if taken.data:
                # It says nothing while all is well, and why when it gives up.
                raise_refusal(taken.data)
            size = next_size(size, time.monotonic() - began_at)
    done = await bus.request(place.deliver_subject, b"", timeout_s=_RESTORED_WAIT_S)
    raise_refusal(done.data)
    return msgspec.json.decode(done.data, type=StreamInfo).state


def next_size(size: int, took_s: float) -> int:
    """How much to send next: the server gives up when one piece takes it 5 s, and a small piece of
    a well compressed archive may be thousands of messages."""
    if took_s > _SLOW_S:
        return max(_SMALL_BYTES, size // 4)
    return min(CHUNK_BYTES, size * 2) if took_s < _QUICK_S else size


class _Place(msgspec.Struct, frozen=True):
    deliver_subject: str
