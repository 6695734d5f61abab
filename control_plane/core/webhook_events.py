"""Events as webhooks carry them: which a webhook wants, and the body that is sent.

Owns the meaning of patterns and the body's form. A body is the same bytes whenever and wherever it
is made from one event. Never knows an event's type: a newer process's passes as it is.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from schemas.webhooks import AnyEvent, Payload

ENVELOPE: Final = ("event_id", "tenant_id", "session_id", "sequence")
"""Names in `data` beside the event's own; no event may have a field of such a name."""


def type_of(event: AnyEvent) -> str:
    """The event's public name, such as `message.received`."""
    return str(event.data.get("type", ""))


def matches(pattern: str, name: str) -> bool:
    """`*`; `message.*` for all below `message`; else the name itself."""
    if pattern == "*":
        return True
    if pattern.endswith(".*"):
        return name.startswith(pattern[:-1])
    return pattern == name


def wants(events: Sequence[str], sessions: Sequence[str], name: str, session_id: str) -> bool:
    """Whether a webhook with these patterns and sessions (none: all) gets an event."""
    if sessions and session_id not in sessions:
        return False
    return any(matches(pattern, name) for pattern in events)


def body_of(event: AnyEvent, sequence: int) -> str:
    """What is sent, at every attempt."""
    own = {name: value for name, value in event.data.items() if name != "type"}
    data = {
        "event_id": event.event_id,
        "tenant_id": event.tenant_id,
        "session_id": event.session_id,
        "sequence": sequence,
    }
    happened = datetime.fromtimestamp(event.at, UTC)
    stamp = happened.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return msgspec.json.encode(Payload(type_of(event), stamp, own | data)).decode()
