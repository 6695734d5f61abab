"""Proving a backup that lies there: sums, seals, and the drill that restores all of it.

Owns the drill: into a scratch server on this machine, where everything is read back, counted and
opened. Touches no fleet.
"""

import asyncio
import time
from pathlib import Path

import msgspec

from cli.backup.folder import Backup, check_files
from cli.backup.scratch import put_stream, scratch_bus, still
from cli.backup.take import hold_against, look_into
from control_plane.vault.master_keys import MasterKey
from schemas.backup import StateCounts
from schemas.errors import BlazzError


class Drill(msgspec.Struct, frozen=True):
    """What a drill found. `ok`: a fleet would come up on it."""

    backup_id: str
    age_s: float
    ok: bool
    counts: StateCounts
    findings: tuple[str, ...]
    duration_s: float


async def drill_backup(
    backup: Backup, master_keys: tuple[MasterKey, ...], *, temp_dir: Path | None = None
) -> Drill:
    """Restore into a scratch server and look at everything."""
    began = time.monotonic()
    manifest = backup.manifest
    findings = [f"when it was taken: {each}" for each in manifest.findings]
    counts = StateCounts()
    wrong = await asyncio.to_thread(check_files, backup.folder, manifest)
    if not wrong:
        try:
            counts, found = await _restored(backup, master_keys, temp_dir)
            findings += found
        except BlazzError as error:
            wrong.append(f"{error.code}: {error.detail}")
    return Drill(
        backup_id=manifest.backup_id,
        age_s=time.time() - manifest.began_at,
        ok=not wrong and not findings,
        counts=counts,
        findings=(*wrong, *findings),
        duration_s=time.monotonic() - began,
    )


async def _restored(
    backup: Backup, master_keys: tuple[MasterKey, ...], temp_dir: Path | None
) -> tuple[StateCounts, list[str]]:
    findings: list[str] = []
    async with scratch_bus(temp_dir) as bus:
        for copy in backup.manifest.streams:
            await put_stream(bus, backup.folder, copy, backup.secret, still(copy.config))
            findings += await hold_against(bus, backup, copy)
        collections = backup.manifest.collections
        found = await look_into(bus, backup.folder, collections, backup.secret, master_keys)
    if found.counts != backup.manifest.counts:
        findings.append("it does not hold what was counted when it was taken")
    return found.counts, [*findings, *found.findings]
