"""The session's life: ONE table, `(state, event) → (state, effects)`.

Everything that moves a session from one state to another stands in `TRANSITIONS`. `step` is pure
and total: an unlisted pair raises `IllegalTransitionError` and changes nothing. The runner carries
the effects out and feeds what happens back as events; nothing else assigns a state.

`online` is entered by one event alone, `probe_ok`: a probe through the engine that succeeded.
The diagram in the docs is drawn from this table (`python -m swarm_node.core.session_diagram`).
"""

from enum import StrEnum
from typing import Final

from schemas.states import SessionState


class Event(StrEnum):
    """What can happen to a session."""

    START = "start"
    STOP = "stop"
    QR_SHOWN = "qr_shown"
    PASSKEY_ASKED = "passkey_asked"
    LINKED = "linked"
    PROBE_OK = "probe_ok"
    PROBE_FAILED = "probe_failed"
    CONNECTION_CHANGED = "connection_changed"
    ENGINE_FAILED = "engine_failed"
    ENGINE_GAVE_UP = "engine_gave_up"
    RESTORE_FAILED = "restore_failed"
    LOGGED_OUT = "logged_out"
    REPLACED = "replaced"
    LEASE_LOST = "lease_lost"
    MOVE = "move"


class Effect(StrEnum):
    """What the runner must do on a transition, in this order."""

    LAUNCH_ENGINE = "launch_engine"
    STOP_ENGINE = "stop_engine"
    KILL_ENGINE = "kill_engine"
    PROBE_SOON = "probe_soon"
    RELAUNCH_AFTER_BACKOFF = "relaunch_after_backoff"
    RESET_BACKOFF = "reset_backoff"
    CLEAR_CODES = "clear_codes"


class IllegalTransitionError(Exception):
    """That event means nothing in that state; the state stays as it was."""

    def __init__(self, state: SessionState, event: Event) -> None:
        super().__init__(f"{event} means nothing to a session that is {state}")
        self.state = state
        self.event = event


_S, _E, _X = SessionState, Event, Effect
_Row = tuple[SessionState, tuple[Effect, ...]]

_LAUNCH: Final = (_X.CLEAR_CODES, _X.LAUNCH_ENGINE)
_END: Final = (_X.CLEAR_CODES, _X.STOP_ENGINE)
_KILL: Final = (_X.CLEAR_CODES, _X.KILL_ENGINE)
_RETRY: Final = (_X.CLEAR_CODES, _X.KILL_ENGINE, _X.RELAUNCH_AFTER_BACKOFF)

_RUNNING: Final = (
    _S.STARTING,
    _S.PAIRING,
    _S.PASSKEY_REQUIRED,
    _S.SYNCING,
    _S.ONLINE,
    _S.DEGRADED,
)
_AT_REST: Final = (_S.PENDING, _S.STOPPED, _S.LOGGED_OUT, _S.FAILED, _S.FENCED)

