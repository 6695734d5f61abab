"""The invariants: what must hold at every moment of a run, and what must hold when it has settled.

Owns the checks, against the ground truth (the broker's store, the switch, the processes), never
against what our own code believes. Never makes a fault and never changes the world.

- One holder: two browsers hold one device only while the node of one of them can run no code (it is
  stalled, or woke a moment ago): such a process must end it as the first thing it does.
- Fenced in time: a node that can run code has no browser after its lease's deadline by its own
  clock, but for the moment that killing takes.
- Epochs never fall, and rise when a session changes its node.
- Places: a node's reserved places are exactly its assignments, and never more than it takes.
- Emission: WhatsApp never gets a message from an older epoch behind one from a newer one, and the
  store takes no observation or snapshot from an older epoch.
- No command storm: starts of one node in a second, and of one session in ten, are bounded.
"""

from collections import defaultdict, deque
from typing import Final, TypeVar

import msgspec

from schemas.keys import (
    ASSIGNMENTS_PREFIX,
    CAPACITY_PREFIX,
    INTENTS_PREFIX,
    LEASES_PREFIX,
    NODES_PREFIX,
    OBSERVED_PREFIX,
    SESSIONS_PREFIX,
    SNAPSHOTS_PREFIX,
)
from schemas.records import (
    Assignment,
    CapacityRecord,
    NodeIntent,
    NodeRecord,
    SessionObserved,
    SessionRecord,
)
from schemas.resources import FLEET, bucket_stream, bucket_subject
from schemas.snapshots import SnapshotPointer
from schemas.states import DesiredState, SessionState
from tests.simulation.broker import Stored, Stream
from tests.simulation.switch import Browser
from tests.simulation.vault_truth import VaultTruth
from tests.simulation.virtual_time import Process
from tests.simulation.wire import Connection, SimMsg
from tests.simulation.world import NodeService, World

T = TypeVar("T")

KILL_ALLOWANCE_S: Final = 0.75
"""From the deadline (or the end of a stall) until every browser of the node must be dead."""
STARTS_A_SECOND_MAX: Final = 3
"""For each place of the node: the first repeats of a refused start come quickly."""
STARTS_IN_TEN_SECONDS_MAX: Final = 8
_STREAM: Final = bucket_stream(FLEET)
_SUBJECT: Final = bucket_subject(FLEET, "")


