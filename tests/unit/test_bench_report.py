"""The benches' last line: one shape, and percentiles that are what they say."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.report import at_most, percentile, print_report


def test_the_last_line_has_the_one_shape(capsys: pytest.CaptureFixture[str]) -> None:
    print_report("x", {"a_s": 1.5}, [at_most("fast", 2, 1.5, "s"), at_most("small", 1, 3, "MB")])
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(line) == {"bench", "ok", "figures", "goals", "machine"}
    assert line["ok"] is False
    assert [goal["ok"] for goal in line["goals"]] == [True, False]
    assert set(line["goals"][0]) == {"name", "goal", "got", "ok"}


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
def test_a_percentile_is_a_value_that_the_share_does_not_exceed(
    values: list[float], share: float
) -> None:
    got = percentile(values, share)
    assert got in values
    assert sum(v <= got for v in values) >= share * len(values) - 1e-9


def test_a_percentile_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)
