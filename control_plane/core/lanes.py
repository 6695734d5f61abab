"""Lanes: which of a shard's non-empty lanes may be worked on now.

Owns the queue of ready lanes and the parked ones. Never reads a lane or a clock. A lane is in
exactly one place (ready, running or parked), so that no two tasks ever work on one lane.
"""

from collections import deque
from enum import StrEnum

import msgspec


class Lane(msgspec.Struct, frozen=True):
    """A session's lane."""

    tenant_id: str
    session_id: str


class Park(StrEnum):
    """Why a lane waits."""

    BACKING_OFF = "backing_off"
    """Its head is tried again at a time."""
    OFFLINE = "offline"
    """Or when its session comes online."""
    PACED = "paced"
    """Or when something else is appended: that may go before what waits."""


class Parked(msgspec.Struct, frozen=True):
    """A lane that waits until a time; `reason` is for people."""

    until: float
    why: Park
    reason: str = ""


class Place(StrEnum):
    """Where a lane is."""

    NOWHERE = "nowhere"
    READY = "ready"
    RUNNING = "running"
    PARKED = "parked"


class LaneBook:
    """The lanes of one shard."""

    def __init__(self) -> None:
        self._ready: deque[Lane] = deque()
        self._running: dict[Lane, bool] = {}  # → whether something was appended meanwhile
        self._parked: dict[Lane, Parked] = {}
        self._by_session: dict[str, Lane] = {}

    def note(self, lane: Lane) -> None:
        """Something lies in this lane. A parked lane stays parked, for its head has to wait,
        unless others may go before it."""
        parked = self._parked.get(lane)
        if lane in self._running:
            self._running[lane] = True
        elif parked is not None and parked.why is Park.PACED:
            self.wake(lane)
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

    def park(self, lane: Lane, parked: Parked) -> None:
        """It waits. What was appended while it ran may go before what it waits for."""
        appended = self._running.pop(lane)
        if appended and parked.why is Park.PACED:
            self._ready.append(lane)
        else:
            self._parked[lane] = parked

    def drop(self, lane: Lane) -> None:
        """It was found empty. What was appended while it ran brings it back at once."""
        if self._running.pop(lane):
            self._ready.append(lane)
        else:
            del self._by_session[lane.session_id]

    def place(self, lane: Lane) -> Place:
        """Where it is."""
        if lane in self._running:
            return Place.RUNNING
        if lane in self._parked:
            return Place.PARKED
        return Place.READY if lane.session_id in self._by_session else Place.NOWHERE

    def parked(self, lane: Lane) -> Parked | None:
        """Why it waits, if it does."""
        return self._parked.get(lane)

    def offline_lane(self, session_id: str) -> Lane | None:
        """The lane of a session if it waits for it to come online."""
        lane = self._by_session.get(session_id)
        parked = self._parked.get(lane) if lane else None
        return lane if parked is not None and parked.why is Park.OFFLINE else None

    def lanes(self, why: Park) -> list[Lane]:
        """All that wait for a reason."""
        return [lane for lane, parked in self._parked.items() if parked.why is why]

    @property
    def running(self) -> int:
        """How many are being worked on."""
        return len(self._running)

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
        return {
            "ready": len(self._ready),
            "running": len(self._running),
            **{why.value: len(self.lanes(why)) for why in Park},
        }
