"""A fleet for the terminal's tests: records as nodes and control planes would write them.

Owns a small, varied, fixed fleet and a clock that stands still. Used by pilot, snapshot and
end-to-end tests alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import msgspec

from schemas import ids
from schemas.events import (
    Event,
    EventData,
    MessageFailed,
    MessageReceived,
    SessionLinked,
    SessionStateChanged,
    SessionSync,
)
from schemas.keys import (
    assignment_key,
    capacity_key,
    node_intent_key,
    node_key,
    observed_key,
    session_key,
)
from schemas.messages import ChatMessage
from schemas.records import (
    Assignment,
    CapacityRecord,
    Heartbeat,
    NodeIntent,
    NodeRecord,
    SessionLoad,
    SessionObserved,
    SessionRecord,
)
from schemas.states import (
    DesiredState,
    EngineKind,
    MessageDirection,
    MessageKind,
    MessageState,
    SessionState,
)
from tui.changes import Batch, BusUp, Change, FleetRecord, Happened, Pulse, RecordPut

NOW_MONO = 1_000.0
NOW_UNIX = 1_795_000_000.0
GIB = 1024**3
SECRET_TEXT = "meet me at noon"
PHONE = "628123456789"


class FixedClock:
    """A clock that a test moves."""

    def __init__(self, mono: float = NOW_MONO, unix: float = NOW_UNIX) -> None:
        self.mono = mono
        self.unix_s = unix

    def monotonic(self) -> float:
        return self.mono

    def unix(self) -> float:
        return self.unix_s

    def pass_(self, seconds: float) -> None:
        self.mono += seconds
        self.unix_s += seconds


class ScriptedFeed:
    """A feed whose batches the test gives by hand; it keeps the port's rule of two untaken."""

    def __init__(self, batches: Iterable[Batch] = ()) -> None:
        self._queue: asyncio.Queue[Batch] = asyncio.Queue()
        for batch in batches:
            self._queue.put_nowait(batch)
        self.folded = 0

    def give(self, *changes: Change, at: float = NOW_MONO) -> None:
        self._queue.put_nowait(Batch(at, changes))

    def taken(self) -> None:
        self.folded += 1
        self._queue.task_done()

    async def all_folded(self) -> None:
        async with asyncio.timeout(20):
            await self._queue.join()

    async def run(self, post: Callable[[Batch], object]) -> None:
        while True:
            post(await self._queue.get())


def session_id(number: int) -> str:
    return ids.session_id(number.to_bytes(16, "big"))


def event_id(number: int) -> str:
    return ids.event_id(number.to_bytes(16, "big"))


class Node(msgspec.Struct, frozen=True):
    node_id: str
    region: str
    provider: str
    sessions_max: int
    memory_used: int
    memory_total: int
    cpu: float
    cordoned: bool = False

    @property
    def incarnation(self) -> str:
        return f"{self.node_id}-life-1"


class Session(msgspec.Struct, frozen=True):
    number: int
    tenant_id: str
    name: str
    node_id: str
    state: SessionState
    since_s: float
    epoch: int = 1
    reason: str | None = None

    @property
    def session_id(self) -> str:
        return session_id(self.number)


