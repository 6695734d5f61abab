"""A webhook's backlog: which of its failed deliveries are due, and how the webhook is doing.

Owns the index of what waits and what is dead, and the count of failures in a row. Never holds a
delivery itself, only its place.
"""

import heapq

import msgspec

from control_plane.core.webhook_delivery import DOWN_AFTER


class Place(msgspec.Struct, frozen=True):
    """Where a delivery lies in the queue; `due_at` None: it is dead."""

    seq: int
    due_at: float | None


class Backlog:
    """One webhook's. Fed with every write to the queue, ours and others' alike."""

    def __init__(self) -> None:
        self._places: dict[str, Place] = {}
        self._heap: list[tuple[float, str, int]] = []
        self._dead: dict[str, int] = {}

    @property
    def waiting(self) -> int:
        """How many are to be tried again."""
        return len(self._places) - len(self._dead)

    @property
    def dead(self) -> int:
        """How many were given up."""
        return len(self._dead)

    def note(self, event_id: str, place: Place) -> None:
        """A write; an older one than is known changes nothing."""
        known = self._places.get(event_id)
        if known is not None and known.seq >= place.seq:
            return
        self._places[event_id] = place
        self._dead.pop(event_id, None)
        if place.due_at is None:
            self._dead[event_id] = place.seq
        else:
            heapq.heappush(self._heap, (place.due_at, event_id, place.seq))

    def drop(self, event_id: str, seq: int) -> None:
        """It is no longer there, unless it was written anew after `seq`."""
        known = self._places.get(event_id)
        if known is not None and known.seq <= seq:
            del self._places[event_id]
            self._dead.pop(event_id, None)

    def take_due(self, now: float) -> tuple[str, int] | None:
        """The next delivery whose time has come, as `(event_id, seq)`. It is handed out once:
        a later write (or `put_back`) brings it again."""
        while self._heap and self._heap[0][0] <= now:
            _due_at, event_id, seq = heapq.heappop(self._heap)
            if self._current(event_id, seq):
                return event_id, seq
        return None

    def put_back(self, event_id: str, seq: int, due_at: float) -> None:
        """It was taken but nothing came of it."""
        if self._current(event_id, seq):
            heapq.heappush(self._heap, (due_at, event_id, seq))

    def next_due(self) -> float | None:
        """When the next one's time comes."""
        while self._heap and not self._current(*self._heap[0][1:]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def all_due(self, now: float) -> None:
        """Everything that waits is due now: the webhook is back."""
        self._heap = [
            (min(due_at, now), event_id, seq)
            for due_at, event_id, seq in self._heap
            if self._current(event_id, seq)
        ]
        heapq.heapify(self._heap)

    def oldest_dead(self, kept: int) -> list[tuple[str, int]]:
        """The dead beyond `kept`, oldest first."""
        ordered = sorted(self._dead.items(), key=lambda item: item[1])
        return ordered[: max(0, len(ordered) - kept)]

    def _current(self, event_id: str, seq: int) -> bool:
        place = self._places.get(event_id)
        return place is not None and place.seq == seq and place.due_at is not None


class Health:
    """How a webhook is doing, by the attempts of late."""

    def __init__(self) -> None:
        self._failures = 0

    @property
    def down(self) -> bool:
        """Whether it has failed too often in a row to be worth more than the attempts due."""
        return self._failures >= DOWN_AFTER

    def failed(self) -> None:
        """One more."""
        self._failures += 1

    def succeeded(self) -> bool:
        """It works. True if it had been down until now."""
        was_down = self.down
        self._failures = 0
        return was_down
