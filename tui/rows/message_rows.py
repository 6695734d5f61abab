"""Message rows: what each session sent and received lately, how fast, and what went wrong.

Pure. All from the events that the terminal holds: at most the last five minutes, and less where
more happens than it keeps; the title says how much that is.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from schemas.api_sending import DeadLetterCount
from schemas.events import (
    MessageAck,
    MessageFailed,
    MessageReceived,
    MessageSent,
    MessageUnknown,
)
from schemas.states import Ack
from tui.changes import Happened
from tui.rows import words
from tui.rows.cells import Cell, Column, Row, Severity

WINDOW_S: Final = 300.0
COLUMNS: Final = (
    Column("session", "SESSION", 13),
    Column("tenant", "TENANT", 10, rank=3, grow=True, width_max=20),
    Column("name", "NAME", 12, rank=1, grow=True, width_max=30),
    Column("sent", "SENT", 6, align="right"),
    Column("rate", "SENT/MIN", 8, rank=2, align="right"),
    Column("failed", "FAILED", 7, align="right"),
    Column("unknown", "UNKNOWN", 8, align="right"),
    Column("dead", "DEAD", 5, align="right"),
    Column("received", "RECEIVED", 8, align="right"),
    Column("delivered", "DELIVERED p50/95", 16, rank=2, align="right"),
    Column("arrived", "ARRIVED p50/95", 15, rank=4, align="right"),
    Column("last", "LAST", 6, rank=1, align="right"),
)
SORTS: Final = (
    "failed",
    "dead",
    "sent",
    "received",
    "unknown",
    "last",
    "name",
    "tenant",
    "session",
)


class Traffic(msgspec.Struct):
    """A session's messages within the window. Latencies in seconds: `delivered` from sent to the
    phone's word that it arrived, `arrived` from WhatsApp's stamp to our event."""

    session_id: str
    tenant_id: str
    sent: int = 0
    failed: int = 0
    unknown: int = 0
    received: int = 0
    delivered_s: list[float] = []
    arrived_s: list[float] = []
    last_at: float = 0.0
    dead: int | None = None
    """Dead letters there are, however old; None: nobody said."""
    codes: dict[str, int] = {}


class Flow(msgspec.Struct, frozen=True):
    """All sessions' traffic, and how many seconds of it the terminal has."""

    by_session: dict[str, Traffic]
    span_s: float


def add_up(events: Iterable[Happened], unix_now: float) -> Flow:
    """Walk the events once."""
    flow: dict[str, Traffic] = {}
    sent_at: dict[str, float] = {}
    oldest = unix_now
    for happened in events:
        event = happened.event
        if unix_now - event.at > WINDOW_S:
            continue
        oldest = min(oldest, event.at)
        data = event.data
        if not isinstance(
            data, MessageSent | MessageFailed | MessageUnknown | MessageReceived | MessageAck
        ):
            continue
        traffic = flow.get(event.session_id)
        if traffic is None:
            traffic = flow[event.session_id] = Traffic(event.session_id, event.tenant_id)
        traffic.last_at = max(traffic.last_at, event.at)
        match data:
            case MessageSent():
                traffic.sent += 1
                sent_at[data.message_id] = event.at
            case MessageFailed():
                traffic.failed += 1
                traffic.codes[data.error_code] = traffic.codes.get(data.error_code, 0) + 1
            case MessageUnknown():
                traffic.unknown += 1
                traffic.codes[data.error_code] = traffic.codes.get(data.error_code, 0) + 1
            case MessageReceived():
                traffic.received += 1
                traffic.arrived_s.append(max(0.0, event.at - data.message.created_at))
            case MessageAck(ack=Ack.DELIVERED):
                began = sent_at.pop(data.message_id, None)
                if began is not None:
                    traffic.delivered_s.append(max(0.0, event.at - began))
            case MessageAck():
                pass
    return Flow(flow, max(0.0, unix_now - oldest))


