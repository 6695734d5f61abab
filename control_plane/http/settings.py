"""Settings of the HTTP side: limits, times and the functions it is given.

Owns their defaults. Never reads a file or the environment: the composition root does.
"""

import time
from collections.abc import Callable

import msgspec

from control_plane.core.rate_limit import RatePolicy
from schemas.messages import MEDIA_BYTES_MAX


def no_metrics() -> bytes:
    """An exposition without a single metric."""
    return b""


class HttpSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the HTTP app may be told. Sizes in bytes, times in seconds."""

    metrics: Callable[[], bytes] = no_metrics
    """The Prometheus text exposition, for `/metrics`."""
    version: str = "0.1.0"
    public_url: str | None = None
    """How customers reach this server, e.g. `https://wa.example.com`; by default what the request
    says, which is right only when no proxy rewrites the host."""
    rate: RatePolicy = RatePolicy(per_s=50.0, burst=200)
    """For each API key."""
    link_rate: RatePolicy = RatePolicy(per_s=0.5, burst=20)
    """For the POSTs of each link page."""
    json_bytes_max: int = 1024 * 1024
    inline_media_bytes_max: int = 16 * 1024 * 1024
    """Decoded size of `media.data`; larger media is uploaded to `/v1/media`."""
    media_bytes_max: int = MEDIA_BYTES_MAX
    heartbeat_s: float = 15.0
    stream_s_max: float = 3_600.0
    """An event stream ends after this, so that a revoked key doesn't read for ever; clients
    reconnect with `Last-Event-ID`."""
    streams_max: int = 2_000
    """Event streams and event sockets together."""
    socket_send_s_max: float = 30.0
    """An event socket whose client takes nothing for so long is closed."""
    socket_origins: tuple[str, ...] = ("*",)
    """Whose pages may open an event socket, e.g. `https://app.example.com`; `*`: anybody's. A
    client that is no browser names none."""
    stop_grace_s: float = 5.0
    """How long a stop waits for requests under way."""
    ready_timeout_s: float = 2.0
    link_tick_s: float = 2.0
    """How often an open link page's session is read anew, besides at its events."""
    clock: Callable[[], float] = time.monotonic
    wall_clock: Callable[[], float] = time.time
