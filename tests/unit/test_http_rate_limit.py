"""GCRA: the burst, the rate, and what a refusal says."""

from control_plane.core.rate_limit import RatePolicy, decide

POLICY = RatePolicy(per_s=2.0, burst=4)


def test_a_burst_passes_then_the_rate_holds() -> None:
    arrival, verdicts = None, []
    for _ in range(6):
        verdict = decide(POLICY, arrival, 100.0)
        arrival = verdict.arrival_s
        verdicts.append(verdict)
    assert [v.allowed for v in verdicts] == [True] * 4 + [False] * 2
    assert [v.remaining for v in verdicts[:4]] == [3, 2, 1, 0]
    # A refusal costs nothing: trying again does not lock out for longer.
    assert verdicts[4].retry_after_s == verdicts[5].retry_after_s == 0.5
    assert not decide(POLICY, arrival, 100.49).allowed
    assert decide(POLICY, arrival, 100.5).allowed


def test_a_rest_brings_the_burst_back_and_never_more() -> None:
    arrival = None
    for _ in range(4):
        arrival = decide(POLICY, arrival, 0.0).arrival_s
    rested = decide(POLICY, arrival, POLICY.window_s)
    assert (rested.allowed, rested.remaining) == (True, 3)
    assert decide(POLICY, arrival, 1e6).remaining == 3


def test_over_any_long_time_no_more_than_rate_and_burst_pass() -> None:
    arrival, passed = None, 0
    for step in range(10_000):
        verdict = decide(POLICY, arrival, step * 0.01)
        arrival = verdict.arrival_s
        passed += verdict.allowed
    assert passed == 4 + 199
