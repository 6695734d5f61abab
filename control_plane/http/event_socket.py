"""Events over a WebSocket: for browsers behind proxies that break event streams.

Owns the messages on the line, who may open it and its end. What is sent is the feed's; a line
holds one event in hand, so a slow reader is simply further behind, and one that takes nothing for
`socket_send_s_max` is closed. Never takes an API key from a URL and never acts on a message.

On the line, JSON: `{"id", "type", "data"}` as in an event stream; `{"type": "heartbeat"}` when it
is quiet. The client may say `{"type": "auth", "key" | "ticket"}` first, and `{"type": "ping"}`.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import msgspec
import structlog
from litestar import WebSocket
from litestar.exceptions import WebSocketDisconnect

from control_plane.http.auth import Scope, presented_key
from control_plane.http.event_filter import EventFilter
from control_plane.http.event_stream import Feed, Streams, closing_feed
from control_plane.http.rate_limiter import RateLimiter
from control_plane.ports import FeedGap, FeedItem, Principal, Services
from schemas import log_keys
from schemas.errors import BlazzError, ErrorCode
from schemas.events import event_name

log = structlog.get_logger()

Socket = WebSocket[Any, Any, Any]

AUTH_S_MAX: Final = 10.0
_NORMAL: Final = 1000
_GOING_AWAY: Final = 1001
_TOO_SLOW: Final = 4408
_CLOSE_CODES: Final = {
    ErrorCode.VALIDATION_FAILED: 4400,
    ErrorCode.MALFORMED_REQUEST: 4400,
    ErrorCode.UNAUTHENTICATED: 4401,
    ErrorCode.FORBIDDEN: 4403,
    ErrorCode.SESSION_NOT_FOUND: 4404,
    ErrorCode.RATE_LIMITED: 4429,
    ErrorCode.SHUTTING_DOWN: _GOING_AWAY,
}
_FAILED: Final = 1011


class _Auth(msgspec.Struct, frozen=True, tag_field="type", tag="auth"):
    key: str | None = None
    ticket: str | None = None


class _Ping(msgspec.Struct, frozen=True, tag_field="type", tag="ping"):
    pass


class _Line(msgspec.Struct, frozen=True):
    """What is sent of the feed."""

    id: str
    type: str
    data: Any


_WORD: Final = msgspec.json.Decoder(_Auth | _Ping)
_HEARTBEAT: Final = b'{"type":"heartbeat"}'
_PONG: Final = b'{"type":"pong"}'


class EventSocket:
    """One line, from its opening to its end."""

    def __init__(self, socket: Socket, services: Services, streams: Streams) -> None:
        self._socket = socket
        self._services = services
        self._streams = streams
        self._sending = asyncio.Lock()

    async def serve(
        self,
        follow: Callable[[Principal], Feed],
        check: Callable[[Principal], Any],
        wanted: Callable[[], EventFilter],
        ticket: str | None,
    ) -> None:
        """Serve the line until either side ends it, its time is up or we stop. `check` may refuse
        the caller, `wanted` the query."""
        if not self._origin_allowed():
            # Before it is accepted: the client sees 403.
            await self._socket.close(_CLOSE_CODES[ErrorCode.FORBIDDEN])
            return
        await self._socket.accept()
        try:
            filtered = wanted()
            with self._streams.one_more_of_few():
                principal = await self._authenticated(ticket)
                await check(principal)
                code, reason = await self._talk(follow(principal), filtered)
        except BlazzError as error:
            code, reason = _CLOSE_CODES.get(error.code, _FAILED), error.code.value
        except WebSocketDisconnect:
            return
        await self._close(code, reason)

    # Who may -----------------------------------------------------------------------------------

    def _origin_allowed(self) -> bool:
        """No credential goes with a connection by itself (there are no cookies), so a foreign
        page gains nothing; whoever wants to may name the origins that are let in."""
        allowed = self._streams.settings.socket_origins
        origin = self._socket.headers.get("origin")
        return origin is None or "*" in allowed or origin in allowed

    async def _authenticated(self, ticket: str | None) -> Principal:
        key = presented_key(self._socket)
        if key is None and ticket is None:
            said = await self._first_word()
            key, ticket = said.key, said.ticket
        if key is not None:
            principal = await self._services.access.authenticate(key)
        elif ticket is not None:
            principal = await self._services.access.redeem_ticket(ticket)
        else:
            raise BlazzError(ErrorCode.UNAUTHENTICATED)
        limiter: RateLimiter = self._socket.app.state.limiter
        limiter.charge(self._socket.scope, principal.key_id)
        if Scope.MESSAGES not in principal.scopes:
            raise BlazzError(ErrorCode.FORBIDDEN, f"It needs the scope {Scope.MESSAGES!s}.")
        return principal

    async def _first_word(self) -> _Auth:
        try:
            async with asyncio.timeout(AUTH_S_MAX):
                word = await self._hear()
        except TimeoutError:
            raise BlazzError(ErrorCode.UNAUTHENTICATED, "nobody said who it is") from None
        if not isinstance(word, _Auth):
            raise BlazzError(ErrorCode.UNAUTHENTICATED)
        return word

    async def _hear(self) -> _Auth | _Ping:
        try:
            word: _Auth | _Ping = _WORD.decode(await self._socket.receive_data(mode="text"))
        except (msgspec.MsgspecError, TypeError):
            raise BlazzError(ErrorCode.MALFORMED_REQUEST) from None
        return word

    # The line ----------------------------------------------------------------------------------

    async def _talk(self, feed: Feed, wanted: EventFilter) -> tuple[int, str]:
        """Send and listen; answers why it ended."""
        settings = self._streams.settings
        ends: dict[asyncio.Task[Any], tuple[int, str]] = {}
        async with asyncio.TaskGroup() as group:
            ends[group.create_task(self._read_feed(feed, wanted))] = (_FAILED, "feed")
            ends[group.create_task(self._listen())] = (_NORMAL, "")
            ends[group.create_task(self._streams.closing.wait())] = (_GOING_AWAY, "shutting_down")
            ends[group.create_task(self._beat())] = (_TOO_SLOW, "too_slow")
            done, _ = await asyncio.wait(
                ends, timeout=settings.stream_s_max, return_when=asyncio.FIRST_COMPLETED
            )
            for task in ends:
                task.cancel()
        for task in done:
            result = task.result()
            return result if isinstance(result, tuple) else ends[task]
        return _NORMAL, "time_up"

    async def _read_feed(self, feed: Feed, wanted: EventFilter) -> tuple[int, str]:
        try:
            async with closing_feed(feed) as items:
                async for item in items:
                    if wanted.wants(item) and not await self._send(encode_item(item)):
                        return _TOO_SLOW, "too_slow"
        except BlazzError as error:
            log.warning("http.socket.ended", **{log_keys.CODE: error.code})
            return _CLOSE_CODES.get(error.code, _FAILED), error.code.value
        return _NORMAL, ""

    async def _listen(self) -> tuple[int, str]:
        try:
            while True:
                if isinstance(await self._hear(), _Ping) and not await self._send(_PONG):
                    return _TOO_SLOW, "too_slow"
        except BlazzError as error:
            return _CLOSE_CODES[error.code], error.code.value
        except WebSocketDisconnect:
            return _NORMAL, ""

    async def _beat(self) -> None:
        """Say that the line stands, as long as that can be said."""
        while True:
            await asyncio.sleep(self._streams.settings.heartbeat_s)
            if not await self._send(_HEARTBEAT):
                return

    async def _send(self, data: bytes) -> bool:
        """Send one message; False when the client took nothing for too long or is gone."""
        try:
            async with asyncio.timeout(self._streams.settings.socket_send_s_max), self._sending:
                await self._socket.send_data(data, mode="text", encoding="utf-8")
        except (TimeoutError, OSError, WebSocketDisconnect):
            return False
        return True

    async def _close(self, code: int, reason: str) -> None:
        try:
            async with asyncio.timeout(self._streams.settings.socket_send_s_max):
                await self._socket.close(code, reason)
        except (TimeoutError, OSError, RuntimeError, WebSocketDisconnect):
            return


def encode_item(item: FeedItem | FeedGap) -> bytes:
    """An event of the feed, or the `gap` that says some are gone."""
    if isinstance(item, FeedGap):
        return msgspec.json.encode(_Line(str(item.to_sequence), "gap", item))
    return msgspec.json.encode(_Line(str(item.sequence), event_name(item.event.data), item.event))
