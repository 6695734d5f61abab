"""The tape: a stretch of the fleet's past as changes with their times, and a place on it.

Owns the order of what happened and the way to any moment of it. Pure. What comes out is folded by
the same `model.fold` as the present; only heartbeats are made up, with a line for each session
whose record says that it ran: what a heartbeat said of sessions is not written down.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import Final

import msgspec

from schemas.history import PULSES_PERIOD_S, PastPulse
from schemas.records import Assignment, Heartbeat, SessionLoad, SessionObserved
from tui.changes import Batch, Change, Happened, Pulse, RecordGone, RecordPut, Rewound
from tui.health import HealthLimits

PAST_LIMITS: Final = HealthLimits(
    suspect_after_s=2.5 * PULSES_PERIOD_S, lost_after_s=4 * PULSES_PERIOD_S
)
"""Pulses are written down twice a minute: silence means something only later than live."""
_FAR_S: Final = 600.0
_FAR_STEP_S: Final = 10.0
_NEAR_STEP_S: Final = 0.5
_BATCH_MAX: Final = 2_000


class Frame(msgspec.Struct, frozen=True):
    """What came at one moment (Unix seconds): changes, or what nodes said."""

    at: float
    changes: tuple[Change, ...] = ()
    pulses: tuple[PastPulse, ...] = ()


class Tape:
    """Any moment from `begins` to `ends` can be gone to. Its first frames are the whole fleet."""

    def __init__(self, frames: Iterable[Frame], begins: float, ends: float) -> None:
        self.begins = begins
        self.ends = ends
        self._frames = sorted(frames, key=lambda frame: frame.at)
        self._events = [
            frame.at
            for frame in self._frames
            if any(isinstance(change, Happened) for change in frame.changes)
        ]
        self._next = 0
        # Later than any moment: the first one gone to empties the view of another tape's fleet.
        self._at = float("inf")
        self._running = _Running()

    def event_after(self, at: float) -> float | None:
        """When the next event happened."""
        place = bisect_right(self._events, at)
        return self._events[place] if place < len(self._events) else None

    def event_before(self, at: float) -> float | None:
        """When the event before happened."""
        place = bisect_left(self._events, at)
        return self._events[place - 1] if place and self._events[place - 1] >= self.begins else None

    def batches_to(self, at: float) -> list[Batch]:
        """What leads from the moment last gone to, to this one; all anew if that was later."""
        batches: list[Batch] = []
        if at < self._at:
            self._next, self._running = 0, _Running()
            batches.append(Batch(at, (Rewound(),)))
        self._at = at
        gathered: list[Change] = []
        since = 0.0
        heard: dict[str, tuple[float, PastPulse]] = {}
        while self._next < len(self._frames) and self._frames[self._next].at <= at:
            frame = self._frames[self._next]
            self._next += 1
            heard |= {pulse.node_id: (frame.at, pulse) for pulse in frame.pulses}
            step_s = _FAR_STEP_S if frame.at < at - _FAR_S else _NEAR_STEP_S
            if gathered and (frame.at - since > step_s or len(gathered) >= _BATCH_MAX):
                batches.append(Batch(since, tuple(gathered)))
                gathered = []
            if not gathered:
                # The first one's time for all: a datum may look older than it is, never younger.
                since = frame.at
            gathered += frame.changes
            self._running.note(frame.changes)
        if gathered:
            batches.append(Batch(since, tuple(gathered)))
        if heard:
            lines = self._running.lines()
            for heard_at, pulse in sorted(heard.values(), key=lambda item: item[0]):
                beat = _heartbeat(pulse, lines.get(pulse.node_id, ()))
                batches.append(Batch(heard_at, (Pulse(beat),)))
        return batches


class _Running:
    """Which sessions ran where, by the records that came by."""

    def __init__(self) -> None:
        self._observed: dict[str, SessionObserved] = {}
        self._assigned: dict[str, tuple[str, Assignment]] = {}

    def note(self, changes: Iterable[Change]) -> None:
        """Take changes in."""
        for change in changes:
            if isinstance(change, RecordGone):
                self._observed.pop(change.key, None)
                self._assigned.pop(change.key, None)
            elif isinstance(change, RecordPut):
                if isinstance(change.record, SessionObserved):
                    self._observed[change.key] = change.record
                elif isinstance(change.record, Assignment):
                    self._assigned[change.key] = (change.record.session_id, change.record)

    def lines(self) -> dict[str, tuple[SessionLoad, ...]]:
        """By node, what its heartbeat would have said."""
        assigned = dict(self._assigned.values())
        lines: dict[str, list[SessionLoad]] = {}
        for seen in self._observed.values():
            owner = assigned.get(seen.session_id)
            owned = owner is None or (owner.node_id, owner.epoch) == (seen.node_id, seen.epoch)
            if seen.state.holds_engine and owned:
                lines.setdefault(seen.node_id, []).append(
                    SessionLoad(seen.session_id, seen.tenant_id, seen.epoch, seen.state, seen.since)
                )
        return {node_id: tuple(of_node) for node_id, of_node in lines.items()}


def _heartbeat(pulse: PastPulse, lines: tuple[SessionLoad, ...]) -> Heartbeat:
    return Heartbeat(
        node_id=pulse.node_id,
        incarnation=pulse.incarnation,
        sequence=pulse.sequence,
        sessions_max=pulse.sessions_max,
        sessions=lines,
        memory_used_bytes=pulse.memory_used_bytes,
        memory_free_bytes=pulse.memory_free_bytes,
        cpu_load=pulse.cpu_load,
    )
