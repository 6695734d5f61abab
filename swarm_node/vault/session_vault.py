"""A session's safekeeping: from the vault before a launch, into the vault while it runs.

Owns when a session is captured (by `core.snapshot_rules`), what a start begins from, and falling
back to an older generation. Once fenced, or told that its epoch is over, it stores nothing more.
Never decides a session's state.
"""

import asyncio
import contextlib
import shutil
import time
import zlib
from collections.abc import Callable

import msgspec
import structlog

from schemas import log_keys
from schemas.commands import Admission
from schemas.errors import BlazzError, ErrorCode
from schemas.snapshots import SnapshotGeneration, SnapshotManifest
from schemas.states import EngineKind, SessionState
from swarm_node.core.snapshot_rules import CaptureState, Origin, candidates, capture_due_s, origin
from swarm_node.engines.contract import Engine
from swarm_node.vault.blocking import in_thread
from swarm_node.vault.line import AskVault, VaultLine
from swarm_node.vault.local_state import LocalFolder, LocalState
from swarm_node.vault.metrics import VaultMetrics
from swarm_node.vault.recorder import Recorder
from swarm_node.vault.restorer import Restorer
from swarm_node.vault.settings import VaultSettings

log = structlog.get_logger()

_LINKED = (SessionState.SYNCING, SessionState.ONLINE, SessionState.DEGRADED)
_USELESS = (
    ErrorCode.SNAPSHOT_CORRUPT,
    ErrorCode.SNAPSHOT_INCOMPATIBLE,
    ErrorCode.SNAPSHOT_NOT_FOUND,
)
_SPREAD_STEPS = 1000


class VaultShare(msgspec.Struct, frozen=True):
    """What the sessions of a node have in common."""

    node_id: str
    ask: AskVault
    settings: VaultSettings
    metrics: VaultMetrics
    places: asyncio.Semaphore
    may_act: Callable[[], bool]
    chromium_build: str | None


