"""When a session is captured, what a start begins from, what a node may restore."""

import pytest

from schemas.errors import BlazzError, ErrorCode
from schemas.snapshots import (
    DELTAS_MAX,
    SnapshotGeneration,
    SnapshotManifest,
    SnapshotObject,
    snapshot_name,
)
from schemas.states import EngineKind
from swarm_node.core.snapshot_delta import BASELINE_FLOOR_BYTES, Chain, needs_baseline
from swarm_node.core.snapshot_format import check_fits
from swarm_node.core.snapshot_rules import (
    CapturePolicy,
    CaptureState,
    LocalMark,
    Origin,
    candidates,
    capture_due_s,
    origin,
)

POLICY = CapturePolicy(busy_s=10, idle_s=60, settle_s=1, first_s=10)
SESSION = "ses_" + "0" * 26


def generation(number: int, epoch: int, *, empty: bool = False) -> SnapshotGeneration:
    held = SnapshotObject(
        name=snapshot_name(SESSION, epoch, 1),
        baseline=True,
        size_bytes=1,
        sha256="0" * 64,
        captured_at=0.0,
    )
    return SnapshotGeneration(
        generation=number,
        epoch=epoch,
        node_id="n1",
        manifest=SnapshotManifest(engine=EngineKind.LOOPBACK),
        objects=() if empty else (held,),
    )


@pytest.mark.parametrize(
    ("state", "due_s"),
    [
        (CaptureState(), None),
        (CaptureState(linked_at_s=100), None),
        (CaptureState(online=True), None),
        # a new link is not durable sooner
        (CaptureState(online=True, linked_at_s=100), 110),
        (CaptureState(online=True, linked_at_s=100, looked_at_s=20, active_since_s=25), 110),
        # idle: far apart
        (CaptureState(online=True, linked_at_s=0, looked_at_s=200), 260),
        # the first message after a long rest: as soon as the page has stored it
        (CaptureState(online=True, linked_at_s=0, looked_at_s=200, active_since_s=230), 231),
        # busy all the time: not sooner than its period
        (CaptureState(online=True, linked_at_s=0, looked_at_s=200, active_since_s=200), 209),
    ],
)
def test_when_a_capture_is_due(state: CaptureState, due_s: float | None) -> None:
    assert capture_due_s(POLICY, state, 0.0) == due_s


def test_sessions_of_a_node_are_captured_apart() -> None:
    state = CaptureState(online=True, linked_at_s=0, looked_at_s=200)
    due = [capture_due_s(POLICY, state, spread / 10) or 0.0 for spread in range(10)]
    assert due == sorted(set(due), reverse=True)
    assert max(due) - min(due) > 10


@pytest.mark.parametrize(
    ("mark", "profile_there", "epochs", "begins"),
    [
        (None, False, (), Origin.NOTHING),
        (LocalMark(3), False, (), Origin.NOTHING),
        (None, True, (), Origin.LOCAL),
        (None, False, (1,), Origin.VAULT),
        (LocalMark(3), False, (3,), Origin.VAULT),
        # a profile of before there was a vault proves nothing
        (None, True, (1,), Origin.VAULT),
        (LocalMark(3), True, (3, 2), Origin.LOCAL),
        # it ran here last, and did not come to store anything
        (LocalMark(4), True, (3,), Origin.LOCAL),
        # another node went on
        (LocalMark(3), True, (4, 3), Origin.VAULT),
    ],
)
def test_what_a_start_begins_from(
    mark: LocalMark | None, profile_there: bool, epochs: tuple[int, ...], begins: Origin
) -> None:
    kept = [generation(number, epoch) for number, epoch in enumerate(reversed(epochs), 1)]
    assert origin(mark, profile_there=profile_there, generations=kept) is begins


@pytest.mark.parametrize(
    ("mark", "epochs", "begins"),
    [
        # it was unlinked here, or elsewhere later
        (LocalMark(3), (), Origin.NOTHING),
        (LocalMark(2), (), Origin.NOTHING),
        # linked anew since, elsewhere or here
        (LocalMark(3), (4,), Origin.VAULT),
        (LocalMark(4), (4,), Origin.LOCAL),
        (LocalMark(4), (), Origin.LOCAL),
    ],
)
def test_nothing_begins_from_a_device_that_was_unlinked(
    mark: LocalMark, epochs: tuple[int, ...], begins: Origin
) -> None:
    kept = [generation(number, epoch) for number, epoch in enumerate(reversed(epochs), 1)]
    assert origin(mark, profile_there=True, generations=kept, unlinked_epoch=3) is begins


def test_older_generations_are_tried_once_each_newest_first() -> None:
    kept = (generation(1, 1), generation(3, 2), generation(2, 1), generation(4, 3, empty=True))
    assert [one.generation for one in candidates(kept, ())] == [3, 2, 1]
    assert [one.generation for one in candidates(kept, {3, 1})] == [2]


def test_when_a_new_generation_begins() -> None:
    assert needs_baseline(None)
    assert not needs_baseline(Chain(1000, deltas=3, delta_bytes=5000))
    assert needs_baseline(Chain(1000, deltas=DELTAS_MAX, delta_bytes=10))
    assert needs_baseline(Chain(1000, deltas=2, delta_bytes=BASELINE_FLOOR_BYTES + 1))
    large = 5 * BASELINE_FLOOR_BYTES
    assert not needs_baseline(Chain(large, deltas=2, delta_bytes=large))
    assert needs_baseline(Chain(large, deltas=2, delta_bytes=large + 1))


@pytest.mark.parametrize(
    ("manifest", "fits"),
    [
        (SnapshotManifest(EngineKind.CHROMIUM, chromium_build="156.0.1"), True),
        (SnapshotManifest(EngineKind.CHROMIUM, chromium_build="156.0.2"), False),
        (SnapshotManifest(EngineKind.LOOPBACK), False),
        (SnapshotManifest(EngineKind.CHROMIUM, 99, "156.0.1"), False),
    ],
)
def test_what_another_build_made_is_refused(manifest: SnapshotManifest, fits: bool) -> None:
    if fits:
        check_fits(manifest, engine=EngineKind.CHROMIUM, build="156.0.1")
        return
    with pytest.raises(BlazzError) as refused:
        check_fits(manifest, engine=EngineKind.CHROMIUM, build="156.0.1")
    assert refused.value.code is ErrorCode.SNAPSHOT_INCOMPATIBLE
