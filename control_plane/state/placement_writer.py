"""The placement writer: sessions from node to node, and what operators want of nodes.

Owns the batches that change an assignment's node with both nodes' capacity, the wishes to move,
and the node intents. Never decides who goes where: callers and `core.reconcile` do. Every change
of a node raises the epoch.
"""

import asyncio
from collections.abc import Callable

import msgspec
import structlog

from control_plane import metrics
from control_plane.state.commits import TRIES_MAX, Commits
from schemas import log_keys
from schemas.errors import BlazzError, ErrorCode
from schemas.keys import assignment_key, node_intent_key, observed_key
from schemas.records import Assignment, NodeIntent
from schemas.transport.kv import Conflict, Delete, Put

log = structlog.get_logger()


class PlacementWriter:
    """Writes with compare-and-set; see `Commits`."""

    def __init__(self, commits: Commits) -> None:
        self._commits = commits
        # Those in this process wait for each other instead of losing races over one node's count.
        self._turn = asyncio.Lock()

    async def reassign(self, expected: Assignment, new: Assignment) -> None:
        """Give a session to another node (or to none), if its assignment is still `expected`.

        Raises `Conflict` if it is not, `node_at_capacity` if the new node has filled meanwhile.
        """
        assert new.epoch > expected.epoch
        async with self._turn:
            for attempt in range(1, TRIES_MAX + 1):
                try:
                    await self._commits.write(await self._moved(expected, new))
                except Conflict:
                    # The assignment (found out by the next read) or a node's count.
                    await self._commits.pause(attempt)
                    continue
                self._told(expected, new)
                return
        raise BlazzError(ErrorCode.CONFLICT, "the nodes' capacity is changed all the time")

    async def _moved(self, expected: Assignment, new: Assignment) -> list[Put | Delete]:
        entry = await self._commits.read(assignment_key(expected.session_id), Assignment)
        if entry.value != expected:
            raise BlazzError(ErrorCode.STALE_EPOCH, "the session was placed anew meanwhile")
        changes: list[Put | Delete] = [
            Put(key=entry.key, value=new, expect_revision=entry.revision)
        ]
        if new.node_id is not None:
            taken = await self._commits.place_taken(new.node_id)
            if taken is None:
                raise BlazzError(ErrorCode.NODE_AT_CAPACITY, node_id=new.node_id)
            changes.append(taken)
        if expected.node_id is not None:
            changes.append(await self._commits.place_given_back(expected.node_id))
        # The last node's observation still says whose account it is; older ones say nothing.
        changes += [
            Delete(key=observed_key(node_id, expected.session_id))
            for node_id in self._commits.state.observed_nodes(expected.session_id)
            if node_id not in (expected.node_id, new.node_id)
        ]
        return changes

    def _told(self, expected: Assignment, new: Assignment) -> None:
        metrics.REASSIGNMENTS.labels(reason=new.reason or "").inc()
        log.info(
            "session.placed_anew",
            **{
                log_keys.TENANT: new.tenant_id,
                log_keys.SESSION: new.session_id,
                log_keys.NODE: new.node_id,
                log_keys.EPOCH: new.epoch,
                log_keys.REASON: new.reason,
                log_keys.DETAIL: new.unplaceable,
            },
            previous_node_id=expected.node_id,
        )

    async def want_move(self, session_id: str, to: str, reason: str) -> Assignment:
        """Note that a session is to leave its node: for `to`, or (empty) for the best place.

        Raises `session_not_running` if it has no node, `conflict`.
        """

        def wish(held: Assignment) -> Assignment:
            if held.node_id is None:
                raise BlazzError(ErrorCode.SESSION_NOT_RUNNING, "the session has no node")
            return msgspec.structs.replace(held, moving_to=to, reason=reason)

        return await self._change(session_id, wish)

    async def _change(
        self, session_id: str, change: Callable[[Assignment], Assignment]
    ) -> Assignment:
        for attempt in range(1, TRIES_MAX + 1):
            entry = await self._commits.read(assignment_key(session_id), Assignment)
            if entry.value is None:
                raise BlazzError(ErrorCode.SESSION_NOT_RUNNING, "the session has no place")
            changed = change(entry.value)
            if changed == entry.value:
                return changed
            try:
                await self._commits.write(
                    [Put(key=entry.key, value=changed, expect_revision=entry.revision)]
                )
            except Conflict:
                await self._commits.pause(attempt)
                continue
            return changed
        raise BlazzError(ErrorCode.CONFLICT, "the session is placed anew all the time")

    async def intend(self, node_id: str, change: Callable[[NodeIntent], NodeIntent]) -> NodeIntent:
        """Change what is wanted of a node. Raises `conflict`, `nats_unavailable`."""
        for attempt in range(1, TRIES_MAX + 1):
            entry = await self._commits.read(node_intent_key(node_id), NodeIntent)
            held = entry.value or NodeIntent(node_id)
            changed = change(held)
            if changed == held:
                return held
            put = Put(key=entry.key, value=changed, expect_revision=entry.revision)
            try:
                await self._commits.write([put])
            except Conflict:
                await self._commits.pause(attempt)
                continue
            log.info(
                "node.intent_changed",
                **{log_keys.NODE: node_id, log_keys.REASON: changed.reason},
                cordoned=changed.cordoned,
                draining=changed.draining,
            )
            return changed
        raise BlazzError(ErrorCode.CONFLICT, "the node's intent is changed all the time")
