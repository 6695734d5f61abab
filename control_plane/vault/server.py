"""The vault for nodes: takes parts, commits whole objects, hands parts out.

Owns the check of who asks (the subject names the node: the server lets no other publish there) and
what an upload may cost. A commit counts only after the object was read back from the store and the
pointer was written under the assignment's fence. Never opens an object: it has the key but no use
for what is inside.
"""

import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import structlog

from control_plane.core import snapshot_commit
from control_plane.state.fleet_state import FleetState
from control_plane.vault.pointers import Pointers
from control_plane.vault.store import (
    PART_BYTES,
    SnapshotStore,
    StoredObject,
    not_found,
    read_back,
    too_large,
)
from schemas import log_keys
from schemas.errors import BlazzError, ErrorCode
from schemas.keys import assignment_key
from schemas.records import Assignment
from schemas.resources import FLEET
from schemas.snapshot_requests import (
    CommitSnapshot,
    GetSnapshotChunk,
    PutSnapshotChunk,
    SnapshotChunk,
    SnapshotStored,
)
from schemas.snapshots import OBJECT_BYTES_MAX
from schemas.subjects import (
    ALL_NODE_VAULT_COMMITS,
    ALL_NODE_VAULT_GETS,
    ALL_NODE_VAULT_PUTS,
    node_vault,
)
from schemas.transport import typed
from schemas.transport.checkpoints import At, checkpoint
from schemas.transport.connection import Bus, BusMessage
from schemas.transport.kv import Bucket, Entry

log = structlog.get_logger()

_QUEUE_GROUP: Final = "vault"
_PARTS_AT_ONCE: Final = 16
_PARTS_PENDING_MAX: Final = 96
"""A part is up to 700 KB on the bus: 64 MB at most wait here; a node repeats what was dropped."""
_COMMITS_AT_ONCE: Final = 32
_OPEN_MAX: Final = 16
"""Objects of one session that are stored here but not committed; a node works on one at a time."""
_OPEN_IDLE_S: Final = 120.0
_OPEN_SESSIONS_MAX: Final = 10_000
_STATS_MAX: Final = 1024

Request = PutSnapshotChunk | CommitSnapshot | GetSnapshotChunk


