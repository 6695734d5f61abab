"""Pointers: what of the store counts, in the fleet bucket beside the assignments.

Owns the three keys of a session's snapshots and the one way to change them: an atomic batch in
which the newest generation's key is compared and set and, for a node's commit, the head's write
carries the fence on the assignment. Never reads a store and never decides what a pointer becomes.

Batches of many sessions are written together: what waits while one is on its way goes with the
next. On a disk whose fsync takes 5 ms this is the difference between 100 and 2,000 commits a
second (docs/adr/0006).
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Self

import msgspec

from control_plane.core.snapshot_commit import head_of
from schemas.errors import BlazzError, ErrorCode
from schemas.keys import (
    SNAPSHOT_HEADS_PREFIX,
    assignment_key,
    snapshot_head_key,
    snapshot_key,
    snapshot_older_key,
)
from schemas.resources import FLEET
from schemas.snapshots import SnapshotGeneration, SnapshotHead, SnapshotPointer
from schemas.transport.background import Background
from schemas.transport.connection import Bus
from schemas.transport.kv import Bucket, Conflict, Delete, Fence, Put

_TRIES_MAX: Final = 8
_GROUP_MAX: Final = 32
_WAITING_MAX: Final = 1024

Change = Put | Delete


class HeldPointer(msgspec.Struct, frozen=True):
    """A pointer as it was read; `revision` is that of the key every change writes."""

    pointer: SnapshotPointer
    revision: int


class _Waiting(NamedTuple):
    changes: list[Change]
    done: asyncio.Future[None]


class Pointers:
    """Reads and changes pointers. An `async with` block, for the writer that groups them."""

    def __init__(self, bus: Bus) -> None:
        self._bucket = Bucket(bus, FLEET)
        self._waiting: asyncio.Queue[_Waiting] = asyncio.Queue(_WAITING_MAX)
        self._tasks = Background()
        self._closed = False

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._tasks.start(self._write_groups(), name="snapshot pointers")
        return self

    async def __aexit__(self, *error: object) -> None:
        self._closed = True
        await self._tasks.__aexit__(*error)  # type: ignore[arg-type]
        while not self._waiting.empty():
            _tell([self._waiting.get_nowait()], BlazzError(ErrorCode.SHUTTING_DOWN))

    # Reading -------------------------------------------------------------------------------------

    async def read(self, tenant_id: str, session_id: str) -> HeldPointer:
        """A session's pointer, empty if it has none. Raises `nats_unavailable`, `timeout`."""
        newest = await self._bucket.get(snapshot_key(session_id), SnapshotPointer)
        # After the newest: what moved over between the two reads is seen twice, never missed.
        older = await self._bucket.get(snapshot_older_key(session_id), SnapshotPointer)
        rows: dict[int, SnapshotGeneration] = {}
        for part in (older.value, newest.value):
            if part is not None:
                rows |= {each.generation: each for each in part.generations}
        generations = tuple(rows[number] for number in sorted(rows, reverse=True))
        return HeldPointer(SnapshotPointer(session_id, tenant_id, generations), newest.revision)

    async def heads(self) -> list[SnapshotHead]:
        """Every session's snapshots in short."""
        entries = await self._bucket.read_prefix(SNAPSHOT_HEADS_PREFIX, SnapshotHead)
        return [entry.value for entry in entries if entry.value is not None]

    # Changing ------------------------------------------------------------------------------------

    async def change(
        self,
        tenant_id: str,
        session_id: str,
        change: Callable[[SnapshotPointer], SnapshotPointer],
        *,
        held: HeldPointer | None = None,
        assignment_revision: int | None = None,
        gone_at: float | None = None,
    ) -> SnapshotPointer:
        """Make the pointer what `change` says of the newest one; what it raises passes. `held`:
        as it was read a moment ago, to save a read.

        With `assignment_revision`, only while the assignment is still that one: the server checks
        it with the write. Raises `stale_epoch` when it is not, `conflict` when others write all
        the time, `nats_unavailable` or `timeout` (it may have been written: repeat it).
        """
        for _ in range(_TRIES_MAX):
            held = held or await self.read(tenant_id, session_id)
            wanted = change(held.pointer)
            if wanted == held.pointer and gone_at is None:
                return wanted
            fence = None
            if assignment_revision is not None:
                fence = Fence(assignment_key(session_id), assignment_revision)
            try:
                await self._commit(_changes(held, wanted, head_of(wanted, gone_at), fence))
            except Conflict:
                await self._check_assignment(session_id, assignment_revision)
                held = None
                continue
            return wanted
        raise BlazzError(ErrorCode.CONFLICT, "the session's snapshots are changed all the time")

    async def forget(self, session_id: str) -> None:
        """Delete a session's pointer: its objects are orphans from then on."""
        await self._commit(
            [
                Delete(key=snapshot_key(session_id)),
                Delete(key=snapshot_older_key(session_id)),
                Delete(key=snapshot_head_key(session_id)),
            ]
        )

    async def _check_assignment(self, session_id: str, revision: int | None) -> None:
        if revision is None:
            return
        now = await self._bucket.get_raw(assignment_key(session_id))
        if now.revision != revision or not now.exists:
            raise BlazzError(ErrorCode.STALE_EPOCH)

    async def _commit(self, changes: list[Change]) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await self._waiting.put(_Waiting(changes, done))
        if self._closed:
            # Nobody takes it any more.
            raise BlazzError(ErrorCode.SHUTTING_DOWN)
        await done

    async def _write_groups(self) -> None:
        while True:
            group = [await self._waiting.get()]
            while len(group) < _GROUP_MAX and not self._waiting.empty():
                group.append(self._waiting.get_nowait())
            try:
                await self._write_group(group)
            finally:
                # Cancelled on the way: nobody will ever know, and nobody may wait for ever.
                _tell(group, BlazzError(ErrorCode.SHUTTING_DOWN))

    async def _write_group(self, group: Sequence[_Waiting]) -> None:
        try:
            await self._bucket.batch([change for row in group for change in row.changes])
        except BlazzError as error:
            if len(group) > 1 and _surely_not_written(error):
                # One of them is refused, or two are of one session: each by itself.
                for row in group:
                    await self._write_group([row])
            else:
                _tell(group, error)
        else:
            _tell(group, None)


def _tell(group: Sequence[_Waiting], error: BlazzError | None) -> None:
    for row in group:
        if row.done.done():
            continue
        if error is None:
            row.done.set_result(None)
        else:
            row.done.set_exception(error)


def _surely_not_written(error: BlazzError) -> bool:
    return error.code not in (ErrorCode.TIMEOUT, ErrorCode.NATS_UNAVAILABLE)


def _changes(
    held: HeldPointer, wanted: SnapshotPointer, head: SnapshotHead, fence: Fence | None
) -> list[Change]:
    before, after = held.pointer.generations, wanted.generations
    newest = msgspec.structs.replace(wanted, generations=after[:1])
    key = snapshot_key(wanted.session_id)
    changes: list[Change] = [Put(key=key, value=newest, expect_revision=held.revision)]
    if before[1:] != after[1:]:
        older = msgspec.structs.replace(wanted, generations=after[1:])
        changes.append(Put(key=snapshot_older_key(wanted.session_id), value=older))
    changes.append(Put(key=snapshot_head_key(wanted.session_id), value=head, fence=fence))
    return changes
