"""Observed records: the last thing this node saw of each session, written to the fleet bucket.

Owns making and writing them: the latest record of a session wins, older ones that could not be
written are skipped. A write without an answer may come late and overwrite a newer one, so what
followed it is written again a few times. Each is fenced by the assignment it was made under: the
server refuses the word of a placement that is over, and then the session must end here. Bounded by
the number of sessions. Never reads a record.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable

import msgspec
import structlog

from schemas import log_keys
from schemas.errors import BlazzError, ErrorCode
from schemas.records import SessionObserved
from schemas.states import SessionState
from swarm_node.core.backoff import BackoffPolicy, delay_s
from swarm_node.engines.contract import Identity

log = structlog.get_logger()

Write = Callable[[str, SessionObserved | None, int], Awaitable[None]]
"""Writes a session's record, or deletes it (None), only while the session's assignment is at this
revision (0: whatever it is). Raises `conflict` when it is not, and other `BlazzError`s."""
Revise = Callable[[SessionObserved], Awaitable[int | None]]
"""The assignment's revision if it still names this node and epoch, else None: an assignment may
change without a new epoch (a wish to move). Raises `BlazzError`."""
Superseded = Callable[[str, int], None]
"""Told the session and the epoch of a placement that is over."""

_RETRY = BackoffPolicy(first_s=0.1, longest_s=5.0)
_UNSURE = frozenset({ErrorCode.TIMEOUT, ErrorCode.NATS_UNAVAILABLE})
_ECHOES_S = (5.0, 30.0, 120.0)
"""When a record that followed a write without an answer is written again: the kernel sends what is
left of a closed connection for minutes, and the server takes it as it comes."""


class RunnerIdentity(msgspec.Struct, frozen=True):
    """Which session, placed by which epoch, seen by which node."""

    session_id: str
    tenant_id: str
    epoch: int
    node_id: str
    incarnation: str

    @property
    def log_fields(self) -> dict[str, str | int]:
        """What every line of the session's log bears."""
        return {
            log_keys.TENANT: self.tenant_id,
            log_keys.SESSION: self.session_id,
            log_keys.NODE: self.node_id,
            log_keys.EPOCH: self.epoch,
        }


def observed_record(
    who: RunnerIdentity,
    *,
    state: SessionState,
    since: float,
    reason: str | None,
    identity: Identity | None,
    linked_epoch: int,
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
        linked_epoch=linked_epoch,
    )


class ObservedWriter:
    """One node's observed records."""

    def __init__(self, write: Write, *, revise: Revise, superseded: Superseded) -> None:
        self._write = write
        self._revise = revise
        self._superseded = superseded
        self._fences: dict[str, tuple[int, int]] = {}  # session → its epoch, the revision
        self._waiting: dict[str, SessionObserved | None] = {}
        self._latest: dict[str, SessionObserved | None] = {}
        self._unsure: set[str] = set()
        self._echoes: dict[str, list[float]] = {}
        self._some = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def fence(self, session_id: str, epoch: int, revision: int) -> None:
        """From now on a session's records are written under this assignment."""
        self._fences[session_id] = (epoch, revision)

    def observe(self, record: SessionObserved) -> None:
        """Have a record written as soon as may be."""
        self._put(record.session_id, record)

    def forget(self, session_id: str) -> None:
        """Have a session's record deleted."""
        self._fences.pop(session_id, None)
        self._put(session_id, None)

    def again(self, session_id: str) -> None:
        """Have a session's latest record written once more: somebody has not seen it."""
        if session_id in self._latest:
            self._put(session_id, self._latest[session_id])

    def _put(self, session_id: str, record: SessionObserved | None) -> None:
        self._latest[session_id] = record
        self._waiting.pop(session_id, None)
        self._waiting[session_id] = record
        self._idle.clear()
        self._some.set()

    async def run(self) -> None:
        """Write for ever."""
        attempt = 0
        while True:
            if not self._waiting:
                await self._rest()
                continue
            session_id, record = next(iter(self._waiting.items()))
            try:
                await self._write_fenced(session_id, record)
            except BlazzError as error:
                attempt += 1
                if error.code in _UNSURE:
                    self._unsure.add(session_id)
                if attempt == 1:
                    log.warning("observed.write_delayed", **{log_keys.CODE: error.code})
                await asyncio.sleep(delay_s(_RETRY, attempt, random.random()))
                continue
            attempt = 0
            if self._waiting.get(session_id) is record:
                self._waiting.pop(session_id, None)
            if session_id in self._unsure:
                self._unsure.discard(session_id)
                now_s = time.monotonic()
                self._echoes[session_id] = [now_s + after_s for after_s in _ECHOES_S]
            elif record is None and session_id not in self._echoes:
                self._latest.pop(session_id, None)

    async def _rest(self) -> None:
        """Until there is something to write, or an echo is due."""
        self._idle.set()
        self._some.clear()
        due_s = min((times[0] for times in self._echoes.values()), default=None)
        wait_s = None if due_s is None else max(0.0, due_s - time.monotonic())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._some.wait()
        now_s = time.monotonic()
        for session_id, times in list(self._echoes.items()):
            if times[0] <= now_s:
                self.again(session_id)
                self._echoes[session_id] = times[1:]
                if not times[1:]:
                    del self._echoes[session_id]

    async def _write_fenced(self, session_id: str, record: SessionObserved | None) -> None:
        epoch, revision = self._fences.get(session_id, (0, 0))
        if record is None or not revision or record.epoch != epoch:
            await self._write(session_id, record, 0)
            return
        try:
            await self._write(session_id, record, revision)
        except BlazzError as error:
            if error.code is not ErrorCode.CONFLICT:
                raise
            newer = await self._revise(record)
            if newer is not None and newer != revision:
                self._fences[session_id] = (epoch, newer)
                raise
            log.warning(
                "observed.superseded",
                **{log_keys.SESSION: session_id, log_keys.EPOCH: epoch},
            )
            self._superseded(session_id, epoch)

    async def flush(self, timeout_s: float) -> None:
        """Wait until all is written, at most `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            log.exception("observed.left_unwritten", count=len(self._waiting))
