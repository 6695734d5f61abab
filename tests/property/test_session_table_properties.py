"""What holds for every walk through the session table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.states import SessionState
from swarm_node.core.session_table import (
    TRANSITIONS,
    Effect,
    Event,
    IllegalTransitionError,
    step,
)

states = st.sampled_from(SessionState)
events = st.sampled_from(Event)
walks = st.lists(events, max_size=60)

ENDS_ENGINE = {Effect.STOP_ENGINE, Effect.KILL_ENGINE}


def walk(path: list[Event], state: SessionState = SessionState.PENDING) -> list[SessionState]:
    seen = [state]
    for event in path:
        try:
            state, _ = step(state, event)
        except IllegalTransitionError:
            continue
        seen.append(state)
    return seen


@given(states, events)
def test_step_is_total_and_never_leaves_the_enumeration(state: SessionState, event: Event) -> None:
    if (state, event) not in TRANSITIONS:
        with pytest.raises(IllegalTransitionError) as raised:
            step(state, event)
        assert (raised.value.state, raised.value.event) == (state, event)
        return
    after, effects = step(state, event)
    assert isinstance(after, SessionState)
    assert all(isinstance(effect, Effect) for effect in effects)
    assert len(set(effects)) == len(effects)


@given(states, events)
def test_step_is_pure(state: SessionState, event: Event) -> None:
    def outcome() -> object:
        try:
            return step(state, event)
        except IllegalTransitionError as error:
            return str(error)

    assert outcome() == outcome()


@given(states, events)
def test_online_is_entered_by_a_good_probe_alone(state: SessionState, event: Event) -> None:
    row = TRANSITIONS.get((state, event))
    if row and row[0] is SessionState.ONLINE and state is not SessionState.ONLINE:
        assert event is Event.PROBE_OK


@given(states)
def test_everything_can_be_stopped(state: SessionState) -> None:
    after, effects = step(state, Event.STOP)
    assert after is SessionState.STOPPED
    assert (Effect.STOP_ENGINE in effects) == state.holds_engine


@given(walks)
def test_nothing_but_a_word_leaves_fenced(path: list[Event]) -> None:
    state = SessionState.FENCED
    for event in path:
        try:
            after, _ = step(state, event)
        except IllegalTransitionError:
            continue
        if after is not SessionState.FENCED:
            assert event in (Event.START, Event.STOP)
            return


@given(walks)
def test_an_engine_is_launched_and_ended_exactly_when_the_state_says(path: list[Event]) -> None:
    """No engine is launched over another one, none is left behind by a state without one."""
    state, runs = SessionState.PENDING, False
    for event in path:
        try:
            after, effects = step(state, event)
        except IllegalTransitionError:
            continue
        if ENDS_ENGINE & set(effects):
            assert state.holds_engine
            runs = False
        if Effect.LAUNCH_ENGINE in effects:
            assert not runs
            runs = True
        if Effect.RELAUNCH_AFTER_BACKOFF in effects:
            runs = True  # after the backoff; the state holds the place meanwhile
        state = after
        assert runs == state.holds_engine


@given(walks)
def test_codes_are_cleared_when_they_stop_being_good(path: list[Event]) -> None:
    state = SessionState.PENDING
    for event in path:
        try:
            after, effects = step(state, event)
        except IllegalTransitionError:
            continue
        if state is SessionState.PAIRING and after is not SessionState.PAIRING:
            assert Effect.CLEAR_CODES in effects
        state = after


@given(states.filter(lambda state: state.holds_engine))
def test_every_running_state_can_fail_fence_and_log_out(state: SessionState) -> None:
    assert step(state, Event.ENGINE_FAILED)[0] is SessionState.STARTING
    assert step(state, Event.ENGINE_GAVE_UP)[0] is SessionState.FAILED
    assert step(state, Event.LEASE_LOST) == (
        SessionState.FENCED,
        (Effect.CLEAR_CODES, Effect.KILL_ENGINE),
    )
    assert step(state, Event.REPLACED)[0] is SessionState.FENCED
    assert step(state, Event.LOGGED_OUT)[0] is SessionState.LOGGED_OUT


@given(walks)
def test_every_state_can_be_started_again_after_a_stop(path: list[Event]) -> None:
    state = walk(path)[-1]
    stopped, _ = step(state, Event.STOP)
    assert step(stopped, Event.START)[0] is SessionState.STARTING
