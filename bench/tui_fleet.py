"""A made-up fleet for `blazz bench tui`: nodes, sessions, and a share that changes each second.

Owns the records and the feed that tells of them, as a bus would: a heartbeat of every node each
second with a line a session, an observed record and an event for each change. Deterministic but
for the clock.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Final

import msgspec

from schemas import ids
from schemas.events import Event, SessionStateChanged
from schemas.keys import assignment_key, capacity_key, node_key, observed_key, session_key
from schemas.records import (
    Assignment,
    CapacityRecord,
    Heartbeat,
    NodeRecord,
    SessionLoad,
    SessionObserved,
    SessionRecord,
)
from schemas.states import DesiredState, EngineKind, SessionState
from tui.changes import (
    Batch,
    BusUp,
    Change,
    FleetRecord,
    Happened,
    Pulse,
    RecordPut,
    ResyncBegan,
    ResyncDone,
)
from tui.clock import Clock
from tui.feed.bus_feed import BATCH_MAX, UNTAKEN_MAX

REGIONS: Final = ("eu-central", "eu-west", "ap-southeast", "us-east")
PROVIDERS: Final = ("hetzner", "ovh", "vultr")
LIFE: Final = "life-1"
_GIB: Final = 2**30
_NEXT: Final = {
    SessionState.ONLINE: SessionState.DEGRADED,
    SessionState.DEGRADED: SessionState.ONLINE,
    SessionState.SYNCING: SessionState.ONLINE,
    SessionState.STARTING: SessionState.SYNCING,
}


class FleetSize(msgspec.Struct, frozen=True):
    """How many, and what share of the sessions changes each second."""

    nodes: int
    sessions: int
    changing: float


class MadeUpFleet:
    """Its records now. `change` moves some sessions on; revisions and sequences rise."""

    def __init__(self, size: FleetSize, unix: float) -> None:
        self._size = size
        self._random = random.Random(1)
        self._unix = unix
        self._revision = 0
        self._event = 0
        self._beat = 0
        self._nodes = [f"{PROVIDERS[n % 3]}-{REGIONS[n % 4]}-{n:03}" for n in range(size.nodes)]
        self._lines: dict[str, list[SessionLoad]] = {node_id: [] for node_id in self._nodes}
        self._places: list[tuple[str, int]] = []
        states = (SessionState.ONLINE,) * 17 + tuple(_NEXT)
        for number in range(size.sessions):
            node_id = self._nodes[number % size.nodes]
            self._places.append((node_id, len(self._lines[node_id])))
            self._lines[node_id].append(
                SessionLoad(
                    ids.session_id(number.to_bytes(16, "big")),
                    f"tenant-{number % 40:02}",
                    1,
                    states[number % len(states)],
                    unix - 60.0 - number,
                )
            )

    def whole(self) -> list[Change]:
        """All records, all pulses."""
        puts: list[Change] = []
        for node_id, lines in self._lines.items():
            record = NodeRecord(
                node_id=node_id,
                incarnation=LIFE,
                version="0.1.0",
                sessions_max=40,
                engines=(EngineKind.CHROMIUM,),
                started_at=self._unix - 90_000,
                region=REGIONS[len(puts) % 4],
                provider=node_id.partition("-")[0],
            )
            puts.append(self._put(node_key(node_id), record))
            puts.append(self._put(capacity_key(node_id), CapacityRecord(node_id, len(lines))))
        for number, (node_id, index) in enumerate(self._places):
            line = self._lines[node_id][index]
            wish = SessionRecord(
                session_id=line.session_id,
                tenant_id=line.tenant_id,
                desired=DesiredState.RUNNING,
                created_at=self._unix - 90_000,
                name=f"number-{number:05}",
            )
            given = Assignment(line.session_id, line.tenant_id, node_id, line.epoch)
            puts.append(self._put(session_key(line.tenant_id, line.session_id), wish))
            puts.append(self._put(assignment_key(line.session_id), given))
            puts.append(self._observed(node_id, line))
        return [BusUp(0.0004), ResyncBegan(), *self.pulses(), *puts, ResyncDone()]

    def pulses(self) -> list[Change]:
        """A heartbeat of every node."""
        self._beat += 1
        return [
            Pulse(
                Heartbeat(
                    node_id=node_id,
                    incarnation=LIFE,
                    sequence=self._beat,
                    sessions_max=40,
                    sessions=tuple(lines),
                    memory_used_bytes=6 * _GIB + self._beat % 50 * 2**20,
                    memory_free_bytes=2 * _GIB,
                    cpu_load=0.4 + self._random.random() / 10,
                )
            )
            for node_id, lines in self._lines.items()
        ]

    def change(self, unix: float) -> list[Change]:
        """Some sessions go on to another state: record and event of each."""
        changes: list[Change] = []
        count = round(self._size.sessions * self._size.changing)
        for node_id, index in self._random.sample(self._places, count):
            before = self._lines[node_id][index]
            line = msgspec.structs.replace(before, state=_NEXT[before.state], since=unix)
            self._lines[node_id][index] = line
            changes.append(self._observed(node_id, line))
            self._event += 1
            event = Event(
                event_id=ids.event_id(self._event.to_bytes(16, "big")),
                at=unix,
                tenant_id=line.tenant_id,
                session_id=line.session_id,
                node_id=node_id,
                epoch=line.epoch,
                data=SessionStateChanged(line.state, before.state, "socket resumed"),
            )
            changes.append(Happened(self._event, event))
        return changes

    def _observed(self, node_id: str, line: SessionLoad) -> RecordPut:
        seen = SessionObserved(
            session_id=line.session_id,
            tenant_id=line.tenant_id,
            node_id=node_id,
            incarnation=LIFE,
            epoch=line.epoch,
            state=line.state,
            since=line.since,
            phone="628123456789",
        )
        return self._put(observed_key(node_id, line.session_id), seen)

    def _put(self, key: str, record: FleetRecord) -> RecordPut:
        self._revision += 1
        return RecordPut(key, self._revision, record)


class MadeUpFeed:
    """Tells of the fleet; `data_came` is called when the whole of it is at hand."""

    def __init__(self, fleet: MadeUpFleet, clock: Clock, data_came: Callable[[], None]) -> None:
        self._fleet = fleet
        self._clock = clock
        self._data_came = data_came
        self._places = asyncio.Semaphore(UNTAKEN_MAX)

    def taken(self) -> None:
        """The application has folded one batch."""
        self._places.release()

    async def run(self, post: Callable[[Batch], object]) -> None:
        """All at once, then ten times a second a tenth of what a second brings."""
        whole = self._fleet.whole()
        await asyncio.sleep(1.0)
        self._data_came()
        await self._post(post, whole)
        while True:
            second = [*self._fleet.change(self._clock.unix()), *self._fleet.pulses()]
            tenth = -(-len(second) // 10)
            for start in range(0, len(second), tenth):
                await asyncio.sleep(0.1)
                await self._post(post, second[start : start + tenth])

    async def _post(self, post: Callable[[Batch], object], changes: list[Change]) -> None:
        for start in range(0, len(changes), BATCH_MAX):
            await self._places.acquire()
            part = tuple(changes[start : start + BATCH_MAX])
            post(Batch(self._clock.monotonic(), part))
