"""Dialling: how long to wait before it, what it was done with, and what becomes of an old link;
and what a time without the bus is told as.

Owns these small parts of `connection.Bus`. Never dials.
"""

import asyncio
import os
from typing import NamedTuple

import msgspec
import structlog

from schemas.permissions import RESPONSE_AGE_MAX_S
from schemas.transport.inflow import Inflow
from schemas.transport.link import Link, Subscribed

log = structlog.get_logger()

Stamp = tuple[int, int, int]


def redial_delay(attempt: int, unit_random: float, *, min_s: float, max_s: float) -> float:
    """Seconds before redial `attempt` (from 0): doubling, capped, between half and all of it."""
    ceiling = min(max_s, min_s * 2.0 ** min(attempt, 30))
    return ceiling * (0.5 + 0.5 * unit_random)


def stamp_of(path: str | None) -> Stamp | None:
    """Tells one content of a file from another, unread; None: it is not there. Blocking."""
    try:
        found = None if path is None else os.stat(path)  # noqa: PTH116 - a path from settings
    except OSError:
        return None
    return None if found is None else (found.st_mtime_ns, found.st_ino, found.st_size)


class Outage(msgspec.Struct, frozen=True):
    """A time without the bus, by this process's monotonic clock (seconds)."""

    began_at: float
    ended_at: float | None
    reason: str


class Opened(NamedTuple):
    """A new link with every subscription on it."""

    link: Link
    subscribed: dict[Inflow, Subscribed]
    round_trip_s: float
    stamp: Stamp | None


async def retire(link: Link) -> None:
    """Keep a link for what is still to be answered on it, then close it."""
    try:
        async with asyncio.timeout(RESPONSE_AGE_MAX_S):
            await link.lost.wait()
    except TimeoutError:
        log.debug("bus.link_retired")
    finally:
        await link.close()
