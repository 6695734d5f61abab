"""Steady traffic of a fleet while it breaks: messages out through the API, messages in.

Owns what was asked and what was accepted, in which order. Each text is used once, so a message that
went out twice shows at the switch, whatever ids it went out under. Like a careful customer it
repeats a request that got no answer, or one of 5xx, with the same idempotency key, at whichever
control plane; the next message of a session waits for that answer, so the order of acceptance is
the order here.
"""

import asyncio
import contextlib
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from bench.stage import Linked
from bench.watched import WatchedFleet
from sandbox.phone import Phone
from sandbox.switch.log import digest
from schemas.api_messages import NewMessage
from schemas.errors import BlazzError
from schemas.messages import ChatMessage

REPEAT_PAUSE_S: Final = 0.2
ANSWER_PATIENCE_S: Final = 150.0


class Accepted(msgspec.Struct, frozen=True):
    """A message that was answered with 202. `asked_at`: Unix seconds of the first request."""

    session_id: str
    number: str
    chat: str
    message_id: str
    digest: str
    asked_at: float
    asked: int
    """How many requests it took."""


class Record(msgspec.Struct):
    """What was asked for, and what came of the asking."""

    accepted: list[Accepted] = []
    """In the order of acceptance, session by session."""
    unanswered: list[str] = []
    """Digests of those whose requests never got an answer: they may be sent or not, once."""
    inbound: dict[str, str] = {}
    """Session by the id of what a friend wrote to it."""


class Traffic:
    """`async with traffic.running(): …`, then look at its `record`."""

    def __init__(self, fleet: WatchedFleet, *, out_period_s: float, in_period_s: float) -> None:
        self.record = Record()
        self.refused: Counter[str] = Counter()
        """Codes of final refusals."""
        self.repeats: Counter[str] = Counter()
        """Codes after which a request was repeated."""
        self._fleet = fleet
        self._periods_s = (out_period_s, in_period_s)
        self._apis = itertools.cycle(fleet.apis)
        self._stop = asyncio.Event()
        self._drivers: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Traffic for the block; what is under way at its end is brought to an end."""
        async with asyncio.TaskGroup() as group:
            for index, linked in enumerate(self._fleet.linked):
                self._drivers.append(group.create_task(self._send(index, linked)))
                self._drivers.append(group.create_task(self._receive(index, linked)))
            try:
                yield
            finally:
                self._stop.set()

    async def stop(self) -> None:
        """Ask for nothing new, and bring what is under way to an end, before the block's."""
        self._stop.set()
        await asyncio.wait(self._drivers)

    async def send_one(self, linked: Linked, to: Phone, text: str) -> Accepted | None:
        """Ask for one message until there is an answer; None if there never was, or a refusal."""
        session_id, number = linked.session.session_id, linked.phone.number
        path, body = f"/v1/sessions/{session_id}/messages", NewMessage(to=to.wid, text=text)
        asked_at, deadline = time.time(), time.monotonic() + ANSWER_PATIENCE_S
        for asked in itertools.count(1):
            try:
                message = await next(self._apis).call(
                    "POST", path, ChatMessage, body=body, headers={"Idempotency-Key": text}
                )
            except BlazzError as error:
                if not error.retryable and error.spec.http < 500:
                    self.refused[error.code] += 1
                    return None
                self.repeats[error.code] += 1
                if time.monotonic() > deadline:
                    break
                await asyncio.sleep(REPEAT_PAUSE_S)
            else:
                accepted = Accepted(
                    session_id, number, to.wid, message.message_id, digest(text), asked_at, asked
                )
                self.record.accepted.append(accepted)
                return accepted
        self.record.unanswered.append(digest(text))
        return None

    async def _send(self, index: int, linked: Linked) -> None:
        for turn in itertools.count():
            if self._stop.is_set():
                return
            began = time.monotonic()
            friend = self._fleet.friends[turn % len(self._fleet.friends)]
            await self.send_one(linked, friend, f"out {index}.{turn}")
            await self._pause(self._periods_s[0] - (time.monotonic() - began))

    async def _receive(self, index: int, linked: Linked) -> None:
        for turn in itertools.count():
            if self._stop.is_set():
                return
            friend = self._fleet.friends[turn % len(self._fleet.friends)]
            sent = await friend.send_text(linked.phone.wid, f"in {index}.{turn}")
            self.record.inbound[sent] = linked.session.session_id
            await self._pause(self._periods_s[1])

    async def _pause(self, pause_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, pause_s)):
                await self._stop.wait()
