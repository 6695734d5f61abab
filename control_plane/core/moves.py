"""Moves: the assignment a session gets when it goes to another node, and which moves even a fleet.

Owns what is carried over from one placement to the next. Never chooses the node of a single
session (`core.placement` does) and never writes.
"""

from collections import Counter

import msgspec

from control_plane.core.fleet import FleetSnapshot
from control_plane.core.needs import (
    FAILED,
    NeedRules,
    Step,
    ended,
    failures_of,
    goes_on_from,
    replaced,
    unlinked_epoch,
)
from control_plane.core.placement import Places, Unplaceable, Wanted
from schemas.records import Assignment, SessionRecord
from schemas.states import DesiredState, NodeState


class Move(msgspec.Struct, frozen=True):
    """A session that is to go from one node to another."""

    session_id: str
    from_node: str
    to_node: str


def next_assignment(fleet: FleetSnapshot, step: Step, rules: NeedRules) -> Assignment:
    """What replaces the session's assignment: `step.to`, or nowhere for `step.lacking`.

    How it ended under the old epoch goes along, so that a session which people must bring back is
    not started just because its place changed. A failure that is the reason is noted instead.
    """
    old, seen = fleet.assignments[step.session_id], fleet.observed.get(step.session_id)
    new = msgspec.structs.replace(
        old,
        node_id=step.to,
        epoch=old.epoch + 1,
        moving_to=None,
        unplaceable=None if step.to is not None else step.lacking,
        reason=step.reason,
        unlinked_epoch=unlinked_epoch(old, seen),
    )
    if seen is None or seen.epoch != old.epoch or not ended(seen):
        return new
    failures = failures_of(old, seen, rules)
    tried_again = replaced(seen) and len(failures) < rules.failed_nodes_max
    if step.reason == FAILED or tried_again:
        return msgspec.structs.replace(new, failures=failures)
    return msgspec.structs.replace(new, ended=seen.state, ended_reason=seen.reason)


def raised_assignment(fleet: FleetSnapshot, session_id: str, rules: NeedRules) -> Assignment:
    """The session placed anew where it is; a wish to move it is dropped. If it was replaced, that
    is noted."""
    old, seen = fleet.assignments[session_id], fleet.observed.get(session_id)
    new = msgspec.structs.replace(
        old, epoch=old.epoch + 1, moving_to=None, unlinked_epoch=unlinked_epoch(old, seen)
    )
    if seen is None or seen.epoch != old.epoch or not replaced(seen):
        return new
    return msgspec.structs.replace(new, failures=failures_of(old, seen, rules))


def even_out(fleet: FleetSnapshot, moves_max: int) -> tuple[Move, ...]:
    """At most `moves_max` moves that make the fuller nodes and the emptier ones alike.

    A move is proposed only if its source stays at least as full, by share, as its target becomes:
    so repeating it ends. Running sessions that already are to move are left out.
    """
    places = Places(fleet)
    count = Counter({node_id: node.reserved for node_id, node in fleet.nodes.items()})
    movable = _movable(fleet)
    moves: list[Move] = []
    while len(moves) < moves_max:
        move = _best_move(fleet, places, count, movable)
        if move is None:
            break
        moves.append(move)
        record = movable[move.from_node].pop(0)
        places.take(move.to_node, record.tenant_id)
        count[move.from_node] -= 1
        count[move.to_node] += 1
    return tuple(moves)


def _best_move(
    fleet: FleetSnapshot,
    places: Places,
    count: Counter[str],
    movable: dict[str, list[SessionRecord]],
) -> Move | None:
    def share(node_id: str, more: int = 0) -> float:
        return (count[node_id] + more) / max(1, fleet.nodes[node_id].sessions_max)

    for source in sorted(movable, key=lambda node_id: (-share(node_id), node_id)):
        if not movable[source]:
            continue
        record = movable[source][0]
        fuller = frozenset(
            node_id for node_id in fleet.nodes if share(node_id, 1) > share(source, -1)
        )
        found = places.choose(
            Wanted(
                record.tenant_id,
                record.engine,
                record.region,
                fuller | {source},
                session_id=record.session_id,
                kept=goes_on_from(fleet, record.session_id),
            )
        )
        if not isinstance(found, Unplaceable):
            return Move(record.session_id, source, found.node_id)
    return None


def _movable(fleet: FleetSnapshot) -> dict[str, list[SessionRecord]]:
    movable: dict[str, list[SessionRecord]] = {}
    for session_id in sorted(fleet.sessions):
        record, assignment = fleet.sessions[session_id], fleet.assignments.get(session_id)
        node = fleet.node_of(assignment)
        if (
            assignment is None
            or assignment.moving_to is not None
            or node is None
            or node.state is not NodeState.ALIVE
            or record.desired is DesiredState.DELETED
        ):
            continue
        movable.setdefault(node.node_id, []).append(record)
    return movable
