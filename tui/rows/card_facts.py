"""What the cards of a node and of a session say.

Pure. Owns the choice; `facts` tells everything.
"""

from schemas.api_sending import OutboxView
from schemas.pacing import LaneState
from tui.health import session_look
from tui.model import FleetView
from tui.rows import words
from tui.rows.cards import Fact
from tui.rows.cells import Severity
from tui.rows.facts import node_wish
from tui.rows.listing import Now
from tui.rows.mix import mix_words
from tui.rows.state_words import node_state_cell, session_state_cell

_LANE_SEVERITY = {
    LaneState.EMPTY: Severity.GOOD,
    LaneState.QUEUED: Severity.BUSY,
    LaneState.SENDING: Severity.BUSY,
    LaneState.PACED: Severity.BUSY,
    LaneState.OFFLINE: Severity.WARN,
    LaneState.BACKING_OFF: Severity.WARN,
    LaneState.UNATTENDED: Severity.BAD,
}


def node_facts(view: FleetView, node_id: str, now: Now) -> list[Fact]:
    """A node's."""
    entry, health = view.nodes.get(node_id), now.healths.get(node_id)
    if entry is None or health is None:
        return [Fact("Node", f"{node_id} is not known", Severity.WARN, wide=True)]
    record = entry.record.record if entry.record else None
    pulse = entry.pulse.heartbeat if entry.pulse else None
    intent = entry.intent.record if entry.intent else None
    cordoned = bool(intent and (intent.cordoned or intent.draining))
    state = node_state_cell(health.state, intent)
    told = [
        Fact("Node", node_id),
        Fact("State", f"{state.text} {health.why}".strip(), state.severity),
        Fact("Pulse", words.age(health.silent_s)),
        Fact("Wanted", node_wish(view, node_id, now), Severity.WARN if cordoned else Severity.GOOD),
    ]
    if pulse is not None:
        total = pulse.memory_used_bytes + pulse.memory_free_bytes
        share = len(pulse.sessions) / pulse.sessions_max if pulse.sessions_max else 0.0
        told += [
            Fact("Sessions", f"{words.bar(share, 8)} {len(pulse.sessions)}/{pulse.sessions_max}"),
            Fact("States", mix_words(load.state for load in pulse.sessions)),
            Fact("Memory", f"{words.size(pulse.memory_used_bytes)} of {words.size(total)}"),
            Fact("CPU", f"{pulse.cpu_load:.0%}, up {words.age(pulse.uptime_s)}"),
        ]
    if record is not None:
        told += [
            Fact("Place", f"{record.region}, {record.provider}"),
            Fact("Version", f"{record.version} {record.chromium_build or ''}".strip()),
        ]
    return told


def session_facts(view: FleetView, session_id: str, now: Now) -> list[Fact]:
    """A session's."""
    entry = view.sessions.get(session_id)
    if entry is None:
        return [Fact("Session", f"{session_id} is gone", Severity.WARN, wide=True)]
    look = session_look(view, entry, now.healths, now.monotonic)
    state = session_state_cell(look)
    assignment = entry.assignment.record if entry.assignment else None
    since = "" if look.since is None else f", {words.age(now.unix - look.since)}"
    reason = look.reason if now.show_phones else words.mask_numbers(look.reason)
    return [
        Fact("Session", f"{look.session_id}  {look.name or ''}", wide=True),
        Fact("State", f"{state.text}{since}", state.severity),
        Fact("Tenant", look.tenant_id),
        Fact("Node", look.node_id or words.NONE),
        Fact("Epoch", f"{look.epoch} {_placed(assignment.reason if assignment else None)}".strip()),
        Fact("Wanted", look.desired or ""),
        Fact("Phone", words.phone(look.phone, shown=now.show_phones)),
        Fact("Labels", ", ".join(f"{key}={each}" for key, each in sorted(look.metadata.items()))),
        Fact("Reason", reason, Severity.MUTED, wide=True),
        Fact("No place", (assignment.unplaceable or "") if assignment else "", Severity.BAD, True),
    ]


def _placed(reason: str | None) -> str:
    return f"({reason})" if reason else ""


def lane_fact(outbox: OutboxView, unix_now: float) -> Fact:
    """A session's outbox in a line: how many wait, and for what."""
    said = [f"{outbox.state.value.replace('_', ' ')}, {outbox.depth} of {outbox.depth_max} wait"]
    if outbox.oldest_age_s is not None:
        said.append(f"the oldest for {words.age(outbox.oldest_age_s)}")
    if outbox.reason:
        said.append(f"because of {outbox.reason}")
    if outbox.until is not None and outbox.until > unix_now:
        said.append(f"looked at again in {words.age(outbox.until - unix_now)}")
    if outbox.attempts:
        said.append(f"{outbox.attempts} attempts at the first")
    return Fact("Lane", ", ".join(said), _LANE_SEVERITY[outbox.state], wide=True)