class SessionVault:
    """One session's safekeeping under one epoch: a `session.safekeeping.Safekeeping`."""

    def __init__(self, share: VaultShare, admission: Admission, folder: LocalFolder) -> None:
        self._share = share
        self._session_id = admission.session_id
        self._epoch = admission.epoch
        self._folder = folder
        self._key = admission.data_key
        self._generations = admission.generations
        self._unlinked_epoch = admission.unlinked_epoch
        self._failed: set[int] = set()
        self._restored: SnapshotGeneration | None = None
        self._refused = False
        self.trouble: str | None = None
        self._aside_kept = False
        self._engine: Engine | None = None
        self._state = SessionState.PENDING
        self._capture = CaptureState()
        self._changed = asyncio.Event()
        self._turn = asyncio.Lock()
        self._spread = (zlib.crc32(self._session_id.encode()) % _SPREAD_STEPS) / _SPREAD_STEPS
        build = share.chromium_build if admission.engine is EngineKind.CHROMIUM else None
        line = VaultLine(
            share.ask,
            share.settings,
            node_id=share.node_id,
            session_id=self._session_id,
            epoch=self._epoch,
            allowed=self._allowed,
        )
        self._line = line
        self._recorder = Recorder(
            line,
            folder,
            share.metrics,
            session_id=self._session_id,
            epoch=self._epoch,
            manifest=SnapshotManifest(engine=admission.engine, chromium_build=build),
        )
        self._restorer = Restorer(
            line, folder, session_id=self._session_id, engine=admission.engine, build=build
        )
        self._log = log.bind(**{log_keys.SESSION: self._session_id, log_keys.EPOCH: self._epoch})

    def _allowed(self) -> bool:
        return not self._refused and self._share.may_act()

    # Before a launch ----------------------------------------------------------------------------

    async def prepare(self) -> dict[str, str] | None:
        """See `Safekeeping.prepare`."""
        async with self._turn:
            try:
                async with asyncio.timeout(self._share.settings.restore_max_s):
                    return await self._prepare()
            except TimeoutError:
                raise BlazzError(ErrorCode.VAULT_UNAVAILABLE, "the restore took too long") from None
            except OSError as error:
                self._log.warning("session.restore_refused", detail=error.strerror)
                raise BlazzError(ErrorCode.INTERNAL, "the profile's disk fails") from error

    async def _prepare(self) -> dict[str, str] | None:
        local = await in_thread(self._folder.read)
        there = await in_thread(self._folder.profile_there)
        begins = origin(
            local.mark if local else None,
            profile_there=there,
            generations=self._generations,
            unlinked_epoch=self._unlinked_epoch,
        )
        if self._failed and self._restored is None:
            begins = Origin.VAULT
        storage: dict[str, str] | None = None
        linked_epoch = local.linked_epoch if local is not None else 0
        if begins is Origin.VAULT:
            storage = await self._from_vault(profile_there=there)
            if self._restored is not None:
                linked_epoch = self._restored.linked_epoch
        elif begins is Origin.LOCAL and local is not None and not local.clean:
            # A crash: the disk may lack what the page had stored in its last minute.
            storage = local.page_storage
        elif begins is Origin.NOTHING:
            # Whatever device it gets, it gets it now.
            linked_epoch = self._epoch
            if there:
                # Of a device that was unlinked, here or elsewhere.
                await in_thread(lambda: shutil.rmtree(self._folder.profile_dir))
        number = self._last_number(local)
        last = local.last_object if local is not None and local.epoch == self._epoch else None
        await self._recorder.begin(
            LocalState(
                self._epoch,
                number=number,
                last_object=last,
                page_storage=storage,
                linked_epoch=linked_epoch,
            )
        )
        return storage

    async def _from_vault(self, *, profile_there: bool) -> dict[str, str] | None:
        trouble: BlazzError | None = None
        for generation in candidates(self._generations, self._failed):
            try:
                storage = await self._restorer.restore(generation, self._key)
            except BlazzError as error:
                if error.code not in _USELESS:
                    raise
                trouble = error
                self._note_failed(generation, error.code)
                continue
            self._recorder.start_anew()
            self._restored = generation
            self._aside_kept = True
            self._share.metrics.restored("restored")
            return storage
        if trouble is not None and trouble.code is ErrorCode.SNAPSHOT_INCOMPATIBLE:
            # It is there and whole: the wrong node must not begin anew in its place.
            self._failed.clear()
            raise trouble
        self._log.error("session.restore_failed", profile_kept=profile_there)
        self.trouble = ErrorCode.RESTORE_FAILED
        return None

    def _note_failed(self, generation: SnapshotGeneration, code: str) -> None:
        self._failed.add(generation.generation)
        self._share.metrics.restored(code)
        self._log.warning(
            "session.generation_failed",
            **{log_keys.CODE: code},
            generation=generation.generation,
        )

    def _last_number(self, local: LocalState | None) -> int:
        """The highest number this epoch has used, by what the vault or the disk knows."""
        mine = f"{self._session_id}/{self._epoch}-"
        numbers = [
            int(one.name.removeprefix(mine))
            for generation in self._generations
            for one in generation.objects
            if one.name.startswith(mine)
        ]
        if local is not None and local.epoch == self._epoch:
            numbers.append(local.number)
        return max(numbers, default=0)

    def fall_back(self) -> bool:
        """See `Safekeeping.fall_back`."""
        generation, self._restored = self._restored, None
        if generation is None:
            return False
        self._note_failed(generation, ErrorCode.RESTORE_FAILED)
        self.trouble = ErrorCode.RESTORE_FAILED
        return bool(candidates(self._generations, self._failed))

    # What the runner tells -----------------------------------------------------------------------

    def launched(self, engine: Engine) -> None:
        """See `Safekeeping.launched`."""
        self._engine = engine
        self._capture = CaptureState(looked_at_s=self._capture.looked_at_s)

    def note_state(self, state: SessionState) -> None:
        """See `Safekeeping.note_state`."""
        if state in _LINKED and self._state.needs_link:
            self._recorder.note_linked()
        self._state = state
        now_s = time.monotonic()
        linked_at_s = (self._capture.linked_at_s or now_s) if state in _LINKED else None
        online = state is SessionState.ONLINE
        self._capture = msgspec.structs.replace(
            self._capture, online=online, linked_at_s=linked_at_s
        )
        if online:
            if self._restored is not None:
                self._line.proven_generation = self._restored.generation
            self._restored = self.trouble = None
            self._failed.clear()
            self._share.metrics.online(self._session_id)
        elif state not in _LINKED:
            self._share.metrics.offline(self._session_id)
        if state is SessionState.FENCED:
            self.fence()
        self._changed.set()

    @property
    def linked_epoch(self) -> int:
        """See `Safekeeping.linked_epoch`."""
        return self._recorder.linked_epoch

    def note_activity(self) -> None:
        """See `Safekeeping.note_activity`."""
        if self._capture.active_since_s is None:
            self._capture = msgspec.structs.replace(self._capture, active_since_s=time.monotonic())
            self._changed.set()

    def fence(self) -> None:
        """See `Safekeeping.fence`."""
        self._refused = True
        self._changed.set()

    # While it runs -------------------------------------------------------------------------------

    async def run(self) -> None:
        """See `Safekeeping.run`."""
        while True:
            self._changed.clear()
            await self._save_link()
            due_s = None
            if self._allowed():
                due_s = capture_due_s(self._share.settings.policy, self._capture, self._spread)
            wait_s = None if due_s is None else due_s - time.monotonic()
            if wait_s is None or wait_s > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._changed.wait()
                continue
            async with self._share.places, self._turn:
                await self._capture_now()

    async def _save_link(self) -> None:
        async with self._turn:
            try:
                await self._recorder.save_link()
            except OSError as error:
                # The first capture tries again.
                self._capture_failed(error)

    async def _capture_now(self) -> None:
        engine, state = self._engine, self._capture
        if engine is None or not state.online or not self._allowed():
            return
        # Before the reading: what comes while it goes on is for the next time.
        self._capture = msgspec.structs.replace(
            state, looked_at_s=time.monotonic(), active_since_s=None
        )
        try:
            async with asyncio.timeout(self._share.settings.page_timeout_s):
                storage = await engine.page_storage()
            await self._recorder.record(engine.snapshot_files, storage, key=self._key)
        except (BlazzError, OSError, TimeoutError) as error:
            code = self._capture_failed(error)
            if code is not ErrorCode.SNAPSHOT_TOO_LARGE:
                # What was active then is still not stored.
                self._capture = msgspec.structs.replace(
                    self._capture, active_since_s=state.active_since_s or time.monotonic()
                )
            return
        self._share.metrics.kept(self._session_id)
        await self._clear_aside()

    def _capture_failed(self, error: BlazzError | OSError | TimeoutError) -> ErrorCode:
        code = error.code if isinstance(error, BlazzError) else ErrorCode.INTERNAL
        if isinstance(error, TimeoutError):
            code = ErrorCode.PAGE_TIMEOUT
        self._share.metrics.failed(code)
        self._log.warning("snapshot.not_stored", **{log_keys.CODE: code})
        if code is ErrorCode.STALE_EPOCH:
            self._refused = True
        return code

    async def keep_last(self, *, clean: bool) -> None:
        """See `Safekeeping.keep_last`."""
        engine, linked = self._engine, self._capture.linked_at_s is not None
        self._engine = None
        if engine is None:
            return
        try:
            async with asyncio.timeout(self._share.settings.last_max_s), self._turn:
                await self._recorder.note_end(clean=clean)
                if linked and self._allowed():
                    storage = None if clean else self._recorder.page_storage
                    await self._recorder.record(
                        engine.snapshot_files, storage, key=self._key, clean=clean
                    )
        except (BlazzError, OSError, TimeoutError) as error:
            self._capture_failed(error)

    async def _clear_aside(self) -> None:
        """The profile in use is online and stored: the one it replaced is not needed any more."""
        if not self._aside_kept:
            return
        self._aside_kept = False
        aside = self._folder.aside
        await in_thread(lambda: shutil.rmtree(aside, ignore_errors=True))