class Invariants:
    """The checks of one run; they watch from the moment they are made."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.vault = VaultTruth(world)
        self.assignments: dict[str, Assignment] = {}
        self.reserved: dict[str, int] = {}
        self.records: dict[str, SessionRecord] = {}
        self.observed: dict[tuple[str, str], SessionObserved] = {}
        self.node_records: dict[str, NodeRecord] = {}
        self.intents: dict[str, NodeIntent] = {}
        self.sessions_max: dict[str, int] = {}
        self.lost_nodes: set[str] = set()
        """Nodes that died for good."""
        self.starts_spoiled = False
        """Whether a fault made engines fail to start: then a session may end as failed."""
        self._epochs: dict[str, int] = {}
        self._sent_epochs: dict[str, int] = {}
        self._deadlines: dict[Process, float] = {}
        self._starts: dict[str, deque[float]] = defaultdict(deque)
        world.broker.on_commit = self.committed
        world.broker.on_core = self.published
        world.switch.on_hold = self.held
        world.switch.on_send = self.sent

    # What is stored ------------------------------------------------------------------------------

    def committed(self, stream: Stream, stored: list[Stored], by: Connection | None) -> None:
        """A batch was stored: all of it at once, so places are counted when it is whole."""
        if stream.name != _STREAM:
            return
        touched: set[str] = set()
        for message in stored:
            key = message.subject.removeprefix(_SUBJECT)
            raw = message.data or None
            if not key.startswith(LEASES_PREFIX) and not key.startswith("epoch."):
                writer = by.process.name if by else "expiry"
                text = message.data.decode() if len(message.data) < 400 else "..."
                self.world.note("store", f"{key} by {writer}: {text}")
            touched |= self._take(key, raw)
        for node_id in touched:
            self._count_places(node_id)

    def _take(self, key: str, raw: bytes | None) -> set[str]:
        last = key.rpartition(".")[2]
        if key.startswith(ASSIGNMENTS_PREFIX):
            return self._take_assignment(last, _decode(raw, Assignment))
        if key.startswith(CAPACITY_PREFIX):
            capacity = _decode(raw, CapacityRecord)
            self.reserved[last] = capacity.reserved if capacity else 0
            return {last}
        if key.startswith(SESSIONS_PREFIX):
            _put(self.records, last, _decode(raw, SessionRecord))
        elif key.startswith(OBSERVED_PREFIX):
            self._take_observed(key.split(".")[1], last, _decode(raw, SessionObserved))
        elif key.startswith(INTENTS_PREFIX):
            _put(self.intents, last, _decode(raw, NodeIntent))
        elif key.startswith(SNAPSHOTS_PREFIX):
            pointer = _decode(raw, SnapshotPointer)
            self.vault.committed(last, pointer, self.assignments.get(last))
        elif key.startswith(NODES_PREFIX):
            record = _decode(raw, NodeRecord)
            _put(self.node_records, last, record)
            if record is not None:
                self.sessions_max[last] = record.sessions_max
        return set()

    def _take_assignment(self, session_id: str, new: Assignment | None) -> set[str]:
        old = self.assignments.get(session_id)
        _put(self.assignments, session_id, new)
        if new is not None:
            last = self._epochs.get(session_id, 0)
            moved = old is not None and old.node_id != new.node_id and new.node_id is not None
            if new.epoch < last or (moved and new.epoch == last):
                self.world.breach(
                    f"epoch of {session_id[-4:]} went from {last} to {new.epoch}: {old} {new}"
                )
            self._epochs[session_id] = max(last, new.epoch)
        return {a.node_id for a in (old, new) if a is not None and a.node_id is not None}

    def _take_observed(self, node_id: str, session_id: str, new: SessionObserved | None) -> None:
        if new is None:
            self.observed.pop((node_id, session_id), None)
            return
        self.observed[node_id, session_id] = new

    def _count_places(self, node_id: str) -> None:
        taken = sum(1 for a in self.assignments.values() if a.node_id == node_id)
        reserved = self.reserved.get(node_id, 0)
        if taken != reserved:
            self.world.breach(f"{node_id} has {taken} assignments and {reserved} reserved places")
        limit = self.sessions_max.get(node_id)
        if limit is not None and reserved > limit:
            self.world.breach(f"{node_id} has {reserved} of {limit} places reserved")

    # What is commanded ---------------------------------------------------------------------------

    def published(self, message: SimMsg) -> None:
        """A core message passed the broker: commands are counted."""
        parts = message.subject.split(".")
        if len(parts) != 5 or parts[3] != "cmd":
            return
        body = msgspec.json.decode(message.data)
        session_id = body.get("session_id", "")
        self.world.note("bus", f"{parts[4]} {session_id[-4:]}@{body.get('epoch')} to {parts[2]}")
        if parts[4] == "start":
            places = self.world.nodes[parts[2]].settings.sessions_max
            self._count_start(f"node {parts[2]}", 1.0, STARTS_A_SECOND_MAX * places)
            self._count_start(f"session {session_id[-4:]}", 10.0, STARTS_IN_TEN_SECONDS_MAX)

    def _count_start(self, what: str, within_s: float, most: int) -> None:
        recent, now = self._starts[what], self.world.loop.now
        recent.append(now)
        while recent[0] < now - within_s:
            recent.popleft()
        if len(recent) > most:
            self.world.breach(f"{len(recent)} starts within {within_s} s for {what}")

    # What happens at WhatsApp --------------------------------------------------------------------

    def held(self, browser: Browser, others: list[Browser]) -> None:
        """A browser takes a device up."""
        self.world.note("switch", f"{browser.name} holds")
        for other in others:
            if self._excused(other.process):
                self.world.note("switch", f"{other.name} replaced: its node was stalled")
            elif self._excused(browser.process):
                self.world.note("switch", f"{other.name} replaced by one whose node was stalled")
            else:
                self.world.breach(f"two hold one device: {other.name} and {browser.name}")

    def sent(self, browser: Browser, message_id: str) -> None:
        """WhatsApp takes a message."""
        last = self._sent_epochs.get(browser.session_id, 0)
        if browser.epoch < last:
            self.world.breach(f"{browser.name} sent {message_id} after epoch {last} had sent")
        self._sent_epochs[browser.session_id] = max(last, browser.epoch)

    def _excused(self, process: Process) -> bool:
        """Whether the process could not have ended its browser by now."""
        began, ended = process.last_stall
        return began >= 0 and ended + KILL_ALLOWANCE_S >= self.world.loop.now

    # What runs -----------------------------------------------------------------------------------

    def look(self) -> None:
        """Look at every node now: has it fenced itself in time? has it too many browsers?"""
        now = self.world.loop.now
        for service in self.world.nodes.values():
            process = service.process
            if process is None or not process.alive:
                continue
            browsers = [b for b in self.world.switch.browsers.values() if b.process is process]
            if len(browsers) > service.settings.sessions_max:
                self.world.breach(f"{service.name} runs {len(browsers)} browsers")
            due = self._fence_due(service, process)
            late = due is not None and now > due + KILL_ALLOWANCE_S
            if browsers and late and not self._excused(process):
                self.world.breach(f"{browsers[0].name} lives after its node's deadline at {due}")

    def _fence_due(self, service: NodeService, process: Process) -> float | None:
        """When the node must have begun to end its browsers; None: it never had a lease."""
        lease = service.node.lease._lease if service.node is not None else None
        if lease is not None:
            self._deadlines[process] = process.true_time(lease.deadline)
        return self._deadlines.get(process)

    # When all has settled ------------------------------------------------------------------------

    def unsettled(self) -> list[str]:
        """What is not yet as it must be in the end."""
        found: list[str] = []
        for session_id, record in sorted(self.records.items()):
            trouble = self._trouble(session_id, record)
            if trouble is not None:
                found.append(f"session {session_id[-4:]} ({record.desired}): {trouble}")
        for browser in self.world.switch.browsers.values():
            assignment = self.assignments.get(browser.session_id)
            if assignment is None or assignment.epoch != browser.epoch:
                found.append(f"{browser.name} runs without an assignment")
        found += [
            f"session {session_id[-4:]} has an assignment and no record"
            for session_id in sorted(set(self.assignments) - set(self.records))
        ]
        found += [text for node_id in sorted(self.intents) if (text := self._undrained(node_id))]
        return found

    def _undrained(self, node_id: str) -> str | None:
        """A drained node reaches zero: while there is room elsewhere, or after its deadline."""
        intent, left = self.intents[node_id], self.reserved.get(node_id, 0)
        service = self.world.nodes[node_id]
        if not intent.draining or not left or not service.up:
            return None
        overdue = self.world.wall() >= (intent.drain_deadline_at or float("inf"))
        return f"{node_id} still has {left}" if overdue or self.room() else None

    def _trouble(self, session_id: str, record: SessionRecord) -> str | None:
        assignment = self.assignments.get(session_id)
        holders = self.world.switch.holders.get(session_id, [])
        running = [b for b in self.world.switch.browsers.values() if b.session_id == session_id]
        if record.desired is DesiredState.DELETED:
            return "its records are still there"
        if record.desired is DesiredState.STOPPED:
            return "it has a browser" if running else None
        if assignment is None:
            return "it has no assignment"
        if assignment.node_id is None:
            return self._why_unplaced(assignment)
        seen = self.observed.get((assignment.node_id, session_id))
        current = seen is not None and seen.epoch == assignment.epoch
        if seen is not None and current and seen.state is SessionState.FAILED:
            return None if self.starts_spoiled else "it has failed"
        if current and session_id in self.vault.never_kept:
            return None
        if len(running) != 1 or len(holders) != 1:
            return f"{len(running)} browsers, {len(holders)} holders"
        if seen is None or seen.state is not SessionState.ONLINE or seen.epoch != assignment.epoch:
            return f"observed as {seen}"
        return self._shown(record)

    def _why_unplaced(self, assignment: Assignment) -> str | None:
        if not assignment.unplaceable:
            return "it has no node and nobody says why"
        room = self.room()
        return f"it is unplaceable though {room} have room" if room else None

    def room(self) -> list[str]:
        """The nodes that could take one more session now."""
        return [
            service.name
            for service in self.world.nodes.values()
            if service.up
            and service.name in self.node_records
            and not self.node_records[service.name].stopped
            and not self._cordoned(service.name)
            and self.reserved.get(service.name, 0) < service.settings.sessions_max
        ]

    def _cordoned(self, node_id: str) -> bool:
        intent = self.intents.get(node_id)
        return intent is not None and (intent.cordoned or intent.draining)

    def _shown(self, record: SessionRecord) -> str | None:
        """Every replica must show it online."""
        for replica in self.world.control_planes.values():
            if not replica.up or replica.state is None or replica.process is None:
                continue
            view = replica.state.view(record, replica.process.monotonic())
            if view.state is not SessionState.ONLINE:
                return f"{replica.name} shows it {view.state} ({view.reason})"
        return None


def _decode(raw: bytes | None, kind: type[T]) -> T | None:
    return None if raw is None else msgspec.json.decode(raw, type=kind)


def _put(mapping: dict[str, T], key: str, value: T | None) -> None:
    if value is None:
        mapping.pop(key, None)
    else:
        mapping[key] = value