NODES = (
    Node("hetzner-fsn-1", "eu-central", "hetzner", 40, 6 * GIB, 8 * GIB, 0.41),
    Node("ovh-gra-1", "eu-west", "ovh", 25, 7 * GIB, 8 * GIB - GIB // 2, 1.27),
    Node("vultr-sgp-1", "ap-southeast", "vultr", 10, 1 * GIB, 4 * GIB, 0.07, cordoned=True),
)
SESSIONS = (
    Session(1, "acme", "support", "hetzner-fsn-1", SessionState.ONLINE, 86_400 * 3),
    Session(2, "acme", "sales-id", "hetzner-fsn-1", SessionState.DEGRADED, 75, 2, "socket resumed"),
    Session(3, "acme", "sales-sg", "ovh-gra-1", SessionState.ONLINE, 4_000, 4),
    Session(4, "bodega", "orders", "ovh-gra-1", SessionState.PAIRING, 40),
    Session(5, "bodega", "billing", "ovh-gra-1", SessionState.FAILED, 900, 1, "browser_crashed"),
    Session(6, "casa", "front desk", "hetzner-fsn-1", SessionState.SYNCING, 12),
    Session(7, "casa", "old number", "hetzner-fsn-1", SessionState.LOGGED_OUT, 7_300),
    Session(8, "delta", "bot-8", "vultr-sgp-1", SessionState.ONLINE, 600),
    Session(9, "delta", "bot-9", "vultr-sgp-1", SessionState.STOPPED, 50_000),
    Session(10, "delta", "bot-10", "hetzner-fsn-1", SessionState.STARTING, 3, 7),
)


def records() -> list[tuple[str, FleetRecord]]:
    """Every record of the sample, by key, in the order they would be written."""
    found: list[tuple[str, FleetRecord]] = []
    for node in NODES:
        found.append((node_key(node.node_id), node_record(node)))
        reserved = sum(session.node_id == node.node_id for session in SESSIONS)
        found.append((capacity_key(node.node_id), CapacityRecord(node.node_id, reserved)))
        if node.cordoned:
            intent = NodeIntent(node.node_id, cordoned=True)
            found.append((node_intent_key(node.node_id), intent))
    for session in SESSIONS:
        sid, tenant = session.session_id, session.tenant_id
        stopped = session.state is SessionState.STOPPED
        found += [
            (
                session_key(tenant, sid),
                SessionRecord(
                    session_id=sid,
                    tenant_id=tenant,
                    desired=DesiredState.STOPPED if stopped else DesiredState.RUNNING,
                    created_at=NOW_UNIX - 90_000,
                    name=session.name,
                    metadata={"tier": "gold"} if tenant == "acme" else {},
                ),
            ),
            (assignment_key(sid), Assignment(sid, tenant, session.node_id, session.epoch)),
            (observed_key(session.node_id, sid), observed(session)),
        ]
    return found


def node_record(node: Node) -> NodeRecord:
    return NodeRecord(
        node_id=node.node_id,
        incarnation=node.incarnation,
        version="0.1.0",
        sessions_max=node.sessions_max,
        engines=(EngineKind.LOOPBACK,),
        started_at=NOW_UNIX - 90_000,
        region=node.region,
        provider=node.provider,
    )


def observed(session: Session) -> SessionObserved:
    return SessionObserved(
        session_id=session.session_id,
        tenant_id=session.tenant_id,
        node_id=session.node_id,
        incarnation=f"{session.node_id}-life-1",
        epoch=session.epoch,
        state=session.state,
        since=NOW_UNIX - session.since_s,
        reason=session.reason,
        phone=PHONE if session.state is SessionState.ONLINE else None,
    )


def heartbeat(node: Node, sequence: int = 1) -> Heartbeat:
    loads = tuple(
        SessionLoad(
            session.session_id,
            session.tenant_id,
            session.epoch,
            session.state,
            NOW_UNIX - session.since_s,
        )
        for session in SESSIONS
        if session.node_id == node.node_id and session.state.holds_engine
    )
    return Heartbeat(
        node_id=node.node_id,
        incarnation=node.incarnation,
        sequence=sequence,
        sessions_max=node.sessions_max,
        sessions=loads,
        memory_used_bytes=node.memory_used,
        memory_free_bytes=node.memory_total - node.memory_used,
        cpu_load=node.cpu,
        uptime_s=90_000.0,
    )


def event(number: int, data: EventData, of: Session, *, ago_s: float = 0.0) -> Event:
    return Event(
        event_id=event_id(number),
        at=NOW_UNIX - ago_s,
        tenant_id=of.tenant_id,
        session_id=of.session_id,
        node_id=of.node_id,
        epoch=of.epoch,
        data=data,
    )


def events() -> list[Event]:
    received = ChatMessage(
        message_id="3EB0AABBCCDDEEFF001122",
        session_id=SESSIONS[0].session_id,
        direction=MessageDirection.INBOUND,
        kind=MessageKind.TEXT,
        state=MessageState.RECEIVED,
        chat_id="628987654321@c.us",
        created_at=NOW_UNIX - 20,
        text=SECRET_TEXT,
    )
    failed = MessageFailed("3EB0AABBCCDDEEFF001123", "628987654321@c.us", "message_refused")
    online, degraded = SessionState.ONLINE, SessionState.DEGRADED
    return [
        event(1, SessionStateChanged(degraded, online, "socket resumed"), SESSIONS[1], ago_s=75),
        event(2, SessionLinked(PHONE), SESSIONS[5], ago_s=30),
        event(3, MessageReceived(received), SESSIONS[0], ago_s=20),
        event(4, SessionSync(40), SESSIONS[5], ago_s=8),
        event(5, failed, SESSIONS[2], ago_s=2),
    ]


def whole_fleet(at: float = NOW_MONO - 2) -> Batch:
    """All of it as one batch: the bucket read whole, pulses heard, events read."""
    from tui.changes import ResyncBegan, ResyncDone

    puts = [RecordPut(key, number, record) for number, (key, record) in enumerate(records(), 1)]
    return Batch(
        at,
        (
            BusUp(0.0004),
            ResyncBegan(),
            *puts,
            ResyncDone(),
            *(Pulse(heartbeat(node)) for node in NODES),
            *(Happened(number, each) for number, each in enumerate(events(), 1)),
        ),
    )
