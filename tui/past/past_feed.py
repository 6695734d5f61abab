"""The past's feed: reads a stretch of the historian's stream and of the events, and plays it.

Owns the tape that is loaded, the moment shown and the clock that stands at it. Implements `Feed`
and `Deck`. Only reads; a moment that is not on the tape loads another one.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Final

import msgspec

from schemas.errors import BlazzError, ErrorCode
from schemas.events import Event
from schemas.history import HistoryBaseline, HistoryPage, HistoryPulses
from schemas.resources import EVENTS, FLEET_HISTORY
from schemas.subjects import EVENTS_ALL, HISTORY_ALL, HISTORY_BASELINES, HISTORY_PULSES
from schemas.transport.connection import Bus, BusSettings
from schemas.transport.jetstream import JetStream, StoredMessage
from schemas.transport.streams import read_stored
from schemas.transport.typed import decode
from schemas.transport.watch import ChangeKind, KvChange
from tui.changes import (
    Batch,
    BusUp,
    Change,
    Happened,
    PastMoment,
    ResyncBegan,
    ResyncDone,
    Trouble,
)
from tui.clock import Clock
from tui.feed.bus_feed import UNTAKEN_MAX, change_of
from tui.past.tape import Frame, Tape

AROUND_S: Final = 600.0
"""So long before and after the wanted moment a tape has events."""
EVENTS_MAX: Final = 20_000
WISHES_MAX: Final = 32
PLAY_STEP_S: Final = 1.0
_PART: Final = "the past"


class PastClock:
    """Stands at the moment shown; its monotonic seconds are Unix seconds."""

    def __init__(self, at: float) -> None:
        self.at = at

    def monotonic(self) -> float:
        """The moment."""
        return self.at

    def unix(self) -> float:
        """The moment."""
        return self.at


class PastFeed:
    """See the module. `wall` says what time it really is."""

    def __init__(self, settings: BusSettings, at: float, wall: Clock) -> None:
        self._settings = settings
        self._wall = wall
        self._wishes: asyncio.Queue[Callable[[Tape], float]] = asyncio.Queue(WISHES_MAX)
        self._places = asyncio.Semaphore(UNTAKEN_MAX)
        self._playing = False
        self.clock = PastClock(at)

    # Deck --------------------------------------------------------------------------------------

    def step_event(self, direction: int) -> None:
        """See `Deck`."""
        self._playing = False

        def to(tape: Tape) -> float:
            now = self.clock.at
            if direction > 0:
                return tape.event_after(now) or tape.ends + 0.001
            return tape.event_before(now) or tape.begins - 0.001

        self._wish(to)

    def step_s(self, seconds: float) -> None:
        """See `Deck`."""
        self._wish(lambda _tape: self.clock.at + seconds)

    def play(self) -> None:
        """See `Deck`."""
        self._playing = not self._playing
        self.step_s(0.0)

    def _wish(self, to: Callable[[Tape], float]) -> None:
        if not self._wishes.full():
            self._wishes.put_nowait(to)

    # Feed --------------------------------------------------------------------------------------

    def taken(self) -> None:
        """The application has folded one batch."""
        self._places.release()

    async def run(self, post: Callable[[Batch], object]) -> None:
        """Show the first moment, then whatever is wished. Raises BlazzError for what no waiting
        mends, such as a moment of which nothing is known."""
        async with Bus.connect(self._settings) as bus:
            jetstream = JetStream(bus)
            tape = await self._load(jetstream, self.clock.at)
            await self._show(post, bus, tape, self.clock.at)
            while True:
                wanted = min((await self._next_wish())(tape), self._wall.unix())
                if not tape.begins <= wanted <= tape.ends:
                    try:
                        tape = await self._load(jetstream, wanted)
                    except BlazzError as error:
                        self._playing = False
                        await self._post(post, Trouble(_PART, error.detail or str(error.code)))
                        continue
                await self._show(post, bus, tape, wanted)

    async def _next_wish(self) -> Callable[[Tape], float]:
        if not self._playing:
            return await self._wishes.get()
        try:
            async with asyncio.timeout(PLAY_STEP_S):
                return await self._wishes.get()
        except TimeoutError:
            return lambda _tape: self.clock.at + PLAY_STEP_S

    async def _show(
        self, post: Callable[[Batch], object], bus: Bus, tape: Tape, wanted: float
    ) -> None:
        for batch in tape.batches_to(wanted):
            await self._places.acquire()
            post(batch)
        self.clock.at = wanted
        moment = PastMoment(wanted, self._wall.unix() - wanted, playing=self._playing)
        await self._post(post, BusUp(bus.round_trip_s), Trouble(_PART), moment)

    async def _post(self, post: Callable[[Batch], object], *changes: Change) -> None:
        await self._places.acquire()
        post(Batch(self.clock.at, changes))

    # Reading -----------------------------------------------------------------------------------

    async def _load(self, jetstream: JetStream, at: float) -> Tape:
        copies = [
            decode(message.data, HistoryBaseline)
            async for message in _stored(jetstream, FLEET_HISTORY, HISTORY_BASELINES, None)
        ]
        known = [copy for copy in copies if copy.ended_at <= at]
        if not known:
            first = f" It begins at {_iso(copies[0].ended_at)}." if copies else ""
            raise BlazzError(ErrorCode.NOT_FOUND, f"nothing was written down of {_iso(at)}.{first}")
        copy = known[-1]
        begins, ends = max(copy.ended_at, at - AROUND_S), at + AROUND_S
        frames = [frame async for frame in _history(jetstream, copy, ends)]
        frames += [frame async for frame in _events(jetstream, begins, ends)]
        return Tape(frames, begins, ends)


async def _history(
    jetstream: JetStream, copy: HistoryBaseline, ends: float
) -> AsyncIterator[Frame]:
    yield Frame(copy.began_at, (BusUp(0.0), ResyncBegan()))
    copying = True
    async for message in _stored(jetstream, FLEET_HISTORY, HISTORY_ALL, copy.began_at):
        if message.subject == HISTORY_BASELINES:
            ended = decode(message.data, HistoryBaseline)
            copying = False
            yield Frame(ended.ended_at, (ResyncDone(),))
        elif message.subject == HISTORY_PULSES:
            pulses = decode(message.data, HistoryPulses)
            if pulses.at > ends:
                return
            yield Frame(pulses.at, pulses=pulses.nodes)
        else:
            page = decode(message.data, HistoryPage)
            if page.at > ends:
                return
            changes = [_change(write.key, write.revision, write.value) for write in page.writes]
            begun: list[Change] = []
            if page.baseline and not copying:
                copying = True
                begun.append(ResyncBegan(sweep=True))
            yield Frame(page.at, (*begun, *(change for change in changes if change is not None)))


def _change(key: str, revision: int, value: msgspec.Raw) -> Change | None:
    data = bytes(value)
    if data == b"null":
        return change_of(KvChange(ChangeKind.DELETE, key, None, revision))
    return change_of(KvChange(ChangeKind.PUT, key, data, revision))


async def _events(jetstream: JetStream, begins: float, ends: float) -> AsyncIterator[Frame]:
    at, count = begins, 0
    async for message in _stored(jetstream, EVENTS, EVENTS_ALL, begins):
        event = decode(message.data, Event)
        # In the stream's order, whatever the nodes' clocks said.
        at, count = max(at, event.at), count + 1
        if at > ends or count > EVENTS_MAX:
            return
        yield Frame(at, (Happened(message.seq, event, live=False),))


async def _stored(
    jetstream: JetStream, stream: str, subject: str, since: float | None
) -> AsyncIterator[StoredMessage]:
    start_at = None if since is None else datetime.fromtimestamp(since, UTC)
    async with aclosing(read_stored(jetstream, stream, subject, start_at=start_at)) as messages:
        async for message in messages:
            yield message


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
