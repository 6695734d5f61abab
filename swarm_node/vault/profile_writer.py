"""The profile writer: containers applied, one after another, into a new profile directory.

Owns writing files and putting the finished directory in the old one's place. Every path is checked
again, nothing is followed, every file and directory is on disk before the swap. Blocking
throughout. Never deletes the old directory: it is kept aside until the new one has proven itself.
"""

import os
import shutil
from pathlib import Path
from typing import Final

from schemas.errors import BlazzError, ErrorCode
from swarm_node.core.snapshot_format import Header, Part, PartKind, contents, safe_path

_FILE_MODE: Final = 0o600
_DIR_MODE: Final = 0o700


class ProfileWriter:
    """One directory being filled. `apply` in order, then `finish`."""

    def __init__(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=_DIR_MODE)
        self.folder = folder
        self._touched: set[Path] = set()

    def apply(self, header: Header, files: memoryview) -> None:
        """Carry out one container's changes. Raises `snapshot_corrupt`, `OSError`."""
        for part, data in contents(header, files):
            if not safe_path(part.path):
                raise _corrupt("a path leads out of the profile")
            target = self.folder / part.path
            if part.kind is PartKind.DELETE:
                self._delete(target)
            else:
                self._write(target, part, data)

    def _write(self, target: Path, part: Part, data: memoryview) -> None:
        target.parent.mkdir(parents=True, exist_ok=True, mode=_DIR_MODE)
        appends = part.kind is PartKind.APPEND
        flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        flags |= os.O_APPEND if appends else os.O_CREAT | os.O_TRUNC
        try:
            fd = os.open(target, flags, _FILE_MODE)
        except FileNotFoundError:
            raise _corrupt("a delta appends to a file that is not there") from None
        with open(fd, "wb", buffering=0) as file:  # noqa: PTH123 - opened by its descriptor
            if appends and os.fstat(fd).st_size != part.offset:
                raise _corrupt("a delta does not follow what is before it")
            while data:
                data = data[file.write(data) :]
        self._touched.add(target)

    def _delete(self, target: Path) -> None:
        target.unlink(missing_ok=True)
        self._touched.discard(target)
        # A file may come where a directory was.
        folder = target.parent
        while folder != self.folder and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent

    def finish(self) -> None:
        """Put everything on the disk."""
        folders = {self.folder}
        for path in self._touched:
            _sync(path)
            folders.update(_above(path, self.folder))
        for folder in folders:
            _sync(folder)


def swap(new: Path, place: Path, aside: Path) -> None:
    """Put `new` in `place`; what was there goes to `aside`, unless something is kept there."""
    if place.exists():
        if aside.exists():
            shutil.rmtree(place)
        else:
            aside.parent.mkdir(parents=True, exist_ok=True, mode=_DIR_MODE)
            place.rename(aside)
    place.parent.mkdir(parents=True, exist_ok=True, mode=_DIR_MODE)
    new.rename(place)
    _sync(place.parent)


def _above(path: Path, root: Path) -> list[Path]:
    return [parent for parent in path.parents if parent.is_relative_to(root)]


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _corrupt(detail: str) -> BlazzError:
    return BlazzError(ErrorCode.SNAPSHOT_CORRUPT, detail)
