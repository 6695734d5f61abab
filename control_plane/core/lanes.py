"""Lanes: which of a shard's non-empty lanes may be worked on now.

Owns the queue of ready lanes and the parked ones. Never reads a lane or a clock. A lane is in
exactly one place (ready, running or parked), so that no two tasks ever work on one lane.
"""

from collections import deque

import msgspec


class Lane(msgspec.Struct, frozen=True):
    """A session's lane."""

    tenant_id: str
    session_id: str


class _Parked(msgspec.Struct, frozen=True):
    until: float
    offline: bool


class LaneBook:
    """The lanes of one shard."""

    def __init__(self) -> None:
        self._ready: deque[Lane] = deque()
        self._running: dict[Lane, bool] = {}  # → whether something was appended meanwhile
        self._parked: dict[Lane, _Parked] = {}
        self._by_session: dict[str, Lane] = {}

    def note(self, lane: Lane) -> None:
        """Something lies in this lane. A parked lane stays parked: its head has to wait."""
        if lane in self._running:
            self._running[lane] = True
        elif lane.session_id not in self._by_session:
            self._by_session[lane.session_id] = lane
            self._ready.append(lane)

    def take(self) -> Lane | None:
        """The next lane to work on; it is running until `requeue`, `park` or `drop`."""
        if not self._ready:
            return None
        lane = self._ready.popleft()
        self._running[lane] = False
        return lane

    def requeue(self, lane: Lane) -> None:
        """It has more, but others go first."""
        del self._running[lane]
        self._ready.append(lane)

    def park(self, lane: Lane, until: float, *, offline: bool) -> None:
        """Its head waits until a time, or, when `offline`, for its session to come online."""
        del self._running[lane]
        self._parked[lane] = _Parked(until, offline)

    def drop(self, lane: Lane) -> None:
        """It was found empty. What was appended while it ran brings it back at once."""
        if self._running.pop(lane):
            self._ready.append(lane)
        else:
            del self._by_session[lane.session_id]

    def offline_lane(self, session_id: str) -> Lane | None:
        """The lane of a session if it waits for it to come online."""
        lane = self._by_session.get(session_id)
        parked = self._parked.get(lane) if lane else None
        return lane if parked is not None and parked.offline else None

    def offline_lanes(self) -> list[Lane]:
        """All that wait for their session to come online."""
        return [lane for lane, parked in self._parked.items() if parked.offline]

    def wake(self, lane: Lane) -> None:
        """Its session may be online now."""
        if self._parked.pop(lane, None) is not None:
            self._ready.append(lane)

    def wake_due(self, now: float) -> None:
        """Wake every lane whose time has come."""
        for lane in [lane for lane, parked in self._parked.items() if parked.until <= now]:
            self.wake(lane)

    def next_due(self) -> float | None:
        """When the next parked lane wakes."""
        return min((parked.until for parked in self._parked.values()), default=None)

    def counts(self) -> dict[str, int]:
        """How many lanes are where."""
        offline = len(self.offline_lanes())
        return {
            "ready": len(self._ready),
            "running": len(self._running),
            "offline": offline,
            "backing_off": len(self._parked) - offline,
        }
