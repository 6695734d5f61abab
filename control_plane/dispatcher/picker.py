"""The picker: which message of a lane comes next, and which of them may have gone out before.

Owns reading lanes, the index of paced ones and the progress of messages that were tried. Never
sends (`delivery`), and never judges pace or class (`core.pacing`, asked through the desk).

A lane that is not paced is its stream's order: its head is one read. A paced one is indexed by
chat while something waits in it (see docs/adr/0007-replies-overtake-paced-messages.md): a message
that was tried and has to wait holds up its own class alone.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing
from typing import Final

import msgspec

from control_plane.core.contacts import ChatMark, decode_mark
from control_plane.core.lane_index import LaneIndex
from control_plane.core.lanes import Lane
from control_plane.core.pacing import Standing
from control_plane.dispatcher.delivery import Head
from control_plane.pacing.desk import PacingDesk
from schemas.envelope import HEADER_CHAT
from schemas.errors import BlazzError, ErrorCode
from schemas.records import OutboxItem
from schemas.resources import OUTBOX
from schemas.subjects import outbox_lane
from schemas.transport.checkpoints import At, checkpoint
from schemas.transport.jetstream import JetStream, StoredMessage
from schemas.transport.streams import run_consumer

BACKING_OFF: Final = "backing_off"
_STANDINGS_AT_ONCE: Final = 32
_LOOK_AGAIN_S: Final = 300.0
"""A held message is judged anew after this at the latest: rules and clocks change."""


Hopeless = Callable[[Lane, OutboxItem], object | None]
"""Whether a message will surely not be sent any more: then its pace is of no concern."""


class Rest(msgspec.Struct, frozen=True):
    """Nothing of the lane may go for `delay_s`; `reason` is what paces it."""

    delay_s: float
    reason: str


class _Tried(msgspec.Struct, frozen=True):
    head: Head
    due: float
    """Not before (monotonic seconds)."""


class _Suspects(msgspec.Struct, frozen=True):
    """What a dispatcher before us may have handed over: the lane's first message as we found it,
    and those that it was granted last."""

    first: int
    granted: frozenset[str]


class _Paced:
    """A paced lane: its index, and what was appended while that was being made."""

    def __init__(self) -> None:
        self.index = LaneIndex()
        self.appended: list[tuple[int, ChatMark]] | None = []

    def add(self, sequence: int, mark: ChatMark) -> None:
        if self.appended is None:
            self.index.add(sequence, mark)
        else:
            self.appended.append((sequence, mark))


class Picker:
    """One shard's, while its lease is held. A lane is asked about by one task at a time."""

    def __init__(
        self,
        jetstream: JetStream,
        shard: int,
        desk: PacingDesk,
        hopeless: Hopeless,
        inherited_to: int,
    ) -> None:
        self._jetstream = jetstream
        self._shard = shard
        self._desk = desk
        self._hopeless = hopeless
        self._inherited_to = inherited_to
        self._tried: dict[Lane, dict[int, _Tried]] = {}
        self._paced: dict[Lane, _Paced] = {}
        self._suspects: dict[Lane, _Suspects] = {}

    # What happens to lanes -----------------------------------------------------------------------

    def appended(self, lane: Lane, message: StoredMessage) -> None:
        """A message came into a lane."""
        paced = self._paced.get(lane)
        if paced is not None:
            paced.add(message.seq, decode_mark(message.headers.get(HEADER_CHAT, "")))

    def wrote(self, lane: Lane, digest: str, at: float) -> bool:
        """A chat wrote to the session; whether something for it waits here."""
        paced = self._paced.get(lane)
        return paced is not None and paced.index.learn(digest, Standing(at))

    def tried(self, lane: Lane, head: Head) -> None:
        """It was tried and has to wait."""
        # An offline session's lane rests as a whole, and is woken when the session is back.
        due = time.monotonic() + (0.0 if head.wait.offline else head.wait.delay_s)
        self._tried.setdefault(lane, {})[head.sequence] = _Tried(head, due)

    def done(self, lane: Lane, head: Head) -> None:
        """It left the lane."""
        self._tried.get(lane, {}).pop(head.sequence, None)
        paced = self._paced.get(lane)
        if paced is not None:
            paced.index.remove(head.sequence)

    def forget(self, lane: Lane) -> None:
        """The lane is empty."""
        self._tried.pop(lane, None)
        self._paced.pop(lane, None)
        self._suspects.pop(lane, None)
        self._desk.forget(lane)

    def last_tried(self, lane: Lane) -> Head | None:
        """The message of the lane that was tried and waits, if there is one."""
        tried = self._tried.get(lane)
        return max(tried.values(), key=lambda t: t.due).head if tried else None

    # What comes next -----------------------------------------------------------------------------

    async def next(self, lane: Lane) -> Head | Rest | None:
        """The message to send now, how long the lane rests, or None: it is empty.

        Raises what the bus raises, and `lease_lost`.
        """
        if self._desk.rules(lane).enabled:
            return await self._next_paced(lane)
        self._paced.pop(lane, None)
        checkpoint(At.HEAD_BEFORE_READ)
        stored = await self._jetstream.next_by_subject(OUTBOX, self._subject(lane))
        if stored is None:
            return None
        checkpoint(At.HEAD_AFTER_READ)
        tried = self._tried.get(lane, {}).get(stored.seq)
        if tried is None:
            return await self._fresh(lane, stored)
        rest_s = tried.due - time.monotonic()
        return tried.head if rest_s <= 0 else Rest(rest_s, BACKING_OFF)

    async def _next_paced(self, lane: Lane) -> Head | Rest | None:
        paced = await self._indexed(lane)
        await self._learn_standings(lane, paced.index)
        rest = Rest(_LOOK_AGAIN_S, "")
        firsts = paced.index.firsts(time.time(), self._desk.rules(lane))
        for sending, sequence in firsts.items():
            tried = self._tried.get(lane, {}).get(sequence)
            if tried is not None and tried.due > time.monotonic():
                rest = _sooner(rest, tried.due - time.monotonic(), BACKING_OFF)
                continue
            head = tried.head if tried is not None else await self._read(lane, sequence)
            if head is None:
                # Removed by a dispatcher before us, late.
                paced.index.remove(sequence)
                return Rest(0.0, "")
            if self._hopeless(lane, head.item) is not None:
                # It costs no token to end it.
                return head
            hold = await self._desk.ask(lane, sending, head.item.message_id)
            if hold is None:
                return head
            rest = _sooner(rest, max(0.0, hold.until - time.time()), hold.reason)
        return rest if firsts else None

    async def _indexed(self, lane: Lane) -> _Paced:
        paced = self._paced.get(lane)
        if paced is not None and paced.appended is None:
            return paced
        paced = self._paced[lane] = _Paced()
        config = {
            "deliver_policy": "all",
            "filter_subject": self._subject(lane),
            "headers_only": True,
        }
        async with aclosing(run_consumer(self._jetstream, OUTBOX, config)) as deliveries:
            async for delivery in deliveries:
                stored = delivery.message
                if stored is not None:
                    mark = decode_mark(stored.headers.get(HEADER_CHAT, ""))
                    paced.index.add(stored.seq, mark)
                if delivery.pending == 0:
                    break
            else:
                raise BlazzError(ErrorCode.NATS_UNAVAILABLE, "the look into the lane broke off")
        for sequence, mark in paced.appended or ():
            paced.index.add(sequence, mark)
        paced.appended = None
        return paced

    async def _learn_standings(self, lane: Lane, index: LaneIndex) -> None:
        unknown = index.unknown_chats()
        for start in range(0, len(unknown), _STANDINGS_AT_ONCE):
            some = unknown[start : start + _STANDINGS_AT_ONCE]
            try:
                async with asyncio.TaskGroup() as reads:
                    tasks = [reads.create_task(self._desk.standing(lane, d)) for d in some]
            except ExceptionGroup as group:
                raise group.exceptions[0] from None
            for digest, task in zip(some, tasks, strict=True):
                index.learn(digest, task.result())

    async def _read(self, lane: Lane, sequence: int) -> Head | None:
        checkpoint(At.HEAD_BEFORE_READ)
        stored = await self._jetstream.by_sequence(OUTBOX, sequence)
        if stored is None:
            return None
        checkpoint(At.HEAD_AFTER_READ)
        return await self._fresh(lane, stored)

    async def _fresh(self, lane: Lane, stored: StoredMessage) -> Head:
        """A message that we have not tried; somebody before us may have."""
        head = Head.of(stored, inherited=False)
        if stored.seq > self._inherited_to:
            return head
        suspects = self._suspects.get(lane)
        if suspects is None:
            first = await self._jetstream.next_by_subject(OUTBOX, self._subject(lane))
            granted = await self._desk.may_have_gone(lane)
            suspects = _Suspects(first.seq if first is not None else 0, granted)
            self._suspects[lane] = suspects
        if stored.seq == suspects.first or head.item.message_id in suspects.granted:
            return Head.of(stored, inherited=True)
        return head

    def _subject(self, lane: Lane) -> str:
        return outbox_lane(self._shard, lane.tenant_id, lane.session_id)


def _sooner(rest: Rest, delay_s: float, reason: str) -> Rest:
    return Rest(delay_s, reason) if delay_s < rest.delay_s or not rest.reason else rest
