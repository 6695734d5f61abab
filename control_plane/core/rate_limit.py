"""Rate limiting: GCRA, the generic cell rate algorithm, as arithmetic.

Owns the policy and the decision. Never reads a clock or keeps a table: callers pass the time in
and keep one number a caller (the theoretical arrival time).
"""

from typing import Annotated

import msgspec
from msgspec import Meta


class RatePolicy(msgspec.Struct, frozen=True):
    """`per_s` requests a second for ever, and `burst` at once after a rest."""

    per_s: Annotated[float, Meta(gt=0)]
    burst: Annotated[int, Meta(ge=1)]

    @property
    def window_s(self) -> float:
        """How long an exhausted caller rests until the whole burst is there again."""
        return self.burst / self.per_s


class RateVerdict(msgspec.Struct, frozen=True):
    """What became of one request. `arrival_s` is to be kept for the caller's next one."""

    allowed: bool
    arrival_s: float
    remaining: int
    reset_s: float
    """Seconds until the whole burst is there again."""
    retry_after_s: float = 0.0


def decide(policy: RatePolicy, arrival_s: float | None, now_s: float) -> RateVerdict:
    """Allow or refuse one request of a caller whose kept number is `arrival_s` (None: new).

    A refused request costs nothing: a caller who keeps trying is not locked out for longer.
    """
    interval_s = 1.0 / policy.per_s
    tolerance_s = interval_s * (policy.burst - 1)
    arrival = max(arrival_s if arrival_s is not None else now_s, now_s)
    early_s = arrival - now_s - tolerance_s
    # Sums of binary fractions: a nanosecond early is on time.
    if early_s > 1e-9:
        return RateVerdict(
            allowed=False,
            arrival_s=arrival,
            remaining=0,
            reset_s=arrival - now_s,
            retry_after_s=early_s,
        )
    following = arrival + interval_s
    room_s = now_s + tolerance_s + interval_s - following
    return RateVerdict(
        allowed=True,
        arrival_s=following,
        remaining=max(0, int(room_s / interval_s + 1e-9)),
        reset_s=following - now_s,
    )
