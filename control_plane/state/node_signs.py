"""Signs of life: the nodes' pulses and leases as this reader has seen them, by its own clock.

Owns when each was last heard, when a lease was first seen absent and a stop first seen, and the
clock that stands still during our own outages. What follows from them is `core.failover`'s.
"""

from typing import Final

import msgspec

from control_plane.core import failover
from control_plane.core.failover import Signs
from control_plane.core.liveness import CountedClock, LivenessRules
from schemas.records import Heartbeat, NodeRecord
from schemas.states import NodeState

_INCARNATIONS_KEPT: Final = 2
"""A node restarting overlaps with its own past; more than two at once is a fault elsewhere."""


class _Pulse(msgspec.Struct, frozen=True):
    heartbeat: Heartbeat
    heard_at: float
    counted_at: float


class Judged(msgspec.Struct, frozen=True):
    """A node's verdict and what it was taken from; see `fleet.NodeSnapshot`."""

    state: NodeState
    heartbeat: Heartbeat | None
    age_s: float | None
    gone: bool
    gone_in_s: float | None


class NodeSigns:
    """All nodes' signs. `now` is always monotonic seconds."""

    def __init__(self, rules: LivenessRules, *, now: float) -> None:
        self._rules = rules
        self._clock = CountedClock()
        self._watched_from = now
        self._pulses: dict[str, dict[str, _Pulse]] = {}
        self._leased: set[str] = set()
        self._absent_since: dict[str, float] = {}
        self._stopped_since: dict[str, float] = {}
        self._records: dict[str, NodeRecord] = {}
        self._grace: tuple[float, float] | None = None

    # Taking in ---------------------------------------------------------------------------------

    def hear(self, pulse: Heartbeat, now: float) -> None:
        """A heartbeat; one no newer than the last of its incarnation is dropped."""
        of_node = self._pulses.setdefault(pulse.node_id, {})
        last = of_node.pop(pulse.incarnation, None)
        if last is not None and pulse.sequence <= last.heartbeat.sequence:
            of_node[pulse.incarnation] = last
            return
        of_node[pulse.incarnation] = _Pulse(pulse, now, self._clock.counted(now))
        while len(of_node) > _INCARNATIONS_KEPT:
            del of_node[next(iter(of_node))]

    def lease_seen(self, node_id: str, present: bool, now: float) -> bool:
        """A node's lease is there, or is not; whether that is new."""
        self._grace = None
        if not present:
            self._leased.discard(node_id)
            self._absent_since.setdefault(node_id, self._clock.counted(now))
            return True
        new = node_id not in self._leased
        self._leased.add(node_id)
        self._absent_since.pop(node_id, None)
        return new

    def record_seen(self, node_id: str, record: NodeRecord | None, now: float) -> None:
        """A node's own record as it is now; None: it is gone."""
        self._grace = None
        if record is None:
            for known in (self._pulses, self._absent_since, self._stopped_since, self._records):
                known.pop(node_id, None)
            return
        self._records[node_id] = record
        if node_id not in self._leased:
            self._absent_since.setdefault(node_id, self._clock.counted(now))
        if record.stopped:
            self._stopped_since.setdefault(node_id, self._clock.counted(now))
        else:
            self._stopped_since.pop(node_id, None)

    def bus_lost(self, began_at: float) -> None:
        """Our own bus is away since `began_at`: silence proves nothing from then on."""
        self._clock = self._clock.bus_lost(began_at)

    def bus_back(self, now: float) -> None:
        """Our own bus is back."""
        self._clock = self._clock.bus_back(now, self._rules.thaw_after_s)

    # Judging -----------------------------------------------------------------------------------

    def judge(self, record: NodeRecord, now: float) -> Judged:
        """What to conclude about a node now."""
        signs = self._signs(record, self._clock.counted(now))
        grace_s = self._grace_s(now)
        pulse = self._pulse(record)
        return Judged(
            state=failover.verdict(signs, self._rules, grace_s),
            heartbeat=pulse.heartbeat if pulse else None,
            age_s=max(0.0, now - pulse.heard_at) if pulse else None,
            gone=failover.gone(signs, self._rules, grace_s),
            gone_in_s=failover.due_in_s(signs, self._rules, grace_s),
        )

    def _signs(self, record: NodeRecord, counted: float) -> Signs:
        pulse = self._pulse(record)
        absent_since = self._absent_since.get(record.node_id)
        stopped_since = self._stopped_since.get(record.node_id)
        return Signs(
            heard=pulse is not None,
            silence_s=counted - (pulse.counted_at if pulse else self._watched_from),
            lease_absent_s=None if absent_since is None else counted - absent_since,
            stopped_s=None if stopped_since is None else counted - stopped_since,
        )

    def _pulse(self, record: NodeRecord) -> _Pulse | None:
        return self._pulses.get(record.node_id, {}).get(record.incarnation)

    def _grace_s(self, now: float) -> float:
        # The same for all nodes at one moment: a list of 9,000 sessions asks once.
        if self._grace is None or self._grace[0] != now:
            counted = self._clock.counted(now)
            fleet = [self._signs(record, counted) for record in self._records.values()]
            self._grace = (now, failover.grace_s(fleet, self._rules))
        return self._grace[1]
