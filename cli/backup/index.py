"""A stream's index: a line for each message of a copy, to hold a stream against.

Owns the line, when a message expires, and the walk that compares. Pure but for reading the stream:
what was lost is told from what has expired or was written since.
"""

import hashlib
import re
import struct
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Final, NamedTuple

from schemas.transport.jetstream import TTL, JetStream, StoredMessage
from schemas.transport.streams import read_stored

_LINE: Final = struct.Struct(">Qd8s16s")
_NEVER: Final = 0.0
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)?")
_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
_BIG_MESSAGE_BYTES: Final = 64 * 1024
_BATCH: Final = 256
_BATCH_OF_BIG: Final = 16
"""Messages asked for at once where they are chunks of half a megabyte: memory stays small."""


class Line(NamedTuple):
    """One message. `expires_at`: Unix seconds, 0: never. The hashes are of subject and of all."""

    seq: int
    expires_at: float
    subject: bytes
    content: bytes

    def packed(self) -> bytes:
        """As it lies in the file."""
        return _LINE.pack(*self)

    def gone_by(self, now: float) -> bool:
        """Whether the server may have let it expire."""
        return self.expires_at != _NEVER and self.expires_at <= now


def line_of(message: StoredMessage, max_age_s: float) -> Line:
    """A stored message's line."""
    headers = "".join(f"{name}:{value}\n" for name, value in sorted(message.headers.items()))
    content = hashlib.blake2b(digest_size=16)
    for part in (message.subject.encode(), headers.encode(), message.data):
        content.update(len(part).to_bytes(8, "big"))
        content.update(part)
    subject = hashlib.blake2b(message.subject.encode(), digest_size=8)
    expires_at = _expires_at(message, max_age_s)
    return Line(message.seq, expires_at, subject.digest(), content.digest())


def _expires_at(message: StoredMessage, max_age_s: float) -> float:
    ttl = message.headers.get(TTL)
    if ttl is not None:
        seconds = duration_s(ttl)
        if seconds is None:
            return _NEVER
        return message.stored_at + min(seconds, max_age_s or seconds)
    return message.stored_at + max_age_s if max_age_s else _NEVER


def duration_s(text: str) -> float | None:
    """A duration as the server writes it (`300s`, `1m0s`, `300`); None for `never`."""
    if text == "never":
        return None
    return sum(float(number) * _UNITS[unit or "s"] for number, unit in _DURATION.findall(text))


def unpacked(chunks: Iterable[bytes]) -> Iterator[Line]:
    """The lines of an index file."""
    rest = b""
    for chunk in chunks:
        rest += chunk
        whole = len(rest) - len(rest) % _LINE.size
        for values in _LINE.iter_unpack(rest[:whole]):
            yield Line(*values)
        rest = rest[whole:]
    if rest:
        raise ValueError("an index ends within a line")


async def read_lines(
    jetstream: JetStream, stream: str, config: dict[str, object], max_age_s: float
) -> AsyncIterator[Line]:
    """The lines of what a stream holds now. Raises `nats_unavailable` on an outage."""
    subjects = config["subjects"]
    assert isinstance(subjects, list)
    state = (await jetstream.stream_info(stream)).state
    big = state.messages and state.bytes / state.messages > _BIG_MESSAGE_BYTES
    batch = _BATCH_OF_BIG if big else _BATCH
    async for message in read_stored(jetstream, stream, subjects[0], batch=batch):
        yield line_of(message, max_age_s)


class Comparison(NamedTuple):
    """A stream held against an index: lines that match, that have expired, that are lost (gone
    before their time, or otherwise than they were)."""

    there: int
    expired: int
    lost: int
    first_lost_seq: int | None


async def compare(wanted: Iterator[Line], actual: AsyncIterator[Line], now: float) -> Comparison:
    """Walk both, in the order of their sequences. What only `actual` has came later, or is a
    marker of an expiry."""
    there = expired = lost = 0
    first_lost: int | None = None
    held: Line | None = await anext(actual, None)
    for line in wanted:
        while held is not None and held.seq < line.seq:
            held = await anext(actual, None)
        if held is not None and held.seq == line.seq and held.content == line.content:
            there += 1
        elif (held is None or held.seq != line.seq) and line.gone_by(now):
            expired += 1
        else:
            lost += 1
            first_lost = line.seq if first_lost is None else first_lost
    return Comparison(there, expired, lost, first_lost)
