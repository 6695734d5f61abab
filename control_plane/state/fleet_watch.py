"""The fleet watch: keeps a `FleetState` fed from the bus for as long as a block lives.

Owns the watch of the fleet bucket, the subscription to heartbeats and the notes on our own
outages. Never interprets a record.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Final

import structlog

from control_plane.state.fleet_state import FleetState
from schemas.errors import BlazzError, ErrorCode
from schemas.keys import FLEET_WATCHED
from schemas.records import Heartbeat
from schemas.resources import FLEET
from schemas.speakers import speaks_for_itself
from schemas.subjects import ALL_HEARTBEATS
from schemas.transport import typed
from schemas.transport.background import Background
from schemas.transport.connection import Bus
from schemas.transport.kv import Bucket
from schemas.transport.watch import ChangeKind, watch

log = structlog.get_logger()

_PENDING_PULSES_MAX: Final = 4096
_OUTAGE_POLL_S: Final = 0.25


@asynccontextmanager
async def keep_fed(bus: Bus, state: FleetState, *, sync_timeout_s: float) -> AsyncIterator[None]:
    """For the block, `state` follows the bus; entered once all records have been read.

    Raises `nats_unavailable` when that takes longer than `sync_timeout_s`.
    """
    synced = asyncio.Event()
    async with (
        typed.subscribe(bus, ALL_HEARTBEATS, Heartbeat, pending_max=_PENDING_PULSES_MAX) as pulses,
        Background() as tasks,
    ):
        tasks.start(_hear(pulses, state), name="fleet heartbeats")
        tasks.start(_watch(bus, state, synced), name="fleet watch")
        tasks.start(_note_outages(bus, state), name="fleet outages")
        try:
            async with asyncio.timeout(sync_timeout_s):
                await synced.wait()
        except TimeoutError:
            raise BlazzError(
                ErrorCode.NATS_UNAVAILABLE, "the fleet's records could not be read in time"
            ) from None
        yield


async def _hear(pulses: AsyncIterator[tuple[str, Heartbeat]], state: FleetState) -> None:
    async for subject, pulse in pulses:
        if not speaks_for_itself(subject, pulse):
            log.warning("fleet.pulse_of_another", subject=subject)
            continue
        known = state.node(pulse.node_id, time.monotonic())
        state.hear(pulse, time.monotonic())
        if known is None or known.heartbeat is None:
            # Its sessions may be started from now on.
            state.tell(None)


async def _watch(bus: Bus, state: FleetState, synced: asyncio.Event) -> None:
    async with aclosing(watch(Bucket(bus, FLEET), *FLEET_WATCHED)) as changes:
        async for change in changes:
            match change.kind:
                case ChangeKind.PUT | ChangeKind.DELETE:
                    state.fold(change.key, change.value, change.revision, now=time.monotonic())
                case ChangeKind.SYNCED:
                    state.synced = True
                    synced.set()
                    state.tell(None)
                case ChangeKind.STALE:
                    state.synced = False


async def _note_outages(bus: Bus, state: FleetState) -> None:
    """Tell the state when our bus goes and comes: a silence we caused is nobody's death."""
    seen = bus.outages
    away = False
    while True:
        await asyncio.sleep(_OUTAGE_POLL_S)
        outage = bus.last_outage
        if bus.outages != seen and outage is not None:
            seen = bus.outages
            state.signs.bus_lost(outage.began_at)
            away = True
            log.warning("fleet.verdicts_frozen", reason=outage.reason)
        if away and bus.connected:
            away = False
            state.signs.bus_back(time.monotonic())
