"""News: a session's new state, told to everybody who wants to know.

Owns the telling: the safekeeping, the log, the metrics' callback, the observed record and the
event. Never decides what is news.
"""

from collections.abc import Callable

from structlog.typing import FilteringBoundLogger

from schemas import events, log_keys
from schemas.commands import SessionAnswer
from schemas.records import SessionObserved
from schemas.states import SessionState
from swarm_node.engines.contract import Identity
from swarm_node.outbox.outbox import SessionOutbox
from swarm_node.session.observed import RunnerIdentity, observed_record
from swarm_node.session.safekeeping import Safekeeping

Observe = Callable[[SessionObserved], None]
OnTransition = Callable[[SessionState, SessionState, str | None], None]


class StateNews:
    """Whom one runner tells."""

    def __init__(
        self,
        who: RunnerIdentity,
        *,
        keeping: Safekeeping,
        log: FilteringBoundLogger,
        outbox: SessionOutbox,
        observe: Observe,
        on_transition: OnTransition,
    ) -> None:
        self._who = who
        self._keeping = keeping
        self._log = log
        self._outbox = outbox
        self._observe = observe
        self._on_transition = on_transition

    def tell(
        self, before: SessionState, now: SessionAnswer, *, since: float, identity: Identity | None
    ) -> None:
        """The session left the state `before`; `since` is Unix seconds."""
        after, reason = now.state, now.reason
        # First: a link that it sees now is to stand in the record.
        self._keeping.note_state(after)
        self._log.info(
            "session.state_changed",
            **{log_keys.PREVIOUS: before, log_keys.STATE: after, log_keys.REASON: reason},
        )
        self._on_transition(before, after, reason)
        self._observe(
            observed_record(
                self._who,
                state=after,
                since=since,
                reason=reason,
                identity=identity,
                linked_epoch=self._keeping.linked_epoch,
            )
        )
        self._outbox.put_now(
            events.SessionStateChanged(state=after, previous=before, reason=reason)
        )
