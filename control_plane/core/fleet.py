"""The fleet as one reader knows it at one moment: what every pure decision is taken from.

Owns the frozen snapshot and the questions asked of it (is this observation still true? which
node runs that session?). Never folds, reads or writes: `state/` does.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import msgspec

from schemas.records import (
    Assignment,
    Heartbeat,
    NodeIntent,
    NodeRecord,
    SessionObserved,
    SessionRecord,
)
from schemas.states import EngineKind, NodeState


class NodeSnapshot(msgspec.Struct, frozen=True):
    """A node: its own record, its last pulse, and what this reader concludes from silence.

    `heartbeat` is None until this incarnation was heard once. `age_s` is the pulse's age by the
    reader's monotonic clock. `reserved` counts the places given away, running or not. `gone`: its
    sessions may be placed elsewhere; `gone_in_s`: when silence alone would make that so.
    """

    record: NodeRecord
    state: NodeState
    reserved: int = 0
    heartbeat: Heartbeat | None = None
    age_s: float | None = None
    intent: NodeIntent | None = None
    gone: bool = False
    gone_in_s: float | None = None

    @property
    def node_id(self) -> str:
        """Its id."""
        return self.record.node_id

    @property
    def draining(self) -> bool:
        """Whether its sessions are to move away."""
        return self.intent is not None and self.intent.draining

    @property
    def cordoned(self) -> bool:
        """Whether no new session may go there."""
        return self.intent is not None and (self.intent.cordoned or self.intent.draining)

    @property
    def sessions_max(self) -> int:
        """How many sessions it takes, by its latest word."""
        return self.heartbeat.sessions_max if self.heartbeat else self.record.sessions_max

    @property
    def free(self) -> int:
        """Places left; never below 0, though a node may lower its limit."""
        return max(0, self.sessions_max - self.reserved)


class Kept(msgspec.Struct, frozen=True):
    """A session's newest snapshot, as far as it matters where the session goes.

    Another Chromium build refuses it. The node that took it needs it not: its disk is as new.
    """

    epoch: int
    node_id: str | None = None
    chromium_build: str | None = None

    def opens_on(self, record: NodeRecord) -> bool:
        """Whether a node can go on from it."""
        return self.same_build(record) or record.node_id == self.node_id

    def same_build(self, record: NodeRecord) -> bool:
        """Whether a node's browser is the one that made it; any will do where none did."""
        return self.chromium_build in (None, record.chromium_build)


class FleetSnapshot(msgspec.Struct, frozen=True):
    """Everything a decision may look at. Keyed by node id or session id.

    `kept` are the newest snapshots of the sessions that have any; `wall_now` is Unix seconds, for
    what people set (deadlines) and what nodes date. `observed` holds what a session's assigned node
    last wrote; ask `current`, not the mapping, whether that is still worth anything.
    """

    nodes: Mapping[str, NodeSnapshot]
    sessions: Mapping[str, SessionRecord]
    assignments: Mapping[str, Assignment]
    observed: Mapping[str, SessionObserved]
    kept: Mapping[str, Kept] = MappingProxyType({})
    wall_now: float = 0.0

    def node_of(self, assignment: Assignment | None) -> NodeSnapshot | None:
        """The node a session is assigned to, if there is one and it is known."""
        if assignment is None or assignment.node_id is None:
            return None
        return self.nodes.get(assignment.node_id)

    def current(self, session_id: str) -> SessionObserved | None:
        """The observation of this very assignment by this very run of its node, or None.

        An older epoch is another placement's word; an older incarnation belongs to a process that
        is gone, and with it every engine it ran.
        """
        return current(
            self.assignments.get(session_id), self.observed.get(session_id), self.nodes.get
        )

    def held_epoch(self, session_id: str) -> int | None:
        """The epoch under which the assigned node's present run knows the session, if it does.

        Older than the assignment's between the raising of an epoch and the start under it: the
        node obeys only the epoch it holds.
        """
        assignment, seen = self.assignments.get(session_id), self.observed.get(session_id)
        if assignment is None or seen is None or seen.node_id != assignment.node_id:
            return None
        node = self.nodes.get(seen.node_id)
        if node is None or seen.incarnation != node.record.incarnation:
            return None
        return seen.epoch


def current(
    assignment: Assignment | None,
    observed: SessionObserved | None,
    node_of: Callable[[str], NodeSnapshot | None],
) -> SessionObserved | None:
    """See `FleetSnapshot.current`; works on parts, so that a view of one session needs no copy."""
    if assignment is None or assignment.node_id is None or observed is None:
        return None
    node = node_of(assignment.node_id)
    if (
        node is None
        or observed.node_id != assignment.node_id
        or observed.epoch != assignment.epoch
        or observed.incarnation != node.record.incarnation
    ):
        return None
    return observed


ENGINE_MEMORY_BYTES: Mapping[EngineKind, int] = {
    # A linked WhatsApp Web page in its own browser: about 250 to 300 MB of PSS.
    EngineKind.CHROMIUM: 300 * 1024 * 1024,
    EngineKind.LOOPBACK: 1024 * 1024,
}
"""What a session of each engine will take of its node's memory."""
