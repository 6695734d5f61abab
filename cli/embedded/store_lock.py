"""The lock on a data directory: one nats-server at a time.

Owns the flock. nats-server takes none itself, and two on one store destroy it. The server
inherits the lock's descriptor, so the directory stays locked until the last of parent and server
is gone, even when the parent is killed.
"""

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from schemas.errors import BlazzError, ErrorCode

_LOOK_EVERY_S: Final = 0.1


@asynccontextmanager
async def store_lock(directory: Path, *, wait_s: float) -> AsyncIterator[int]:
    """Hold the directory for the block; gives the descriptor for the server to inherit.

    Raises `data_dir_locked` when another holds it for longer than `wait_s`.
    """
    path = directory / "lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        give_up_at = time.monotonic() + wait_s
        while not _try_lock(descriptor):
            if time.monotonic() >= give_up_at:
                raise BlazzError(
                    ErrorCode.DATA_DIR_LOCKED,
                    f"{directory.name} is in use by process {_owner(path)}",
                )
            await asyncio.sleep(_LOOK_EVERY_S)
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _owner(path: Path) -> str:
    return path.read_text(encoding="ascii", errors="replace").strip() or "unknown"
