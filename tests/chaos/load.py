"""Steady traffic while things break: messages out through the API, messages in from a phone.

Owns what was asked, what was accepted, and each one's text, which nobody else uses: a message that
went out twice shows at the switch by its text, whatever ids it went out under. Like a careful
customer it repeats a request that got no answer, with the same idempotency key.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec

from bench.stage import Linked
from cli.client import Api
from sandbox.phone import Phone
from sandbox.switch.log import digest
from schemas.api_messages import NewMessage
from schemas.errors import BlazzError
from schemas.messages import ChatMessage

REPEATS_MAX = 40
REPEAT_PAUSE_S = 0.25


class Accepted(msgspec.Struct, frozen=True):
    """A message the API answered with 202 for."""

    session_id: str
    message_id: str
    digest: str


class Load:
    """Traffic of some sessions; `async with load.running(): …`."""

    def __init__(
        self, apis: Sequence[Api], sessions: Sequence[Linked], friend: Phone, *, period_s: float
    ) -> None:
        self.accepted: list[Accepted] = []
        self.open: list[str] = []
        """Digests of those asked for that never got an answer."""
        self.refused: list[str] = []
        """Codes of final refusals."""
        self.inbound: dict[str, str] = {}
        """Session by the id of what the friend sent to it."""
        self._apis = itertools.cycle(apis)
        self._sessions = sessions
        self._friend = friend
        self._period_s = period_s
        self._stop = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Traffic for the block; what is under way at its end is brought to an end."""
        async with asyncio.TaskGroup() as group:
            for number, linked in enumerate(self._sessions):
                group.create_task(self._drive(number, linked))
            try:
                yield
            finally:
                self._stop.set()

    async def send_one(self, linked: Linked, text: str) -> Accepted | None:
        """Ask for one message until there is an answer; None if there never was, or a refusal."""
        session_id, body = linked.session.session_id, NewMessage(to=self._friend.wid, text=text)
        for _ in range(REPEATS_MAX):
            try:
                message = await next(self._apis).call(
                    "POST",
                    f"/v1/sessions/{session_id}/messages",
                    ChatMessage,
                    body=body,
                    headers={"Idempotency-Key": text},
                )
            except BlazzError as error:
                if not error.retryable:
                    self.refused.append(error.code)
                    return None
                await asyncio.sleep(REPEAT_PAUSE_S)
            else:
                accepted = Accepted(session_id, message.message_id, digest(text))
                self.accepted.append(accepted)
                return accepted
        self.open.append(digest(text))
        return None

    async def _drive(self, number: int, linked: Linked) -> None:
        for turn in itertools.count():
            if self._stop.is_set():
                return
            await self.send_one(linked, f"out {number}.{turn}")
            sent = await self._friend.send_text(linked.phone.wid, f"in {number}.{turn}")
            self.inbound[sent] = linked.session.session_id
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._period_s):
                    await self._stop.wait()
