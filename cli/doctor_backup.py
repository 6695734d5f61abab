"""The doctor's checks of the backups, and of the streams against them.

Owns these checks. Only reads manifests, which needs no key, and asks the bus for the streams' ends.
"""

import time
from pathlib import Path
from typing import Final

from cli.backup.folder import folders, read_manifest
from cli.findings import Finding, Verdict, from_error
from schemas.backup import BackupManifest
from schemas.errors import BlazzError
from schemas.transport.connection import Bus
from schemas.transport.jetstream import JetStream

_HOUR_S: Final = 3600.0
OLD_WARN_S: Final = 26 * _HOUR_S
"""A day, and time for the next one to be taken."""


def check_backups(root: Path) -> Finding:
    """Whether there is a backup, complete and not old. Blocks."""
    found = folders(root)
    fix = f"blazz backup create --to {root}"
    if not found:
        return Finding("backup", Verdict.FAIL, f"none in {root}", fix)
    try:
        manifest = read_manifest(found[0])
    except BlazzError as error:
        return from_error("backup", error)
    age_s = time.time() - manifest.began_at
    detail = f"{manifest.backup_id}, {age_s / _HOUR_S:.1f} h old"
    if not manifest.complete:
        fix = f"blazz backup show {found[0]} says why"
        return Finding("backup", Verdict.FAIL, f"{detail}, not complete", fix, age_s, "seconds")
    if age_s > OLD_WARN_S:
        return Finding("backup", Verdict.WARN, detail, fix, age_s, "seconds")
    return Finding("backup", Verdict.OK, detail, value=age_s, unit="seconds")


async def check_since(bus: Bus, root: Path) -> Finding:
    """Whether every stream goes at least as far as in the newest complete backup: a server that
    found its files damaged drops their ends without a word. Raises `nats_unavailable`."""
    manifest = _newest_complete(root)
    if manifest is None:
        return Finding("streams since backup", Verdict.OK, "no complete backup to compare with")
    jetstream = JetStream(bus)
    short = []
    for copy in manifest.streams:
        last_seq = (await jetstream.stream_info(copy.stream)).state.last_seq
        if last_seq < copy.last_seq:
            short.append(f"{copy.stream} ends at {last_seq}, then at {copy.last_seq}")
    if not short:
        words = f"all go on from {manifest.backup_id}"
        return Finding("streams since backup", Verdict.OK, words)
    return Finding(
        "streams since backup",
        Verdict.FAIL,
        "; ".join(short),
        "the server lost messages: stop the fleet and `blazz restore --replace` (docs/backup.md)",
    )


def _newest_complete(root: Path) -> BackupManifest | None:
    for folder in folders(root):
        try:
            manifest = read_manifest(folder)
        except BlazzError:
            continue
        if manifest.complete:
            return manifest
    return None
