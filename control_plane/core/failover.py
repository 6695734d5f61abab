"""Failover: when a node is dead for sure, and when its sessions may be placed elsewhere.

Owns the verdicts. Never acts on one and never reads a clock: every duration is handed in, counted
on the reader's clock that stands still during its own outages (`core.liveness`).

A node is lost only when two independent signs agree: its lease is gone from the bucket, and no
pulse came for longer than `suspect_after_s`. The holder of a lease stops by its own clock before
the lease ends; the grace on top leaves it time to kill its engines.
"""

from collections.abc import Iterable

import msgspec

from control_plane.core.liveness import LivenessRules
from schemas.states import NodeState

_MASS_MIN = 2


class Signs(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one node's life, in seconds of the counted clock.

    - `silence_s`: since its last pulse, or since we began to listen if it was never `heard`.
    - `lease_absent_s`: since its lease was first seen absent; None while there is one.
    - `stopped_s`: since it was first seen to have stopped by itself; None if it has not.
    """

    heard: bool
    silence_s: float
    lease_absent_s: float | None
    stopped_s: float | None = None


def grace_s(fleet: Iterable[Signs], rules: LivenessRules) -> float:
    """How long a lease must be absent before its holder is given up.

    When at least half of the nodes lose their leases within one period, something between us is
    more likely broken than all of them: verdicts wait one more period. Bounded: it only delays.
    """
    window_s = rules.lease_absent_grace_s + rules.thaw_after_s
    newly_absent = living = 0
    for signs in fleet:
        if signs.stopped_s is not None:
            continue
        if signs.lease_absent_s is None:
            living += 1
        elif signs.lease_absent_s < window_s:
            newly_absent += 1
    mass = newly_absent >= _MASS_MIN and newly_absent >= living
    return window_s if mass else rules.lease_absent_grace_s


def verdict(signs: Signs, rules: LivenessRules, absent_grace_s: float) -> NodeState:
    """What to conclude about a node. `absent_grace_s` comes from `grace_s`."""
    if signs.stopped_s is not None:
        return NodeState.STOPPED
    silent = signs.silence_s >= rules.suspect_after_s
    absent_s = signs.lease_absent_s
    if silent and absent_s is not None and absent_s >= absent_grace_s:
        return NodeState.LOST
    if silent or not signs.heard:
        return NodeState.SUSPECT
    return NodeState.ALIVE


def gone(signs: Signs, rules: LivenessRules, absent_grace_s: float) -> bool:
    """Whether the node's sessions may be placed elsewhere: it runs none, for sure, and a node that
    stopped by itself has had time to come back to them."""
    match verdict(signs, rules, absent_grace_s):
        case NodeState.LOST:
            return True
        case NodeState.STOPPED:
            assert signs.stopped_s is not None
            return signs.lease_absent_s is not None and signs.stopped_s >= rules.restart_grace_s
        case _:
            return False


def due_in_s(signs: Signs, rules: LivenessRules, absent_grace_s: float) -> float | None:
    """In how many counted seconds `gone` could become true by silence alone; None if it could not
    (it is already, or it needs news first)."""
    if signs.lease_absent_s is None or gone(signs, rules, absent_grace_s):
        return None
    if signs.stopped_s is not None:
        return max(0.0, rules.restart_grace_s - signs.stopped_s)
    return max(0.0, absent_grace_s - signs.lease_absent_s, rules.suspect_after_s - signs.silence_s)
