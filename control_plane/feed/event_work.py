"""Events as durable readers take them in hand.

Owns the check that an event is one, and told by whom the server let tell it. Never folds one.
"""

import structlog

from schemas.errors import BlazzError
from schemas.events import Event
from schemas.subjects import event
from schemas.transport.durable import Work

log = structlog.get_logger()


def event_of(work: Work) -> Event | None:
    """The event; None if it is none that anybody may believe."""
    try:
        seen = work.value(Event)
    except BlazzError:
        log.warning("event.malformed", subject=work.subject)
        return None
    # The server checks who may publish on a subject; the payload must not say otherwise.
    if work.subject != event(seen.node_id, seen.tenant_id, seen.session_id, seen.data):
        log.warning("event.misplaced", subject=work.subject)
        return None
    return seen
