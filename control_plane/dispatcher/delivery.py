"""Delivery of a lane's head: one attempt.

Owns the request to the session's node and what its silence means. What a final answer entails is
`endings`'s. Never retries by itself: the lane's next turn does.
"""

import asyncio
import random
import time
from collections.abc import Awaitable
from typing import TypeVar

import msgspec
import structlog

from control_plane import metrics
from control_plane.core.delivery import (
    DeliveryRules,
    GiveUp,
    Progress,
    after_error,
    expired,
    give_up,
)
from control_plane.core.lanes import Lane
from control_plane.dispatcher.endings import Done, Endings
from control_plane.node_commands import NodeCommands, NotReceived
from control_plane.pacing.book import PacingBook
from control_plane.state.fleet_state import FleetState
from schemas import log_keys
from schemas.commands import SendAnswer, SendMessage
from schemas.errors import BlazzError, ErrorCode
from schemas.messages import Delete
from schemas.records import Assignment, OutboxItem
from schemas.transport import typed
from schemas.transport.checkpoints import At, checkpoint
from schemas.transport.jetstream import StoredMessage
from schemas.transport.lease import Lease

log = structlog.get_logger()

T = TypeVar("T")


class Wait(msgspec.Struct, frozen=True):
    """How long a message waits, after which error (a code); `offline`: or until its session comes
    online, and its whole lane with it."""

    delay_s: float
    offline: bool
    reason: str = ""


class Head(msgspec.Struct, frozen=True):
    """The first message of a lane and how far it is. `first_attempt` is above 1 when a
    dispatcher before us may have handed it over: the node must then look it up."""

    sequence: int
    item: OutboxItem
    progress: Progress
    first_attempt: int
    wait: Wait = Wait(0.0, offline=False)
    maybe_ended: bool = False
    """Its ending may have been begun, before us or by us: then it is gone on with."""

    @classmethod
    def of(cls, stored: StoredMessage, *, inherited: bool) -> "Head":
        """Read it. Raises `malformed_request`."""
        item = typed.decode(stored.data, OutboxItem)
        doubt = item.doubt or (ErrorCode.LEASE_LOST.value if inherited else "")
        return cls(
            stored.seq, item, Progress(doubt=doubt), 2 if doubt else 1, maybe_ended=inherited
        )


