"""The fleet writer: every change the control plane makes to sessions, assignments and capacity.

Owns the atomic batches and their compare-and-set loops. Never decides what is wanted or where it
goes: callers and `core.placement` do. Each place on a node is taken and given back in the same
batch as the assignment, so that no number of concurrent writers can oversubscribe a node.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from control_plane.core.needs import unlinked_epoch
from control_plane.core.placement import Unplaceable, Wanted, place
from control_plane.state.commits import TRIES_MAX, Commits
from schemas import log_keys
from schemas.errors import BlazzError, ErrorCode
from schemas.keys import assignment_key, observed_key, session_key, session_name_key
from schemas.records import (
    Assignment,
    SessionNameRecord,
    SessionObserved,
    SessionRecord,
)
from schemas.states import DesiredState
from schemas.transport.kv import Conflict, Delete, Entry, Put

log = structlog.get_logger()

_UNSURE: Final = frozenset({ErrorCode.TIMEOUT, ErrorCode.NATS_UNAVAILABLE})


class FleetWriter:
    """Writes with compare-and-set, and folds what it wrote into the state at once."""

    def __init__(self, commits: Commits) -> None:
        self._commits = commits
        self._bucket = commits.bucket
        self._state = commits.state
        # Creators in this process wait for each other instead of losing races against each other;
        # those in other processes still race, and the server decides.
        self._placing = asyncio.Lock()

    async def create(self, record: SessionRecord) -> Assignment:
        """Place a session and write it, all or nothing.

        Raises `no_node_available`, `session_exists`, `nats_unavailable`.
        """
        async with self._placing:
            for attempt in range(1, TRIES_MAX + 1):
                node_id = self._choose(record)
                assignment = Assignment(record.session_id, record.tenant_id, node_id, 1)
                try:
                    if await self._create_at(record, assignment, node_id):
                        return assignment
                except Conflict:
                    await self._commits.pause(attempt)
        raise BlazzError(ErrorCode.NO_NODE_AVAILABLE, "too many sessions are created at once")

    def _choose(self, record: SessionRecord) -> str:
        wanted = Wanted(record.tenant_id, record.engine, record.region)
        found = place(self._state.placement_snapshot(record.tenant_id, time.monotonic()), wanted)
        if isinstance(found, Unplaceable):
            raise BlazzError(ErrorCode.NO_NODE_AVAILABLE, found.words)
        return found.node_id

    async def _create_at(self, record: SessionRecord, assignment: Assignment, node_id: str) -> bool:
        """Write it if the node has room by the newest count; else learn that count, say False."""
        taken = await self._commits.place_taken(node_id)
        if taken is None:
            return False
        puts = [
            Put(
                key=session_key(record.tenant_id, record.session_id),
                value=record,
                expect_revision=0,
            ),
            Put(key=assignment_key(record.session_id), value=assignment, expect_revision=0),
            taken,
        ]
        if record.name is not None:
            puts.append(await self._claim_name(record, record.name))
        await self._commit_new(puts, record)
        return True

    async def _claim_name(self, record: SessionRecord, name: str) -> Put:
        key = _name_key(record.tenant_id, name)
        held = await self._bucket.get(key, SessionNameRecord)
        if held.exists:
            raise BlazzError(ErrorCode.SESSION_EXISTS, "another session of yours has this name")
        value = SessionNameRecord(record.session_id, record.tenant_id)
        return Put(key=key, value=value, expect_revision=held.revision)

    async def _commit_new(self, puts: list[Put], record: SessionRecord) -> None:
        try:
            await self._commits.write(puts)
        except BlazzError as error:
            if error.code not in _UNSURE:
                raise
            # The answer was lost; a session id is new each time, so its record tells.
            key = session_key(record.tenant_id, record.session_id)
            written = await self._bucket.get(key, SessionRecord)
            if not written.exists:
                raise

    async def change(
        self,
        tenant_id: str,
        session_id: str,
        desired: DesiredState,
        *,
        new_epoch: Callable[[Assignment], bool] = lambda _assignment: False,
        restart: bool = False,
    ) -> SessionRecord:
        """Say what is wanted of a session, and raise its epoch in the same batch when `restart`
        or `new_epoch(assignment)` says so. Deleting frees the name at once.

        Raises `session_not_found`, `conflict`, `nats_unavailable`.
        """
        for attempt in range(1, TRIES_MAX + 1):
            held = await self._bucket.get(session_key(tenant_id, session_id), SessionRecord)
            old = held.value
            if old is None or old.desired is DesiredState.DELETED:
                raise BlazzError(ErrorCode.SESSION_NOT_FOUND)
            assigned = await self._bucket.get(assignment_key(session_id), Assignment)
            raises = assigned.value is not None and (restart or new_epoch(assigned.value))
            record = msgspec.structs.replace(
                old, desired=desired, restart_generation=old.restart_generation + restart
            )
            if record == old and not raises:
                return old
            changes: list[Put | Delete] = [
                Put(key=held.key, value=record, expect_revision=held.revision)
            ]
            if raises:
                changes.append(await self._raised_anew(assigned))
            if desired is DesiredState.DELETED and old.name is not None:
                changes += await self._release_name(old, old.name)
            try:
                await self._commits.write(changes)
            except Conflict:
                await self._commits.pause(attempt)
                continue
            log.info(
                "session.desired_changed",
                **{log_keys.TENANT: tenant_id, log_keys.SESSION: session_id},
                desired=desired,
            )
            return record
        raise BlazzError(ErrorCode.CONFLICT, "the session is changed by others all the time")

    async def raise_epoch(self, expected: Assignment, raised: Assignment) -> None:
        """Place a session anew on its node, if its assignment is still `expected`.

        Raises `conflict` when it is not.
        """
        assert raised.epoch > expected.epoch
        assert raised.node_id == expected.node_id
        assigned = await self._bucket.get(assignment_key(expected.session_id), Assignment)
        if assigned.value != expected:
            raise Conflict("the assignment has changed")
        put = Put(key=assigned.key, value=raised, expect_revision=assigned.revision)
        await self._commits.write([put])

    async def forget(self, tenant_id: str, session_id: str) -> None:
        """Drop a deleted session's records and give its place back. Safe to repeat."""
        for attempt in range(1, TRIES_MAX + 1):
            held = await self._bucket.get(session_key(tenant_id, session_id), SessionRecord)
            assigned = await self._bucket.get(assignment_key(session_id), Assignment)
            changes: list[Put | Delete] = []
            if held.value is not None:
                if held.value.desired is not DesiredState.DELETED:
                    raise Conflict("the session is wanted again")
                changes.append(Delete(key=held.key, expect_revision=held.revision))
            if assigned.value is not None:
                changes.append(Delete(key=assigned.key, expect_revision=assigned.revision))
                if assigned.value.node_id is not None:
                    changes.append(await self._commits.place_given_back(assigned.value.node_id))
            if not changes:
                return
            changes += [
                Delete(key=observed_key(node_id, session_id))
                for node_id in self._state.observed_nodes(session_id)
            ]
            try:
                await self._commits.write(changes)
            except Conflict:
                await self._commits.pause(attempt)
                continue
            return
        raise BlazzError(ErrorCode.CONFLICT, "the node's capacity is changed all the time")

    async def _raised_anew(self, assigned: Entry[Assignment]) -> Put:
        """By somebody's word: how it ended before is forgotten, but not that it was unlinked."""
        old = assigned.value
        assert old is not None
        seen = None
        if old.node_id is not None:
            # From the bus: memory may lag.
            key = observed_key(old.node_id, old.session_id)
            seen = (await self._commits.read(key, SessionObserved)).value
        raised = msgspec.structs.replace(
            old,
            epoch=old.epoch + 1,
            ended=None,
            ended_reason=None,
            failures=(),
            unlinked_epoch=unlinked_epoch(old, seen),
        )
        return Put(key=assigned.key, value=raised, expect_revision=assigned.revision)

    async def _release_name(self, record: SessionRecord, name: str) -> list[Put | Delete]:
        held = await self._bucket.get(_name_key(record.tenant_id, name), SessionNameRecord)
        if held.value is None or held.value.session_id != record.session_id:
            return []
        return [Delete(key=held.key, expect_revision=held.revision)]


def _name_key(tenant_id: str, name: str) -> str:
    return session_name_key(tenant_id, hashlib.sha256(name.encode()).hexdigest())
