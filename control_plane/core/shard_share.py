"""Shard shares: which replica dispatches which shard.

Owns the decision, the same on every replica that sees the same others. Never takes or gives back
a lease: two replicas that see each other differently for a moment are kept apart by it.
"""

from collections.abc import Iterable

import msgspec


class Replica(msgspec.Struct, frozen=True, order=True):
    """A process that dispatches; `incarnation` is new at each start."""

    name: str
    incarnation: str


def share_of(me: Replica, others: Iterable[Replica], shards: int) -> frozenset[int]:
    """The shards that are mine: dealt out like cards, so that no two shares differ by more than
    one and every shard is somebody's."""
    ranked = sorted({me, *others})
    rank = ranked.index(me)
    return frozenset(number for number in range(shards) if number % len(ranked) == rank)
