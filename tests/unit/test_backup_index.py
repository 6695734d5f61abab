"""The index of a stream's copy: what counts as expired, as lost, as written since."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cli.backup.index import Comparison, Line, compare, duration_s, line_of, unpacked
from schemas.transport.jetstream import StoredMessage


def message(seq: int, data: bytes = b"x", ttl: str | None = None) -> StoredMessage:
    headers = {} if ttl is None else {"Nats-TTL": ttl}
    return StoredMessage("a.b", seq, data, headers, stored_at=1000.0)


async def lines(*found: Line) -> AsyncIterator[Line]:
    for each in found:
        yield each


@pytest.mark.parametrize(
    ("text", "seconds"), [("300s", 300.0), ("300", 300.0), ("1m0s", 60.0), ("1h0m5s", 3605.0)]
)
def test_reads_durations_as_the_server_writes_them(text: str, seconds: float) -> None:
    assert duration_s(text) == seconds


def test_a_message_expires_by_its_own_life_or_the_streams() -> None:
    assert line_of(message(1), 0.0).expires_at == 0.0
    assert line_of(message(1), 50.0).expires_at == 1050.0
    assert line_of(message(1, ttl="20s"), 50.0).expires_at == 1020.0
    assert line_of(message(1, ttl="90s"), 50.0).expires_at == 1050.0
    assert line_of(message(1, ttl="never"), 50.0).expires_at == 0.0


def test_a_line_tells_subject_headers_and_data_apart() -> None:
    plain = line_of(message(1), 0.0)
    assert plain.content != line_of(message(1, b"y"), 0.0).content
    assert plain.content != line_of(message(1, ttl="20s"), 0.0).content
    assert plain.subject == line_of(message(1, b"y"), 0.0).subject


def test_lines_are_read_over_the_ends_of_chunks() -> None:
    wanted = [line_of(message(seq), 0.0) for seq in range(1, 6)]
    data = b"".join(line.packed() for line in wanted)
    assert list(unpacked([data[:7], data[7:90], data[90:]])) == wanted
    with pytest.raises(ValueError, match="within a line"):
        list(unpacked([data[:-1]]))


async def test_tells_lost_from_expired_and_from_new() -> None:
    kept, expired, lost, changed = (
        line_of(message(1), 0.0),
        line_of(message(2, ttl="20s"), 0.0),
        line_of(message(3), 0.0),
        line_of(message(4, ttl="20s"), 0.0),
    )
    other = line_of(message(4, b"other"), 0.0)
    new = line_of(message(9), 0.0)
    found = await compare(iter([kept, expired, lost, changed]), lines(kept, other, new), now=1021.0)
    assert found == Comparison(there=1, expired=1, lost=2, first_lost_seq=3)


async def test_before_its_time_a_message_that_is_gone_is_lost() -> None:
    line = line_of(message(2, ttl="20s"), 0.0)
    assert (await compare(iter([line]), lines(), now=1019.0)).lost == 1
