"""Turns of the loops that a process lives by: when each last went round, and which is overdue.

Owns the record and the judgement, for whoever watches a process. Pure: never reads a clock. That a
bus or a peer is away is no overdue turn: a loop that finds it away, and looks again, goes round.
"""

from collections.abc import Iterable

import msgspec


class Turn(msgspec.Struct, frozen=True):
    """When (monotonic, seconds) the loop `name` last went round, and how long that may take."""

    name: str
    at_s: float
    limit_s: float


def overdue(turns: Iterable[Turn], now_s: float) -> Turn | None:
    """The loop that is longest over its limit; None when all go round."""
    late = [turn for turn in turns if now_s - turn.at_s > turn.limit_s]
    return max(late, key=lambda turn: now_s - turn.at_s - turn.limit_s, default=None)
