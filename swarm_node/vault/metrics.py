"""The vault's metrics on a node: what is captured, how long it takes, how old the oldest is.

Owns their names and labels, on the node's registry. No label ever holds a session or tenant.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BUCKETS_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 15)


class VaultMetrics:
    """What a node counts of its snapshots."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._bytes = Counter(
            "blazz_snapshot_bytes",
            "Sealed bytes of committed snapshots",
            ["kind"],
            registry=registry,
        )
        self._seconds = Histogram(
            "blazz_snapshot_seconds",
            "From the reading of a profile to the commit",
            registry=registry,
            buckets=_BUCKETS_S,
        )
        self._failures = Counter(
            "blazz_snapshot_failures", "Captures that were not kept", ["code"], registry=registry
        )
        self._restores = Counter(
            "blazz_restores", "Profiles made from the vault", ["result"], registry=registry
        )
        age = Gauge(
            "blazz_snapshot_age_seconds",
            "Since the oldest last capture of a session that is online",
            registry=registry,
        )
        age.set_function(self._oldest_age_s)
        self._kept_at_s: dict[str, float] = {}

    def kept(self, session_id: str) -> None:
        """What is stored of the session is what it is now."""
        self._kept_at_s[session_id] = time.monotonic()

    def online(self, session_id: str) -> None:
        """From now on the session's state can be lost."""
        self._kept_at_s.setdefault(session_id, time.monotonic())

    def offline(self, session_id: str) -> None:
        """Nothing new comes to the session's state."""
        self._kept_at_s.pop(session_id, None)

    def stored(self, *, baseline: bool, size_bytes: int) -> None:
        """An object was committed."""
        self._bytes.labels("baseline" if baseline else "delta").inc(size_bytes)

    def failed(self, code: str) -> None:
        """A capture came to nothing; `code` is an `ErrorCode`."""
        self._failures.labels(code).inc()

    def restored(self, result: str) -> None:
        """A restore ended: `restored` or an `ErrorCode`."""
        self._restores.labels(result).inc()

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Measure the block, if it succeeds."""
        began_s = time.monotonic()
        yield
        self._seconds.observe(time.monotonic() - began_s)

    def _oldest_age_s(self) -> float:
        oldest_s = min(self._kept_at_s.values(), default=None)
        return 0.0 if oldest_s is None else time.monotonic() - oldest_s
