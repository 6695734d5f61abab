"""Observed records: the last thing this node saw of each session, written to the fleet bucket.

Owns making and writing them: the latest record of a session wins, older ones that could not be
written are skipped. Bounded by the number of sessions. Never reads one.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable

import msgspec
import structlog

from schemas import log_keys
from schemas.errors import BlazzError
from schemas.records import SessionObserved
from schemas.states import SessionState
from swarm_node.core.backoff import BackoffPolicy, delay_s
from swarm_node.engines.contract import Identity

log = structlog.get_logger()

Write = Callable[[str, SessionObserved | None], Awaitable[None]]
"""Writes a session's record, or deletes it (None). Raises `BlazzError`."""

_RETRY = BackoffPolicy(first_s=0.1, longest_s=5.0)


class RunnerIdentity(msgspec.Struct, frozen=True):
    """Which session, placed by which epoch, seen by which node."""

    session_id: str
    tenant_id: str
    epoch: int
    node_id: str
    incarnation: str


def observed_record(
    who: RunnerIdentity,
    *,
    state: SessionState,
    since: float,
    reason: str | None,
    identity: Identity | None,
) -> SessionObserved:
    """What is written of a session in a state; `since` is Unix seconds."""
    return SessionObserved(
        session_id=who.session_id,
        tenant_id=who.tenant_id,
        node_id=who.node_id,
        incarnation=who.incarnation,
        epoch=who.epoch,
        state=state,
        since=since,
        reason=reason,
        phone=identity.phone if identity else None,
        lid=identity.lid if identity else None,
        push_name=identity.name if identity else None,
    )


class ObservedWriter:
    """One node's observed records."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._waiting: dict[str, SessionObserved | None] = {}
        self._some = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def observe(self, record: SessionObserved) -> None:
        """Have a record written as soon as may be."""
        self._put(record.session_id, record)

    def forget(self, session_id: str) -> None:
        """Have a session's record deleted."""
        self._put(session_id, None)

    def _put(self, session_id: str, record: SessionObserved | None) -> None:
        self._waiting.pop(session_id, None)
        self._waiting[session_id] = record
        self._idle.clear()
        self._some.set()

    async def run(self) -> None:
        """Write for ever."""
        attempt = 0
        while True:
            if not self._waiting:
                self._idle.set()
                self._some.clear()
                await self._some.wait()
            session_id, record = next(iter(self._waiting.items()))
            try:
                await self._write(session_id, record)
            except BlazzError as error:
                attempt += 1
                if attempt == 1:
                    log.warning("observed.write_delayed", **{log_keys.CODE: error.code})
                await asyncio.sleep(delay_s(_RETRY, attempt, random.random()))
                continue
            attempt = 0
            if self._waiting.get(session_id) is record:
                self._waiting.pop(session_id, None)

    async def flush(self, timeout_s: float) -> None:
        """Wait until all is written, at most `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            log.exception("observed.left_unwritten", count=len(self._waiting))
