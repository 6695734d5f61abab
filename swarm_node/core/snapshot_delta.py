"""Deltas: what of a profile must be read again, given what was read last.

Owns the decision, from the marks of the last capture and a new scan. A file may be appended to only
if it is of an append-only kind and its old end still reads as it did; everything else that changed
is read whole. Pure: scans and block hashes are arguments. Never opens a file.
"""

import hashlib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final

import msgspec

from schemas.snapshots import DELTAS_MAX

BLOCK_BYTES: Final = 4096
"""How much of a file's old end is compared before it is appended to."""
BASELINE_FLOOR_BYTES: Final = 1024 * 1024
"""Deltas that are smaller together make no new baseline, however small the baseline is."""


class FileStat(msgspec.Struct, frozen=True):
    """A file as a scan saw it. `mtime_ns`: nanoseconds of Unix time."""

    size: int
    mtime_ns: int
    inode: int


class FileMark(msgspec.Struct, frozen=True):
    """A file as it was captured. `tail`: the hash of its last block; `content`: of all of it, empty
    once it was appended to. `racy`: it was written to so shortly before that a later write may
    carry the same time."""

    stat: FileStat
    tail: bytes
    content: bytes = b""
    racy: bool = False


class Replace(msgspec.Struct, frozen=True):
    """Read the whole file."""

    path: str


class Append(msgspec.Struct, frozen=True):
    """Read from `offset` on, if the block before it still has the hash `tail`; else all of it."""

    path: str
    offset: int
    tail: bytes


class Delete(msgspec.Struct, frozen=True):
    """The file is gone."""

    path: str


Action = Replace | Append | Delete
Scan = Mapping[str, FileStat]
Marks = Mapping[str, FileMark]
Patterns = Sequence[str]
"""Name patterns (`*.log`); those of files that only grow are called `grows` here."""


class Chain(msgspec.Struct, frozen=True):
    """The generation being written: stored bytes of its baseline and of its deltas so far."""

    baseline_bytes: int
    deltas: int = 0
    delta_bytes: int = 0

    def grown(self, size_bytes: int) -> "Chain":
        """With one delta more."""
        return Chain(self.baseline_bytes, self.deltas + 1, self.delta_bytes + size_bytes)


def digest(data: bytes | memoryview) -> bytes:
    """The hash that marks carry."""
    return hashlib.blake2b(data, digest_size=16).digest()


def matches(path: str, patterns: Patterns) -> bool:
    """Whether the last part of a path is of one of the patterns."""
    name = path.rpartition("/")[2]
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def plan(marks: Marks, scan: Scan, grows: Patterns) -> tuple[Action, ...]:
    """What to read, by path; what has not changed is not mentioned."""
    actions: list[Action] = [Delete(path) for path in sorted(marks.keys() - scan.keys())]
    for path, stat in sorted(scan.items()):
        mark = marks.get(path)
        action = Replace(path) if mark is None else _changed(path, mark, stat, grows)
        if action is not None:
            actions.append(action)
    return tuple(actions)


def _changed(path: str, mark: FileMark, stat: FileStat, grows: Patterns) -> Action | None:
    if stat == mark.stat and not mark.racy:
        return None
    same_file = stat.inode == mark.stat.inode and stat.size >= mark.stat.size
    if same_file and matches(path, grows):
        return Append(path, mark.stat.size, mark.tail)
    return Replace(path)


def held_still(before: Scan, after: Scan, grows: Patterns) -> bool:
    """Whether what was read between two scans is one moment's state: nothing came, went or was
    rewritten; appended-to files count up to the size that the first scan saw."""
    if before.keys() != after.keys():
        return False
    return all(_kept(path, stat, after[path], grows) for path, stat in before.items())


def _kept(path: str, before: FileStat, after: FileStat, grows: Patterns) -> bool:
    if matches(path, grows):
        return after.inode == before.inode and after.size >= before.size
    return after == before


def just_written(scan: Scan, grows: Patterns, *, since_ns: int) -> bool:
    """Whether a file that may be rewritten was written to since then: its time can't tell whether
    it is written to again while it is read."""
    return any(stat.mtime_ns >= since_ns for path, stat in scan.items() if not matches(path, grows))


def needs_baseline(chain: Chain | None) -> bool:
    """Whether the next capture begins a new generation. None: nothing was stored by this process
    under this epoch, or nobody knows whether the last object was."""
    if chain is None or chain.deltas >= DELTAS_MAX:
        return True
    return chain.delta_bytes > max(chain.baseline_bytes, BASELINE_FLOOR_BYTES)
