"""The fold: what came, taken into the fleet view. The same for the present and the past.

Owns `fold`, the only writer of `FleetView`. Deterministic: no I/O, no clock (a batch carries the
receiver's seconds).

What is refused, and counted in `rejected`: a revision not above the one known for its key, an
assignment of an older epoch, a heartbeat that does not rise within its incarnation, an event out
of stream order, a live event of an older epoch. So the result does not depend on the order in
which the bucket's changes come in.
"""

from typing import TypeVar

from schemas.keys import (
    ASSIGNMENTS_PREFIX,
    CAPACITY_PREFIX,
    INTENTS_PREFIX,
    NODES_PREFIX,
    OBSERVED_PREFIX,
    SESSIONS_PREFIX,
)
from schemas.records import (
    Assignment,
    CapacityRecord,
    Heartbeat,
    NodeIntent,
    NodeRecord,
    SessionObserved,
    SessionRecord,
)
from tui.changes import (
    Batch,
    BusDown,
    BusUp,
    Change,
    EventsGap,
    Happened,
    PastMoment,
    Pulse,
    RecordGone,
    RecordPut,
    ResyncBegan,
    ResyncDone,
    Rewound,
    Trouble,
    Unreadable,
)
from tui.model import (
    INCARNATIONS_KEPT,
    BusView,
    FleetView,
    Kept,
    KeptPulse,
    NodeEntry,
    SessionEntry,
)

T = TypeVar("T")


def fold(view: FleetView, batch: Batch) -> FleetView:
    """Take a batch in; returns the same view."""
    for change in batch.changes:
        _fold_one(view, change, batch.received_at)
    return view


def _fold_one(view: FleetView, change: Change, at: float) -> None:
    match change:
        case RecordPut():
            _put(view, change, at)
        case RecordGone():
            _gone(view, change, at)
        case Pulse():
            _pulse(view, change.heartbeat, at)
        case Happened():
            _happened(view, change, at)
        case EventsGap():
            view.events_missed += max(0, change.to_seq - change.from_seq + 1)
            view.memory.last_event_sequence = change.to_seq
        case ResyncBegan():
            # A restored or emptied bucket counts its revisions anew, so what was known of them
            # says nothing about the ones to come. Epochs are remembered: they never fall.
            view.resyncing = True
            view.whole = view.whole and change.sweep
            view.memory.seen.clear()
            view.memory.revisions.clear()
        case ResyncDone():
            _resync_done(view)
        case BusUp() | BusDown() | Trouble():
            _feed_state(view, change, at)
        case Rewound():
            _rewind(view)
        case PastMoment():
            view.past = change
        case Unreadable():
            view.rejected[f"unreadable {change.what}"] += 1
            view.last_data_at = at


def _rewind(view: FleetView) -> None:
    """Forget all; whoever keeps a roll is told of everything that was."""
    touched = view.touched
    touched.sessions.update(view.sessions)
    touched.nodes.update(view.nodes)
    past = view.past
    view.forget(touched)
    view.past = past


def _feed_state(view: FleetView, change: BusUp | BusDown | Trouble, at: float) -> None:
    match change:
        case BusUp():
            since = view.bus.since if view.bus.up else at
            view.bus = BusView(up=True, since=since, round_trip_s=change.round_trip_s)
        case BusDown():
            since = at if view.bus.up or not view.bus.since else view.bus.since
            view.bus = BusView(up=False, since=since, reason=change.reason)
            view.whole = False
        case Trouble(why=""):
            view.troubles.pop(change.part, None)
        case Trouble():
            view.troubles[change.part] = change.why


def _newer(view: FleetView, key: str, revision: int, at: float) -> bool:
    view.last_data_at = at
    if view.resyncing:
        view.memory.seen.add(key)
    if revision <= view.memory.revisions.get(key, 0):
        view.rejected["old revision"] += 1
        return False
    view.memory.revisions[key] = revision
    return True


def _put(view: FleetView, change: RecordPut, at: float) -> None:
    key, record, revision = change.key, change.record, change.revision
    if isinstance(record, Assignment):
        # The epoch decides before the revision: a revision is only a place in a log.
        session_id, known = record.session_id, view.memory.assigned_epochs.get(record.session_id, 0)
        if record.epoch < known:
            view.rejected["old epoch"] += 1
            _newer(view, key, revision, at)
            return
        view.memory.assigned_epochs[session_id] = record.epoch
        if session_id in view.sessions:
            view.sessions[session_id].epoch_seen = record.epoch
            view.touched.sessions.add(session_id)
    if not _newer(view, key, revision, at):
        return
    view.memory.known.add(key)
    if isinstance(record, NodeRecord | CapacityRecord | NodeIntent):
        view.touched.nodes.add(record.node_id)
    else:
        view.touched.sessions.add(record.session_id)
    match record:
        case NodeRecord():
            node = _node(view, record.node_id, at)
            node.record = _keep(node.record, record, revision, at)
        case CapacityRecord():
            node = _node(view, record.node_id, at)
            node.capacity = _keep(node.capacity, record, revision, at)
        case NodeIntent():
            node = _node(view, record.node_id, at)
            node.intent = _keep(node.intent, record, revision, at)
        case SessionRecord():
            session = _session(view, record.session_id)
            session.record = _keep(session.record, record, revision, at)
        case Assignment():
            session = _session(view, record.session_id)
            session.assignment = _keep(session.assignment, record, revision, at)
        case SessionObserved():
            observed = _session(view, record.session_id).observed
            before = observed.get(record.node_id)
            observed[record.node_id] = _keep(before, record, revision, at)


