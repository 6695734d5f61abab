"""The pruner: removes what is no longer needed, on one replica at a time.

Owns the order of deleting (first the pointer, then the objects: a crash between leaves orphans,
never a pointer to nothing) and the looks for orphans and deleted sessions. Never decides what is
kept: `core.snapshot_retention` does, and it keeps the last good one whatever happens.
"""

import asyncio
import time
from typing import Final

import msgspec
import structlog

from control_plane.core import snapshot_retention
from control_plane.core.snapshot_commit import objects
from control_plane.vault.data_keys import DataKeys
from control_plane.vault.pointers import Pointers
from control_plane.vault.settings import VaultSettings
from control_plane.vault.store import SnapshotStore, StoredObject, read_back
from schemas.errors import BlazzError, ErrorCode
from schemas.keys import assignment_key, erasure_key, session_key
from schemas.records import Assignment, ErasureRecord, LeaseRecord, SessionRecord
from schemas.resources import ACCESS, FLEET
from schemas.snapshots import SnapshotGeneration, SnapshotHead, SnapshotPointer
from schemas.transport.connection import Bus
from schemas.transport.kv import Bucket
from schemas.transport.lease import Lease, LeaseSpec, lead

log = structlog.get_logger()

LEASE_KIND: Final = "leader"
LEASE_NAME: Final = "vault"
_DAMAGED: Final = frozenset({ErrorCode.SNAPSHOT_CORRUPT, ErrorCode.SNAPSHOT_NOT_FOUND})


class Pruner:
    """One replica's pruner; `run` holds the lease or waits for it, for ever."""

    def __init__(
        self,
        bus: Bus,
        store: SnapshotStore,
        pointers: Pointers,
        keys: DataKeys,
        settings: VaultSettings,
    ) -> None:
        self._bus = bus
        self._bucket = Bucket(bus, FLEET)
        self._access = Bucket(bus, ACCESS)
        self._store = store
        self._pointers = pointers
        self._keys = keys
        self._settings = settings
        self._unnamed: dict[str, float] = {}

    async def run(self, me: LeaseRecord) -> None:
        """Prune whenever the lease can be had, until cancelled."""
        spec = LeaseSpec(LEASE_KIND, LEASE_NAME, self._bus.settings.profile)
        await lead(self._bus, spec, me, self._lead)

    async def _lead(self, lease: Lease) -> None:
        # What was seen before the lease was lost may have been named meanwhile.
        self._unnamed = {}
        orphans_due = time.monotonic()
        while True:
            try:
                if lease.still_held():
                    await self.sweep()
                if lease.still_held() and time.monotonic() >= orphans_due:
                    orphans_due = time.monotonic() + self._settings.orphan_sweep_s
                    await self.sweep_orphans()
            except BlazzError as error:
                # The next sweep begins anew.
                log.warning("pruner.sweep_failed", code=error.code, detail=error.detail)
            await asyncio.sleep(self._settings.sweep_s)

    # Generations and deleted sessions ------------------------------------------------------------

    async def sweep(self) -> None:
        """Prune every session that has too many generations, and those that are gone. Raises
        `nats_unavailable`, `vault_unavailable`."""
        for head in await self._pointers.heads():
            if not await self._exists(head):
                await self._sweep_gone(head)
            elif head.generations > self._settings.generations_kept:
                await self._prune(head)

    async def _exists(self, head: SnapshotHead) -> bool:
        # From the bus itself: memory that lags must not delete a session's state.
        key = session_key(head.tenant_id, head.session_id)
        return (await self._bucket.get(key, SessionRecord)).exists

    async def _prune(self, head: SnapshotHead) -> None:
        held = await self._pointers.read(head.tenant_id, head.session_id)
        readable = await self._readable(held.pointer)
        assigned = await self._bucket.get(assignment_key(head.session_id), Assignment)
        kept = snapshot_retention.kept(
            held.pointer.generations,
            readable,
            number=self._settings.generations_kept,
            unlinked_epoch=assigned.value.unlinked_epoch if assigned.value else 0,
        )
        dropped = {each.generation for each in held.pointer.generations if each not in kept}
        if not dropped:
            return

        def without(pointer: SnapshotPointer) -> SnapshotPointer:
            # What was committed meanwhile stays; what was dropped can't have changed but for
            # being proven, and then it stays as well.
            return msgspec.structs.replace(
                pointer,
                generations=tuple(
                    each
                    for each in pointer.generations
                    if each.generation not in dropped
                    or (each.proven and each not in held.pointer.generations)
                ),
            )

        after = await self._pointers.change(head.tenant_id, head.session_id, without)
        named = {each.name for each in objects(after)}
        for each in objects(held.pointer):
            if each.name not in named:
                await self._store.delete(each.name)
        log.info("snapshot.pruned", session_id=head.session_id, generations=len(dropped))

    async def _readable(self, pointer: SnapshotPointer) -> frozenset[int]:
        """The newest generation that reads back whole, and the newest proven one that does."""
        found: set[int] = set()
        for generation in pointer.generations:
            if found and not generation.proven:
                continue
            if await self._reads_back(generation):
                found.add(generation.generation)
                if generation.proven:
                    break
            else:
                log.error(
                    "snapshot.unreadable",
                    session_id=pointer.session_id,
                    generation=generation.generation,
                )
        return frozenset(found)

    async def _reads_back(self, generation: SnapshotGeneration) -> bool:
        try:
            for each in generation.objects:
                wanted = StoredObject(each.name, each.size_bytes, each.sha256)
                if await self._store.stat(each.name) != wanted:
                    return False
                await read_back(self._store, wanted)
        except BlazzError as error:
            if error.code in _DAMAGED:
                return False
            raise
        return True

    async def _sweep_gone(self, head: SnapshotHead) -> None:
        now = time.time()
        grace_s = await self._grace_s(head.tenant_id)
        if head.gone_at is None and grace_s:
            await self._pointers.change(
                head.tenant_id, head.session_id, lambda pointer: pointer, gone_at=now
            )
            return
        if now - (head.gone_at or now) < grace_s:
            return
        # Without its data key nothing of it can be read, wherever a copy may lie.
        await self._keys.forget(head.session_id)
        await self._pointers.forget(head.session_id)
        for name in await self._store.names(head.session_id):
            await self._store.delete(name)
        log.info("snapshot.forgotten", session_id=head.session_id)

    async def _grace_s(self, tenant_id: str) -> float:
        erasure = (await self._access.get(erasure_key(tenant_id), ErasureRecord)).value
        wanted_gone = erasure is not None and erasure.finished_at is None
        return 0.0 if wanted_gone else self._settings.gone_grace_s

    # Orphans -------------------------------------------------------------------------------------

    async def sweep_orphans(self) -> None:
        """Remove objects that no pointer has named for `orphan_after_s`, by our own clock: two
        looks see them, so that neither a clock nor an upload on its way is misjudged."""
        now = time.monotonic()
        seen: dict[str, float] = {}
        for session_id in await self._store.sessions():
            stored = await self._store.names(session_id)
            due, unnamed = snapshot_retention.orphans(
                stored,
                await self._named(session_id),
                self._unnamed,
                now,
                after_s=self._settings.orphan_after_s,
            )
            seen |= unnamed
            for name in due:
                await self._store.delete(name)
                log.info("snapshot.orphan_removed", name=name)
        self._unnamed = seen

    async def _named(self, session_id: str) -> set[str]:
        # The tenant is only carried along.
        held = await self._pointers.read("", session_id)
        return {each.name for each in objects(held.pointer)}
