"""Placement: which node a session goes to.

Owns the choice alone: filters first, then an order of preference. Never reserves anything; the
writer does, with compare-and-set, and asks again when it lost the race.
"""

import ipaddress
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Final

import msgspec

from control_plane.core.fleet import ENGINE_MEMORY_BYTES, FleetSnapshot, Kept, NodeSnapshot
from schemas.records import NodeRecord
from schemas.states import EngineKind, NodeState


class Wanted(msgspec.Struct, frozen=True):
    """What a session needs. `avoid` names nodes that will not do; `only` one that alone will.
    `session_id`: the session itself, which does not count as a neighbour. `kept`: what it must be
    able to go on from."""

    tenant_id: str
    engine: EngineKind
    region: str | None = None
    avoid: frozenset[str] = frozenset()
    only: str | None = None
    session_id: str | None = None
    kept: Kept | None = None


class Placement(msgspec.Struct, frozen=True):
    """Where it goes."""

    node_id: str


class Reason(StrEnum):
    """Why there is no place, from the most basic lack to the last one."""

    NO_NODES = "no node is known"
    NO_HEALTHY_NODE = "no node is alive"
    ALL_CORDONED = "every live node is cordoned"
    ENGINE_NOT_OFFERED = "no live node offers this engine"
    NOT_ELSEWHERE = "no other node will do"
    OTHER_BUILD = "no suitable node runs the Chromium build of its snapshot"
    ALL_FULL = "every suitable node is full"
    NO_MEMORY = "no suitable node has enough free memory"


class Unplaceable(msgspec.Struct, frozen=True):
    """There is no place now. `detail`: which build is meant, if that is the reason."""

    reason: Reason
    detail: str | None = None

    @property
    def words(self) -> str:
        """For people."""
        return f"{self.reason} ({self.detail})" if self.detail else str(self.reason)


class Neighbours(msgspec.Struct, frozen=True):
    """How many of a tenant's sessions one loss at each level would touch."""

    by_range: Counter[str]
    by_node: Counter[str]
    by_provider: Counter[str]
    by_region: Counter[str]

    def note(self, record: NodeRecord) -> None:
        """One more is there."""
        self.by_range[address_range(record.address)] += 1
        self.by_node[record.node_id] += 1
        self.by_provider[record.provider] += 1
        self.by_region[record.region] += 1


Preference = Callable[[NodeSnapshot, Wanted, Neighbours], float]
"""A score; higher is better."""


def same_build(node: NodeSnapshot, wanted: Wanted, _near: Neighbours) -> float:
    """A node that can restore the snapshot first, then the one whose disk must still have it."""
    return float(wanted.kept is None or wanted.kept.same_build(node.record))


def in_wanted_region(node: NodeSnapshot, wanted: Wanted, _near: Neighbours) -> float:
    """The wanted region first, but another one rather than none."""
    return float(wanted.region is None or node.record.region == wanted.region)


def apart_by_range(node: NodeSnapshot, _wanted: Wanted, near: Neighbours) -> float:
    """Address ranges are blocked, and lost, as one."""
    return -near.by_range[address_range(node.record.address)]


def apart_by_node(node: NodeSnapshot, _wanted: Wanted, near: Neighbours) -> float:
    """Machines die alone, most of the time."""
    return -near.by_node[node.node_id]


def apart_by_provider(node: NodeSnapshot, _wanted: Wanted, near: Neighbours) -> float:
    """Providers close accounts."""
    return -near.by_provider[node.record.provider]


def apart_by_region(node: NodeSnapshot, _wanted: Wanted, near: Neighbours) -> float:
    """Regions lose their power or their lines."""
    return -near.by_region[node.record.region]


def free_share(node: NodeSnapshot, _wanted: Wanted, _near: Neighbours) -> float:
    """The emptiest node first, so that load and the damage of one loss stay even."""
    return node.free / max(1, node.sessions_max)


PREFERENCES: Final[tuple[Preference, ...]] = (
    same_build,
    in_wanted_region,
    apart_by_range,
    apart_by_node,
    apart_by_provider,
    apart_by_region,
    free_share,
)


