"""The fleet as this terminal knows it: each datum with its revision and its age.

Owns `FleetView` and its entries. Never changes by itself: only `fold.fold` writes it, never judged
here (see `health.py`). Mutable inside, because 10,000 sessions are folded many times a second.
"""

from collections import Counter, deque
from typing import Final, Generic, TypeVar

import msgspec

from schemas.records import (
    Assignment,
    CapacityRecord,
    Heartbeat,
    NodeIntent,
    NodeRecord,
    SessionLoad,
    SessionObserved,
    SessionRecord,
)
from tui.changes import (
    Happened,
    PastMoment,
)
from tui.fold_memory import FoldMemory, Touched

EVENTS_KEPT: Final = 2_000
INCARNATIONS_KEPT: Final = 4
"""Pulses are kept aside for this many lives of a node, until its record says which one counts."""

T = TypeVar("T")


class Kept(msgspec.Struct, Generic[T], frozen=True):
    """A record, the bucket revision that brought it, and when it came (monotonic seconds)."""

    record: T
    revision: int
    at: float


class KeptPulse(msgspec.Struct, frozen=True):
    """A heartbeat, when it came, and its lines by session."""

    heartbeat: Heartbeat
    at: float
    loads: dict[str, SessionLoad]


class NodeEntry:
    """All that is known of one node."""

    __slots__ = ("capacity", "first_seen_at", "intent", "node_id", "pulses", "record")

    def __init__(self, node_id: str, at: float) -> None:
        self.node_id = node_id
        self.first_seen_at = at
        self.record: Kept[NodeRecord] | None = None
        self.capacity: Kept[CapacityRecord] | None = None
        self.intent: Kept[NodeIntent] | None = None
        self.pulses: dict[str, KeptPulse] = {}

    @property
    def pulse(self) -> KeptPulse | None:
        """The latest pulse of the life that the record names; any life's while there is none."""
        if self.record is not None:
            return self.pulses.get(self.record.record.incarnation)
        return max(self.pulses.values(), key=lambda pulse: pulse.at, default=None)

    @property
    def empty(self) -> bool:
        """Whether nothing in the bucket speaks of this node any more."""
        return self.record is None and self.capacity is None and self.intent is None


class SessionEntry:
    """All that is known of one session."""

    __slots__ = ("assignment", "epoch_seen", "observed", "record", "session_id")

    def __init__(self, session_id: str, epoch_seen: int) -> None:
        self.session_id = session_id
        self.record: Kept[SessionRecord] | None = None
        self.assignment: Kept[Assignment] | None = None
        self.observed: dict[str, Kept[SessionObserved]] = {}
        """By node: every node that ran the session and has not cleaned up."""
        self.epoch_seen = epoch_seen
        """The highest epoch any assignment had, be it deleted meanwhile."""

    @property
    def latest_observed(self) -> Kept[SessionObserved] | None:
        """What the owner of the highest epoch saw."""
        if len(self.observed) <= 1:
            return next(iter(self.observed.values()), None)
        return max(
            self.observed.values(),
            key=lambda kept: (kept.record.epoch, kept.revision),
            default=None,
        )

    @property
    def epoch(self) -> int:
        """The highest epoch anything in the bucket says."""
        observed = self.latest_observed
        return max(self.epoch_seen, observed.record.epoch if observed else 0)

    @property
    def empty(self) -> bool:
        """Whether nothing in the bucket speaks of this session any more."""
        return self.record is None and self.assignment is None and not self.observed


class BusView(msgspec.Struct, frozen=True):
    """The bus as last heard: since when (monotonic), why it is away, how fast it answers."""

    up: bool = False
    since: float = 0.0
    reason: str = ""
    round_trip_s: float | None = None


class FleetView:
    """The state that `fold` builds. Read freely; never write from outside."""

    def __init__(self) -> None:
        self.forget(Touched())

    def forget(self, touched: Touched) -> None:
        """Know nothing. `touched`: what looks different by that."""
        self.nodes: dict[str, NodeEntry] = {}
        self.sessions: dict[str, SessionEntry] = {}
        self.events: deque[Happened] = deque(maxlen=EVENTS_KEPT)
        self.events_total = 0
        self.events_missed = 0
        self.troubles: dict[str, str] = {}
        """Parts of the feed that do not come, and why."""
        self.bus = BusView()
        self.resyncing = False
        self.whole = False
        """Whether all of the bucket was read since the last doubt about it."""
        self.resyncs = 0
        self.last_data_at: float | None = None
        self.rejected: Counter[str] = Counter()
        self.past: PastMoment | None = None
        """What is shown is the past; None: it is the present."""
        self.memory = FoldMemory()
        self._touched = touched

    @property
    def touched(self) -> Touched:
        """What changed since it was last taken."""
        return self._touched

    def take_touched(self) -> Touched:
        """What changed since this was last called: for the one that keeps the roll."""
        touched, self._touched = self._touched, Touched()
        return touched
