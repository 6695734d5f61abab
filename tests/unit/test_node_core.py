"""The node's pure decisions: backoff, admission, epochs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import BlazzError, ErrorCode
from swarm_node.core import admission, epochs
from swarm_node.core.backoff import (
    BackoffPolicy,
    Failures,
    delay_s,
    failed,
    gave_up,
    succeeded,
)

POLICY = BackoffPolicy(first_s=1, factor=2, longest_s=10, jitter=0.5, failures_max=3, window_s=60)


def test_waits_double_up_to_the_longest() -> None:
    assert [delay_s(POLICY, attempt, 0.0) for attempt in range(1, 7)] == [1, 2, 4, 8, 10, 10]


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_jitter_only_shortens(attempt: int, jitter: float) -> None:
    whole = delay_s(POLICY, attempt, 0.0)
    assert whole / 2 <= delay_s(POLICY, attempt, jitter) <= whole <= POLICY.longest_s


def test_failures_within_the_window_give_up_and_old_ones_are_forgotten() -> None:
    failures = Failures()
    for now_s in (0.0, 10.0, 20.0):
        failures = failed(POLICY, failures, now_s)
        assert not gave_up(POLICY, failures)
    assert gave_up(POLICY, failed(POLICY, failures, 30.0))
    assert not gave_up(POLICY, failed(POLICY, failures, 75.0))


def test_a_success_resets_the_wait_but_not_the_window() -> None:
    failures = Failures()
    for now_s in (0.0, 1.0, 2.0):
        failures = succeeded(failed(POLICY, failures, now_s))
        assert failures.in_a_row == 0
    assert gave_up(POLICY, failed(POLICY, failures, 3.0))


@given(st.lists(st.floats(0, 1_000), max_size=200))
def test_what_is_remembered_stays_bounded(times: list[float]) -> None:
    failures = Failures()
    for now_s in sorted(times):
        failures = failed(POLICY, failures, now_s)
    assert len(failures.at_s) <= POLICY.failures_max + 1


def test_a_full_node_refuses_and_a_stopping_one_too() -> None:
    admission.admit(running=2, sessions_max=3, stopping=False)
    for running, stopping, code in (
        (3, False, ErrorCode.NODE_AT_CAPACITY),
        (0, True, ErrorCode.SHUTTING_DOWN),
    ):
        with pytest.raises(BlazzError) as raised:
            admission.admit(running=running, sessions_max=3, stopping=stopping)
        assert raised.value.code is code


def test_starts_are_spaced() -> None:
    assert admission.start_delay_s(now_s=5, last_start_s=None, spacing_s=2) == 0
    assert admission.start_delay_s(now_s=5, last_start_s=4, spacing_s=2) == 1
    assert admission.start_delay_s(now_s=9, last_start_s=4, spacing_s=2) == 0


def test_epochs() -> None:
    assert epochs.on_admission(None, 7) is epochs.Verdict.ADMIT
    assert epochs.on_admission(7, 7) is epochs.Verdict.CURRENT
    assert epochs.on_admission(7, 8) is epochs.Verdict.REPLACE
    epochs.on_command(7, 7)
    assert epochs.on_dispatch(0, 3) == 3
    assert epochs.on_dispatch(3, 4) == 4
    assert epochs.on_dispatch(3, 0) == 3, "one that says none is of an older release"
    for refused in (
        lambda: epochs.on_admission(7, 6),
        lambda: epochs.on_command(7, 6),
        lambda: epochs.on_command(7, 8),
        lambda: epochs.on_dispatch(4, 3),
    ):
        with pytest.raises(BlazzError) as raised:
            refused()
        assert raised.value.code is ErrorCode.STALE_EPOCH
