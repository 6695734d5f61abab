"""The roll: every node's verdict and every session's look, kept up as the fleet changes.

Owns looks, counts and the journal of what changed, so that a repaint costs what changed and not
what there is. Pure: `now` (monotonic seconds) comes in. Never folds. What it says is exactly what
`health` would say of the whole view at that moment; `tests/property` holds it to that.
"""

from collections import Counter, deque
from collections.abc import Container, Iterator
from typing import Final

from schemas.states import NodeState, SessionState
from tui.fold_memory import Touched
from tui.health import (
    HealthLimits,
    NodeHealth,
    SessionLook,
    Trust,
    all_node_health,
    session_look,
)
from tui.model import FleetView

JOURNAL_KEPT: Final = 32
"""Versions of which the changes are still known; who looks more rarely lists anew."""


class Roll:
    """Of one view, of which it must be the only one: it takes what the fold touched."""

    def __init__(self, view: FleetView, limits: HealthLimits) -> None:
        self._view = view
        self._limits = limits
        self.healths: dict[str, NodeHealth] = {}
        self.looks: dict[str, SessionLook] = {}
        """By session. `age_s` is of the moment of the last change: ask `health` for the present."""
        self.doubted = 0
        self.states: Counter[SessionState] = Counter()
        """Sessions that are not doubted, by state."""
        self.version = 0
        """Rises when any look changed."""
        self._on_node: dict[str | None, set[str]] = {}
        self._journal: deque[tuple[int, frozenset[str]]] = deque(maxlen=JOURNAL_KEPT)
        self._bus_up: bool | None = None

    @property
    def view(self) -> FleetView:
        """What it is a roll of."""
        return self._view

    @property
    def nodes_alive(self) -> int:
        """How many nodes are surely there."""
        return sum(health.state is NodeState.ALIVE for health in self.healths.values())

    def sessions_of(self, node_id: str | None) -> frozenset[str]:
        """Sessions that run on a node, by the highest epoch known of each."""
        return frozenset(self._on_node.get(node_id, ()))

    def by_last_word(self, wanted: Container[str]) -> dict[float | None, list[str]]:
        """The `wanted` sessions by when their owners last said anything of them (monotonic
        seconds), be it by a pulse; None: never. Most of a node's share the moment of its pulse."""
        found: dict[float | None, list[str]] = {}
        for node_id, session_ids in self._on_node.items():
            node = self._view.nodes.get(node_id or "")
            pulse = node.pulse if node else None
            of_pulse: list[str] = []
            for session_id in session_ids:
                if session_id not in wanted:
                    continue
                look = self.looks[session_id]
                said_at = look.told_at
                load = pulse.loads.get(session_id) if pulse else None
                if load is None or pulse is None or load.epoch != look.epoch:
                    found.setdefault(said_at, []).append(session_id)
                elif said_at is None or said_at <= pulse.at:
                    of_pulse.append(session_id)
                else:
                    found.setdefault(said_at, []).append(session_id)
            if pulse is not None and of_pulse:
                found.setdefault(pulse.at, []).extend(of_pulse)
        return found

    def bring_up(self, now: float) -> None:
        """Take in what was touched, and what silence did, until `now`."""
        view, touched = self._view, self._view.take_touched()
        before, self.healths = self.healths, all_node_health(view, now, self._limits)
        if view.bus.up is not self._bus_up:
            self._bus_up = view.bus.up
            changed = view.sessions.keys() | self.looks.keys()
        else:
            changed = touched.sessions.union(*self._of_nodes(touched, before))
        if not changed:
            return
        for session_id in changed:
            self._look_anew(session_id, now)
        self.version += 1
        self._journal.append((self.version, frozenset(changed)))

    def changed_after(self, version: int) -> set[str] | None:
        """Sessions that may look different from how they did at that version; None if that is no
        longer known."""
        if version == self.version:
            return set()
        if not self._journal or self._journal[0][0] > version + 1:
            return None
        return set().union(*(ids for at, ids in self._journal if at > version))

    def _of_nodes(self, touched: Touched, before: dict[str, NodeHealth]) -> Iterator[set[str]]:
        for node_id in before.keys() | self.healths.keys() | touched.nodes:
            was, now_is = before.get(node_id), self.healths.get(node_id)
            same = was is not None and now_is is not None and was.state is now_is.state
            if not same or node_id in touched.nodes:
                yield self._on_node.get(node_id, set())
            elif node_id in touched.pulsed:
                yield self._unconfirmed(node_id)

    def _unconfirmed(self, node_id: str) -> set[str]:
        """Sessions that were believed by their record alone: not any more, once a younger pulse of
        their node passes over them in silence."""
        pulse = self._view.nodes[node_id].pulse
        found = set()
        for session_id in self._on_node.get(node_id, ()):
            look = self.looks[session_id]
            load = pulse.loads.get(session_id) if pulse else None
            unnamed = load is None or load.epoch != look.epoch
            if unnamed and look.state.holds_engine and look.trust is Trust.CONFIRMED:
                found.add(session_id)
        return found

    def _look_anew(self, session_id: str, now: float) -> None:
        old = self.looks.pop(session_id, None)
        if old is not None:
            self._count(old, -1)
            self._on_node[old.node_id].discard(session_id)
            if not self._on_node[old.node_id]:
                del self._on_node[old.node_id]
        session = self._view.sessions.get(session_id)
        if session is not None:
            look = session_look(self._view, session, self.healths, now)
            self.looks[session_id] = look
            self._count(look, 1)
            self._on_node.setdefault(look.node_id, set()).add(session_id)

    def _count(self, look: SessionLook, step: int) -> None:
        if look.trust is Trust.DOUBTED:
            self.doubted += step
        else:
            self.states[look.state] += step
