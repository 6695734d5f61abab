"""The line to the vault: whole objects handed over and fetched, in chunks, with bounded retries.

Owns the chunking, the retries and the check of what came. Before each request it asks whether the
session may still be acted for: a fenced node uploads nothing. Never opens an object.
"""

import asyncio
import hashlib
import random
from collections.abc import Callable
from typing import Final, Protocol, TypeVar

import msgspec
import structlog

from schemas import log_keys
from schemas.errors import BlazzError, ErrorCode
from schemas.messages import MEDIA_CHUNK_BYTES
from schemas.snapshot_requests import (
    CommitSnapshot,
    GetSnapshotChunk,
    PutSnapshotChunk,
    SnapshotChunk,
    SnapshotStored,
)
from schemas.snapshots import SnapshotManifest, SnapshotObject
from swarm_node.core.backoff import delay_s
from swarm_node.vault.settings import VaultSettings

log = structlog.get_logger()

T = TypeVar("T")
PUT: Final = "put"
COMMIT: Final = "commit"
GET: Final = "get"
_REFUSED: Final = frozenset({ErrorCode.STALE_EPOCH, ErrorCode.LEASE_LOST, ErrorCode.CONFLICT})
"""Retryable for others. Here: this node's part in the session is over, or the name is taken."""


class AskVault(Protocol):
    """Asks the control plane (`subjects.node_vault`). Raises `BlazzError`."""

    async def __call__(
        self, act: str, question: msgspec.Struct, answer: type[T], timeout_s: float, /
    ) -> T: ...


class CommitUnknownError(Exception):
    """Nobody knows whether the commit took place."""


class VaultLine:
    """One session's line under one epoch."""

    def __init__(
        self,
        ask: AskVault,
        settings: VaultSettings,
        *,
        node_id: str,
        session_id: str,
        epoch: int,
        allowed: Callable[[], bool],
    ) -> None:
        self._ask = ask
        self._settings = settings
        self._node_id = node_id
        self._session_id = session_id
        self._epoch = epoch
        self._allowed = allowed
        self.proven_generation: int | None = None
        """Set once a restore of it came online: the next commit says so."""

    async def put(self, name: str, sealed: bytes) -> None:
        """Hand over an object; it counts for nothing until it is committed."""
        for offset in range(0, len(sealed), MEDIA_CHUNK_BYTES):
            chunk = PutSnapshotChunk(
                node_id=self._node_id,
                session_id=self._session_id,
                epoch=self._epoch,
                name=name,
                offset=offset,
                data=sealed[offset : offset + MEDIA_CHUNK_BYTES],
                last=offset + MEDIA_CHUNK_BYTES >= len(sealed),
            )
            await self._tried(PUT, chunk, SnapshotStored)

    async def commit(
        self, stored: SnapshotObject, manifest: SnapshotManifest, *, linked_epoch: int
    ) -> None:
        """Make it count. Raises `CommitUnknownError` when no certain answer came."""
        question = CommitSnapshot(
            node_id=self._node_id,
            session_id=self._session_id,
            epoch=self._epoch,
            snapshot=stored,
            manifest=manifest,
            proven_generation=self.proven_generation,
            linked_epoch=linked_epoch,
        )
        try:
            await self._tried(COMMIT, question, SnapshotStored)
        except BlazzError as error:
            if error.code in _REFUSED or not (error.retryable or error.code is ErrorCode.INTERNAL):
                raise
            # An earlier try may have been carried out, whatever the last one was told.
            raise CommitUnknownError from error

    async def fetch(self, wanted: SnapshotObject) -> bytes:
        """A whole object. Raises `snapshot_corrupt` unless it is the one that was committed."""
        pieces: list[bytes] = []
        offset = 0
        while offset < wanted.size_bytes:
            question = GetSnapshotChunk(
                node_id=self._node_id,
                session_id=self._session_id,
                epoch=self._epoch,
                name=wanted.name,
                offset=offset,
            )
            chunk = await self._tried(GET, question, SnapshotChunk)
            if not chunk.data or chunk.total_bytes != wanted.size_bytes:
                raise BlazzError(ErrorCode.SNAPSHOT_CORRUPT, "its size is not what was committed")
            pieces.append(chunk.data)
            offset += len(chunk.data)
        sealed = b"".join(pieces)
        if hashlib.sha256(sealed).hexdigest() != wanted.sha256:
            raise BlazzError(ErrorCode.SNAPSHOT_CORRUPT, "its hash is not what was committed")
        return sealed

    async def _asked(self, act: str, question: msgspec.Struct, answer: type[T]) -> T:
        if not self._allowed():
            raise BlazzError(ErrorCode.LEASE_LOST, "the session may not be acted for any more")
        return await self._ask(act, question, answer, self._settings.request_timeout_s)

    async def _tried(self, act: str, question: msgspec.Struct, answer: type[T]) -> T:
        """Repeat while the error says that it may work later, but for a lost fence."""
        settings = self._settings
        for attempt in range(1, settings.request_tries_max):
            try:
                return await self._asked(act, question, answer)
            except BlazzError as error:
                if not error.retryable or error.code in _REFUSED:
                    raise
                log.debug("vault.request_retried", **{log_keys.CODE: error.code})
            await asyncio.sleep(delay_s(settings.retry, attempt, random.random()))
        return await self._asked(act, question, answer)
