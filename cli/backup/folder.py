"""A backup's folder: begun under a hidden name, and named only when it is whole.

Owns the names, the manifest's seal and the key that seals the files. A backup that was broken off
lies under `.…partial`, which nothing here takes for one. Never a stream or a collection.
"""

import hashlib
import hmac
import os
import secrets
import shutil
import time
from pathlib import Path
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cli.backup.sealed import SealedWriter, check_sum, damaged, derived
from control_plane.private_files import sync_directory
from control_plane.vault.master_keys import KEY_BYTES, MasterKey
from schemas.backup import BACKUP_FORMAT, BackupManifest
from schemas.errors import BlazzError, ErrorCode

MANIFEST: Final = "manifest.json"
_PREFIX: Final = "blazz-"
_PARTIAL: Final = ".partial"
_NONCE_BYTES: Final = 12
_WRAPPING: Final = "blazz backup wrapping key"
_SEALING: Final = "blazz backup manifest"


class NewBackup:
    """A backup being written into `root`; `finish` or `discard` it. Every call blocks."""

    def __init__(self, root: Path, key: MasterKey, now: float) -> None:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        self.backup_id = f"{_PREFIX}{stamp}-{secrets.token_hex(3)}"
        self.began_at = now
        self.key_id = key.key_id
        self.secret = secrets.token_bytes(KEY_BYTES)
        self._root = root
        self.folder = root / f".{self.backup_id}{_PARTIAL}"
        nonce = secrets.token_bytes(_NONCE_BYTES)
        wrapping = AESGCM(derived(key.secret, _WRAPPING))
        self.wrapped = nonce + wrapping.encrypt(nonce, self.secret, self.backup_id.encode())

    def open(self) -> None:
        """Make the folder. Raises `OSError`."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.mkdir(mode=0o700)

    def writer(self, name: str) -> SealedWriter:
        """A sealed file of this backup."""
        return SealedWriter(self.folder, name, self.secret)

    def finish(self, manifest: BackupManifest) -> Path:
        """Write the manifest and give the folder its name: from then on it is a backup."""
        sealed = msgspec.structs.replace(manifest, seal=_seal(manifest, self.secret))
        path = self.folder / MANIFEST
        path.touch(mode=0o600)
        with path.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(sealed)))
            file.flush()
            os.fsync(file.fileno())
        sync_directory(self.folder)
        done = self._root / self.backup_id
        self.folder.rename(done)
        sync_directory(self._root)
        return done

    def discard(self) -> None:
        """Remove what was written."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Backup(msgspec.Struct, frozen=True):
    """A whole backup, opened with its key."""

    folder: Path
    manifest: BackupManifest
    secret: bytes

    def __repr__(self) -> str:
        """Without its key."""
        return f"Backup({self.manifest.backup_id})"


def folders(root: Path) -> list[Path]:
    """Every backup in `root`, the newest first; `root` itself, if it is one. Blocks."""
    if (root / MANIFEST).is_file():
        return [root]
    found = [path.parent for path in root.glob(f"{_PREFIX}*/{MANIFEST}")]
    return sorted(found, key=lambda path: path.name, reverse=True)


def newest(root: Path) -> Path:
    """The newest backup in `root`, or `root` itself. Raises `not_found`."""
    found = folders(root)
    if not found:
        raise BlazzError(ErrorCode.NOT_FOUND, f"no backup in {root}")
    return found[0]


def read_manifest(folder: Path) -> BackupManifest:
    """What a backup says of itself; not proven without the key. Blocks. Raises `backup_damaged`,
    `backup_unreadable` for another format."""
    try:
        data = (folder / MANIFEST).read_bytes()
        version = msgspec.json.decode(data, type=_Version).format
        if version != BACKUP_FORMAT:
            raise BlazzError(
                ErrorCode.BACKUP_UNREADABLE,
                f"{folder.name} has format {version}, this release reads {BACKUP_FORMAT}: use the "
                "release that made it (`made_by` in its manifest.json)",
            )
        return msgspec.json.decode(data, type=BackupManifest)
    except OSError as error:
        raise damaged(MANIFEST, error.strerror or "it can't be read") from error
    except msgspec.MsgspecError:
        raise damaged(MANIFEST, "it is no manifest") from None


def open_backup(folder: Path, keys: tuple[MasterKey, ...]) -> Backup:
    """Open a backup with the one of `keys` that it names. Blocks. Raises `backup_unreadable` when
    none is that, `backup_damaged` when the manifest was changed."""
    manifest = read_manifest(folder)
    key = next((each for each in keys if each.key_id == manifest.key_id), None)
    if key is None:
        raise BlazzError(
            ErrorCode.BACKUP_UNREADABLE,
            f"{folder.name} was sealed with key {manifest.key_id}; the key file holds "
            + ", ".join(each.key_id for each in keys),
        )
    nonce, wrapped = manifest.wrapped_key[:_NONCE_BYTES], manifest.wrapped_key[_NONCE_BYTES:]
    try:
        wrapping = AESGCM(derived(key.secret, _WRAPPING))
        secret = wrapping.decrypt(nonce, wrapped, manifest.backup_id.encode())
    except (InvalidTag, ValueError):
        raise damaged(MANIFEST, "its wrapped key was changed") from None
    if not hmac.compare_digest(_seal(manifest, secret), manifest.seal):
        raise damaged(MANIFEST, "it was changed after it was written")
    return Backup(folder, manifest, secret)


def check_files(folder: Path, manifest: BackupManifest) -> list[str]:
    """What is wrong with the files, by their sums: empty if nothing is. Blocks."""
    wrong = []
    for part in manifest.parts:
        try:
            check_sum(folder, part)
        except BlazzError as error:
            wrong.append(error.detail or part.file)
    return wrong


class _Version(msgspec.Struct, frozen=True):
    format: int


def _seal(manifest: BackupManifest, secret: bytes) -> str:
    blank = msgspec.structs.replace(manifest, seal="")
    data = msgspec.json.encode(blank, order="sorted")
    return hmac.new(derived(secret, _SEALING), data, hashlib.sha256).hexdigest()
