"""Liveness: the thresholds, and the clock that stands still during our own outages.

Owns both. Never reads a clock: `now` (monotonic seconds) is passed in. What silence means is
`core.failover`'s to say.
"""

import msgspec

from schemas.timing import TimingProfile


class LivenessRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """In seconds; what each is for stands at the same name in `schemas.timing`."""

    suspect_after_s: float
    thaw_after_s: float
    lease_absent_grace_s: float
    restart_grace_s: float

    @classmethod
    def of(cls, profile: TimingProfile) -> "LivenessRules":
        """Those of a timing profile."""
        return cls(
            suspect_after_s=profile.suspect_after_s,
            thaw_after_s=profile.thaw_after_s,
            lease_absent_grace_s=profile.lease_absent_grace_s,
            restart_grace_s=profile.restart_grace_s,
        )


class CountedClock(msgspec.Struct, frozen=True):
    """A clock that does not count time in which we could not have heard anybody."""

    frozen_total_s: float = 0.0
    frozen_since: float | None = None
    thaws_at: float | None = None

    def bus_lost(self, now: float) -> "CountedClock":
        """Our bus went away at `now`: from here on silence proves nothing."""
        settled = self._settle(now)
        if settled.frozen_since is not None:
            return CountedClock(settled.frozen_total_s, settled.frozen_since, None)
        return CountedClock(settled.frozen_total_s, now, None)

    def bus_back(self, now: float, thaw_after_s: float) -> "CountedClock":
        """Our bus is back: count again after one more period. Also right without a `bus_lost`
        (an outage noticed only when it was over: give `began_at` to `bus_lost` first)."""
        since = now if self.frozen_since is None else self.frozen_since
        return CountedClock(self.frozen_total_s, since, now + thaw_after_s)

    def counted(self, now: float) -> float:
        """`now` without the time that does not count."""
        settled = self._settle(now)
        end = now if settled.frozen_since is None else settled.frozen_since
        return end - settled.frozen_total_s

    def _settle(self, now: float) -> "CountedClock":
        if self.frozen_since is None or self.thaws_at is None or now < self.thaws_at:
            return self
        return CountedClock(self.frozen_total_s + self.thaws_at - self.frozen_since)
