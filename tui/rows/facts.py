"""Facts: all that is known of one thing, as lines to read or as JSON.

Pure. Owns what is told and in which order. Masked as everything else.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

from schemas.events import event_name
from tui.changes import Happened
from tui.health import session_look
from tui.model import FleetView
from tui.rows import words
from tui.rows.listing import Now
from tui.rows.mix import mix_words
from tui.rows.raw import raw_json
from tui.rows.state_words import node_state_cell, session_state_cell

_LABEL_WIDTH = 14


def lines(pairs: Iterable[tuple[str, object]]) -> str:
    """`label  value` a line; what is not known is left out."""
    return "\n".join(
        f"{label:<{_LABEL_WIDTH}}{value}" for label, value in pairs if value not in (None, "")
    )


def moment(unix_s: float | None) -> str:
    """A date and time of day in UTC."""
    if unix_s is None:
        return ""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def node(view: FleetView, node_id: str, now: Now, *, raw: bool) -> str:
    """A node."""
    entry, health = view.nodes.get(node_id), now.healths.get(node_id)
    if entry is None or health is None:
        return ""
    record = entry.record.record if entry.record else None
    intent = entry.intent.record if entry.intent else None
    pulse = entry.pulse.heartbeat if entry.pulse else None
    if raw:
        capacity = entry.capacity.record if entry.capacity else None
        whole = {"node": record, "intent": intent, "capacity": capacity, "heartbeat": pulse}
        return raw_json(whole, show_phones=now.show_phones)
    return lines(
        [
            ("Node", node_id),
            ("State", f"{node_state_cell(health.state, intent).text} {health.why}"),
            ("Last pulse", f"{words.age(health.silent_s)} ago"),
            ("Wanted", node_wish(view, node_id, now)),
            ("Sessions", f"{len(pulse.sessions)}/{pulse.sessions_max}" if pulse else ""),
            ("States", mix_words(load.state for load in pulse.sessions) if pulse else ""),
            ("Reserved", entry.capacity.record.reserved if entry.capacity else ""),
            ("Memory used", words.size(pulse.memory_used_bytes) if pulse else ""),
            ("Memory free", words.size(pulse.memory_free_bytes) if pulse else ""),
            ("CPU load", f"{pulse.cpu_load:.0%} of its cores" if pulse else ""),
            ("Up for", words.age(pulse.uptime_s) if pulse else ""),
            ("Region", record.region if record else ""),
            ("Provider", record.provider if record else ""),
            ("Address", record.address if record else ""),
            ("Version", record.version if record else ""),
            ("Engines", ", ".join(record.engines) if record else ""),
            ("Browser", record.chromium_build if record else ""),
            ("Sandboxed", "no" if record and not record.chromium_sandbox else ""),
            ("Started", moment(record.started_at) if record else ""),
            ("Incarnation", record.incarnation if record else ""),
        ]
    )


def node_wish(view: FleetView, node_id: str, now: Now) -> str:
    """What operators want of a node."""
    entry = view.nodes.get(node_id)
    intent = entry.intent.record if entry and entry.intent else None
    if intent is None or not (intent.cordoned or intent.draining):
        return "sessions may come"
    why = f" ({intent.reason})" if intent.reason else ""
    if not intent.draining:
        return f"cordoned{why}"
    if intent.drain_deadline_at is None:
        return f"draining, no deadline{why}"
    left_s = intent.drain_deadline_at - now.unix
    left = f"{words.age(left_s)} to its deadline" if left_s > 0 else "past its deadline"
    return f"draining, {left}{why}"


def session(view: FleetView, session_id: str, now: Now, *, raw: bool) -> str:
    """A session."""
    entry = view.sessions.get(session_id)
    if entry is None:
        return ""
    record = entry.record.record if entry.record else None
    assignment = entry.assignment.record if entry.assignment else None
    if raw:
        whole = {
            "session": record,
            "assignment": assignment,
            "observed": {node_id: kept.record for node_id, kept in entry.observed.items()},
        }
        return raw_json(whole, show_phones=now.show_phones)
    look = session_look(view, entry, now.healths, now.monotonic)
    observed = entry.latest_observed
    labels = ", ".join(f"{key}={value}" for key, value in sorted(look.metadata.items()))
    return lines(
        [
            ("Session", session_id),
            ("Tenant", look.tenant_id),
            ("Name", look.name),
            ("State", session_state_cell(look).text),
            ("Since", moment(look.since)),
            ("Reason", look.reason),
            ("Wanted", look.desired),
            ("Node", look.node_id),
            ("Epoch", look.epoch),
            ("Placed", assignment.reason if assignment else ""),
            ("Moving to", _moving_to(assignment.moving_to) if assignment else ""),
            ("Unplaceable", assignment.unplaceable if assignment else ""),
            (
                "Failed on",
                ", ".join(each.node_id for each in assignment.failures) if assignment else "",
            ),
            ("Phone", words.phone(look.phone, shown=now.show_phones)),
            ("Phone's name", observed.record.push_name if observed else ""),
            ("Engine", record.engine if record else ""),
            ("Region", record.region if record else ""),
            ("Created", moment(record.created_at) if record else ""),
            ("Labels", labels),
            ("Last heard", f"{words.age(look.age_s)} ago" if look.age_s is not None else ""),
        ]
    )


def _moving_to(node_id: str | None) -> str:
    return "" if node_id is None else node_id or "wherever there is room"


def event(happened: Happened, *, show_phones: bool, raw: bool) -> str:
    """An event; its body is never shown."""
    told = raw_json(happened.event, show_phones=show_phones)
    if raw:
        return told
    what = happened.event
    head = lines(
        [
            ("Event", event_name(what.data)),
            ("At", moment(what.at)),
            ("Session", what.session_id),
            ("Tenant", what.tenant_id),
            ("Node", what.node_id),
            ("Epoch", what.epoch),
            ("Place", happened.sequence),
        ]
    )
    return f"{head}\n\n{raw_json(what.data, show_phones=show_phones)}"
