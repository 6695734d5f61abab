"""The event lane: one session's events, published in order, each until the stream has it.

Owns the order, the bound and the weeding out of repeats. A lane outlives the session's runner: what
waits when a session moves away, or was left by an earlier process, is published all the same. A
full lane makes `put` wait, which makes the engine wait: nothing is dropped for want of room. Never
decides what is published.
"""

import asyncio
import random
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from schemas import log_keys
from schemas.commands import Told
from schemas.errors import BlazzError, ErrorCode
from schemas.events import Event, event_name
from schemas.transport.checkpoints import At, checkpoint
from swarm_node.core.backoff import BackoffPolicy, delay_s
from swarm_node.core.told import may_be_erased, window_covers
from swarm_node.outbox.entry import Entry
from swarm_node.outbox.journal import EventJournal

log = structlog.get_logger()

Publish = Callable[[Event], Awaitable[None]]
"""Stores one event durably (message id: the event's); raises `BlazzError`."""
Ask = Callable[[str, str, int], Awaitable[Told]]
"""Asks the control plane which events of (tenant, session) the stream has behind a sequence;
raises `BlazzError`."""

_RETRY: Final = BackoffPolicy(first_s=0.05, longest_s=5.0)
_RECENT_MAX: Final = 5000
_TOLD_MAX: Final = 20_000


class EventLane:
    """One session's waiting events. `run` publishes until none is left."""

    def __init__(
        self,
        tenant_id: str,
        session_id: str,
        journal: EventJournal,
        *,
        publish: Publish,
        ask: Ask,
        wake: Callable[["EventLane"], None],
    ) -> None:
        self.tenant_id = tenant_id
        self.session_id = session_id
        self._wake = wake
        self._journal = journal
        self._publish = publish
        self._ask = ask
        self._waiting: deque[Entry] = deque()
        self._recent: OrderedDict[str, Entry] = OrderedDict()
        """What this process has in hand or published lately, by event id."""
        self._told: OrderedDict[str, None] = OrderedDict()
        """What the stream had when it was last asked, newest last; from others, mostly."""
        self._told_seq = 0
        self._asked_at = 0.0
        self._erased = False
        self._room = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._waiting)

    def restore(self, entry: Entry) -> None:
        """Take over what an earlier process left on the disk."""
        self._append(entry)

    async def put(self, event: Event, waiting_max: int) -> Entry:
        """Add an event, unless it is there already. Waits for room first, never for its
        safety."""
        known = self._recent.get(event.event_id)
        if known is None:
            while len(self._waiting) >= waiting_max:
                self._room.clear()
                await self._room.wait()
            checkpoint(At.EVENT_BEFORE_KEEP)
            known = self.add(event)
        return known

    def add(self, event: Event) -> Entry:
        """Add an event at once, unless it is there already."""
        known = self._recent.get(event.event_id)
        if known is not None:
            return known
        entry = Entry(event)
        self._append(entry)
        self._journal.add(entry)
        return entry

    def _append(self, entry: Entry) -> None:
        self._waiting.append(entry)
        self._recent[entry.event.event_id] = entry
        if len(self._recent) > max(_RECENT_MAX, 2 * len(self._waiting)):
            self._recent.popitem(last=False)
        self._empty.clear()
        self._wake(self)

    async def run(self) -> None:
        """Publish, oldest first, until nothing waits."""
        attempt = 0
        while self._waiting:
            entry = self._waiting[0]
            try:
                checkpoint(At.EVENT_BEFORE_PUBLISH)
                if not await self._needless(entry):
                    await self._publish(entry.event)
                checkpoint(At.EVENT_AFTER_PUBLISH)
            except BlazzError as error:
                if error.code is not ErrorCode.PAYLOAD_TOO_LARGE:
                    attempt += 1
                    if attempt == 1:
                        log.warning("event.publish_delayed", **{log_keys.CODE: error.code})
                    await asyncio.sleep(delay_s(_RETRY, attempt, random.random()))
                    continue
                # It can never be published; all behind it would wait for ever.
                log.exception("event.too_large", name=event_name(entry.event.data))
            attempt = 0
            self._waiting.popleft()
            self._journal.remove(entry)
            self._room.set()
        self._empty.set()

    async def wait_empty(self) -> None:
        """Wait until all is published."""
        await self._empty.wait()

    async def _needless(self, entry: Entry) -> bool:
        """Whether the stream has this event from somebody else, or from before a restart; or its
        tenant was erased, which no node that was away may undo."""
        event_id, now = entry.event.event_id, time.time()
        if event_id not in self._told and (
            not window_covers(born_at=entry.born_at, asked_at=self._asked_at, now=now)
            or may_be_erased(made_at=entry.event.at, asked_at=self._asked_at, now=now)
        ):
            await self._ask_told()
        if self._erased:
            log.info("event.of_erased_tenant", name=event_name(entry.event.data))
            return True
        if event_id in self._told:
            log.info("event.told_before", name=event_name(entry.event.data))
            return True
        return False

    async def _ask_told(self) -> None:
        asked_at = time.time()
        more = True
        while more:
            answer = await self._ask(self.tenant_id, self.session_id, self._told_seq)
            self._erased = answer.erased
            self._told.update(dict.fromkeys(answer.event_ids))
            while len(self._told) > _TOLD_MAX:
                self._told.popitem(last=False)
            more = answer.more and answer.seq > self._told_seq
            self._told_seq = answer.seq
        self._asked_at = asked_at
