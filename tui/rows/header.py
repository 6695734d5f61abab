"""The header: context, role, bus and fleet in one line, and the banner when something is off.

Pure. Owns what is said first when the width is short.
"""

from collections import Counter

import msgspec

from schemas.states import SessionState
from tui.changes import PastMoment
from tui.health import HealthLimits
from tui.model import FleetView
from tui.roll import Roll
from tui.rows import words
from tui.rows.cells import Cell, Severity


class Banner(msgspec.Struct, frozen=True):
    """A sentence over the tables, and how bad it is."""

    text: str
    severity: Severity


class FleetCounts(msgspec.Struct, frozen=True):
    """How many nodes are alive and sessions surely online, of how many."""

    nodes_alive: int = 0
    nodes: int = 0
    sessions_online: int = 0
    sessions_doubted: int = 0
    sessions: int = 0
    states: tuple[tuple[SessionState, int], ...] = ()
    """Sessions by the state they are surely in, the most first."""


def counts_of(roll: Roll) -> FleetCounts:
    """The counts over the whole fleet, whatever is filtered."""
    return FleetCounts(
        nodes_alive=roll.nodes_alive,
        nodes=len(roll.healths),
        sessions_online=roll.states[SessionState.ONLINE],
        sessions_doubted=roll.doubted,
        sessions=len(roll.looks),
        states=_most_first(roll.states),
    )


def _most_first(tally: Counter[SessionState]) -> tuple[tuple[SessionState, int], ...]:
    held = ((state, count) for state, count in tally.items() if count > 0)
    return tuple(sorted(held, key=lambda item: (-item[1], item[0])))


def role_cell(*, read_only: bool, production: bool) -> Cell:
    """As whom the terminal is here. A production fleet that can be changed reads as the danger it
    is."""
    if read_only:
        return Cell("read-only production" if production else "read-only", Severity.MUTED)
    return Cell("▲ PRODUCTION operator", Severity.BAD) if production else Cell("operator")


def header_parts(
    view: FleetView,
    counts: FleetCounts,
    *,
    context: str,
    role: Cell,
    now: float,
    stale_after_s: float,
) -> tuple[Cell, ...]:
    """The header's parts, the most important first; those at the end go when it is narrow."""
    bus = view.bus
    data_age = None if view.last_data_at is None else max(0.0, now - view.last_data_at)
    old = data_age is None or data_age > stale_after_s
    link = (
        Cell(f"● bus {words.round_trip(bus.round_trip_s)}", Severity.GOOD)
        if bus.up
        else Cell("✗ bus away", Severity.BAD)
    )
    nodes_off = counts.nodes_alive < counts.nodes
    parts = [
        Cell(context),
        role,
        link,
        Cell(f"data {words.age(data_age)}", Severity.WARN if old else Severity.PLAIN),
        Cell(
            f"nodes {counts.nodes_alive}/{counts.nodes}",
            Severity.WARN if nodes_off else Severity.PLAIN,
        ),
        Cell(f"online {counts.sessions_online}/{counts.sessions}"),
    ]
    if counts.sessions_doubted:
        parts.append(Cell(f"? {counts.sessions_doubted} unsure", Severity.WARN))
    unreadable = sum(n for what, n in view.rejected.items() if what.startswith("unreadable"))
    if unreadable:
        parts.append(Cell(f"{unreadable} unreadable", Severity.WARN))
    return tuple(parts)


def banner(view: FleetView, now: float, limits: HealthLimits) -> Banner | None:
    """What a person must know before believing the tables; None when all is well."""
    bus = view.bus
    if view.past is not None and view.whole:
        return _past_banner(view, view.past)
    if not bus.up and view.last_data_at is None:
        return Banner(f"Connecting to the bus: {bus.reason or 'dialling'}", Severity.BUSY)
    if not bus.up:
        away = words.age(now - bus.since)
        why = f" ({bus.reason})" if bus.reason else ""
        return Banner(f"BUS AWAY {away}{why}: reconnecting; all below is old", Severity.BAD)
    if view.troubles:
        told = "; ".join(f"{part}: {why}" for part, why in sorted(view.troubles.items()))
        return Banner(told, Severity.WARN)
    if not view.whole:
        first = "Reading the fleet" if not view.resyncs else "Reading the fleet again"
        return Banner(first, Severity.BUSY)
    if view.last_data_at is not None and now - view.last_data_at > limits.suspect_after_s:
        silent = words.age(now - view.last_data_at)
        return Banner(f"Nothing heard for {silent}: is any node running?", Severity.WARN)
    return None


def _past_banner(view: FleetView, past: PastMoment) -> Banner:
    when = f"{words.date_time(past.at)} UTC, {words.age(past.ago_s)} ago"
    goes = "time runs" if past.playing else "time stands still"
    told = "; ".join(why for _, why in sorted(view.troubles.items()))
    keys = told or "[ ] event  { } minute  P play"
    return Banner(f"THE PAST  {when}, {goes}  {keys}", Severity.WARN)
