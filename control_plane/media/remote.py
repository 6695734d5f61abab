"""Media by URL: fetched by us, before a message is accepted.

Owns the limits of a fetch and how many run at once. Never decides where a request may go
(`outbound` does), and never keeps what it fetched.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from control_plane.core.media_kinds import HEAD_BYTES, likely_mimetype
from control_plane.media_ports import RemoteFile
from control_plane.outbound.client import Outbound
from schemas.errors import BlazzError, ErrorCode
from schemas.ids import TenantId
from schemas.messages import MEDIA_BYTES_MAX

_NOT_FETCHED: Final = frozenset({ErrorCode.URL_UNREACHABLE, ErrorCode.TIMEOUT})


class RemoteLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What fetching may cost this replica: a file is held in memory until it is stored."""

    timeout_s: float = 30.0
    """For one file, waiting for its turn included."""
    at_once: int = 8
    at_once_per_tenant: int = 3
    """So that one tenant's slow host holds up no other."""


class OutboundMedia:
    """Implements `ports.RemoteMedia`."""

    def __init__(self, outbound: Outbound, limits: RemoteLimits | None = None) -> None:
        self._outbound = outbound
        self._limits = limits or RemoteLimits()
        self._turns = asyncio.Semaphore(self._limits.at_once)
        self._tenants: dict[TenantId, asyncio.Semaphore] = {}
        self._users: Counter[TenantId] = Counter()

    async def fetch(self, tenant: TenantId, url: str) -> RemoteFile:
        """See `ports.RemoteMedia`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._limits.timeout_s
        try:
            async with asyncio.timeout_at(deadline), self._turn(tenant):
                fetched = await self._outbound.fetch(
                    url, bytes_max=MEDIA_BYTES_MAX, timeout_s=deadline - loop.time()
                )
        except TimeoutError:
            raise _too_slow() from None
        except BlazzError as error:
            if error.code is ErrorCode.TIMEOUT:
                raise _too_slow() from error
            if error.code in _NOT_FETCHED:
                raise BlazzError(ErrorCode.MEDIA_NOT_FETCHED, error.detail) from error
            raise
        mimetype = likely_mimetype(fetched.mimetype, fetched.data[:HEAD_BYTES])
        return RemoteFile(fetched.data, mimetype, fetched.filename)

    @asynccontextmanager
    async def _turn(self, tenant: TenantId) -> AsyncIterator[None]:
        limit = self._limits.at_once_per_tenant
        own = self._tenants.setdefault(tenant, asyncio.Semaphore(limit))
        self._users[tenant] += 1
        try:
            async with own, self._turns:
                yield
        finally:
            self._users[tenant] -= 1
            if not self._users[tenant]:
                del self._users[tenant], self._tenants[tenant]


def _too_slow() -> BlazzError:
    return BlazzError(ErrorCode.MEDIA_NOT_FETCHED, "It did not arrive in time.")