class VaultServer:
    """Answers nodes; any number of replicas share the requests."""

    def __init__(
        self, bus: Bus, state: FleetState, store: SnapshotStore, pointers: Pointers
    ) -> None:
        self._bus = bus
        self._bucket = Bucket(bus, FLEET)
        self._state = state
        self._store = store
        self._pointers = pointers
        self._open: OrderedDict[str, dict[str, float]] = OrderedDict()
        self._stats: OrderedDict[str, StoredObject] = OrderedDict()

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        """For the block, answer nodes."""
        async with (
            typed.serve(
                self._bus,
                ALL_NODE_VAULT_PUTS,
                PutSnapshotChunk,
                self.put,
                queue_group=_QUEUE_GROUP,
                max_concurrency=_PARTS_AT_ONCE,
                pending_max=_PARTS_PENDING_MAX,
            ),
            typed.serve(
                self._bus,
                ALL_NODE_VAULT_COMMITS,
                CommitSnapshot,
                self.commit,
                queue_group=_QUEUE_GROUP,
                max_concurrency=_COMMITS_AT_ONCE,
            ),
            typed.serve(
                self._bus,
                ALL_NODE_VAULT_GETS,
                GetSnapshotChunk,
                self.get,
                queue_group=_QUEUE_GROUP,
                max_concurrency=_PARTS_AT_ONCE,
            ),
        ):
            yield

    async def put(self, part: PutSnapshotChunk, message: BusMessage) -> SnapshotStored:
        """Store a part. Raises `stale_epoch`, `validation_failed`, `snapshot_too_large`,
        `conflict` (the name has other bytes: take the next number), `rate_limited`,
        `vault_unavailable`."""
        await self._holder(part, "put", message)
        _check_own_name(part.name, part.session_id, part.epoch)
        index = _part_index(part.offset)
        if part.offset + len(part.data) > OBJECT_BYTES_MAX:
            raise too_large()
        if not part.data or (not part.last and len(part.data) != PART_BYTES):
            raise BlazzError(
                ErrorCode.VALIDATION_FAILED, f"every part but the last has {PART_BYTES} bytes"
            )
        self._note_open(part.session_id, part.name)
        checkpoint(At.STORE_BEFORE)
        if part.last and index == 0:
            await self._store.write_whole(part.name, part.data)
        else:
            await self._store.write_part(part.name, index, part.data)
        checkpoint(At.STORE_AFTER)
        return SnapshotStored(part.name)

    async def commit(self, commit: CommitSnapshot, message: BusMessage) -> SnapshotStored:
        """Make a stored object count. Safe to repeat. Raises `stale_epoch`, `snapshot_corrupt`
        (what is stored is not what was sent; it is removed: send it again), `snapshot_not_found`
        (a part is missing, or the baseline of a delta), `conflict`, `snapshot_too_large`,
        `vault_unavailable`, `nats_unavailable`."""
        entry = await self._holder(commit, "commit", message)
        try:
            await self._commit(entry, commit)
        except BlazzError as error:
            if error.code is not ErrorCode.STALE_EPOCH:
                raise
            # The assignment was written meanwhile, perhaps only to say that it is to move.
            await self._commit(await self._holder(commit, "commit", message, fresh=True), commit)
        self._open.pop(commit.session_id, None)
        return SnapshotStored(commit.snapshot.name, committed=True)

    async def _commit(self, entry: Entry[Assignment], commit: CommitSnapshot) -> None:
        assert entry.value is not None
        tenant_id, wanted = entry.value.tenant_id, commit.snapshot
        _check_own_name(wanted.name, commit.session_id, commit.epoch)
        began_at = time.monotonic()
        held = await self._pointers.read(tenant_id, commit.session_id)
        # Before the object is read: what would be refused anyway costs nothing.
        if snapshot_commit.extend(held.pointer, commit) == held.pointer:
            return
        await self._make_sure(StoredObject(wanted.name, wanted.size_bytes, wanted.sha256))
        checkpoint(At.POINTER_BEFORE)
        await self._pointers.change(
            tenant_id,
            commit.session_id,
            lambda pointer: snapshot_commit.extend(pointer, commit),
            held=held,
            assignment_revision=entry.revision,
        )
        checkpoint(At.POINTER_AFTER)
        log.debug(
            "snapshot.committed",
            **{log_keys.SESSION: commit.session_id, log_keys.EPOCH: commit.epoch},
            name=wanted.name,
            size_bytes=wanted.size_bytes,
            duration_s=round(time.monotonic() - began_at, 4),
        )

    async def get(self, wanted: GetSnapshotChunk, message: BusMessage) -> SnapshotChunk:
        """A part of an object of the session, of whatever epoch. Raises `stale_epoch`,
        `snapshot_not_found`, `validation_failed`, `vault_unavailable`."""
        await self._holder(wanted, "get", message)
        if wanted.name.partition("/")[0] != wanted.session_id:
            raise BlazzError(ErrorCode.FORBIDDEN, "the object is another session's")
        index = _part_index(wanted.offset)
        found = await self._stat(wanted.name)
        if index >= found.parts:
            raise BlazzError(ErrorCode.VALIDATION_FAILED, "the object ends before this offset")
        data = await self._store.read_part(wanted.name, index)
        return SnapshotChunk(data, wanted.offset, found.size_bytes)

    # Who asks ------------------------------------------------------------------------------------

    async def _holder(
        self, request: Request, act: str, message: BusMessage, *, fresh: bool = False
    ) -> Entry[Assignment]:
        """The session's assignment, if it is to the node that asks, under the epoch it says.

        Memory will do (a commit is fenced by its revision) and is doubted only when it says no;
        `fresh` asks the bus at once.
        """
        if message.subject != node_vault(request.node_id, act):
            raise BlazzError(ErrorCode.FORBIDDEN, "a node speaks for itself only")
        known = self._state.assignment(request.session_id)
        if not fresh and known is not None and _holds(known, request):
            revision = self._state.assignment_revision(request.session_id)
            return Entry(assignment_key(request.session_id), known, revision)
        entry = await self._bucket.get(assignment_key(request.session_id), Assignment)
        if entry.value is None or not _holds(entry.value, request):
            raise BlazzError(
                ErrorCode.STALE_EPOCH, "the session is not this node's under this epoch"
            )
        return entry

    # The store -----------------------------------------------------------------------------------

    async def _make_sure(self, wanted: StoredObject) -> None:
        """Read the object back, and seal it if it is not yet."""
        try:
            sealed = await self._store.stat(wanted.name)
            if sealed not in (None, wanted):
                raise BlazzError(ErrorCode.SNAPSHOT_CORRUPT, "the seal says otherwise")
            await read_back(self._store, wanted)
            if sealed is None:
                await self._store.seal(wanted)
        except BlazzError as error:
            if error.code is ErrorCode.SNAPSHOT_CORRUPT:
                log.warning("snapshot.read_back_failed", name=wanted.name)
                self._stats.pop(wanted.name, None)
                await self._store.delete(wanted.name)
            raise

    async def _stat(self, name: str) -> StoredObject:
        """What is sealed never changes, so it is remembered."""
        known = self._stats.get(name) or await self._store.stat(name)
        if known is None:
            raise not_found(name)
        self._stats[name] = known
        while len(self._stats) > _STATS_MAX:
            self._stats.popitem(last=False)
        return known

    def _note_open(self, session_id: str, name: str) -> None:
        """Bound what a node can leave behind uncommitted until it is swept."""
        now = time.monotonic()
        names = self._open.pop(session_id, {})
        fresh = {each: at for each, at in names.items() if now - at < _OPEN_IDLE_S}
        fresh[name] = now
        self._open[session_id] = fresh
        while len(self._open) > _OPEN_SESSIONS_MAX:
            self._open.popitem(last=False)
        if len(fresh) > _OPEN_MAX:
            del fresh[name]
            raise BlazzError(ErrorCode.RATE_LIMITED, "commit what was put before putting more")


def _holds(assignment: Assignment, request: Request) -> bool:
    return assignment.node_id == request.node_id and assignment.epoch == request.epoch


def _check_own_name(name: str, session_id: str, epoch: int) -> None:
    if not name.startswith(f"{session_id}/{epoch}-"):
        raise BlazzError(
            ErrorCode.VALIDATION_FAILED, "an object is named after its session and epoch"
        )


def _part_index(offset: int) -> int:
    if offset % PART_BYTES:
        raise BlazzError(ErrorCode.VALIDATION_FAILED, "no part begins at this offset")
    return offset // PART_BYTES
