"""What the failover bench concludes from what it saw."""

import pytest

from bench.failover import Moves, note
from schemas.api import SessionView
from schemas.errors import BlazzError
from schemas.states import DesiredState, EngineKind, SessionState

OLD, NEW = "node-a", "node-b"


def _view(state: SessionState, node_id: str | None, session_id: str = "one") -> SessionView:
    return SessionView(
        session_id=session_id,
        tenant_id="default",
        name=None,
        engine=EngineKind.LOOPBACK,
        desired=DesiredState.RUNNING,
        state=state,
        state_since=None,
        reason=None,
        node_id=node_id,
        epoch=1,
        phone=None,
        push_name=None,
        created_at=0.0,
    )


def _seen(*steps: tuple[float, SessionState, str | None]) -> Moves:
    moves = Moves({}, {}, {})
    for at_s, state, node_id in steps:
        note(moves, [_view(state, node_id)], OLD, at_s)
    return moves


def test_the_first_of_each_moment_counts() -> None:
    moves = _seen(
        (1.0, SessionState.ONLINE, OLD),
        (5.0, SessionState.DEGRADED, OLD),
        (6.0, SessionState.PENDING, None),
        (6.5, SessionState.STARTING, NEW),
        (8.0, SessionState.ONLINE, NEW),
        (9.0, SessionState.ONLINE, NEW),
    )
    assert moves.left_s == {"one": 5.0}
    assert moves.placed_s == {"one": 6.5}
    assert moves.online_s == {"one": 8.0}
    assert moves.down_s() == [3.0]


def test_one_that_is_still_called_online_on_its_lost_node_is_not_back() -> None:
    assert _seen((1.0, SessionState.ONLINE, OLD)).online_s == {}


def test_a_stop_too_short_to_be_seen_counts_from_the_new_place() -> None:
    moves = _seen((2.0, SessionState.ONLINE, NEW))
    assert moves.down_s() == [0.0]


def test_a_session_that_must_be_linked_again_ends_the_bench() -> None:
    with pytest.raises(BlazzError):
        _seen((1.0, SessionState.PAIRING, NEW))
