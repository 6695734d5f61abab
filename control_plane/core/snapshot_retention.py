"""Which generations of a session are offered to a start, and which are kept: pure.

Owns the rules that nothing of an earlier link comes back, and that the last good one is never
deleted, whatever happened to the session. Never
looks into a store: who asks says which generations it could read through and through.
"""

from collections.abc import Collection, Sequence

from schemas.snapshots import GENERATIONS_KEPT, GenerationUse, SnapshotGeneration


def of_last_link(generations: Sequence[SnapshotGeneration]) -> tuple[SnapshotGeneration, ...]:
    """Those of `generations` (newest first) of the device that was linked last. The others may be
    of another account even: the session must rather show a code than come up as that.

    One that does not say (0) is judged by its place: it is out if a newer one says that it is.
    """
    found: list[SnapshotGeneration] = []
    last = 0
    for each in generations:
        last = max(last, each.linked_epoch)
        if each.linked_epoch >= last:
            found.append(each)
    return tuple(found)


def offered(
    generations: Sequence[SnapshotGeneration], unlinked_epoch: int
) -> tuple[SnapshotGeneration, ...]:
    """Those of `generations` (newest first) that a start may begin from."""
    return tuple(each for each in of_last_link(generations) if each.epoch > unlinked_epoch)


def uses(
    generations: Sequence[SnapshotGeneration], unlinked_epoch: int
) -> tuple[GenerationUse, ...]:
    """What each of `generations` (newest first) is good for."""
    numbers = [each.generation for each in offered(generations, unlinked_epoch)]

    def use_of(number: int) -> GenerationUse:
        if number not in numbers:
            return GenerationUse.UNLINKED
        return GenerationUse.CURRENT if number == numbers[0] else GenerationUse.FALLBACK

    return tuple(use_of(each.generation) for each in generations)


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

    Those of an account that was unlinked (`Assignment.unlinked_epoch`), or of an earlier link, are
    good for nothing once there is a good one of the last link.
    """
    good = [each for each in generations if each.generation in readable]
    if not good:
        return tuple(generations)
    last_link = of_last_link(generations)
    alive = [each for each in good if each in last_link and each.epoch > unlinked_epoch]
    good = alive or good
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