class Places:
    """The places of a fleet, given away one by one: several choices in a row see each other.

    Pure: it changes nothing but itself.
    """

    def __init__(
        self, fleet: FleetSnapshot, preferences: tuple[Preference, ...] = PREFERENCES
    ) -> None:
        self._fleet = fleet
        self._preferences = preferences
        self._nodes = dict(fleet.nodes)
        self._near: dict[str, Neighbours] = {}
        self._homes: dict[str, list[tuple[str, str]]] | None = None

    def choose(self, wanted: Wanted) -> Placement | Unplaceable:
        """Choose a node, or say what is lacking. Ties go to the smaller node id."""
        left = list(self._nodes.values())
        for reason, fits in _filters(wanted):
            left = [node for node in left if fits(node)]
            if not left:
                if reason is Reason.OTHER_BUILD and wanted.kept is not None:
                    return Unplaceable(reason, wanted.kept.chromium_build)
                return Unplaceable(reason)
        near = self._neighbours(wanted)
        best = min(
            left,
            key=lambda node: (
                *(-preference(node, wanted, near) for preference in self._preferences),
                -node.free,
                node.node_id,
            ),
        )
        return Placement(best.node_id)

    def take(self, node_id: str, tenant_id: str) -> None:
        """A place is given away. An unknown node is nobody's place."""
        node = self._nodes.get(node_id)
        if node is None:
            return
        self._nodes[node_id] = msgspec.structs.replace(node, reserved=node.reserved + 1)
        if tenant_id in self._near:
            self._near[tenant_id].note(node.record)

    def _neighbours(self, wanted: Wanted) -> Neighbours:
        near = self._near.get(wanted.tenant_id)
        if near is None:
            near = self._near[wanted.tenant_id] = _nobody()
            for _session_id, node_id in self._homes_of(wanted.tenant_id):
                near.note(self._nodes[node_id].record)
        own = self._fleet.assignments.get(wanted.session_id or "")
        node = self._fleet.node_of(own)
        if node is None or node.gone:
            return near
        return _without(near, node.record)

    def _homes_of(self, tenant_id: str) -> list[tuple[str, str]]:
        """A tenant's sessions and their nodes, without those whose node is gone."""
        if self._homes is None:
            self._homes = defaultdict(list)
            for assignment in self._fleet.assignments.values():
                node = self._fleet.node_of(assignment)
                if node is not None and not node.gone:
                    home = (assignment.session_id, node.node_id)
                    self._homes[assignment.tenant_id].append(home)
        return self._homes.get(tenant_id, [])


def place(
    fleet: FleetSnapshot,
    wanted: Wanted,
    preferences: tuple[Preference, ...] = PREFERENCES,
) -> Placement | Unplaceable:
    """One choice: see `Places.choose`."""
    return Places(fleet, preferences).choose(wanted)


def address_range(address: str) -> str:
    """The range an address is in: its /24, or /48 for IPv6; a host name stands for itself."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    bits = 24 if parsed.version == 4 else 48
    return str(ipaddress.ip_network((parsed, bits), strict=False))


def _filters(wanted: Wanted) -> Iterator[tuple[Reason, Callable[[NodeSnapshot], bool]]]:
    yield Reason.NO_NODES, lambda node: True
    yield Reason.NO_HEALTHY_NODE, lambda node: node.state is NodeState.ALIVE
    yield Reason.ALL_CORDONED, lambda node: not node.cordoned
    yield Reason.ENGINE_NOT_OFFERED, lambda node: wanted.engine in node.record.engines
    yield Reason.NOT_ELSEWHERE, lambda node: _allowed(node.node_id, wanted)
    yield Reason.OTHER_BUILD, lambda node: wanted.kept is None or wanted.kept.opens_on(node.record)
    yield Reason.ALL_FULL, lambda node: node.free > 0
    yield Reason.NO_MEMORY, lambda node: _memory_fits(node, wanted.engine)


def _allowed(node_id: str, wanted: Wanted) -> bool:
    return node_id not in wanted.avoid and wanted.only in (None, node_id)


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


def _nobody() -> Neighbours:
    return Neighbours(Counter(), Counter(), Counter(), Counter())


def _without(near: Neighbours, record: NodeRecord) -> Neighbours:
    fewer = Neighbours(*(Counter(counts) for counts in msgspec.structs.astuple(near)))
    fewer.by_range[address_range(record.address)] -= 1
    fewer.by_node[record.node_id] -= 1
    fewer.by_provider[record.provider] -= 1
    fewer.by_region[record.region] -= 1
    return fewer
