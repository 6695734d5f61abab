"""The fleet's past, as the stream FLEET_HISTORY has it: for terminals that look back.

Owns the records. Written by the control plane's historian alone; nothing decides by them.
"""

from typing import Final

import msgspec

from schemas.ids import NodeId


class HistoryWrite(msgspec.Struct, frozen=True):
    """A key of the fleet bucket took this value at this revision; `null`: it was deleted."""

    key: str
    revision: int
    value: msgspec.Raw


class HistoryPage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Writes of one tenant's sessions, or of nodes, in their order. `baseline`: they are not
    changes but a part of a copy of the whole bucket."""

    at: float
    writes: tuple[HistoryWrite, ...]
    baseline: bool = False


class HistoryBaseline(msgspec.Struct, frozen=True):
    """A copy of the whole bucket lies in the stream between these moments (Unix seconds)."""

    began_at: float
    ended_at: float


class PastPulse(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a node last said of itself. Its sessions are in the records."""

    node_id: NodeId
    incarnation: str
    sequence: int
    sessions_max: int
    memory_used_bytes: int = 0
    memory_free_bytes: int = 0
    cpu_load: float = 0.0


class HistoryPulses(msgspec.Struct, frozen=True):
    """Nodes that spoke: each comes again every `PULSES_PERIOD_S` while it does."""

    at: float
    nodes: tuple[PastPulse, ...]


PULSES_PERIOD_S: Final = 30.0
"""So long after its last pulse a node may still count as heard, in the past."""
BASELINE_PERIOD_S: Final = 6 * 3_600.0
