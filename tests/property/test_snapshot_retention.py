"""What is kept and what a commit makes of a pointer, over any history."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.core import snapshot_commit, snapshot_retention
from schemas.errors import BlazzError, ErrorCode
from schemas.snapshot_requests import CommitSnapshot
from schemas.snapshots import (
    DELTAS_MAX,
    GENERATIONS_KEPT,
    GenerationUse,
    SnapshotGeneration,
    SnapshotManifest,
    SnapshotObject,
    SnapshotPointer,
    snapshot_name,
)
from schemas.states import EngineKind

SESSION = "ses_" + "0" * 26
MANIFEST = SnapshotManifest(EngineKind.LOOPBACK)


def described(epoch: int, number: int, baseline: bool, sha: str = "a") -> SnapshotObject:
    return SnapshotObject(snapshot_name(SESSION, epoch, number), baseline, 1, sha * 64, 0.0)


def generation(number: int, proven: bool) -> SnapshotGeneration:
    return SnapshotGeneration(
        number, 1, "node-a", MANIFEST, (described(1, number, True),), proven=proven
    )


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[SnapshotGeneration], set[int]]:
    numbers = sorted(draw(st.sets(st.integers(1, 40), max_size=15)), reverse=True)
    generations = [generation(each, draw(st.booleans())) for each in numbers]
    readable = draw(st.sets(st.sampled_from(numbers))) if numbers else set()
    return generations, readable


@given(histories(), st.integers(1, 6))
def test_retention(history: tuple[list[SnapshotGeneration], set[int]], number: int) -> None:
    generations, readable = history
    kept = snapshot_retention.kept(generations, readable, number=number)
    numbers = [each.generation for each in kept]
    good = [each for each in generations if each.generation in readable]
    # The last good one, and the last that is proven and good, are never deleted.
    if good:
        assert good[0] in kept
        proven = [each for each in good if each.proven]
        assert not proven or proven[0] in kept
        assert len(kept) <= number + 2
    else:
        assert list(kept) == generations
    # Nor is any of the newest; the order stays, nothing is made up, and it is settled.
    assert list(kept[:number]) == generations[:number]
    assert numbers == sorted(numbers, reverse=True)
    assert set(kept) <= set(generations)
    assert snapshot_retention.kept(kept, readable, number=number) == kept


@given(histories(), st.integers(0, 40))
def test_the_last_good_ones_of_the_present_link_stay(
    history: tuple[list[SnapshotGeneration], set[int]], unlinked_epoch: int
) -> None:
    generations = [msgspec.structs.replace(each, epoch=each.generation) for each in history[0]]
    kept = snapshot_retention.kept(generations, history[1], unlinked_epoch=unlinked_epoch)
    good = [each for each in generations if each.generation in history[1]]
    linked = [each for each in good if each.epoch > unlinked_epoch]
    if linked:
        assert linked[0] in kept
        old = [each for each in kept if each.epoch <= unlinked_epoch]
        assert all(each in generations[:GENERATIONS_KEPT] for each in old), "no longer protected"
    elif good:
        assert good[0] in kept, "nothing of the next link is safe yet"


@given(histories(), st.lists(st.integers(0, 3), min_size=15, max_size=15), st.integers(1, 6))
def test_nothing_of_an_earlier_link_is_offered_or_holds_up_the_pruning(
    history: tuple[list[SnapshotGeneration], set[int]], links: list[int], number: int
) -> None:
    plain, readable = history
    # The newer a generation, the later its link.
    generations = [
        msgspec.structs.replace(one, linked_epoch=link)
        for one, link in zip(plain, sorted(links, reverse=True), strict=False)
    ]
    offered = snapshot_retention.of_last_link(generations)
    assert list(offered) == generations[: len(offered)]
    assert {one.linked_epoch for one in offered} == {one.linked_epoch for one in generations[:1]}
    kept = snapshot_retention.kept(generations, readable, number=number)
    # Pruning brings nothing back, and what is good and offered outlives what is not.
    assert set(snapshot_retention.of_last_link(kept)) <= set(offered)
    if any(one.generation in readable for one in offered):
        assert all(one in offered for one in kept[number:])


@given(histories(), st.lists(st.integers(0, 3), min_size=15, max_size=15), st.integers(0, 40))
def test_what_a_generation_is_good_for_is_what_a_start_is_offered(
    history: tuple[list[SnapshotGeneration], set[int]], links: list[int], unlinked_epoch: int
) -> None:
    generations = [
        msgspec.structs.replace(one, epoch=one.generation, linked_epoch=link)
        for one, link in zip(history[0], sorted(links, reverse=True), strict=False)
    ]
    offered = snapshot_retention.offered(generations, unlinked_epoch)
    uses = snapshot_retention.uses(generations, unlinked_epoch)
    wanted = {one.generation: GenerationUse.FALLBACK for one in offered}
    if offered:
        wanted[offered[0].generation] = GenerationUse.CURRENT
    assert len(uses) == len(generations)
    for one, use in zip(generations, uses, strict=True):
        assert use is wanted.get(one.generation, GenerationUse.UNLINKED)
        assert (use is GenerationUse.UNLINKED) >= (one.epoch <= unlinked_epoch)


def test_the_default_is_the_declared_number() -> None:
    generations = [generation(each, False) for each in range(9, 0, -1)]
    kept = snapshot_retention.kept(generations, range(1, 10))
    assert len(kept) == GENERATIONS_KEPT


@given(
    st.lists(
        st.tuples(st.floats(0, 100), st.sets(st.integers(0, 5)), st.sets(st.integers(0, 5))),
        max_size=8,
    ),
    st.floats(1, 50),
)
def test_orphans(looks: list[tuple[float, set[int], set[int]]], after_s: float) -> None:
    """Only what no pointer named in any look for so long goes; a stored object once named again
    begins anew."""
    seen: dict[str, float] = {}
    unnamed_since: dict[str, float] = {}
    now = 0.0
    for pause, stored, named in looks:
        now += pause
        names = {f"o{each}" for each in stored}
        pointed = {f"o{each}" for each in named}
        due, seen = snapshot_retention.orphans(names, pointed, seen, now, after_s=after_s)
        unnamed_since = {
            name: unnamed_since.get(name, now) for name in names if name not in pointed
        }
        assert due == {n for n, at in unnamed_since.items() if now - at >= after_s}
        assert not due & pointed
        assert due <= names
        for name in due:
            del unnamed_since[name]


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 90), st.booleans()), max_size=120))
def test_commits(steps: list[tuple[int, int, bool]]) -> None:
    """Whatever nodes send, in whatever order: what counts can always be restored in order."""
    pointer = SnapshotPointer(SESSION, "acme")
    for epoch, number, baseline in steps:
        wanted = described(epoch, number, baseline)
        commit = CommitSnapshot(f"node-{epoch}", SESSION, epoch, wanted, MANIFEST)
        try:
            after = snapshot_commit.extend(pointer, commit)
        except BlazzError:
            continue
        assert snapshot_commit.extend(after, commit) == after, "a repeat changes nothing"
        before = list(snapshot_commit.objects(pointer))
        assert all(each in snapshot_commit.objects(after) for each in before), "nothing is lost"
        pointer = after
    assert len(pointer.generations) <= snapshot_commit.GENERATIONS_MAX
    epochs = [each.epoch for each in pointer.generations]
    assert epochs == sorted(epochs, reverse=True)
    for each in pointer.generations:
        assert each.objects[0].baseline
        assert not any(one.baseline for one in each.objects[1:])
        assert len(each.objects) <= DELTAS_MAX + 1
        assert each.node_id == f"node-{each.epoch}"
        numbers = [snapshot_commit.number_of(one.name) for one in each.objects]
        assert numbers == sorted(set(numbers))
        assert all(one.name.startswith(f"{SESSION}/{each.epoch}-") for one in each.objects)
    numbers = [each.generation for each in pointer.generations]
    assert numbers == list(range(len(numbers), 0, -1))


def test_a_name_with_other_bytes_is_refused() -> None:
    pointer = SnapshotPointer(SESSION, "acme")
    first = CommitSnapshot("node-a", SESSION, 1, described(1, 1, True), MANIFEST)
    pointer = snapshot_commit.extend(pointer, first)
    other = CommitSnapshot("node-a", SESSION, 1, described(1, 1, True, "b"), MANIFEST)
    with pytest.raises(BlazzError) as refused:
        snapshot_commit.extend(pointer, other)
    assert refused.value.code is ErrorCode.CONFLICT