class Delivery:
    """What the lanes of all shards share."""

    def __init__(
        self,
        state: FleetState,
        endings: Endings,
        nodes: NodeCommands,
        book: PacingBook,
        rules: DeliveryRules,
    ) -> None:
        self._state = state
        self._endings = endings
        self._nodes = nodes
        self._book = book
        self._rules = rules

    def worth_trying(self, lane: Lane) -> bool:
        """Whether an attempt would reach an engine, or the session is gone for good."""
        record = self._state.session(lane.tenant_id, lane.session_id)
        if record is None:
            return True
        return self._state.view(record, time.monotonic()).state.can_send

    def hopeless(self, lane: Lane, item: OutboxItem) -> tuple[ErrorCode, str] | None:
        """Why a message will surely not be sent any more, whatever its pace; None: it may be."""
        record = self._state.session(lane.tenant_id, lane.session_id)
        if record is None and self._state.synced:
            return ErrorCode.SESSION_NOT_FOUND, "the session was deleted"
        if expired(time.time() - item.entered_at, self._rules):
            return ErrorCode.TIMEOUT, "it waited too long to be sent"
        if self._book.opted_out(item.tenant_id, item.to) and not isinstance(item.content, Delete):
            return ErrorCode.RECIPIENT_OPTED_OUT, "opted out after it was accepted"
        return None

    async def try_head(self, lane: Lane, head: Head, lease: Lease) -> Head | Done:
        """Try once. A `Head` has to wait as it says; `Done` has been removed.

        Raises `nats_unavailable` and the like from the ledger or the outbox: the head is still
        there, and everything done so far can be repeated.
        """
        item = head.item
        if head.maybe_ended:
            done = await self._endings.resumed(head.sequence, item)
            if done is not None:
                return done
        doom = self.hopeless(lane, item)
        if doom is not None:
            return await self._give_up(head, give_up(head.progress, *doom))
        try:
            answer = await self._ask(lane, head, lease)
        except BlazzError as error:
            return await self._after_error(head, error, time.time() - item.entered_at)
        attempts = head.progress.attempts + 1
        return await self._endings.answered(head.sequence, item, answer, attempts)

    async def _ask(self, lane: Lane, head: Head, lease: Lease) -> SendAnswer:
        assignment = self._state.assignment(lane.session_id)
        if assignment is None or not self.worth_trying(lane):
            raise NotReceived(ErrorCode.SESSION_NOT_ONLINE)
        if not lease.still_held():
            raise NotReceived(ErrorCode.LEASE_LOST)
        item = head.item
        command = SendMessage(
            session_id=item.session_id,
            epoch=assignment.epoch,
            message_id=item.message_id,
            to=item.to,
            content=item.content,
            attempt=head.first_attempt + head.progress.attempts,
            dispatcher_epoch=lease.epoch,
        )
        checkpoint(At.REQUEST_BEFORE)
        answer = await self._unless_moved(
            assignment, self._nodes.ask(assignment, "send_message", command)
        )
        checkpoint(At.REQUEST_AFTER)
        assert isinstance(answer, SendAnswer)
        if answer.message_id != item.message_id or not answer.state.final:
            raise BlazzError(ErrorCode.INTERNAL, "the node's answer is about something else")
        return answer

    async def _unless_moved(self, assignment: Assignment, asking: Awaitable[T]) -> T:
        """The answer, waited for only as long as the session is this very process's: a lane must
        not stand still because a node that was lost, or began anew, took a message with it.

        Raises `node_unreachable` then: nobody knows, and the next attempt looks the message up.
        """
        loop = asyncio.get_running_loop()
        place = self._place_of(assignment.session_id)
        try:
            async with asyncio.timeout(None) as patience:

                def look(session_id: str | None) -> None:
                    if session_id not in (None, assignment.session_id) or patience.expired():
                        return
                    if self._place_of(assignment.session_id) != place:
                        patience.reschedule(loop.time())

                undo = self._state.on_change(look)
                try:
                    return await asking
                finally:
                    undo()
        except TimeoutError:
            raise BlazzError(
                ErrorCode.NODE_UNREACHABLE, "the session was placed anew meanwhile"
            ) from None

    def _place_of(self, session_id: str) -> tuple[int, str] | None:
        """A session's epoch and its node's incarnation; None without a place."""
        assignment = self._state.assignment(session_id)
        if assignment is None or assignment.node_id is None:
            return None
        node = self._state.node(assignment.node_id, time.monotonic())
        return assignment.epoch, node.record.incarnation if node is not None else ""

    async def _after_error(self, head: Head, error: BlazzError, age_s: float) -> Head | Done:
        if error.code is ErrorCode.STALE_EPOCH:
            metrics.FENCE_CONFLICTS.labels(what="send").inc()
        decision = after_error(
            head.progress,
            error.code,
            error.detail,
            received=not isinstance(error, NotReceived),
            age_s=age_s,
            unit_random=random.random(),
            rules=self._rules,
        )
        if isinstance(decision, GiveUp):
            return await self._give_up(head, decision)
        if not decision.offline:
            log.info(
                "message.retry_scheduled",
                **{
                    log_keys.SESSION: head.item.session_id,
                    log_keys.MESSAGE: head.item.message_id,
                    log_keys.ATTEMPT: decision.progress.attempts,
                    log_keys.CODE: error.code,
                },
            )
        return msgspec.structs.replace(
            head,
            progress=decision.progress,
            wait=Wait(decision.delay_s, decision.offline, error.code.value),
        )

    async def _give_up(self, head: Head, given_up: GiveUp) -> Done:
        return await self._endings.given_up(head.sequence, head.item, given_up)
