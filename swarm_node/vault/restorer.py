"""The restorer: a generation of the vault made into a profile on this disk.

Owns fetching, opening and checking a generation's objects and putting the finished profile in its
place. Everything is checked before the old profile moves, and that one is kept aside until the new
one has come online. Never deletes anything in the vault and never chooses a generation.
"""

import time
from functools import partial

import structlog

from schemas import log_keys
from schemas.errors import BlazzError, ErrorCode
from schemas.snapshots import SnapshotGeneration, SnapshotObject
from schemas.states import EngineKind
from swarm_node.core.snapshot_format import associated_data, check_fits, decode
from swarm_node.vault.blocking import in_thread
from swarm_node.vault.line import VaultLine
from swarm_node.vault.local_state import LocalFolder
from swarm_node.vault.profile_writer import ProfileWriter, swap
from swarm_node.vault.sealing import unseal

log = structlog.get_logger()


class Restorer:
    """Restores one session's generations."""

    def __init__(
        self,
        line: VaultLine,
        folder: LocalFolder,
        *,
        session_id: str,
        engine: EngineKind,
        build: str | None,
    ) -> None:
        self._line = line
        self._folder = folder
        self._session_id = session_id
        self._engine = engine
        self._build = build

    async def restore(self, generation: SnapshotGeneration, key: bytes) -> dict[str, str] | None:
        """Put a generation in the profile's place; returns the page storage to begin with.

        Raises `snapshot_corrupt`, `snapshot_incompatible`, `snapshot_not_found`; a retryable error
        when the vault does not answer. On any of them the profile is as it was.
        """
        check_fits(generation.manifest, engine=self._engine, build=self._build)
        began_s = time.monotonic()
        writer = await in_thread(lambda: ProfileWriter(self._folder.restoring))
        page_storage: dict[str, str] | None = None
        before: str | None = None
        for wanted in generation.objects:
            sealed = await self._line.fetch(wanted)
            bound_to = associated_data(self._session_id, generation.epoch, wanted.name)
            page_storage = await in_thread(
                partial(self._open_and_apply, writer, wanted, before, sealed, key, bound_to)
            )
            before = wanted.name
        await in_thread(lambda: self._put_in_place(writer))
        log.info(
            "session.restored",
            **{
                log_keys.SESSION: self._session_id,
                log_keys.EPOCH: generation.epoch,
                log_keys.DURATION: round(time.monotonic() - began_s, 3),
            },
            generation=generation.generation,
            objects=len(generation.objects),
        )
        return page_storage

    @staticmethod
    def _open_and_apply(
        writer: ProfileWriter,
        wanted: SnapshotObject,
        before: str | None,
        sealed: bytes,
        key: bytes,
        bound_to: bytes,
    ) -> dict[str, str] | None:
        header, files = decode(unseal(sealed, key=key, bound_to=bound_to))
        if wanted.baseline != (before is None) or header.after != before:
            raise BlazzError(ErrorCode.SNAPSHOT_CORRUPT, "an object stands in the wrong place")
        writer.apply(header, files)
        return header.page_storage

    def _put_in_place(self, writer: ProfileWriter) -> None:
        writer.finish()
        swap(writer.folder, self._folder.profile_dir, self._folder.aside)
