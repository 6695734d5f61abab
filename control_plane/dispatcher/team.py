"""The dispatchers' team: who of the replicas dispatches which shard.

Owns announcing this replica, and telling its dispatchers which shards are theirs. Never decides
the shares (`core.shard_share`), and never touches a shard's lease: its dispatcher does.
"""

import asyncio
import time
from collections.abc import Sequence

import structlog

from control_plane import metrics
from control_plane.core.shard_share import Replica, share_of
from control_plane.dispatcher.shard import ShardDispatcher
from control_plane.state.fleet_state import FleetState
from schemas import log_keys
from schemas.errors import BlazzError
from schemas.keys import DISPATCHER_LEASE, lease_key
from schemas.records import LeaseRecord
from schemas.resources import FLEET
from schemas.transport.background import Background
from schemas.transport.connection import Bus
from schemas.transport.kv import Bucket

log = structlog.get_logger()


class DispatcherTeam:
    """This replica's part."""

    def __init__(
        self, bus: Bus, state: FleetState, me: LeaseRecord, dispatchers: Sequence[ShardDispatcher]
    ) -> None:
        self._bucket = Bucket(bus, FLEET)
        self._profile = bus.settings.profile
        self._state = state
        self._me = me
        self._dispatchers = dispatchers

    async def run(self) -> None:
        """Dispatch this replica's share, until cancelled."""
        forget = self._state.on_change(self._changed)
        try:
            async with Background() as tasks:
                await self._announce()
                self._deal()
                for dispatcher in self._dispatchers:
                    tasks.start(dispatcher.run(self._me), name=f"dispatcher {dispatcher.shard}")
                while True:
                    await asyncio.sleep(self._profile.lease_renew_s)
                    await self._announce()
                    self._deal()
        finally:
            forget()
            await self._leave()

    def _changed(self, session_id: str | None) -> None:
        if session_id is None:
            self._deal()

    def _deal(self) -> None:
        me = Replica(self._me.holder, self._me.incarnation)
        # By our own clock, too: an announcement that nobody takes back must not keep a share.
        heard_since = time.monotonic() - self._profile.lease_ttl_s
        heard = self._state.dispatchers(heard_since)
        others = (Replica(r.holder, r.incarnation) for r in heard)
        share = share_of(me, others, len(self._dispatchers))
        metrics.SHARDS.set(len(share))
        for dispatcher in self._dispatchers:
            dispatcher.want(dispatcher.shard in share)

    async def _announce(self) -> None:
        try:
            await self._bucket.put(self._key, self._me, ttl_s=self._profile.lease_ttl_s)
        except BlazzError as error:
            # The others take our share over when it has run out; the leases keep us apart.
            if not error.retryable:
                raise
            log.info("dispatcher.not_announced", **{log_keys.CODE: error.code})

    async def _leave(self) -> None:
        try:
            await self._bucket.delete(self._key)
        except BlazzError as error:
            log.info("dispatcher.not_taken_leave", **{log_keys.CODE: error.code})

    @property
    def _key(self) -> str:
        return lease_key(DISPATCHER_LEASE, self._me.incarnation)
