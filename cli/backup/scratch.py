"""A scratch server: the same nats-server on a directory that goes away, to look into copies with.

Owns its life, and putting copies into it so that nothing in them expires or changes there.
"""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from cli.backup.sealed import read_sealed
from cli.embedded.server import EmbeddedNats, EmbeddedSettings
from schemas.backup import StreamCopy
from schemas.errors import BlazzError, ErrorCode
from schemas.transport.connection import Bus, BusSettings
from schemas.transport.jetstream import JetStream, JetStreamError, StreamState
from schemas.transport.stream_copy import copy_in

log = structlog.get_logger()

_STILL: Final[dict[str, Any]] = {
    # As it was in the moment of the copy: nothing expires while it is looked at.
    "max_age": 0,
    "allow_msg_ttl": False,
    "subject_delete_marker_ttl": 0,
    "allow_rollup_hdrs": False,
    "max_bytes": -1,
    "num_replicas": 1,
}
TRIES_MAX: Final = 5
_RESTORE_FAILED: Final = 10062
_PATIENCE_S: Final = 60.0
_UNSET: Final = ("placement", "sources", "mirror", "metadata")


def patient(settings: BusSettings) -> BusSettings:
    """The same connection for moving gigabytes: a disk that is busy for half a minute is no
    reason to begin anew, and nobody waits for this process to notice a dead server."""
    profile = msgspec.structs.replace(
        settings.profile,
        ping_interval_s=_PATIENCE_S,
        self_ping_interval_s=_PATIENCE_S / 4,
        self_ping_timeout_s=_PATIENCE_S,
        jetstream_timeout_s=_PATIENCE_S,
        fetch_timeout_s=_PATIENCE_S / 2,
    )
    return msgspec.structs.replace(settings, profile=profile)


@asynccontextmanager
async def scratch_bus(temp_dir: Path | None = None) -> AsyncIterator[Bus]:
    """A connection to an empty server, for the block. `temp_dir` needs room for what is put into
    it. Raises `dependency_missing`, `nats_unavailable`."""
    with tempfile.TemporaryDirectory(prefix="blazz-backup-", dir=temp_dir) as folder:
        # It is thrown away: nothing in it needs to be on the disk.
        settings = EmbeddedSettings(sync_always=False)
        async with (
            EmbeddedNats(Path(folder) / "nats", settings) as nats,
            Bus.connect(patient(nats.bus_settings(nats.control_plane))) as bus,
        ):
            yield bus


def still(config: dict[str, Any]) -> dict[str, Any]:
    """A stream's configuration for looking."""
    return {name: value for name, value in config.items() if name not in _UNSET} | _STILL


def max_age_s(config: dict[str, Any]) -> float:
    """How long a stream keeps its messages at most; 0: for ever."""
    return float(config.get("max_age", 0)) / 1e9


async def put_stream(
    bus: Bus, folder: Path, copy: StreamCopy, secret: bytes, config: dict[str, Any]
) -> StreamState:
    """Put a stream's copy onto a bus under `config`. Raises `backup_damaged` and as `copy_in`."""
    state = StreamState(copy.messages, copy.size_bytes, copy.first_seq, copy.last_seq)

    async def chunks() -> AsyncIterator[bytes]:
        for chunk in read_sealed(folder, copy.part.file, secret):
            yield chunk

    for _ in range(TRIES_MAX - 1):
        try:
            return await copy_in(JetStream(bus), config, state, chunks())
        except BlazzError as error:
            # A server whose disk is busy for some seconds gives a copy up: it says nothing any
            # more, or only that it failed.
            failed = isinstance(error, JetStreamError) and error.err_code == _RESTORE_FAILED
            if not (failed or error.retryable):
                raise
            log.warning("backup.copy_repeated", stream=copy.stream, code=error.code)
        await _remove(bus, copy.stream)
    return await copy_in(JetStream(bus), config, state, chunks())


async def _remove(bus: Bus, stream: str) -> None:
    await bus.wait_connected(_PATIENCE_S)
    try:
        await JetStream(bus).delete_stream(stream)
    except BlazzError as error:
        if error.code is not ErrorCode.NOT_FOUND:
            raise


def moved(config: dict[str, Any], *, replicas: int) -> dict[str, Any]:
    """A stream's configuration for another installation."""
    kept = {name: value for name, value in config.items() if name not in _UNSET}
    return kept | {"num_replicas": replicas}
