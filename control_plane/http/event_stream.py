"""Server-sent events: streams that beat, notice a client's leaving and end at a stop.

Owns the wire format, the heartbeat, the bound on open streams and their end. Never decides what
is sent: a source is handed `emit` and runs until it is cancelled.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import msgspec
import structlog
from litestar.response.base import ASGIResponse

from control_plane.http.event_filter import EventFilter
from control_plane.http.settings import HttpSettings
from control_plane.ports import FeedGap, FeedItem
from schemas import log_keys
from schemas.errors import BlazzError, ErrorCode
from schemas.events import event_name

log = structlog.get_logger()

Feed = AsyncIterator[FeedItem | FeedGap]
Emit = Callable[[bytes], Awaitable[None]]
Source = Callable[[Emit], Awaitable[None]]
_RECONNECT_MS = 2_000
_SKIPPED_MAX = 500
"""How many events a reader who comes again may have to pass over a second time."""


class Streams:
    """All open streams of this process: how many there are, and whether they must end."""

    def __init__(self, settings: HttpSettings) -> None:
        self.settings = settings
        self.closing = asyncio.Event()
        self.open = 0

    def close(self) -> None:
        """End all streams, and refuse new ones with `shutting_down`."""
        self.closing.set()

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """Count a stream while it is open."""
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1

    @contextmanager
    def one_more_of_few(self) -> Iterator[None]:
        """As `one_more`, but raises `shutting_down` or `rate_limited` (too many)."""
        self._check_room()
        with self.one_more():
            yield

    def _check_room(self) -> None:
        if self.closing.is_set():
            raise BlazzError(ErrorCode.SHUTTING_DOWN)
        if self.open >= self.settings.streams_max:
            raise BlazzError(ErrorCode.RATE_LIMITED, "Too many event streams are open.")

    def respond(self, source: Source) -> "EventStreamResponse":
        """A stream of what `source` emits. Raises `shutting_down`, `rate_limited` (too many)."""
        self._check_room()
        return EventStreamResponse(self, source)


def frame(name: str, data: bytes, sequence: int | None = None) -> bytes:
    """One event on the wire; `data` is JSON, so it holds no line break."""
    lead = f"id: {sequence}\n" if sequence is not None else ""
    return f"{lead}event: {name}\ndata: ".encode() + data + b"\n\n"


def feed_frame(item: FeedItem | FeedGap) -> bytes:
    """An event of the feed, or the `gap` that says some are gone."""
    if isinstance(item, FeedGap):
        return frame("gap", msgspec.json.encode(item), item.to_sequence)
    return frame(event_name(item.event.data), msgspec.json.encode(item.event), item.sequence)


def feed_source(follow: Callable[[], Feed], wanted: EventFilter) -> Source:
    """A source that sends what is wanted of a feed as it comes, and closes it."""

    async def run(emit: Emit) -> None:
        skipped = 0
        async with closing_feed(follow()) as feed:
            async for item in feed:
                if wanted.wants(item):
                    skipped = 0
                    await emit(feed_frame(item))
                    continue
                skipped += 1
                if skipped % _SKIPPED_MAX == 0 and isinstance(item, FeedItem):
                    # An id without data moves `Last-Event-ID` on, and nothing else.
                    await emit(f"id: {item.sequence}\n\n".encode())

    return run


@asynccontextmanager
async def closing_feed(feed: Feed) -> AsyncIterator[Feed]:
    """The feed, closed at the end (generators are; other iterators have nothing to close)."""
    try:
        yield feed
    finally:
        if isinstance(feed, AsyncGenerator):
            await feed.aclose()


class EventStreamResponse(ASGIResponse):
    """An endless answer. One lock keeps heartbeats out of the middle of an event."""

    def __init__(self, streams: Streams, source: Source) -> None:
        super().__init__(media_type="text/event-stream")
        self._streams = streams
        self._source = source

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve it until the client leaves, the source ends, its time is up or we stop."""
        headers = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-store"),
            # Proxies such as nginx hold small answers back unless told not to.
            (b"x-accel-buffering", b"no"),
        ]
        lock = asyncio.Lock()

        async def emit(data: bytes) -> None:
            async with lock:
                await send({"type": "http.response.body", "body": data, "more_body": True})

        with self._streams.one_more():
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await emit(f"retry: {_RECONNECT_MS}\n\n".encode())
            async with asyncio.TaskGroup() as group:
                ends = {
                    group.create_task(self._run_source(emit)),
                    group.create_task(_until_gone(receive)),
                    group.create_task(self._until_closing()),
                }
                beat = group.create_task(self._beat(emit))
                await asyncio.wait(
                    ends,
                    timeout=self._streams.settings.stream_s_max,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                for task in (*ends, beat):
                    task.cancel()
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _run_source(self, emit: Emit) -> None:
        try:
            await self._source(emit)
        except BlazzError as error:
            # The answer has begun: all that is left is to end it. The client comes again.
            log.warning("http.stream.ended", **{log_keys.CODE: error.code})
        except Exception:
            log.exception("http.stream.failed")

    async def _until_closing(self) -> None:
        await self._streams.closing.wait()

    async def _beat(self, emit: Emit) -> None:
        while True:
            await asyncio.sleep(self._streams.settings.heartbeat_s)
            await emit(b": heartbeat\n\n")


async def _until_gone(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
