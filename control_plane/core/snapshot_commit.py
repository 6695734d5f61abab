"""What a commit makes of a session's snapshots: pure.

Owns the rule of generations: a baseline begins a new one, a delta continues the newest, and only
the node and epoch that began it may continue it. Never looks at a store or an assignment.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from schemas.errors import BlazzError, ErrorCode
from schemas.snapshot_requests import CommitSnapshot
from schemas.snapshots import (
    DELTAS_MAX,
    SnapshotGeneration,
    SnapshotHead,
    SnapshotObject,
    SnapshotPointer,
)

GENERATIONS_MAX: Final = 12
"""A pointer grows no further: pruning is behind, and a node that floods us gets no more."""


def number_of(name: str) -> int:
    """An object's number within its epoch."""
    return int(name.rpartition("-")[2])


def find(pointer: SnapshotPointer, name: str) -> SnapshotObject | None:
    """An object that is committed."""
    return next((each for each in objects(pointer) if each.name == name), None)


def objects(pointer: SnapshotPointer) -> Iterator[SnapshotObject]:
    """Every committed object."""
    return (each for generation in pointer.generations for each in generation.objects)


def extend(pointer: SnapshotPointer, commit: CommitSnapshot) -> SnapshotPointer:
    """The pointer after `commit`; the same one when it holds that object already.

    Raises `stale_epoch` (a newer epoch has committed), `snapshot_not_found` (there is no baseline
    of this node, epoch and build for the delta: send one), `snapshot_too_large` (the generation is
    full: send a baseline), `conflict` (another object of this name or a later one is committed),
    `vault_unavailable` (too many generations wait to be pruned).
    """
    after = _extended(pointer, commit)
    proven = commit.proven_generation
    return after if proven is None else prove(after, proven)


def _extended(pointer: SnapshotPointer, commit: CommitSnapshot) -> SnapshotPointer:
    wanted = commit.snapshot
    known = find(pointer, wanted.name)
    if known is not None:
        if known.sha256 != wanted.sha256:
            raise BlazzError(ErrorCode.CONFLICT, "another object of this name is committed")
        return pointer
    newest = pointer.generations[0] if pointer.generations else None
    if newest is not None and newest.epoch > commit.epoch:
        raise BlazzError(ErrorCode.STALE_EPOCH, "a newer epoch has committed snapshots")
    if newest is not None and newest.epoch == commit.epoch:
        last = newest.objects[-1]
        if number_of(wanted.name) <= number_of(last.name):
            raise BlazzError(ErrorCode.CONFLICT, "a later object is committed")
    if wanted.baseline:
        return _begin(pointer, newest, commit)
    return _continue(pointer, newest, commit)


def _begin(
    pointer: SnapshotPointer, newest: SnapshotGeneration | None, commit: CommitSnapshot
) -> SnapshotPointer:
    if len(pointer.generations) >= GENERATIONS_MAX:
        raise BlazzError(ErrorCode.VAULT_UNAVAILABLE, "older snapshots wait to be pruned")
    generation = SnapshotGeneration(
        generation=newest.generation + 1 if newest is not None else 1,
        epoch=commit.epoch,
        node_id=commit.node_id,
        manifest=commit.manifest,
        objects=(commit.snapshot,),
        linked_epoch=min(commit.linked_epoch, commit.epoch),
    )
    return msgspec.structs.replace(pointer, generations=(generation, *pointer.generations))


def _continue(
    pointer: SnapshotPointer, newest: SnapshotGeneration | None, commit: CommitSnapshot
) -> SnapshotPointer:
    begun_so = (commit.epoch, commit.node_id, commit.manifest)
    if newest is None or (newest.epoch, newest.node_id, newest.manifest) != begun_so:
        raise BlazzError(
            ErrorCode.SNAPSHOT_NOT_FOUND, "no baseline for this delta: send a baseline"
        )
    if len(newest.objects) > DELTAS_MAX:
        raise BlazzError(
            ErrorCode.SNAPSHOT_TOO_LARGE,
            f"at most {DELTAS_MAX} deltas in a generation: send a baseline",
            deltas_max=DELTAS_MAX,
        )
    longer = msgspec.structs.replace(newest, objects=(*newest.objects, commit.snapshot))
    return msgspec.structs.replace(pointer, generations=(longer, *pointer.generations[1:]))


def prove(pointer: SnapshotPointer, generation: int) -> SnapshotPointer:
    """The pointer with a generation marked as proven: a restore of it came online."""
    return msgspec.structs.replace(
        pointer,
        generations=tuple(
            msgspec.structs.replace(each, proven=True) if each.generation == generation else each
            for each in pointer.generations
        ),
    )


def head_of(pointer: SnapshotPointer, gone_at: float | None = None) -> SnapshotHead:
    """The pointer in short."""
    if not pointer.generations:
        return SnapshotHead(pointer.session_id, pointer.tenant_id, gone_at=gone_at)
    newest = pointer.generations[0]
    last = newest.objects[-1]
    everything = tuple(objects(pointer))
    return SnapshotHead(
        session_id=pointer.session_id,
        tenant_id=pointer.tenant_id,
        epoch=newest.epoch,
        generations=len(pointer.generations),
        objects=len(everything),
        size_bytes=sum(each.size_bytes for each in everything),
        captured_at=last.captured_at,
        clean=last.clean,
        gone_at=gone_at,
        chromium_build=newest.manifest.chromium_build,
        node_id=newest.node_id,
    )
