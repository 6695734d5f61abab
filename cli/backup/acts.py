"""The acts behind `blazz backup …` and `blazz restore`: with whose bus, keys and words.

Owns finding these, and what is printed. Never a copy's bytes.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from cli import settings_file
from cli.backup.folder import Backup, check_files, folders, newest, open_backup, read_manifest
from cli.backup.prove import drill_backup
from cli.backup.put_back import plan_restore, restore_backup
from cli.backup.scratch import patient
from cli.backup.take import Taken, take_backup
from cli.backup.words import (
    age,
    say_drill,
    say_manifest,
    say_plan,
    say_restored,
    say_step,
    size,
)
from cli.embedded.identities import IdentityStore, Role
from cli.embedded.server import BACKUP_NAME, EmbeddedNats
from cli.exit_codes import Exit
from cli.parts import ControlPlaneFile
from cli.stack import MASTER_KEY_FILE
from cli.up import default_data_dir
from control_plane.vault.master_keys import MasterKey, read_keys
from control_plane.vault.settings import VaultSettings
from control_plane.vault.vault import key_file as vault_key_file
from schemas.backup import BackupManifest, StateCounts
from schemas.bus_credentials import claims_of, parse_credentials
from schemas.errors import BlazzError, ErrorCode
from schemas.permissions import inbox_prefix
from schemas.transport.connection import Bus, BusSettings


class Choice(msgspec.Struct, frozen=True):
    """Which fleet and which keys the command line named."""

    config: Path | None = None
    data_dir: Path | None = None
    key_file: Path | None = None
    master_key_file: Path | None = None
    creds_file: Path | None = None

    @property
    def folder(self) -> Path:
        """The data directory of `blazz up`, where no settings file is named."""
        return (self.data_dir or default_data_dir()).absolute()

    def settings(self) -> ControlPlaneFile:
        """The control plane's settings; for a directory in which nothing ran yet, those that
        `blazz up` would begin with. Raises `config_invalid`. Blocks."""
        if self.config is not None:
            return settings_file.load(ControlPlaneFile, self.config)
        path = self.folder / "run" / "control-plane.json"
        if path.is_file():
            return settings_file.load(ControlPlaneFile, path, {})
        plain = ControlPlaneFile()
        vault = VaultSettings(master_key_file=self.folder / MASTER_KEY_FILE)
        return msgspec.structs.replace(
            plain, services=msgspec.structs.replace(plain.services, vault=vault)
        )

    def master_keys(self) -> tuple[MasterKey, ...]:
        """The vault's master keys; none for a fleet without a vault. Raises `master_key_missing`.
        Blocks."""
        if self.master_key_file is not None:
            return read_keys(self.master_key_file)
        vault = self.settings().services.vault
        return () if vault is None else read_keys(vault_key_file(vault))

    def sealing_keys(self) -> tuple[MasterKey, ...]:
        """What seals and opens backups. Raises `config_invalid`, `master_key_missing`. Blocks."""
        if self.key_file is not None:
            return read_keys(self.key_file)
        keys = self.master_keys()
        if not keys:
            raise BlazzError(
                ErrorCode.CONFIG_INVALID,
                "this fleet has no vault and so no master key: name a key with --key-file "
                "(32 random bytes in base64: `head -c 32 /dev/urandom | base64`, mode 0600)",
            )
        return keys


# Taking ------------------------------------------------------------------------------------------


async def run_create(
    choice: Choice, root: Path, temp_dir: Path | None, *, as_json: bool, stop: asyncio.Event
) -> Exit:
    """Take a backup; ctrl-C breaks it off and leaves nothing."""
    settings = await asyncio.to_thread(choice.settings)
    sealing = await asyncio.to_thread(choice.sealing_keys)
    place = await asyncio.to_thread(root.absolute)
    masters = await asyncio.to_thread(choice.master_keys)
    as_backup = await asyncio.to_thread(_as_backup, choice, settings)

    async def work() -> Taken:
        async with Bus.connect(patient(as_backup)) as bus:
            return await take_backup(
                bus, settings.services, place, sealing[0], masters, temp_dir=temp_dir
            )

    taken = await _unless_stopped(work(), stop)
    if taken is None:
        return Exit.INTERRUPTED
    if as_json:
        print(msgspec.json.encode(_summary(taken.folder, taken.manifest)).decode())
    else:
        print(taken.folder)
        say_manifest(taken.manifest, f"taken and read back in {taken.duration_s:.1f} s")
    return Exit.OK if taken.manifest.complete else Exit.FAILED


def _as_backup(choice: Choice, settings: ControlPlaneFile) -> BusSettings:
    """As the identity for backups: that of `--creds-file`, or of a `blazz up`. Else as the
    settings say. Raises `config_invalid`. Blocks."""
    plain = msgspec.structs.replace(settings.bus_settings(), name=BACKUP_NAME)
    if choice.creds_file is not None:
        name = claims_of(parse_credentials(_text(choice.creds_file)).jwt).name
        return msgspec.structs.replace(
            plain,
            inbox_prefix=inbox_prefix(name),
            nkey_seed_file=None,
            creds_file=str(choice.creds_file),
        )
    if choice.config is not None:
        return plain
    store = IdentityStore(choice.folder / "nats" / "identities")
    identity = store.ensure(Role.BACKUP, BACKUP_NAME)
    return msgspec.structs.replace(
        plain, inbox_prefix=identity.inbox_prefix, nkey_seed_file=identity.seed_file
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise BlazzError(
            ErrorCode.CONFIG_INVALID, f"{path} can't be read: {error.strerror}"
        ) from error


async def _unless_stopped(work: Coroutine[Any, Any, Taken], stop: asyncio.Event) -> Taken | None:
    """What `work` gives; None when `stop` came first: it was cancelled and has cleaned up."""
    task, stopped = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
    finally:
        stopped.cancel()
        task.cancel()
        await asyncio.wait({task, stopped})
    return None


# Looking -----------------------------------------------------------------------------------------


class Summary(msgspec.Struct, frozen=True):
    """A backup in a list."""

    path: str
    backup_id: str
    began_at: float
    age_s: float
    size_bytes: int
    complete: bool
    key_id: str
    master_key_ids: tuple[str, ...]
    made_by: str
    counts: StateCounts
    findings: tuple[str, ...]


def _summary(folder: Path, manifest: BackupManifest) -> Summary:
    return Summary(
        path=str(folder),
        backup_id=manifest.backup_id,
        began_at=manifest.began_at,
        age_s=time.time() - manifest.began_at,
        size_bytes=manifest.size_bytes,
        complete=manifest.complete,
        key_id=manifest.key_id,
        master_key_ids=manifest.master_key_ids,
        made_by=manifest.made_by,
        counts=manifest.counts,
        findings=manifest.findings,
    )


async def run_list(root: Path, *, as_json: bool, stop: asyncio.Event) -> Exit:
    """List them; one whose manifest can't be read is named on stderr."""
    rows: list[Summary] = []
    code = Exit.OK
    for folder in await asyncio.to_thread(folders, root):
        try:
            rows.append(_summary(folder, await asyncio.to_thread(read_manifest, folder)))
        except BlazzError as error:
            print(f"{folder.name}: {error.detail}", file=sys.stderr)
            code = Exit.FAILED
    if as_json:
        print(msgspec.json.encode(rows).decode())
        return code
    print(f"{'backup':<32} {'age':>8} {'size':>10} {'sessions':>8}  state")
    for row in rows:
        state = "complete" if row.complete else f"{len(row.findings)} findings"
        print(
            f"{row.backup_id:<32} {age(row.age_s):>8} {size(row.size_bytes):>10} "
            f"{row.counts.sessions:>8}  {state}"
        )
    return code


