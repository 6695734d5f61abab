"""The node's data directory: where profiles, what is known of them and scratch files lie.

Owns the paths and the lock that keeps a second process out. Never looks inside a profile.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from schemas.errors import BlazzError, ErrorCode


class DataDir:
    """Paths under one directory."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.profiles = self.root / "profiles"
        self.vault = self.root / "vault"
        self.events = self.root / "events"
        self.scratch = self.root / "scratch"
        self.credential = self.root / "bus.creds"

    def profile(self, session_id: str) -> Path:
        """One session's profile."""
        return self.profiles / session_id

    def beside_profile(self, session_id: str) -> Path:
        """What the vault's node half keeps of a session beside its profile."""
        return self.vault / session_id

    def delete_session(self, session_id: str) -> None:
        """Delete all that is kept of a session. Blocking."""
        for folder in (
            self.profile(session_id),
            self.beside_profile(session_id),
            self.scratch / session_id,
        ):
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the directory and keep other processes out for the block.

        Scratch files of a process that was killed are removed. Raises `data_dir_locked`.
        """
        for folder in (self.profiles, self.vault, self.events):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(self.root / "node.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BlazzError(
                    ErrorCode.DATA_DIR_LOCKED, "another node runs in this data directory"
                ) from error
            shutil.rmtree(self.scratch, ignore_errors=True)
            self.scratch.mkdir(mode=0o700)
            yield
        finally:
            os.close(lock)
