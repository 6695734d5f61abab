"""Which generations of a session are kept: pure.

Owns the rule that the last good one is never deleted, whatever happened to the session. Never
looks into a store: who asks says which generations it could read through and through.
"""

from collections.abc import Collection, Sequence

from schemas.snapshots import GENERATIONS_KEPT, SnapshotGeneration


def kept(
    generations: Sequence[SnapshotGeneration],
    readable: Collection[int],
    *,
    number: int = GENERATIONS_KEPT,
    unlinked_epoch: int = 0,
) -> tuple[SnapshotGeneration, ...]:
    """Those of `generations` (newest first) that stay, in the same order.

    The newest `number`, and besides, should they be older: the newest that can be read, and the
    newest that is proven and can be read. When none can be read, all stay: the store may be at
    fault, not the snapshots, and what is deleted does not come back.

    Those of an account that was unlinked (`Assignment.unlinked_epoch`) are good for nothing once
    there is a good one of the next link.
    """
    good = [each for each in generations if each.generation in readable]
    if not good:
        return tuple(generations)
    good = [each for each in good if each.epoch > unlinked_epoch] or good
    proven = next((each for each in good if each.proven), good[0])
    last_good = {good[0].generation, proven.generation}
    return tuple(
        each
        for place, each in enumerate(generations)
        if place < max(1, number) or each.generation in last_good
    )


def orphans(
    stored: Collection[str],
    named: Collection[str],
    seen_at: dict[str, float],
    now: float,
    *,
    after_s: float,
) -> tuple[frozenset[str], dict[str, float]]:
    """Objects that no pointer has named for `after_s`, and when each unnamed one was first seen.

    `seen_at` is the second answer of the look before; `now` is in seconds of the same clock.
    """
    unnamed = set(stored) - set(named)
    first = {name: seen_at.get(name, now) for name in unnamed}
    due = frozenset(name for name, at in first.items() if now - at >= after_s)
    return due, {name: at for name, at in first.items() if name not in due}
