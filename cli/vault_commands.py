"""`blazz key rotate` and `blazz session drill`: the vault's keys and snapshots, for operators.

Owns what each command does on a control plane's machine, with that control plane's settings (its
bus identity and master key). Prints no secret and nothing of a snapshot's content, and a drill
connects to nothing but the bus and the store.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from cli import settings_file
from cli.audit import recorded
from cli.exit_codes import Exit
from cli.parts import ControlPlaneFile
from cli.render import size
from cli.up import default_data_dir
from control_plane.vault import store as objects
from control_plane.vault.data_keys import DataKeys
from control_plane.vault.master_keys import MasterKey, MasterKeyRing, read_keys, write_keys
from control_plane.vault.settings import VaultSettings
from control_plane.vault.vault import Vault, key_file, open_vault
from schemas.errors import BlazzError, ErrorCode
from schemas.keys import snapshot_head_key
from schemas.resources import FLEET
from schemas.snapshots import SnapshotGeneration, SnapshotHead, SnapshotObject
from schemas.states import EngineKind
from schemas.transport.connection import Bus
from schemas.transport.kv import Bucket
from swarm_node.core.snapshot_format import associated_data, decode
from swarm_node.engines.chromium.drill import DrillReport, drill_profile
from swarm_node.engines.chromium.executable import browser_build, find_executable
from swarm_node.engines.chromium.settings import settings_from_environment
from swarm_node.vault.profile_writer import ProfileWriter
from swarm_node.vault.sealing import unseal


class ControlPlaneChoice(msgspec.Struct, frozen=True):
    """Which control plane's settings to use: a file's, or those of `blazz up` in a directory."""

    config: Path | None = None
    data_dir: Path | None = None

    def load(self) -> ControlPlaneFile:
        """Raises `config_invalid` when there are none."""
        if self.config is not None:
            return settings_file.load(ControlPlaneFile, self.config)
        folder = self.data_dir or default_data_dir()
        path = folder / "run" / "control-plane.json"
        if not path.is_file():
            raise BlazzError(
                ErrorCode.CONFIG_INVALID,
                f"no fleet was started in {folder}: name its control plane's settings with "
                "--config, or the directory of `blazz up` with --data-dir",
            )
        return settings_file.load(ControlPlaneFile, path, {})


@asynccontextmanager
async def _open(choice: ControlPlaneChoice) -> AsyncIterator[tuple[Bus, Vault]]:
    settings = await asyncio.to_thread(choice.load)
    async with (
        Bus.connect(settings.bus_settings()) as bus,
        open_vault(bus, _vault_settings(settings)) as vault,
    ):
        yield bus, vault


def _vault_settings(settings: ControlPlaneFile) -> VaultSettings:
    if settings.services.vault is None:
        raise BlazzError(ErrorCode.CONFIG_INVALID, "`services.vault` is not set: no snapshots")
    return settings.services.vault


# Keys --------------------------------------------------------------------------------------------


class Rotation(msgspec.Struct, frozen=True):
    """What `blazz key rotate` did."""

    active_key_id: str
    key_made: bool
    data_keys: int
    rewrapped: int
    older_keys_left: int


async def run_key_rotate(
    choice: ControlPlaneChoice, *, retire: bool, as_json: bool, stop: asyncio.Event
) -> Exit:
    """Rotate, or finish a rotation that was broken off."""
    settings = await asyncio.to_thread(choice.load)
    path = key_file(_vault_settings(settings))
    async with (
        Bus.connect(settings.bus_settings()) as bus,
        recorded(bus, "rotateMasterKey", {"retire": retire}),
    ):
        done = await rotate(DataKeys(bus, MasterKeyRing(path)), path, retire=retire)
    if as_json:
        print(msgspec.json.encode(done).decode())
        return Exit.OK
    words = "A new master key was made" if done.key_made else "No new master key was needed"
    print(f"{words}; the active one is {done.active_key_id}.")
    print(f"{done.rewrapped} of {done.data_keys} data keys were wrapped anew.")
    if done.older_keys_left:
        print(
            f"{done.older_keys_left} older key(s) stay in {path}: backups of the bus from before "
            "today need them. `blazz key rotate --retire` removes them."
        )
    return Exit.OK


async def rotate(keys: DataKeys, path: Path, *, retire: bool) -> Rotation:
    """Make a new master key the active one, unless the present one is not yet used everywhere (a
    rotation was broken off, or a key was put first by hand) or only `retire` is wanted; then wrap
    every data key by it. Older keys stay in the file until `retire` finds that nothing uses them.

    Raises `master_key_missing`, `conflict`, `nats_unavailable`.
    """
    held = await asyncio.to_thread(read_keys, path)
    unfinished = bool(await keys.in_use() - {held[0].key_id})
    made = not unfinished and not retire
    if made:
        held = (MasterKey.make(), *held)
        await asyncio.to_thread(write_keys, path, held)
    done = await keys.rewrap_all()
    if retire:
        in_use = await keys.in_use() | {held[0].key_id}
        held = tuple(key for key in held if key.key_id in in_use)
        await asyncio.to_thread(write_keys, path, held)
    return Rotation(held[0].key_id, made, done.total, done.changed, len(held) - 1)


# Snapshots ---------------------------------------------------------------------------------------


async def _generations(bus: Bus, vault: Vault, session_id: str) -> tuple[SnapshotGeneration, ...]:
    """Newest first. Raises `snapshot_not_found` when there are none."""
    head = await Bucket(bus, FLEET).get(snapshot_head_key(session_id), SnapshotHead)
    if head.value is None:
        raise BlazzError(ErrorCode.SNAPSHOT_NOT_FOUND, "the session has no snapshots")
    held = await vault.pointers.read(head.value.tenant_id, session_id)
    if not held.pointer.generations:
        raise BlazzError(ErrorCode.SNAPSHOT_NOT_FOUND, "the session has no snapshots")
    return held.pointer.generations


class Drilled(msgspec.Struct, frozen=True):
    """What `blazz session drill` found of one generation. `browser` is None for an engine that
    is none, or when this machine has another Chromium build: then the files alone were checked."""

    session_id: str
    generation: int
    epoch: int
    objects: int
    size_bytes: int
    files: int
    age_s: float
    ok: bool
    browser: DrillReport | None = None
    note: str = ""


async def run_session_drill(
    choice: ControlPlaneChoice,
    session_id: str,
    *,
    generation: int | None,
    as_json: bool,
    stop: asyncio.Event,
) -> Exit:
    """Restore a generation into a scratch profile and look at it. Exit 1 unless it is good."""
    async with _open(choice) as (bus, vault):
        generations = await _generations(bus, vault, session_id)
        wanted = _chosen(generations, generation)
        key = await vault.keys.get(session_id)
        if key is None:
            raise BlazzError(ErrorCode.MASTER_KEY_MISSING, "the session has no data key")
        found = await drill(vault, session_id, wanted, key)
    if as_json:
        print(msgspec.json.encode(found).decode())
    else:
        _print_drill(found)
    return Exit.OK if found.ok else Exit.FAILED


async def drill(
    vault: Vault, session_id: str, generation: SnapshotGeneration, key: bytes
) -> Drilled:
    """Fetch, verify, open and unpack a generation into a scratch directory, and (Chromium) open
    that in a scratch browser without any network: the session itself notices nothing.

    Raises `snapshot_corrupt`, `snapshot_not_found`, `vault_unavailable`, or why no browser starts.
    """
    with tempfile.TemporaryDirectory(prefix="blazz-drill-") as scratch:
        profile = Path(scratch) / "profile"
        writer = await asyncio.to_thread(ProfileWriter, profile)
        page_storage: dict[str, str] | None = None
        for wanted in generation.objects:
            sealed = await _fetch(vault, wanted)
            bound_to = associated_data(session_id, generation.epoch, wanted.name)
            page_storage = await asyncio.to_thread(
                _apply(writer, sealed, key=key, bound_to=bound_to)
            )
        files = sum(1 for path in profile.rglob("*") if path.is_file())
        browser, note = await _look(profile, generation, page_storage)
    return Drilled(
        session_id=session_id,
        generation=generation.generation,
        epoch=generation.epoch,
        objects=len(generation.objects),
        size_bytes=sum(each.size_bytes for each in generation.objects),
        files=files,
        age_s=time.time() - generation.objects[-1].captured_at,
        ok=files > 0 and (browser is None or browser.passed),
        browser=browser,
        note=note,
    )


def _chosen(generations: tuple[SnapshotGeneration, ...], number: int | None) -> SnapshotGeneration:
    if number is None:
        return generations[0]
    for each in generations:
        if each.generation == number:
            return each
    raise BlazzError(ErrorCode.SNAPSHOT_NOT_FOUND, f"there is no generation {number}")


async def _fetch(vault: Vault, wanted: SnapshotObject) -> bytes:
    expected = objects.StoredObject(wanted.name, wanted.size_bytes, wanted.sha256)
    await objects.read_back(vault.store, expected)
    return b"".join([part async for part in objects.read(vault.store, wanted.name)])


def _apply(
    writer: ProfileWriter, sealed: bytes, *, key: bytes, bound_to: bytes
) -> Callable[[], dict[str, str] | None]:
    def applied() -> dict[str, str] | None:
        header, files = decode(unseal(sealed, key=key, bound_to=bound_to))
        writer.apply(header, files)
        return header.page_storage

    return applied


async def _look(
    profile: Path, generation: SnapshotGeneration, page_storage: dict[str, str] | None
) -> tuple[DrillReport | None, str]:
    if generation.manifest.engine is not EngineKind.CHROMIUM:
        return None, f"the engine {generation.manifest.engine} has no browser: files only"
    settings = settings_from_environment()
    build = await browser_build(find_executable(settings))
    if build != generation.manifest.chromium_build:
        return None, (
            f"made by Chromium {generation.manifest.chromium_build}, this machine has {build}: "
            "files only"
        )
    return await drill_profile(profile, settings, page_storage=page_storage), ""


def _print_drill(found: Drilled) -> None:
    print(
        f"Generation {found.generation} (epoch {found.epoch}): objects: {found.objects}, "
        f"{size(found.size_bytes)}, {found.files} files, {found.age_s:.0f} s old."
    )
    if found.note:
        print(found.note)
    if found.browser is not None:
        seen = found.browser
        print(
            f"Scratch browser, no network: databases: {seen.databases}, records: {seen.records}, "
            f"{seen.keys_usable} of {seen.keys} keys work, {seen.storage_items} items of "
            f"localStorage, in {seen.duration_s:.1f} s."
        )
        for problem in seen.problems:
            print(f"  {problem}", file=sys.stderr)
    print("It would come up." if found.ok else "It would NOT come up.")
