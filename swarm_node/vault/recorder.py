"""The recorder: one session's captures, sealed, handed over and committed.

Owns the generation being written: its chain, the marks of the last capture and the objects'
numbers. What was captured becomes the ground of the next delta only once its commit is certain; if
nobody knows, a new baseline follows. Never decides when to capture.
"""

import hashlib
import os
import time
from functools import partial

import msgspec
import structlog

from schemas import log_keys
from schemas.errors import BlazzError, ErrorCode
from schemas.snapshots import SnapshotManifest, SnapshotObject, snapshot_name
from schemas.transport.checkpoints import At, checkpoint
from swarm_node.core.snapshot_delta import Chain, FileMark, needs_baseline
from swarm_node.core.snapshot_format import Header, associated_data, encode
from swarm_node.engines.contract import SnapshotFiles
from swarm_node.vault.blocking import in_thread
from swarm_node.vault.capture import Captured, capture
from swarm_node.vault.line import CommitUnknownError, VaultLine
from swarm_node.vault.local_state import LocalFolder, LocalState
from swarm_node.vault.metrics import VaultMetrics
from swarm_node.vault.sealing import NONCE_BYTES, seal

log = structlog.get_logger()

_TRIES = 3
"""How often one capture is handed over: under a new number, or because it came out damaged."""


class _Sealed(msgspec.Struct, frozen=True):
    """An object ready to go."""

    data: bytes
    described: SnapshotObject


