"""The rate limiter's table: one number a caller, bounded.

Owns the numbers and what the headers are told. Never decides: `core.rate_limit` does.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

import msgspec

from control_plane.core.rate_limit import RatePolicy, RateVerdict, decide
from schemas.errors import BlazzError, ErrorCode

CALLERS_MAX: Final = 20_000
"""Beyond this the caller who was idle longest is forgotten, which only ever favours him."""


class RateNote(msgspec.Struct, frozen=True):
    """A verdict and its policy, kept with the request for its answer's headers."""

    policy: RatePolicy
    verdict: RateVerdict


class RateLimiter:
    """Charges callers for requests; in memory, so each replica allows the whole rate."""

    def __init__(self, policy: RatePolicy, clock: Callable[[], float]) -> None:
        self._policy = policy
        self._clock = clock
        self._arrivals: OrderedDict[str, float] = OrderedDict()

    def charge(self, scope: Any, caller: str) -> None:
        """Count one request of `caller`; raises `rate_limited`. `scope` is the ASGI scope."""
        verdict = decide(self._policy, self._arrivals.get(caller), self._clock())
        self._arrivals[caller] = verdict.arrival_s
        self._arrivals.move_to_end(caller)
        if len(self._arrivals) > CALLERS_MAX:
            self._arrivals.popitem(last=False)
        scope.setdefault("state", {})["rate"] = RateNote(self._policy, verdict)
        if not verdict.allowed:
            raise BlazzError(ErrorCode.RATE_LIMITED)
