"""An append-only file of changes: what a loopback profile and the node's event journal are made of.

Owns the file's format and its rewriting. A line is one change with its checksum, so a copy cut
anywhere holds the changes up to a moment, whole. A rewrite makes a new file under a new name: a
file of a given name only ever grows. Never knows what a change means.
"""

import errno
import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_PATTERN: Final = "*.log"
_CRC_CHARS: Final = 8


class Journal:
    """The newest file of a directory. `read`, then `rewrite`, then `append`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._fd = -1
        self._number = 0
        self._torn = False

    def read(self) -> list[bytes]:
        """The changes that are whole, oldest first."""
        found = sorted(self._directory.glob(_PATTERN))
        if not found:
            return []
        self._number = int(found[-1].stem)
        changes = []
        for line in found[-1].read_bytes().split(b"\n"):
            change = line[_CRC_CHARS + 1 :]
            # The last line of a killed process or a hot copy; or an append that failed and said so.
            if line == _line(change):
                changes.append(change)
        return changes

    def rewrite(self, changes: Iterable[bytes]) -> None:
        """Begin a new file with these changes alone, and remove the older ones."""
        target = self._directory / f"{self._number + 1:06d}.log"
        half = target.with_suffix(".tmp")
        with half.open("wb") as file:
            file.writelines(_line(change) + b"\n" for change in changes)
            file.flush()
            os.fdatasync(file.fileno())
        half.rename(target)
        self.close()
        self._fd = os.open(target, os.O_WRONLY | os.O_APPEND)
        self._number += 1
        for old in self._directory.glob(_PATTERN):
            if old != target:
                old.unlink(missing_ok=True)

    def append(self, *changes: bytes) -> None:
        """Keep changes; they are on the disk when this returns. None has a line break.

        Raises `OSError`; then nobody may rely on any of them, though some may be there.
        """
        lines = b"".join(_line(change) + b"\n" for change in changes)
        lines = (b"\n" if self._torn else b"") + lines
        self._torn = True
        if os.write(self._fd, lines) != len(lines):
            raise OSError(errno.ENOSPC, "the disk took only a part of the changes")
        os.fdatasync(self._fd)
        self._torn = False

    def close(self) -> None:
        """Close the file; everything is on the disk already."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _line(change: bytes) -> bytes:
    return b"%08x %s" % (zlib.crc32(change), change)