def with_dead(flow: Flow, counts: Iterable[DeadLetterCount]) -> Flow:
    """The flow with how many dead letters each session has, also those without traffic."""
    for traffic in flow.by_session.values():
        traffic.dead = 0
    for each in counts:
        known = flow.by_session.get(each.session_id)
        if known is None:
            known = flow.by_session[each.session_id] = Traffic(each.session_id, each.tenant_id)
        known.dead = each.count
    return flow


def percentile(values: Iterable[float], share: float) -> float | None:
    """The nearest-rank percentile; None of nothing."""
    ordered = sorted(values)
    if not ordered:
        return None
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def traffic_row(traffic: Traffic, name: str | None, span_s: float, unix_now: float) -> Row:
    """One session's line."""
    rate = traffic.sent / span_s * 60 if span_s >= 1 else 0.0
    cells = (
        Cell(words.short_id(traffic.session_id)),
        Cell(traffic.tenant_id),
        Cell(name or words.NONE),
        Cell(str(traffic.sent)),
        Cell(f"{rate:.1f}"),
        Cell(str(traffic.failed), Severity.BAD if traffic.failed else Severity.MUTED),
        Cell(str(traffic.unknown), Severity.BAD if traffic.unknown else Severity.MUTED),
        Cell(
            words.NONE if traffic.dead is None else str(traffic.dead),
            Severity.BAD if traffic.dead else Severity.MUTED,
        ),
        Cell(str(traffic.received)),
        Cell(_pair(traffic.delivered_s)),
        Cell(_pair(traffic.arrived_s)),
        Cell(words.age(unix_now - traffic.last_at) if traffic.last_at else words.NONE),
    )
    return Row(traffic.session_id, cells)


def traffic_sort_key(
    traffic: Traffic, name: str | None, column: str
) -> tuple[float, str] | tuple[str, str]:
    """What it sorts by under a column; the id breaks ties."""
    match column:
        case "sent":
            return (-float(traffic.sent), traffic.session_id)
        case "failed":
            return (-float(traffic.failed), traffic.session_id)
        case "dead":
            return (-float(traffic.dead or 0), traffic.session_id)
        case "unknown":
            return (-float(traffic.unknown), traffic.session_id)
        case "received":
            return (-float(traffic.received), traffic.session_id)
        case "last":
            return (-traffic.last_at, traffic.session_id)
        case "tenant":
            return (traffic.tenant_id, traffic.session_id)
        case "session":
            return (traffic.session_id, "")
        case _:
            return (name or "", traffic.session_id)


def totals(flow: Flow) -> str:
    """The whole window in a line, with the worst codes."""
    every = flow.by_session.values()
    delivered = [value for traffic in every for value in traffic.delivered_s]
    codes: dict[str, int] = {}
    for traffic in every:
        for code, count in traffic.codes.items():
            codes[code] = codes.get(code, 0) + count
    worst = sorted(codes.items(), key=lambda item: (-item[1], item[0]))[:3]
    parts = [
        f"last {words.age(flow.span_s)}:",
        f"{sum(t.sent for t in every)} sent,",
        f"{sum(t.failed for t in every)} failed,",
        f"{sum(t.unknown for t in every)} unknown,",
        f"{sum(t.received for t in every)} received",
    ]
    if dead := sum(t.dead or 0 for t in every):
        parts.append(f"{dead} dead letters")
    if delivered:
        parts.append(f"delivered {_pair(delivered)}")
    parts += [f"{code} {count}" for code, count in worst]
    return " ".join(parts)


def _pair(values: list[float]) -> str:
    half, most = percentile(values, 0.5), percentile(values, 0.95)
    return f"{_short(half)}/{_short(most)}" if half is not None and most is not None else words.NONE


def _short(seconds: float | None) -> str:
    if seconds is None:
        return words.NONE
    return words.round_trip(seconds) if seconds < 1 else f"{seconds:.1f}s"
