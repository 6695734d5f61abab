"""Ensure: bring the server's streams and buckets in line with `schemas.resources`.

Owns the comparison and the update. Idempotent, and safe from several processes at once. Never
deletes a stream and never makes one smaller than what it holds: a difference the server cannot
take in place is a clear error for a person.
"""

from collections.abc import Mapping
from typing import Any, Final

import structlog

from schemas.errors import BlazzError, ErrorCode
from schemas.resources import all_streams
from schemas.transport.connection import Bus
from schemas.transport.jetstream import JetStream, JetStreamError, StreamInfo

log = structlog.get_logger()

_DEFAULTS: Final[Mapping[str, object]] = {
    # What the server leaves out of its answer when unset.
    "allow_atomic": False,
    "allow_msg_ttl": False,
    "allow_direct": False,
    "allow_rollup_hdrs": False,
    "deny_delete": False,
    "deny_purge": False,
    "description": "",
    "persist_mode": "default",
    "subject_delete_marker_ttl": 0,
}


def differences(wanted: Mapping[str, Any], actual: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the settings in `wanted` that the server has otherwise. What it has beside
    them (metadata, defaults of a newer version) is its own."""
    return tuple(
        sorted(name for name in wanted if actual.get(name, _DEFAULTS.get(name)) != wanted[name])
    )


async def ensure_all(bus: Bus, *, replicas: int = 1, scale: float = 1.0) -> tuple[str, ...]:
    """Create or update everything; returns the names of the streams that were changed.

    Raises `config_invalid` when a stream exists with a setting that cannot be changed in place or
    the server lacks the room, `nats_unavailable`, `forbidden`.
    """
    jetstream = JetStream(bus)
    changed = [
        spec.name
        for spec in all_streams()
        if await ensure_stream(jetstream, spec.config(scale=scale, replicas=replicas))
    ]
    return tuple(changed)


async def ensure_stream(jetstream: JetStream, wanted: dict[str, Any]) -> bool:
    """Make one stream be as `wanted`; False if it was already. Raises as `ensure_all`."""
    name = wanted["name"]
    try:
        actual = await jetstream.stream_info(name)
    except JetStreamError as error:
        if error.code is not ErrorCode.NOT_FOUND:
            raise
        if await _create(jetstream, wanted):
            return True
        actual = await jetstream.stream_info(name)
    names = differences(wanted, actual.config)
    if not names:
        return False
    if "max_bytes" in names and wanted["max_bytes"] < actual.state.bytes:
        raise BlazzError(
            ErrorCode.CONFIG_INVALID,
            f"stream {name} already holds more than the wanted max_bytes",
            stream=name,
        )
    try:
        # The server's own settings stay: an update replaces the whole configuration.
        await jetstream.api(f"STREAM.UPDATE.{name}", actual.config | wanted, StreamInfo)
    except JetStreamError as error:
        raise _refused(name, names, error) from error
    log.info("stream.updated", stream=name, settings=list(names))
    return True


async def _create(jetstream: JetStream, wanted: dict[str, Any]) -> bool:
    """Create; False if another process was first with another configuration."""
    name = wanted["name"]
    try:
        await jetstream.api(f"STREAM.CREATE.{name}", wanted, StreamInfo)
    except JetStreamError as error:
        if error.err_code == 10058:
            return False
        raise _refused(name, (), error) from error
    log.info("stream.created", stream=name)
    return True


def _refused(name: str, settings: tuple[str, ...], error: JetStreamError) -> BlazzError:
    if error.code is ErrorCode.NATS_UNAVAILABLE and error.err_code not in (10047, 10023):
        return error
    about = f" ({', '.join(settings)})" if settings else ""
    return BlazzError(
        ErrorCode.CONFIG_INVALID,
        f"the server refuses the settings of stream {name}{about}: {error.detail}",
        stream=name,
    )
