"""Region rows: nodes added up by region and provider.

Pure. Owns the sums, the columns and what they sort by. A node that is not heard adds no health:
its sessions count as unsure.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from schemas.states import NodeState, SessionState
from tui.health import NodeHealth
from tui.model import FleetView, NodeEntry
from tui.rows import words
from tui.rows.cells import Cell, Column, Row, Severity
from tui.rows.mix import mix_words

COLUMNS: Final = (
    Column("region", "REGION", 12, grow=True, width_max=24),
    Column("provider", "PROVIDER", 10, grow=True, width_max=24),
    Column("nodes", "NODES", 7, align="right"),
    Column("load", "LOAD", 8, rank=2),
    Column("sessions", "SESSIONS", 11, align="right"),
    Column("mix", "STATES", 14, rank=3, grow=True, width_max=30),
    Column("memory", "MEM", 12, rank=2, align="right"),
    Column("cpu", "CPU", 5, rank=1, align="right"),
    Column("note", "NOTE", 14, rank=4, grow=True, width_max=40),
)
SORTS: Final = ("region", "provider", "nodes", "sessions", "load", "memory", "cpu")
_BAR_WIDTH: Final = 8
_FULL_WARN: Final = 0.9
UNKNOWN: Final = "?"


class RegionSum(msgspec.Struct, frozen=True):
    """What the nodes of one region and provider come to."""

    region: str
    provider: str
    nodes: int
    alive: int
    cordoned: int
    sessions: int
    places: int
    memory_used: int
    memory_total: int
    cpu_load: float
    states: tuple[SessionState, ...]

    @property
    def key(self) -> str:
        """Its row's key."""
        return f"{self.region}/{self.provider}"

    @property
    def share(self) -> float:
        """Taken places, 0 to 1."""
        return self.sessions / self.places if self.places else 0.0


def region_of(node: NodeEntry) -> tuple[str, str]:
    """A node's region and provider."""
    record = node.record.record if node.record else None
    return (record.region, record.provider) if record else (UNKNOWN, UNKNOWN)


def region_sums(view: FleetView, healths: dict[str, NodeHealth]) -> dict[str, RegionSum]:
    """By key."""
    groups: dict[tuple[str, str], list[NodeEntry]] = {}
    for node in view.nodes.values():
        groups.setdefault(region_of(node), []).append(node)
    sums = (_sum(place, nodes, healths) for place, nodes in groups.items())
    return {each.key: each for each in sums}


def _sum(
    place: tuple[str, str], nodes: Iterable[NodeEntry], healths: dict[str, NodeHealth]
) -> RegionSum:
    nodes = list(nodes)
    alive = [node for node in nodes if healths[node.node_id].state is NodeState.ALIVE]
    pulses = [node.pulse.heartbeat for node in alive if node.pulse]
    used = sum(pulse.memory_used_bytes for pulse in pulses)
    return RegionSum(
        region=place[0],
        provider=place[1],
        nodes=len(nodes),
        alive=len(alive),
        cordoned=sum(_cordoned(node) for node in nodes),
        sessions=sum(len(pulse.sessions) for pulse in pulses),
        places=sum(pulse.sessions_max for pulse in pulses),
        memory_used=used,
        memory_total=used + sum(pulse.memory_free_bytes for pulse in pulses),
        cpu_load=sum(pulse.cpu_load for pulse in pulses) / len(pulses) if pulses else 0.0,
        states=tuple(load.state for pulse in pulses for load in pulse.sessions),
    )


def _cordoned(node: NodeEntry) -> bool:
    intent = node.intent.record if node.intent else None
    return intent is not None and (intent.cordoned or intent.draining)


def region_row(total: RegionSum) -> Row:
    """One line."""
    off = total.nodes - total.alive
    full = Severity.WARN if total.share >= _FULL_WARN else Severity.PLAIN
    notes = [f"{off} not heard" if off else "", f"{total.cordoned} cordoned" * bool(total.cordoned)]
    cells = (
        Cell(total.region),
        Cell(total.provider),
        Cell(f"{total.alive}/{total.nodes}", Severity.BAD if off else Severity.GOOD),
        Cell(words.bar(total.share, _BAR_WIDTH), full),
        Cell(f"{total.sessions}/{total.places}", full),
        Cell(mix_words(total.states)),
        Cell(f"{words.size(total.memory_used)}/{words.size(total.memory_total)}"),
        Cell(f"{total.cpu_load:.0%}", Severity.WARN if total.cpu_load >= 1 else Severity.PLAIN),
        Cell(", ".join(note for note in notes if note), Severity.WARN),
    )
    return Row(total.key, cells, stale=total.alive == 0)


def region_sort_key(total: RegionSum, column: str) -> tuple[float, str] | tuple[str, str]:
    """What it sorts by under a column; the key breaks ties."""
    match column:
        case "nodes":
            return (-float(total.nodes), total.key)
        case "sessions":
            return (-float(total.sessions), total.key)
        case "load":
            return (-total.share, total.key)
        case "memory":
            return (-float(total.memory_used), total.key)
        case "cpu":
            return (-total.cpu_load, total.key)
        case "provider":
            return (total.provider, total.key)
        case _:
            return (total.region, total.key)
