"""The outbox as the API uses it: appending to a lane, looking into it, its depth.

Owns how an accepted message lies in OUTBOX. Never sends or removes one: the dispatcher does.
"""

import time
from contextlib import aclosing
from typing import Final

import msgspec

from control_plane.core.contacts import chat_mark, encode_mark
from schemas.envelope import HEADER_CHAT, HEADER_MESSAGE_ID
from schemas.errors import BlazzError, ErrorCode
from schemas.records import OutboxItem
from schemas.resources import OUTBOX
from schemas.subjects import outbox_lane, shard_of
from schemas.transport.connection import Bus
from schemas.transport.jetstream import JetStream
from schemas.transport.streams import run_consumer
from schemas.transport.typed import decode

_APPEND_TRIES: Final = 2
_UNSURE: Final = frozenset({ErrorCode.TIMEOUT, ErrorCode.NATS_UNAVAILABLE})
_COUNT_KEPT_S: Final = 5.0
_COUNTS_MAX: Final = 10_000
_RETRY_AFTER_S: Final = 30
"""A full lane is paced, offline or far behind: seconds do not help."""


class _Count(msgspec.Struct):
    """A lane's depth as last counted, and how many this process may add before it counts anew."""

    depth: int
    counted_at: float
    left: int


class OutboxLanes:
    """Every session's lane, from the accepting side."""

    def __init__(self, bus: Bus, *, depth_max: int) -> None:
        self._jetstream = JetStream(bus)
        self.depth_max = depth_max
        self._counts: dict[str, _Count] = {}

    async def append(self, item: OutboxItem) -> None:
        """Store it durably at the lane's end; repeated under the same id it lies there once.

        Raises `nats_unavailable` or `timeout`: then it may lie there or not.
        """
        headers = {
            HEADER_MESSAGE_ID: item.stored_id,
            HEADER_CHAT: encode_mark(chat_mark(item.to, item.content)),
        }
        payload = msgspec.json.encode(item)
        lane = _lane(item.tenant_id, item.session_id)
        for attempt in range(1, _APPEND_TRIES + 1):
            try:
                await self._jetstream.publish(lane, payload, headers=headers)
            except BlazzError as error:
                if error.code not in _UNSURE or attempt == _APPEND_TRIES:
                    raise
            else:
                return

    async def find(self, tenant_id: str, session_id: str, message_id: str) -> OutboxItem | None:
        """The message if it waits in its lane: linear in the lane's length, so only for doubt."""
        lane = _lane(tenant_id, session_id)
        config = {"deliver_policy": "all", "filter_subject": lane, "headers_only": True}
        found: int | None = None
        async with aclosing(run_consumer(self._jetstream, OUTBOX, config)) as deliveries:
            async for delivery in deliveries:
                message = delivery.message
                if message is not None:
                    stored_id = message.headers.get(HEADER_MESSAGE_ID, "")
                    if stored_id.partition(".")[0] == message_id:
                        found = message.seq
                if found is not None or delivery.pending == 0:
                    break
            else:
                raise BlazzError(ErrorCode.NATS_UNAVAILABLE, "the look into the lane broke off")
        if found is None:
            return None
        stored = await self._jetstream.by_sequence(OUTBOX, found)
        return None if stored is None else decode(stored.data, OutboxItem)

    async def check_room(self, tenant_id: str, session_id: str) -> None:
        """Raise `queue_full` when the lane holds as many as it may.

        The server is asked now and then: a replica goes by its own count in between, so a lane
        may end up a little over its limit when several replicas fill it at once.
        """
        now = time.monotonic()
        count = self._counts.get(session_id)
        if count is None or count.left <= 0 or now - count.counted_at > _COUNT_KEPT_S:
            try:
                depth = await self.depth(tenant_id, session_id)
            except BlazzError as error:
                if not error.retryable:
                    raise
                # The bus is away or just back: the append says so, if it still is.
                return
            if len(self._counts) >= _COUNTS_MAX:
                self._counts.clear()
            # Others may fill it too: a quarter of the room, and then look again.
            count = _Count(depth, now, max(1, (self.depth_max - depth) // 4))
            self._counts[session_id] = count
        if count.depth >= self.depth_max:
            raise BlazzError(
                ErrorCode.QUEUE_FULL,
                f"{count.depth} messages wait; the limit is {self.depth_max}",
                depth=count.depth,
                depth_max=self.depth_max,
                retry_after_s=_RETRY_AFTER_S,
            )
        count.left -= 1

    async def depth(self, tenant_id: str, session_id: str) -> int:
        """How many messages wait in a lane."""
        lane = _lane(tenant_id, session_id)
        return (await self._jetstream.subjects(OUTBOX, lane)).get(lane, 0)

    async def head(self, tenant_id: str, session_id: str) -> OutboxItem | None:
        """The oldest message of a lane."""
        lane = _lane(tenant_id, session_id)
        stored = await self._jetstream.next_by_subject(OUTBOX, lane)
        return None if stored is None else decode(stored.data, OutboxItem)


def _lane(tenant_id: str, session_id: str) -> str:
    return outbox_lane(shard_of(session_id), tenant_id, session_id)
