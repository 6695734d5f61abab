"""Placement: which node a session goes to.

Owns the choice alone: filters first, then an order of preference. Never reserves anything; the
writer does, with compare-and-set, and asks again when it lost the race.
"""

from collections.abc import Callable
from enum import StrEnum

import msgspec

from control_plane.core.fleet import ENGINE_MEMORY_BYTES, FleetSnapshot, NodeSnapshot
from schemas.states import EngineKind, NodeState


class Wanted(msgspec.Struct, frozen=True):
    """What a session needs. `avoid` names nodes that were just found full or gone."""

    tenant_id: str
    engine: EngineKind
    region: str | None = None
    avoid: frozenset[str] = frozenset()


class Placement(msgspec.Struct, frozen=True):
    """Where it goes."""

    node_id: str


class Reason(StrEnum):
    """Why there is no place, from the most basic lack to the last one."""

    NO_NODES = "no node is known"
    NO_HEALTHY_NODE = "no node is alive"
    ALL_CORDONED = "every live node is cordoned"
    ENGINE_NOT_OFFERED = "no live node offers this engine"
    ALL_FULL = "every suitable node is full"
    NO_MEMORY = "no suitable node has enough free memory"


class Unplaceable(msgspec.Struct, frozen=True):
    """There is no place now."""

    reason: Reason


Preference = Callable[[NodeSnapshot, Wanted], float]
"""A score; higher is better. Spreading over providers and regions is one more of these."""


def in_wanted_region(node: NodeSnapshot, wanted: Wanted) -> float:
    """The wanted region first, but another one rather than none."""
    return float(wanted.region is None or node.record.region == wanted.region)


def free_share(node: NodeSnapshot, _wanted: Wanted) -> float:
    """The emptiest node first, so that load and the damage of one loss stay even."""
    return node.free / max(1, node.sessions_max)


PREFERENCES: tuple[Preference, ...] = (in_wanted_region, free_share)


def place(
    fleet: FleetSnapshot,
    wanted: Wanted,
    preferences: tuple[Preference, ...] = PREFERENCES,
) -> Placement | Unplaceable:
    """Choose a node, or say what is lacking. Ties go to the smaller node id."""
    left = list(fleet.nodes.values())
    filters: tuple[tuple[Reason, Callable[[NodeSnapshot], bool]], ...] = (
        (Reason.NO_NODES, lambda node: True),
        (Reason.NO_HEALTHY_NODE, lambda node: node.state is NodeState.ALIVE),
        (Reason.ALL_CORDONED, lambda node: not node.record.cordoned),
        (Reason.ENGINE_NOT_OFFERED, lambda node: wanted.engine in node.record.engines),
        (
            Reason.ALL_FULL,
            lambda node: node.free > 0 and node.record.node_id not in wanted.avoid,
        ),
        (Reason.NO_MEMORY, lambda node: _memory_fits(node, wanted.engine)),
    )
    for reason, fits in filters:
        left = [node for node in left if fits(node)]
        if not left:
            return Unplaceable(reason)
    best = min(
        left,
        key=lambda node: (
            *(-preference(node, wanted) for preference in preferences),
            -node.free,
            node.record.node_id,
        ),
    )
    return Placement(best.record.node_id)


def _memory_fits(node: NodeSnapshot, engine: EngineKind) -> bool:
    """Whether the measured free memory holds one more, after those placed but not yet running.

    A node that does not measure (0) is trusted with its `sessions_max`.
    """
    pulse = node.heartbeat
    if pulse is None or pulse.memory_free_bytes <= 0:
        return True
    running = sum(1 for session in pulse.sessions if session.state.holds_engine)
    promised = max(0, node.reserved - running) * ENGINE_MEMORY_BYTES[engine]
    return pulse.memory_free_bytes - promised >= ENGINE_MEMORY_BYTES[engine]
