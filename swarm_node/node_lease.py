"""The node's lease: proof that this process, and no other, is the node of this id.

Owns taking it, keeping it and what its loss means: every session is fenced before the lease ends
for others, then the lease is asked for again. Never starts a session.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from schemas import log_keys
from schemas.errors import BlazzError, ErrorCode
from schemas.records import LeaseRecord
from schemas.timing import TimingProfile
from schemas.transport.connection import Bus
from schemas.transport.lease import Lease, LeaseSpec, hold

log = structlog.get_logger()

_FIRST_POLL_S = 0.5


class NodeLease:
    """The lease of one incarnation."""

    def __init__(
        self,
        bus: Bus,
        me: LeaseRecord,
        profile: TimingProfile,
        *,
        on_lost: Callable[[], Awaitable[None]],
    ) -> None:
        self._bus = bus
        self._me = me
        self._spec = LeaseSpec(kind="node", name=me.holder, profile=profile)
        self._on_lost = on_lost
        self._lease: Lease | None = None
        self.acquired = asyncio.Event()

    @property
    def held(self) -> bool:
        """Whether the node may act, by its own clock."""
        return self._lease is not None and self._lease.still_held()

    async def run(self) -> None:
        """Hold the lease until cancelled (it is given back then).

        Raises `node_id_in_use` when another process holds it at the start and goes on renewing:
        a predecessor that was killed leaves it to run out within its life.
        """
        while True:
            try:
                await self._hold_once()
            except BlazzError as error:
                if error.code is not ErrorCode.LEASE_LOST:
                    raise
                if not self.acquired.is_set():
                    raise BlazzError(
                        ErrorCode.NODE_ID_IN_USE,
                        "another process runs with this node id",
                        node_id=self._me.holder,
                    ) from error
                self._lease = None
                log.warning("node.lease_lost", **{log_keys.NODE: self._me.holder})
                await self._on_lost()

    async def _hold_once(self) -> None:
        first = not self.acquired.is_set()
        wait_s = self._spec.profile.lease_ttl_s + 2 * _FIRST_POLL_S if first else None
        async with hold(
            self._bus, self._spec, self._me, wait_s=wait_s, poll_s=_FIRST_POLL_S
        ) as lease:
            self._lease = lease
            self.acquired.set()
            try:
                await asyncio.Event().wait()
            finally:
                self._lease = None