async def run_show(root: Path, *, as_json: bool, stop: asyncio.Event) -> Exit:
    """Show one."""
    folder = await asyncio.to_thread(newest, root)
    manifest = await asyncio.to_thread(read_manifest, folder)
    if as_json:
        print(msgspec.json.encode(manifest).decode())
        return Exit.OK
    print(folder)
    say_manifest(manifest, f"{age(time.time() - manifest.began_at)} old")
    for copy in manifest.streams:
        print(f"  {copy.stream:<22} {copy.readable:>9} messages {size(copy.part.size_bytes):>10}")
    for held in manifest.collections:
        print(f"  {held.role:<22} {held.documents:>9} documents {size(held.part.size_bytes):>9}")
    return Exit.OK


class Verified(msgspec.Struct, frozen=True):
    """What `blazz backup verify` found."""

    backup_id: str
    ok: bool
    findings: tuple[str, ...]


async def run_verify(choice: Choice, root: Path, *, as_json: bool, stop: asyncio.Event) -> Exit:
    """Check sums, and with the key the manifest's seal."""
    backup = await _opened(choice, root)
    wrong = await asyncio.to_thread(check_files, backup.folder, backup.manifest)
    found = (*wrong, *backup.manifest.findings)
    if as_json:
        row = Verified(backup.manifest.backup_id, not found, found)
        print(msgspec.json.encode(row).decode())
    else:
        for each in found:
            print(f"  {each}", file=sys.stderr)
        words = "whole" if not wrong else "DAMAGED"
        files = len(backup.manifest.parts)
        print(f"{backup.manifest.backup_id}: {words}, {files} files checked.")
    return Exit.FAILED if found else Exit.OK


