"""Which replicas share the shards: those that were heard of lately, by our own clock.

A server that is killed can come back with records it had let expire; nobody takes them back then,
and the shards of a replica that is long gone would be nobody's.
"""

from __future__ import annotations

import msgspec

from control_plane.core.liveness import LivenessRules
from control_plane.state.fleet_state import FleetState
from schemas.keys import DISPATCHER_LEASE, lease_key
from schemas.records import LeaseRecord
from schemas.timing import FAST

GONE, HERE = LeaseRecord("control-plane-1", "a" * 32, 1.0), LeaseRecord("cp-2", "b" * 32, 1.0)


def announce(state: FleetState, record: LeaseRecord, revision: int, at: float) -> None:
    key = lease_key(DISPATCHER_LEASE, record.incarnation)
    state.fold(key, msgspec.json.encode(record), revision, now=at)


def test_an_announcement_that_is_not_renewed_counts_no_more() -> None:
    state = FleetState(LivenessRules.of(FAST), now=0.0)
    announce(state, GONE, 1, at=10.0)
    announce(state, HERE, 2, at=10.0)
    assert state.dispatchers(9.0) == [GONE, HERE]
    announce(state, HERE, 3, at=14.0)
    assert state.dispatchers(14.0) == [HERE]
    assert state.dispatchers(10.0) == [GONE, HERE]


def test_one_that_takes_its_leave_is_gone_at_once() -> None:
    state = FleetState(LivenessRules.of(FAST), now=0.0)
    announce(state, GONE, 1, at=10.0)
    state.fold(lease_key(DISPATCHER_LEASE, GONE.incarnation), None, 2, now=10.5)
    assert state.dispatchers(0.0) == []