def _keep(before: Kept[T] | None, record: T, revision: int, at: float) -> Kept[T]:
    """A record that a resync only repeats is as old as it was."""
    if before is not None and before.record == record:
        at = before.at
    return Kept(record, revision, at)


def _gone(view: FleetView, change: RecordGone, at: float) -> None:
    if _newer(view, change.key, change.revision, at):
        _forget(view, change.key)


def _forget(view: FleetView, key: str) -> None:
    view.memory.known.discard(key)
    rest = key.partition(".")[2]
    if key.startswith((NODES_PREFIX, CAPACITY_PREFIX, INTENTS_PREFIX)):
        node = view.nodes.get(rest)
        if node is None:
            return
        view.touched.nodes.add(rest)
        if key.startswith(NODES_PREFIX):
            node.record = None
        elif key.startswith(CAPACITY_PREFIX):
            node.capacity = None
        else:
            node.intent = None
        if node.empty:
            del view.nodes[rest]
        return
    session_id = rest.rpartition(".")[2]
    session = view.sessions.get(session_id)
    if session is None:
        return
    view.touched.sessions.add(session_id)
    if key.startswith(SESSIONS_PREFIX):
        session.record = None
    elif key.startswith(ASSIGNMENTS_PREFIX):
        session.assignment = None
    elif key.startswith(OBSERVED_PREFIX):
        session.observed.pop(rest.rpartition(".")[0], None)
    if session.empty:
        del view.sessions[session_id]


def _pulse(view: FleetView, heartbeat: Heartbeat, at: float) -> None:
    view.last_data_at = at
    node = _node(view, heartbeat.node_id, at)
    before = node.pulses.get(heartbeat.incarnation)
    if before is not None and heartbeat.sequence <= before.heartbeat.sequence:
        view.rejected["old heartbeat"] += 1
        return
    view.touched.pulsed.add(heartbeat.node_id)
    spoke = _life(node)
    if before is not None and before.heartbeat.sessions == heartbeat.sessions:
        loads = before.loads
    else:
        loads = {load.session_id: load for load in heartbeat.sessions}
        was = before.loads if before is not None else {}
        view.touched.sessions.update(
            was.keys() - loads.keys(),
            (session_id for session_id, load in loads.items() if was.get(session_id) != load),
        )
    node.pulses[heartbeat.incarnation] = KeptPulse(heartbeat, at, loads)
    if len(node.pulses) > INCARNATIONS_KEPT:
        oldest = min(node.pulses.items(), key=lambda item: item[1].at)[0]
        del node.pulses[oldest]
    if _life(node) != spoke:
        # Another life speaks for the node: what the one before said of any session is void.
        view.touched.nodes.add(heartbeat.node_id)


def _life(node: NodeEntry) -> str | None:
    return node.pulse.heartbeat.incarnation if node.pulse is not None else None


def _happened(view: FleetView, change: Happened, at: float) -> None:
    view.last_data_at = at
    event = change.event
    if change.sequence <= view.memory.last_event_sequence:
        view.rejected["old event"] += 1
        return
    view.memory.last_event_sequence = change.sequence
    # History is judged by the stream alone: an event of epoch 1 was right before epoch 2 began.
    known = view.memory.event_epochs.get(event.session_id, 0)
    session = view.sessions.get(event.session_id)
    if change.live and session is not None:
        known = max(known, session.epoch)
    if event.epoch < known:
        view.rejected["old epoch"] += 1
        return
    view.memory.event_epochs[event.session_id] = event.epoch
    view.events.append(change)
    view.events_total += 1


def _resync_done(view: FleetView) -> None:
    if not view.resyncing:
        return
    for key in view.memory.known - view.memory.seen:
        _forget(view, key)
    view.memory.seen.clear()
    view.resyncing = False
    view.whole = True
    view.resyncs += 1
    for node_id in [node.node_id for node in view.nodes.values() if node.empty]:
        del view.nodes[node_id]
    for epochs in (view.memory.event_epochs, view.memory.assigned_epochs):
        for session_id in epochs.keys() - view.sessions.keys():
            del epochs[session_id]


def _node(view: FleetView, node_id: str, at: float) -> NodeEntry:
    node = view.nodes.get(node_id)
    if node is None:
        node = view.nodes[node_id] = NodeEntry(node_id, at)
    return node


def _session(view: FleetView, session_id: str) -> SessionEntry:
    session = view.sessions.get(session_id)
    if session is None:
        epoch = view.memory.assigned_epochs.get(session_id, 0)
        session = view.sessions[session_id] = SessionEntry(session_id, epoch)
    return session