class Recorder:
    """One session's recorder under one epoch. One call at a time."""

    def __init__(
        self,
        line: VaultLine,
        folder: LocalFolder,
        metrics: VaultMetrics,
        *,
        session_id: str,
        epoch: int,
        manifest: SnapshotManifest,
    ) -> None:
        self._line = line
        self._folder = folder
        self._metrics = metrics
        self._session_id = session_id
        self._epoch = epoch
        self._manifest = manifest
        self._state = LocalState(epoch)
        self._chain: Chain | None = None
        self._marks: dict[str, FileMark] = {}
        self._stored_storage: dict[str, str] | None = None
        self._link_unsaved = False

    @property
    def page_storage(self) -> dict[str, str] | None:
        """As last read from the page."""
        return self._state.page_storage

    @property
    def linked_epoch(self) -> int:
        """The epoch under which the profile's device was linked; 0: not known."""
        return self._state.linked_epoch

    def note_linked(self) -> None:
        """A person has just linked a device: nothing that was captured is of that one."""
        self._state = msgspec.structs.replace(self._state, linked_epoch=self._epoch)
        self._chain = None
        self._link_unsaved = True

    async def save_link(self) -> None:
        """Remember a link over a crash, before the first capture does."""
        if self._link_unsaved:
            self._link_unsaved = False
            await self._remember(self._state)

    async def begin(self, state: LocalState) -> None:
        """The profile is about to be used under this epoch. A restored or unknown profile begins a
        new generation."""
        await self._remember(state)

    def start_anew(self) -> None:
        """The profile was replaced: what was captured before says nothing about it."""
        self._chain = None

    async def record(
        self,
        files: SnapshotFiles,
        page_storage: dict[str, str] | None,
        *,
        key: bytes,
        clean: bool = False,
    ) -> bool:
        """Capture what changed since the last time and store it. False when nothing has.

        Raises `BlazzError`; nothing is lost then but this capture.
        """
        if self._chain is not None and needs_baseline(self._chain):
            self._chain = None
        marks = self._marks if self._chain is not None else {}
        checkpoint(At.CAPTURE_BEFORE)
        found = await in_thread(lambda: capture(self._folder.profile_dir, files, marks))
        checkpoint(At.CAPTURE_AFTER)
        fresh = bool(found.parts) or page_storage != self._stored_storage or clean
        if self._chain is not None and not fresh:
            self._marks = found.marks
            return False
        if page_storage != self._state.page_storage:
            # At once: it is worth having on this disk even if the vault does not take it.
            await self._remember(msgspec.structs.replace(self._state, page_storage=page_storage))
        with self._metrics.timed():
            await self._store(found, page_storage, key=key, clean=clean)
        return True

    async def note_end(self, *, clean: bool) -> None:
        """The engine has ended; `clean`: its profile lacks nothing any more."""
        storage = None if clean else self._state.page_storage
        await self._remember(
            msgspec.structs.replace(self._state, clean=clean, page_storage=storage)
        )

    # Storing -------------------------------------------------------------------------------------

    async def _store(
        self, found: Captured, page_storage: dict[str, str] | None, *, key: bytes, clean: bool
    ) -> None:
        chain = self._chain
        header = Header(
            engine=self._manifest.engine,
            parts=found.parts,
            after=self._state.last_object if chain is not None else None,
            page_storage=page_storage,
        )
        captured_at = time.time()
        # Until the commit is certain, nobody may build on what was before either.
        self._chain = None
        for attempt in range(1, _TRIES + 1):
            number = self._state.number + 1
            await self._remember(msgspec.structs.replace(self._state, number=number))
            name = snapshot_name(self._session_id, self._epoch, number)
            sealed = await in_thread(partial(self._seal, header, found, name, key))
            described = msgspec.structs.replace(
                sealed.described, captured_at=captured_at, clean=clean
            )
            try:
                checkpoint(At.PUT_BEFORE)
                await self._line.put(name, sealed.data)
                checkpoint(At.PUT_AFTER)
                await self._line.commit(described, self._manifest, linked_epoch=self.linked_epoch)
                checkpoint(At.COMMIT_AFTER)
            except CommitUnknownError as error:
                raise BlazzError(
                    ErrorCode.VAULT_UNAVAILABLE, "no answer to a snapshot's commit"
                ) from error
            except BlazzError as error:
                if error.code is ErrorCode.SNAPSHOT_NOT_FOUND and chain is not None:
                    raise
                if error.code not in _AGAIN or attempt == _TRIES:
                    self._keep_chain(chain, error)
                    raise
                log.info("snapshot.sent_again", **{log_keys.CODE: error.code})
                continue
            await self._committed(chain, found, described, page_storage)
            return

    def _keep_chain(self, chain: Chain | None, error: BlazzError) -> None:
        """A refusal is certain: the last commit is still what the next delta follows."""
        if error.code not in (ErrorCode.SNAPSHOT_NOT_FOUND, ErrorCode.SNAPSHOT_TOO_LARGE):
            self._chain = chain

    async def _committed(
        self,
        chain: Chain | None,
        found: Captured,
        described: SnapshotObject,
        page_storage: dict[str, str] | None,
    ) -> None:
        size = described.size_bytes
        self._chain = Chain(size) if chain is None else chain.grown(size)
        self._marks = found.marks
        self._stored_storage = page_storage
        self._metrics.stored(baseline=described.baseline, size_bytes=size)
        await self._remember(msgspec.structs.replace(self._state, last_object=described.name))
        log.debug(
            "snapshot.stored",
            **{log_keys.SESSION: self._session_id, log_keys.EPOCH: self._epoch},
            name=described.name,
            baseline=described.baseline,
            size_bytes=size,
            plain_bytes=described.plain_bytes,
        )

    def _seal(self, header: Header, found: Captured, name: str, key: bytes) -> _Sealed:
        plain = encode(header, found.blobs)
        bound_to = associated_data(self._session_id, self._epoch, name)
        data = seal(plain, key=key, bound_to=bound_to, nonce=os.urandom(NONCE_BYTES))
        described = SnapshotObject(
            name=name,
            baseline=header.after is None,
            size_bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            captured_at=0.0,
            plain_bytes=len(plain),
        )
        return _Sealed(data, described)

    async def _remember(self, state: LocalState) -> None:
        self._state = state
        await in_thread(lambda: self._folder.write(state))


_AGAIN = frozenset({ErrorCode.CONFLICT, ErrorCode.SNAPSHOT_CORRUPT})
"""`conflict`: the number was used by a process before; `snapshot_corrupt`: read back, it was not
what was sent."""
