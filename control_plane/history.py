"""The historian: writes down how the fleet's records change, so that a terminal can look back.

Owns the stream FLEET_HISTORY, on one replica at a time. Each leadership begins with a copy of the
whole bucket, repeated every six hours; then each change, and twice a minute what every node last
said of itself. Never decides anything, and nothing decides by what it wrote: when it cannot write,
it copies everything anew later, and the past has a hole.
"""

import asyncio
import time
from collections.abc import Iterable
from contextlib import aclosing
from typing import Final

import msgspec
import structlog

from control_plane.core.fleet import NodeSnapshot
from control_plane.state.fleet_state import FleetState
from schemas.errors import BlazzError
from schemas.history import (
    BASELINE_PERIOD_S,
    PULSES_PERIOD_S,
    HistoryBaseline,
    HistoryPage,
    HistoryPulses,
    HistoryWrite,
    PastPulse,
)
from schemas.keys import (
    ASSIGNMENTS_PREFIX,
    CAPACITY_PREFIX,
    INTENTS_PREFIX,
    NODES_PREFIX,
    OBSERVED_PREFIX,
    SESSIONS_PREFIX,
)
from schemas.records import LeaseRecord
from schemas.resources import FLEET
from schemas.subjects import HISTORY_BASELINES, HISTORY_NODES, HISTORY_PULSES, history_of_tenant
from schemas.transport.connection import Bus
from schemas.transport.jetstream import JetStream
from schemas.transport.kv import Bucket
from schemas.transport.lease import Lease, LeaseSpec, lead
from schemas.transport.watch import ChangeKind, KvChange, watch

log = structlog.get_logger()

LEASE_KIND: Final = "leader"
LEASE_NAME: Final = "history"
KEPT_PREFIXES: Final = (
    NODES_PREFIX,
    CAPACITY_PREFIX,
    INTENTS_PREFIX,
    SESSIONS_PREFIX,
    ASSIGNMENTS_PREFIX,
    OBSERVED_PREFIX,
)
_OF_NODES: Final = (NODES_PREFIX, CAPACITY_PREFIX, INTENTS_PREFIX)
_QUEUED_MAX: Final = 4_096
_PAGE_MAX: Final = 500
_GATHER_S: Final = 0.25
"""Changes of so long go out together, a page a tenant."""
_AGAIN_S: Final = 5.0
_PULSES_LOOK_S: Final = 2.0
"""A node that comes is written down so soon; then each `PULSES_PERIOD_S`."""
_HEARD_S: Final = 5.0
"""A pulse older than this is not written down: the node may have fallen silent."""
_NOTHING: Final = msgspec.Raw(b"null")


class _Owned(msgspec.Struct):
    tenant_id: str


class Historian:
    """One replica's; `run` holds the lease or waits for it, for ever."""

    def __init__(self, bus: Bus, state: FleetState) -> None:
        self._bus = bus
        self._state = state
        self._jetstream = JetStream(bus)
        self._queue: asyncio.Queue[KvChange[bytes]] = asyncio.Queue(_QUEUED_MAX)
        self._tenants: dict[str, str] = {}

    async def run(self, me: LeaseRecord) -> None:
        """Write whenever the lease can be had, until cancelled."""
        spec = LeaseSpec(LEASE_KIND, LEASE_NAME, self._bus.settings.profile)
        await lead(self._bus, spec, me, self._lead)

    async def _lead(self, lease: Lease) -> None:
        while True:
            try:
                async with asyncio.timeout(BASELINE_PERIOD_S):
                    await self._follow(lease)
            except TimeoutError:
                log.info("history.copy_due")
            else:
                await asyncio.sleep(_AGAIN_S)

    async def _follow(self, lease: Lease) -> None:
        """A copy, then changes, until the bus fails."""
        self._queue, self._tenants = asyncio.Queue(_QUEUED_MAX), {}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch(), name="history watch")
                group.create_task(self._write(lease), name="history write")
                group.create_task(self._write_pulses(lease), name="history pulses")
        except* BlazzError as errors:
            log.warning("history.interrupted", causes=[str(error) for error in errors.exceptions])

    async def _watch(self) -> None:
        async with aclosing(watch(Bucket(self._bus, FLEET), *KEPT_PREFIXES)) as changes:
            async for change in changes:
                await self._queue.put(change)

    async def _write(self, lease: Lease) -> None:
        began_at, copying = time.time(), True
        while True:
            gathered = [await self._queue.get()]
            await asyncio.sleep(_GATHER_S)
            while not self._queue.empty() and len(gathered) < _QUEUED_MAX:
                gathered.append(self._queue.get_nowait())
            if not lease.still_held():
                return
            for subject, writes in self._by_subject(gathered).items():
                for start in range(0, len(writes), _PAGE_MAX):
                    part = tuple(writes[start : start + _PAGE_MAX])
                    await self._publish(subject, HistoryPage(time.time(), part, copying))
            if copying and any(change.kind is ChangeKind.SYNCED for change in gathered):
                copying = False
                await self._publish(HISTORY_BASELINES, HistoryBaseline(began_at, time.time()))

    def _by_subject(self, changes: Iterable[KvChange[bytes]]) -> dict[str, list[HistoryWrite]]:
        pages: dict[str, list[HistoryWrite]] = {}
        for change in changes:
            subject = self._subject_of(change)
            if subject is not None:
                value = _NOTHING if change.value is None else msgspec.Raw(change.value)
                write = HistoryWrite(change.key, change.revision, value)
                pages.setdefault(subject, []).append(write)
        return pages

    def _subject_of(self, change: KvChange[bytes]) -> str | None:
        """Whose page a change belongs on; None for markers, and for what went before it was ever
        copied."""
        if change.key.startswith(_OF_NODES):
            return HISTORY_NODES
        session_id = change.key.rpartition(".")[2]
        if change.value is not None:
            try:
                owned = msgspec.json.decode(change.value, type=_Owned)
            except msgspec.DecodeError:
                log.warning("history.value_malformed", key=change.key)
                return None
            self._tenants[session_id] = owned.tenant_id
        tenant = self._tenants.get(session_id) if change.key else None
        return None if tenant is None else history_of_tenant(tenant)

    async def _write_pulses(self, lease: Lease) -> None:
        due_at: dict[tuple[str, str], float] = {}
        while lease.still_held():
            now = time.monotonic()
            heard = tuple(
                pulse
                for pulse in map(_past_pulse, self._state.nodes(now).values())
                if pulse is not None and due_at.get((pulse.node_id, pulse.incarnation), 0.0) <= now
            )
            if heard:
                await self._publish(HISTORY_PULSES, HistoryPulses(time.time(), heard))
            due_at = {life: at for life, at in due_at.items() if at > now}
            due_at |= {(each.node_id, each.incarnation): now + PULSES_PERIOD_S for each in heard}
            await asyncio.sleep(_PULSES_LOOK_S)

    async def _publish(self, subject: str, record: msgspec.Struct) -> None:
        await self._jetstream.publish(subject, msgspec.json.encode(record))


def _past_pulse(node: NodeSnapshot) -> PastPulse | None:
    pulse = node.heartbeat
    if pulse is None or node.age_s is None or node.age_s > _HEARD_S:
        return None
    return PastPulse(
        node_id=pulse.node_id,
        incarnation=pulse.incarnation,
        sequence=pulse.sequence,
        sessions_max=pulse.sessions_max,
        memory_used_bytes=pulse.memory_used_bytes,
        memory_free_bytes=pulse.memory_free_bytes,
        cpu_load=pulse.cpu_load,
    )