TRANSITIONS: Final[dict[tuple[SessionState, Event], _Row]] = {
    # at rest → running
    **{(s, _E.START): (_S.STARTING, _LAUNCH) for s in _AT_REST},
    # linking
    (_S.STARTING, _E.QR_SHOWN): (_S.PAIRING, (_X.RESET_BACKOFF,)),
    (_S.PAIRING, _E.QR_SHOWN): (_S.PAIRING, ()),
    (_S.PASSKEY_REQUIRED, _E.QR_SHOWN): (_S.PAIRING, ()),
    (_S.PAIRING, _E.PASSKEY_ASKED): (_S.PASSKEY_REQUIRED, (_X.CLEAR_CODES,)),
    # a page that loads again in the middle of linking asks again
    (_S.STARTING, _E.PASSKEY_ASKED): (_S.PASSKEY_REQUIRED, (_X.RESET_BACKOFF,)),
    (_S.PASSKEY_REQUIRED, _E.PASSKEY_ASKED): (_S.PASSKEY_REQUIRED, ()),
    (_S.STARTING, _E.LINKED): (_S.SYNCING, (_X.CLEAR_CODES, _X.PROBE_SOON)),
    (_S.PAIRING, _E.LINKED): (_S.SYNCING, (_X.CLEAR_CODES, _X.PROBE_SOON)),
    (_S.PASSKEY_REQUIRED, _E.LINKED): (_S.SYNCING, (_X.CLEAR_CODES, _X.PROBE_SOON)),
    # said again after a reconnect or a reload of the page: a reason to look, no news
    (_S.SYNCING, _E.LINKED): (_S.SYNCING, (_X.PROBE_SOON,)),
    (_S.ONLINE, _E.LINKED): (_S.ONLINE, (_X.PROBE_SOON,)),
    (_S.DEGRADED, _E.LINKED): (_S.DEGRADED, (_X.PROBE_SOON,)),
    # a probe is the only way to online
    (_S.SYNCING, _E.PROBE_OK): (_S.ONLINE, (_X.RESET_BACKOFF,)),
    (_S.DEGRADED, _E.PROBE_OK): (_S.ONLINE, (_X.RESET_BACKOFF,)),
    (_S.ONLINE, _E.PROBE_OK): (_S.ONLINE, ()),
    (_S.ONLINE, _E.PROBE_FAILED): (_S.DEGRADED, (_X.PROBE_SOON,)),
    (_S.DEGRADED, _E.PROBE_FAILED): (_S.DEGRADED, ()),
    (_S.SYNCING, _E.PROBE_FAILED): (_S.SYNCING, ()),
    (_S.ONLINE, _E.CONNECTION_CHANGED): (_S.ONLINE, (_X.PROBE_SOON,)),
    (_S.DEGRADED, _E.CONNECTION_CHANGED): (_S.DEGRADED, (_X.PROBE_SOON,)),
    (_S.SYNCING, _E.CONNECTION_CHANGED): (_S.SYNCING, (_X.PROBE_SOON,)),
    (_S.STARTING, _E.CONNECTION_CHANGED): (_S.STARTING, ()),
    (_S.PAIRING, _E.CONNECTION_CHANGED): (_S.PAIRING, ()),
    (_S.PASSKEY_REQUIRED, _E.CONNECTION_CHANGED): (_S.PASSKEY_REQUIRED, ()),
    # trouble
    **{(s, _E.ENGINE_FAILED): (_S.STARTING, _RETRY) for s in _RUNNING},
    **{(s, _E.ENGINE_GAVE_UP): (_S.FAILED, _KILL) for s in _RUNNING},
    # a restored state that does not come up: an older one is tried, at once
    (_S.STARTING, _E.RESTORE_FAILED): (
        _S.STARTING,
        (_X.CLEAR_CODES, _X.KILL_ENGINE, _X.LAUNCH_ENGINE),
    ),
    **{(s, _E.LOGGED_OUT): (_S.LOGGED_OUT, _END) for s in _RUNNING},
    **{(s, _E.REPLACED): (_S.FENCED, _END) for s in _RUNNING},
    # at somebody's word
    **{(s, _E.STOP): (_S.STOPPED, _END) for s in _RUNNING},
    **{(s, _E.STOP): (_S.STOPPED, ()) for s in (*_AT_REST, _S.MOVING)},
    **{(s, _E.MOVE): (_S.MOVING, _END) for s in _RUNNING},
    **{(s, _E.LEASE_LOST): (_S.FENCED, _KILL) for s in _RUNNING},
    # its engine has ended already
    (_S.MOVING, _E.LEASE_LOST): (_S.FENCED, ()),
}


def step(state: SessionState, event: Event) -> _Row:
    """Take one step: the new state and the effects to carry out.

    Raises `IllegalTransitionError` when the table has no such row.
    """
    row = TRANSITIONS.get((state, event))
    if row is None:
        raise IllegalTransitionError(state, event)
    return row
