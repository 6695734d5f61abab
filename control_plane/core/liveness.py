"""Liveness: what silence means, by the reader's own monotonic clock.

Owns the thresholds' use and the clock that stands still during our own outages. Never reads a
clock: `now` (monotonic seconds) is passed in. A verdict is a hint for readers; taking a session
away from a node also needs its lease to have ended.
"""

import msgspec

from schemas.states import NodeState


class LivenessRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """After how much counted silence a node is doubted, then given up; and how long verdicts
    stand still after our own bus came back (everybody needs a moment to be heard again)."""

    suspect_after_s: float
    lost_after_s: float
    thaw_after_s: float


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


def judge(
    *, stopped: bool, heard_at: float | None, watched_from: float, now: float, rules: LivenessRules
) -> NodeState:
    """What to conclude about a node; the three times are on the counted clock.

    A node never heard is doubted from the start, and given up as late as one that was heard when
    we began to listen.
    """
    if stopped:
        return NodeState.STOPPED
    silence_s = now - (watched_from if heard_at is None else heard_at)
    if silence_s >= rules.lost_after_s:
        return NodeState.LOST
    if heard_at is None or silence_s >= rules.suspect_after_s:
        return NodeState.SUSPECT
    return NodeState.ALIVE