async def run_drill(
    choice: Choice, root: Path, temp_dir: Path | None, *, as_json: bool, stop: asyncio.Event
) -> Exit:
    """Restore into a scratch server and look."""
    backup = await _opened(choice, root)
    masters = await asyncio.to_thread(choice.master_keys)
    found = await drill_backup(backup, masters, temp_dir=temp_dir)
    if as_json:
        print(msgspec.json.encode(found).decode())
    else:
        say_drill(found)
    return Exit.OK if found.ok else Exit.FAILED


async def _opened(choice: Choice, root: Path) -> Backup:
    folder = await asyncio.to_thread(newest, root)
    # First what needs no key: another format is told as that.
    await asyncio.to_thread(read_manifest, folder)
    keys = await asyncio.to_thread(choice.sealing_keys)
    return await asyncio.to_thread(open_backup, folder, keys)


# Putting back ------------------------------------------------------------------------------------


async def run_restore(
    choice: Choice,
    root: Path,
    *,
    replace: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    stop: asyncio.Event,
) -> Exit:
    """Restore, after having been told to."""
    backup = await _opened(choice, root)
    settings = await asyncio.to_thread(choice.settings)
    masters = await asyncio.to_thread(choice.master_keys)
    async with _restoring(choice, settings) as bus:
        plan = await plan_restore(bus, backup, masters, replace=replace)
        if not as_json:
            say_plan(plan)
        if plan.refusals:
            if as_json:
                print(msgspec.json.encode(plan).decode())
            return Exit.CONFLICT
        if dry_run:
            if as_json:
                print(msgspec.json.encode(plan).decode())
            return Exit.OK
        if not yes and not await asyncio.to_thread(_agreed):
            return Exit.FAILED
        done = await restore_backup(bus, backup, settings, masters, replace=replace, tell=say_step)
    if as_json:
        print(msgspec.json.encode(done).decode())
    else:
        say_restored(done)
    return Exit.FAILED if done.findings else Exit.OK


@asynccontextmanager
async def _restoring(choice: Choice, settings: ControlPlaneFile) -> AsyncIterator[Bus]:
    """The bus to restore onto. That of a `blazz up` is started for the purpose, which is refused
    with `data_dir_locked` while that runs."""
    if choice.config is not None:
        async with Bus.connect(patient(settings.bus_settings())) as bus:
            yield bus
        return
    await asyncio.to_thread(choice.folder.mkdir, parents=True, exist_ok=True, mode=0o700)
    async with (
        EmbeddedNats(choice.folder / "nats") as nats,
        Bus.connect(patient(nats.bus_settings(nats.control_plane))) as bus,
    ):
        yield bus


def _agreed() -> bool:
    if not sys.stdin.isatty():
        print("Nobody is there to ask: --yes restores without asking.", file=sys.stderr)
        return False
    print("Type `restore` to go on: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip() == "restore"
