"""Calls that go through to a session's engine: send, QR, pairing code, media.

Owns their gates (which state allows what), their limits and the order of sends. Never changes the
session's state: trouble with an engine shows in its probes. Reads and acts of the account are in
`account_calls.py`.
"""

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

from schemas.commands import (
    GetMedia,
    GetPairingCode,
    GetQr,
    MediaChunk,
    PairingCodeAnswer,
    QrAnswer,
    SendAnswer,
    SendMessage,
)
from schemas.errors import BlazzError, ErrorCode
from schemas.events import MessageSent
from schemas.messages import MEDIA_CHUNK_BYTES, Media
from schemas.states import MessageState, SessionState
from schemas.transport.checkpoints import At, checkpoint
from swarm_node.core import epochs
from swarm_node.engines.contract import Engine, MediaBytes, MediaKey, SendOutcome, SendRequest
from swarm_node.session.account_calls import AccountCalls
from swarm_node.session.event_data import applied
from swarm_node.session.media import MediaCache, MediaFetcher
from swarm_node.session.runner import SessionRunner

T = TypeVar("T")


class SessionCalls:
    """One session's calls. Sends go one at a time, in the order they came."""

    def __init__(self, runner: SessionRunner, fetcher: MediaFetcher, cache: MediaCache) -> None:
        self._runner = runner
        self._fetcher = fetcher
        self._cache = cache
        self.account = AccountCalls(runner, fetcher)
        self._sending = asyncio.Lock()
        self._sends_waiting = 0
        self._dispatcher_epoch = 0

    async def send(self, command: SendMessage) -> SendAnswer:
        """Send, or say what became of an earlier attempt.

        Answers final outcomes only; raises what a later attempt may mend (`session_not_online`,
        `page_timeout`, …), and `stale_epoch` when a newer dispatcher has sent here.
        """
        self._dispatcher_epoch = epochs.on_dispatch(
            self._dispatcher_epoch, command.dispatcher_epoch
        )
        timings = self._runner.timings
        if self._sends_waiting >= timings.sends_waiting_max:
            raise BlazzError(ErrorCode.RATE_LIMITED, "too many sends wait for this session")
        self._sends_waiting += 1
        try:
            async with asyncio.timeout(timings.send_max_s), self._sending:
                outcome = await self._send(command)
        except TimeoutError:
            raise BlazzError(ErrorCode.PAGE_TIMEOUT, "the send got no answer") from None
        except BlazzError as error:
            if error.retryable:
                raise
            return _final(command, error)
        finally:
            self._sends_waiting -= 1
        # Told on every such answer, and before it: the one before may have been lost with its node,
        # and after the answer nobody asks again. The stream takes it once. How a message failed is
        # told by the dispatcher alone, for only it knows when one is given up.
        await self._runner.report(
            MessageSent(message_id=command.message_id, chat_id=outcome.chat_id, ack=outcome.ack)
        )
        done = applied(command, self._me)
        if done is not None:
            await self._runner.report(done)
        checkpoint(At.ACK_BEFORE)
        return SendAnswer(
            message_id=command.message_id,
            state=MessageState.SENT,
            chat_id=outcome.chat_id,
            ack=outcome.ack,
            found_before=outcome.found_before,
        )

    async def _send(self, command: SendMessage) -> SendOutcome:
        engine = self._sender()
        if not isinstance(command.content, Media):
            return await engine.send(_request(command))
        async with self._fetcher.fetched(command.session_id, command.content.media) as path:
            # Fetching took its time: look again.
            return await self._sender().send(_request(command, path))

    @property
    def _me(self) -> str:
        identity = self._runner.identity
        return f"{identity.phone}@c.us" if identity is not None else ""

    def _sender(self) -> Engine:
        engine = self._runner.engine
        if engine is None or not self._runner.state.can_send:
            raise BlazzError(ErrorCode.SESSION_NOT_ONLINE, f"the session is {self._runner.state}")
        return engine

    async def qr(self, command: GetQr) -> QrAnswer:
        """The QR on show now. Raises `qr_not_available`, `qr_expired`, `session_already_linked`,
        `session_not_running`."""
        engine = self._linking_engine()
        codes = self._runner.codes
        answer = codes.on_show()
        if answer is None and command.renew:
            await self._bounded(engine.renew_qr())
            answer = codes.on_show() or await codes.next(self._runner.timings.qr_wait_s)
        if answer is not None:
            return answer
        if self._runner.state is SessionState.PAIRING:
            raise BlazzError(ErrorCode.QR_EXPIRED, "the codes ran out")
        raise BlazzError(ErrorCode.QR_NOT_AVAILABLE, f"the session is {self._runner.state}")

    async def pairing_code(self, command: GetPairingCode) -> PairingCodeAnswer:
        """A code to type on the phone. Raises `session_not_pairing`, `pairing_code_refused`."""
        engine = self._linking_engine()
        if self._runner.state is not SessionState.PAIRING:
            raise BlazzError(ErrorCode.SESSION_NOT_PAIRING, f"the session is {self._runner.state}")
        code = await self._bounded(engine.pairing_code(command.phone))
        return PairingCodeAnswer(code=code, expires_in_s=self._runner.timings.pairing_code_life_s)

    def _linking_engine(self) -> Engine:
        if self._runner.linked:
            raise BlazzError(ErrorCode.SESSION_ALREADY_LINKED)
        return self._running()

    def _running(self) -> Engine:
        engine = self._runner.engine
        if engine is None:
            state = self._runner.state
            if state is SessionState.STARTING:
                raise BlazzError(ErrorCode.QR_NOT_AVAILABLE, "the engine starts again shortly")
            raise BlazzError(ErrorCode.SESSION_NOT_RUNNING, f"the session is {state}")
        return engine

    async def media(self, command: GetMedia) -> MediaChunk:
        """One chunk of a message's media; the whole is kept a while for the chunks that follow.

        Raises `media_not_found`, `session_not_online`.
        """
        key = MediaKey(
            message_id=command.message_id,
            chat_id=command.chat_id,
            from_me=command.from_me,
            participant=command.participant,
        )
        async with self._cache.loading(command.session_id, key):
            media = self._cache.get(command.session_id, key)
            if media is None:
                media = await self._download(key)
                self._cache.put(command.session_id, key, media)
        if command.offset >= len(media.data) > 0:
            raise BlazzError(ErrorCode.VALIDATION_FAILED, "the offset is behind the media's end")
        return MediaChunk(
            data=media.data[command.offset : command.offset + MEDIA_CHUNK_BYTES],
            offset=command.offset,
            total_bytes=len(media.data),
            mimetype=media.mimetype,
        )

    async def _download(self, key: MediaKey) -> MediaBytes:
        if not self._runner.linked:
            raise BlazzError(ErrorCode.SESSION_NOT_ONLINE, f"the session is {self._runner.state}")
        return await self._bounded(self._running().download(key))

    async def _bounded(self, call: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._runner.timings.call_max_s):
                return await call
        except TimeoutError:
            raise BlazzError(ErrorCode.PAGE_TIMEOUT, "the engine gave no answer") from None


def _request(command: SendMessage, media_path: Path | None = None) -> SendRequest:
    return SendRequest(
        message_id=command.message_id,
        to=command.to,
        content=command.content,
        media_path=media_path,
    )


def _final(command: SendMessage, error: BlazzError) -> SendAnswer:
    unknown = error.code is ErrorCode.MESSAGE_OUTCOME_UNKNOWN
    return SendAnswer(
        message_id=command.message_id,
        state=MessageState.UNKNOWN if unknown else MessageState.FAILED,
        error_code=error.code,
        error_detail=error.detail or None,
    )
