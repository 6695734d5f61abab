"""Data keys: one a session, wrapped by a master key, in the access bucket.

Owns making, wrapping, opening and re-wrapping them, and the short cache of opened ones. Never
logs a key; a node gets one only with the command that starts its session.
"""

import asyncio
import secrets
import time
from collections import OrderedDict
from typing import Final

import msgspec
import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from control_plane.vault.master_keys import KEY_BYTES, MasterKey, MasterKeyRing
from schemas.errors import BlazzError, ErrorCode
from schemas.keys import DATA_KEYS_PREFIX, data_key_key
from schemas.resources import ACCESS
from schemas.snapshots import DataKeyRecord
from schemas.transport.connection import Bus
from schemas.transport.kv import Bucket, Conflict, Entry

log = structlog.get_logger()

_NONCE_BYTES: Final = 12
_TRIES_MAX: Final = 8
_REWRAPS_AT_ONCE: Final = 16
_LOOKS_MAX: Final = 20
_LOOK_PAUSE_S: Final = 0.25
"""All looks together take longer than a replica takes to notice a new key file."""


class Rewrapped(msgspec.Struct, frozen=True):
    """What a rotation found: `total` records, of which `changed` were wrapped anew."""

    total: int
    changed: int


def wrap(data_key: bytes, session_id: str, master: MasterKey) -> DataKeyRecord:
    """A data key as it is kept: nonce, then AES-256-GCM with the session's id beside it."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    sealed = AESGCM(master.secret).encrypt(nonce, data_key, session_id.encode())
    return DataKeyRecord(session_id, nonce + sealed, master.key_id)


def unwrap(record: DataKeyRecord, session_id: str, master: MasterKey) -> bytes:
    """The data key. Raises `master_key_missing` when the record is not this session's or was not
    wrapped by this key."""
    nonce, sealed = record.wrapped[:_NONCE_BYTES], record.wrapped[_NONCE_BYTES:]
    try:
        return AESGCM(master.secret).decrypt(nonce, sealed, session_id.encode())
    except (InvalidTag, ValueError):
        raise BlazzError(
            ErrorCode.MASTER_KEY_MISSING,
            f"master key {master.key_id} does not open this session's data key",
            session_id=session_id,
        ) from None


class DataKeys:
    """The data keys of all sessions. Opened ones are kept for `cache_s`, at most `cache_max`."""

    def __init__(
        self, bus: Bus, ring: MasterKeyRing, *, cache_s: float = 60.0, cache_max: int = 1000
    ) -> None:
        self._bucket = Bucket(bus, ACCESS)
        self._ring = ring
        self._cache_s = cache_s
        self._cache_max = cache_max
        self._cache: OrderedDict[str, tuple[float, bytes]] = OrderedDict()

    async def get(self, session_id: str) -> bytes | None:
        """A session's data key; None if it has none yet. Raises `master_key_missing`,
        `nats_unavailable`."""
        held = self._cached(session_id)
        if held is not None:
            return held
        entry = await self._bucket.get(data_key_key(session_id), DataKeyRecord)
        if entry.value is None:
            return None
        return self._keep(session_id, await self._open(entry.value, session_id))

    async def ensure(self, session_id: str) -> bytes:
        """A session's data key, made if it has none. Two replicas at once end with one key."""
        for _ in range(_TRIES_MAX):
            known = await self.get(session_id)
            if known is not None:
                return known
            made = secrets.token_bytes(KEY_BYTES)
            record = wrap(made, session_id, await self._ring.active())
            try:
                await self._bucket.create(data_key_key(session_id), record)
            except Conflict:
                continue
            log.info("data_key.created", session_id=session_id, master_key_id=record.master_key_id)
            return self._keep(session_id, made)
        raise BlazzError(ErrorCode.CONFLICT, "the session's data key is written all the time")

    async def forget(self, session_id: str) -> None:
        """Delete it: what it sealed can never be opened again."""
        self._cache.pop(session_id, None)
        await self._bucket.delete(data_key_key(session_id))

    # Rotation ------------------------------------------------------------------------------------

    async def rewrap_all(self) -> Rewrapped:
        """Wrap every data key by the active master key; the data keys stay what they are.

        Safe to break off, to repeat and to run twice at once: each record is changed by
        compare-and-set. Repeats until a whole look finds none wrapped otherwise, for a replica
        that has not read the new file yet may still make some. Raises `master_key_missing` when a
        record's master key is not in the file, `conflict` when others come all the time.
        """
        changed = 0
        places = asyncio.Semaphore(_REWRAPS_AT_ONCE)
        for _ in range(_LOOKS_MAX):
            active = await self._ring.active(look=True)
            entries = await self._bucket.read_prefix(DATA_KEYS_PREFIX, DataKeyRecord)
            due = [e for e in entries if e.value and e.value.master_key_id != active.key_id]
            if not due:
                return Rewrapped(len(entries), changed)

            async def one(entry: Entry[DataKeyRecord], active: MasterKey = active) -> bool:
                async with places:
                    return await self._rewrap(entry, active)

            changed += sum(await asyncio.gather(*(one(entry) for entry in due)))
            await asyncio.sleep(_LOOK_PAUSE_S)
        raise BlazzError(ErrorCode.CONFLICT, "data keys are still made with an older master key")

    async def _rewrap(self, entry: Entry[DataKeyRecord], active: MasterKey) -> bool:
        assert entry.value is not None
        session_id = entry.value.session_id
        record = wrap(await self._open(entry.value, session_id), session_id, active)
        try:
            await self._bucket.update(entry.key, record, entry.revision)
        except Conflict:
            # Wrapped by another run, or deleted: the next look tells.
            return False
        return True

    async def in_use(self) -> frozenset[str]:
        """The ids of the master keys that wrap at least one data key."""
        entries = await self._bucket.read_prefix(DATA_KEYS_PREFIX, DataKeyRecord)
        return frozenset(e.value.master_key_id for e in entries if e.value is not None)

    # Inside --------------------------------------------------------------------------------------

    async def _open(self, record: DataKeyRecord, session_id: str) -> bytes:
        return unwrap(record, session_id, await self._ring.by_id(record.master_key_id))

    def _cached(self, session_id: str) -> bytes | None:
        held = self._cache.get(session_id)
        if held is None or held[0] <= time.monotonic():
            self._cache.pop(session_id, None)
            return None
        return held[1]

    def _keep(self, session_id: str, key: bytes) -> bytes:
        self._cache[session_id] = (time.monotonic() + self._cache_s, key)
        while len(self._cache) > self._cache_max:
            self._cache.popitem(last=False)
        return key
