"""Capture: a profile's files, read while its browser runs, as one moment's state.

Owns the reading. LevelDB's tables never change and its logs only grow, so a copy is whole if
nothing came, went or was rewritten while it was made; else it is made again, a few times. Symbolic
links are never followed. Blocking throughout: call it in a thread. Never writes to a profile.
"""

import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from schemas.errors import BlazzError, ErrorCode
from swarm_node.core.snapshot_delta import (
    BLOCK_BYTES,
    Action,
    Append,
    Delete,
    FileMark,
    FileStat,
    Marks,
    digest,
    held_still,
    just_written,
    matches,
    plan,
)
from swarm_node.core.snapshot_format import PLAIN_BYTES_MAX, Part, PartKind, too_large
from swarm_node.engines.contract import SnapshotFiles

TRIES: Final = 6
_CLOCK_TICK_NS: Final = 15_000_000
"""How far apart two writes can be and carry the same time: file times follow the kernel's tick."""


class Captured(msgspec.Struct, frozen=True):
    """What changed since `marks`, and the new marks. `total_bytes`: of all files together."""

    parts: tuple[Part, ...]
    blobs: tuple[bytes, ...]
    marks: dict[str, FileMark]
    total_bytes: int


class _MovedError(Exception):
    """The files changed under the reader."""


def capture(
    profile_dir: Path,
    files: SnapshotFiles,
    marks: Marks,
    *,
    pause: Callable[[float], None] = time.sleep,
) -> Captured:
    """Read what changed since `marks` (empty: everything).

    Raises `snapshot_too_large`; `timeout` when the files would not hold still.
    """
    for attempt in range(TRIES):
        if attempt:
            pause(_CLOCK_TICK_NS / 1e9 * attempt)
        now_ns = time.time_ns()
        before = scan(profile_dir, files)
        if just_written(before, files.append_only, since_ns=now_ns - _CLOCK_TICK_NS):
            continue
        total = sum(one.size for one in before.values())
        if total > PLAIN_BYTES_MAX:
            raise too_large(total)
        try:
            found = _read_all(profile_dir, files, marks, before, now_ns)
        except (_MovedError, FileNotFoundError):
            continue
        if held_still(before, scan(profile_dir, files), files.append_only):
            return found
    raise BlazzError(ErrorCode.TIMEOUT, "the profile's files would not hold still")


def scan(profile_dir: Path, files: SnapshotFiles) -> dict[str, FileStat]:
    """The files that make a snapshot, by their path in the profile."""
    found: dict[str, FileStat] = {}
    for include in files.include:
        if _leads_through_a_link(profile_dir, include):
            continue
        for path, info in _walk(profile_dir, include, files):
            found[path] = FileStat(info.st_size, info.st_mtime_ns, info.st_ino)
    return found


def _leads_through_a_link(profile_dir: Path, include: str) -> bool:
    steps = include.split("/")
    return any((profile_dir / "/".join(steps[: i + 1])).is_symlink() for i in range(len(steps)))


def _walk(
    profile_dir: Path, path: str, files: SnapshotFiles
) -> Iterator[tuple[str, os.stat_result]]:
    if matches(path, files.exclude):
        return
    try:
        info = os.lstat(profile_dir / path)
        if stat.S_ISREG(info.st_mode):
            yield path, info
        if not stat.S_ISDIR(info.st_mode):
            return
        names = sorted(entry.name for entry in (profile_dir / path).iterdir())
    except FileNotFoundError:
        return
    for name in names:
        yield from _walk(profile_dir, f"{path}/{name}", files)


def _read_all(
    profile_dir: Path,
    files: SnapshotFiles,
    marks: Marks,
    seen: dict[str, FileStat],
    now_ns: int,
) -> Captured:
    new_marks = {path: mark for path, mark in marks.items() if path in seen}
    parts: list[Part] = []
    blobs: list[bytes] = []
    for action in plan(marks, seen, files.append_only):
        if isinstance(action, Delete):
            parts.append(Part(action.path, PartKind.DELETE))
            continue
        part, blob, mark = _read(profile_dir, action, seen[action.path], now_ns)
        old = marks.get(action.path)
        new_marks[action.path] = mark
        if _says_nothing_new(part, mark, old):
            continue
        parts.append(part)
        blobs.append(blob)
    total = sum(one.size for one in seen.values())
    return Captured(tuple(parts), tuple(blobs), new_marks, total)


def _says_nothing_new(part: Part, mark: FileMark, old: FileMark | None) -> bool:
    if old is None:
        return False
    if part.kind is PartKind.APPEND:
        return part.size == 0
    return old.content != b"" and old.content == mark.content


def _read(
    profile_dir: Path, action: Action, seen: FileStat, now_ns: int
) -> tuple[Part, bytes, FileMark]:
    racy = seen.mtime_ns >= now_ns - _CLOCK_TICK_NS
    fd = os.open(profile_dir / action.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(fd).st_ino != seen.inode:
            raise _MovedError
        if isinstance(action, Append):
            start = max(0, action.offset - BLOCK_BYTES)
            data = _exactly(fd, start, seen.size - start)
            old_end = action.offset - start
            if digest(data[:old_end]) == action.tail:
                mark = FileMark(seen, digest(data[-BLOCK_BYTES:]), racy=racy)
                added = data[old_end:]
                part = Part(action.path, PartKind.APPEND, len(added), action.offset)
                return part, added, mark
        data = _exactly(fd, 0, seen.size)
    finally:
        os.close(fd)
    mark = FileMark(seen, digest(data[-BLOCK_BYTES:]), digest(data), racy)
    return Part(action.path, PartKind.REPLACE, len(data)), data, mark


def _exactly(fd: int, start: int, size: int) -> bytes:
    """`size` bytes from `start` on; a file that has shrunk meanwhile was rewritten."""
    pieces = []
    while size > 0:
        piece = os.pread(fd, size, start)
        if not piece:
            raise _MovedError
        pieces.append(piece)
        start += len(piece)
        size -= len(piece)
    return b"".join(pieces)
