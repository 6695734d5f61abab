"""The pacing book: every tenant's settings and opt-outs, in memory.

Owns the fold of the pacing bucket's settings and opt-outs, and the rules in force. Never decides
(`core.pacing`) and never writes: see `desk` and `contacts`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
import structlog

from control_plane.core.contacts import chat_digest
from control_plane.core.pacing import LocalTime, resolve
from schemas.errors import BlazzError, ErrorCode
from schemas.keys import OPT_OUTS_PREFIX, PACING_SETTINGS_PREFIX, pacing_settings_key
from schemas.pacing import OptOutRecord, PacingRules, PacingSettings
from schemas.resources import PACING
from schemas.transport.background import Background
from schemas.transport.connection import Bus
from schemas.transport.kv import Bucket
from schemas.transport.watch import ChangeKind, watch

log = structlog.get_logger()


class PacingBook:
    """What is known now. A replica hears of a change a moment after it was written."""

    def __init__(self, defaults: PacingRules) -> None:
        self.defaults = defaults
        self.synced = asyncio.Event()
        self._settings: dict[str, PacingSettings] = {}
        self._opt_outs: dict[str, dict[str, OptOutRecord]] = {}
        self._listeners: list[Callable[[], None]] = []

    def fold(self, key: str, raw: bytes | None) -> None:
        """Take in a key's value; None: it is gone."""
        try:
            if key.startswith(PACING_SETTINGS_PREFIX):
                if raw is None:
                    self._settings.pop(key, None)
                else:
                    self._settings[key] = msgspec.json.decode(raw, type=PacingSettings)
            else:
                self._fold_opt_out(key, raw)
        except msgspec.MsgspecError:
            # A newer release's: what was known stands.
            log.warning("pacing.record_malformed")
        for listener in list(self._listeners):
            listener()

    def _fold_opt_out(self, key: str, raw: bytes | None) -> None:
        _, tenant_id, digest = key.split(".")
        of_tenant = self._opt_outs.setdefault(tenant_id, {})
        record = None if raw is None else msgspec.json.decode(raw, type=OptOutRecord)
        if record is not None and record.active:
            of_tenant[digest] = record
        else:
            of_tenant.pop(digest, None)

    def on_change(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` (quick, never raising) after each change. Returns the undo."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    # Reading -----------------------------------------------------------------------------------

    def settings(self, tenant_id: str, session_id: str | None = None) -> PacingSettings:
        """What one level wants otherwise."""
        return self._settings.get(pacing_settings_key(tenant_id, session_id), PacingSettings())

    def rules(self, tenant_id: str, session_id: str | None = None) -> PacingRules:
        """What is in force for a session, or (None) for a tenant's sessions by default."""
        levels = [self._settings.get(pacing_settings_key(tenant_id))]
        if session_id is not None:
            levels.append(self._settings.get(pacing_settings_key(tenant_id, session_id)))
        return resolve(self.defaults, *levels)

    def opted_out(self, tenant_id: str, chat_id: str) -> bool:
        """Whether the recipient does not want the tenant's messages."""
        of_tenant = self._opt_outs.get(tenant_id, {})
        return bool(of_tenant) and chat_digest(chat_id) in of_tenant

    def opt_outs(self, tenant_id: str) -> list[OptOutRecord]:
        """A tenant's list."""
        return list(self._opt_outs.get(tenant_id, {}).values())


def local_time(rules: PacingRules, now: float) -> LocalTime:
    """A moment (Unix seconds) in the rules' time zone; UTC where this machine does not know it."""
    try:
        zone: tzinfo = ZoneInfo(rules.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        zone = UTC
    local = datetime.fromtimestamp(now, zone)
    minute = local.hour * 60 + local.minute + local.second / 60.0
    return LocalTime(local.toordinal(), minute)


def known_time_zone(name: str) -> bool:
    """Whether this machine knows a time zone."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


@asynccontextmanager
async def keep_book(
    bus: Bus, book: PacingBook, *, sync_timeout_s: float
) -> AsyncIterator[PacingBook]:
    """Keep the book fed for the block; whole once entered.

    Raises `nats_unavailable` when it cannot be read in time: sending without it would reach those
    who do not want it.
    """
    async with Background() as tasks:
        tasks.start(_feed(bus, book), name="pacing book")
        try:
            async with asyncio.timeout(sync_timeout_s):
                await book.synced.wait()
        except TimeoutError:
            raise BlazzError(
                ErrorCode.NATS_UNAVAILABLE, "the pacing records could not be read in time"
            ) from None
        yield book


async def _feed(bus: Bus, book: PacingBook) -> None:
    changes = watch(Bucket(bus, PACING), PACING_SETTINGS_PREFIX, OPT_OUTS_PREFIX)
    async with aclosing(changes) as told:
        async for change in told:
            if change.kind is ChangeKind.SYNCED:
                book.synced.set()
            elif change.key:
                book.fold(change.key, change.value)
