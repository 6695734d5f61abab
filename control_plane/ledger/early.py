"""Early events: those that came before the ledger knew the message they are about.

A message's own entry is written beside its way, so a receipt can overtake it by a moment. Owns the
waiting: how often an early event is tried again, in which order, and how many may wait. Never
folds or answers one itself. What waits is not yet acknowledged: a killed replica's is folded by
another.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

import msgspec

from control_plane import metrics
from control_plane.core.ledger_fold import message_id_of
from schemas.events import Event, MessageReceived
from schemas.transport.background import Background

W = TypeVar("W")
"""How an event is answered: nothing that is known here."""
LOOKS_S: Final = (0.2, 1.2, 6.2)
"""When an early event is looked at again, after it came. Then it is given up: the message is not
one of the ledger's (older than what is kept, or than the link)."""
WAITING_MAX: Final = 1024

Fold = Callable[[W, Event, bool], Awaitable[bool]]
"""Fold an event and answer it. False: the ledger does not know its message; then it is answered
only if this was the last look (the flag)."""
_Key = tuple[str, str, str]


class _Early(msgspec.Struct, Generic[W], frozen=True, eq=False):
    work: W
    seen: Event
    came_at: float


class _Line(msgspec.Struct, Generic[W], eq=False):
    """One message's early events, in their order."""

    waiting: deque[_Early[W]]
    known: asyncio.Event
    """The message has come."""


class EarlyEvents(Generic[W]):
    """Between the folder's lines and the fold. The events of one message are to be given to `take`
    one after the other."""

    def __init__(
        self,
        fold: Fold[W],
        tasks: Background,
        *,
        looks_s: tuple[float, ...] = LOOKS_S,
        waiting_max: int = WAITING_MAX,
    ) -> None:
        self._fold = fold
        self._tasks = tasks
        self._looks_s = looks_s
        self._waiting_max = waiting_max
        self._lines: dict[_Key, _Line[W]] = {}
        self._count = 0

    async def take(self, work: W, seen: Event) -> None:
        """Have an event folded, now or soon; returns when the next one may be given."""
        message_id = message_id_of(seen.data)
        if message_id is None:
            await self._fold(work, seen, True)
            return
        key = (seen.tenant_id, seen.session_id, message_id)
        line = self._lines.get(key)
        arrival = isinstance(seen.data, MessageReceived)
        if line is not None and not arrival:
            self._append(line, work, seen)
            return
        last = arrival or self._count >= self._waiting_max
        if await self._fold(work, seen, last):
            if line is not None:
                line.known.set()
        elif last:
            metrics.EARLY_EVENTS.labels("no_room").inc()
        else:
            # Nobody else begins a line for this message: its events are given one by one.
            line = self._lines[key] = _Line(deque(), asyncio.Event())
            self._append(line, work, seen)
            self._tasks.start(self._work_off(key, line), name="early events")

    def _append(self, line: _Line[W], work: W, seen: Event) -> None:
        self._count += 1
        line.waiting.append(_Early(work, seen, asyncio.get_running_loop().time()))

    async def _work_off(self, key: _Key, line: _Line[W]) -> None:
        while line.waiting:
            if await self._look(line.waiting[0], line.known):
                line.known.set()
                metrics.EARLY_EVENTS.labels("folded").inc()
            else:
                metrics.EARLY_EVENTS.labels("given_up").inc()
            line.waiting.popleft()
            self._count -= 1
        del self._lines[key]

    async def _look(self, early: _Early[W], known: asyncio.Event) -> bool:
        """Look until its message is known; False: it never was."""
        for look_s in self._looks_s:
            last = look_s == self._looks_s[-1]
            left_s = early.came_at + look_s - asyncio.get_running_loop().time()
            if left_s <= 0 and not last:
                continue  # it stood behind another for so long
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await known.wait()
            if await self._fold(early.work, early.seen, last):
                return True
        return False
