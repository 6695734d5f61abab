"""Local state: what this node remembers of the profile on its own disk.

Owns one small file a session, beside the profile (never in it: a restore replaces the profile). It
says under which epoch the profile last ran here, so that a start can tell whether the disk or the
vault is newer (`core.snapshot_rules.origin`), and holds the page storage that the disk may lack.
"""

import os
from pathlib import Path
from typing import Final

import msgspec

from swarm_node.core.snapshot_rules import LocalMark

_NAME: Final = "local.json"
_MODE: Final = 0o600


class LocalState(msgspec.Struct, frozen=True, omit_defaults=True):
    """One session's local state.

    - `number`: of the last object that was begun under `epoch`; the next one is higher.
    - `last_object`: the last one committed. `page_storage`: as last read from the page.
    - `clean`: the profile was closed in its own time, so the disk lacks nothing.
    - `linked_epoch`: the epoch under which the profile's device was linked; 0: not known.
    """

    epoch: int
    number: int = 0
    last_object: str | None = None
    page_storage: dict[str, str] | None = None
    clean: bool = False
    linked_epoch: int = 0

    @property
    def mark(self) -> LocalMark:
        """What decides between disk and vault."""
        return LocalMark(self.epoch)


class LocalFolder:
    """A session's folder beside its profile. Every call blocks."""

    def __init__(self, folder: Path, profile_dir: Path) -> None:
        self.profile_dir = profile_dir
        self.restoring = folder / "restoring"
        self.aside = folder / "aside"
        self._folder = folder

    def read(self) -> LocalState | None:
        """What is remembered; None if nothing is, or nothing that can be read."""
        try:
            return msgspec.json.decode((self._folder / _NAME).read_bytes(), type=LocalState)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None

    def write(self, state: LocalState) -> None:
        """Remember it, over a crash too. Raises `OSError`."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        half = self._folder / f"{_NAME}.tmp"
        fd = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _MODE)
        with open(fd, "wb") as file:  # noqa: PTH123 - opened by its descriptor, for its mode
            file.write(msgspec.json.encode(state))
            file.flush()
            os.fsync(fd)
        half.rename(self._folder / _NAME)

    def profile_there(self) -> bool:
        """Whether there is a profile with anything in it."""
        return self.profile_dir.is_dir() and any(self.profile_dir.iterdir())
