"""The fleet under hundreds of bad days: see `docs/simulation.md`.

Owns the modest number of schedules that every test run plays, and those that once showed a fault.
`just sim count=10000` plays many more.
"""

from pathlib import Path

import msgspec
import pytest

from tests.simulation.run import Outcome, readable, run_schedule, run_seed
from tests.simulation.schedule import Schedule, draw

SEEDS_EACH = 15
GROUPS = 20
REGRESSIONS = Path(__file__).with_name("regressions.jsonl")


class Regression(msgspec.Struct, frozen=True):
    """A schedule that once broke an invariant, kept as it was then, and what was wrong."""

    why: str
    schedule: Schedule


def regressions() -> list[Regression]:
    lines = REGRESSIONS.read_bytes().splitlines()
    return [msgspec.json.decode(line, type=Regression) for line in lines]


@pytest.mark.parametrize("group", range(GROUPS))
def test_every_invariant_holds(group: int) -> None:
    for seed in range(group * SEEDS_EACH, (group + 1) * SEEDS_EACH):
        _held(run_seed(seed), draw(seed))


@pytest.mark.parametrize("known", regressions(), ids=lambda known: str(known.schedule.seed))
def test_what_was_broken_once_stays_mended(known: Regression) -> None:
    _held(run_schedule(known.schedule), known.schedule)


def test_a_seed_replays_exactly() -> None:
    vaults = [seed for seed in range(20) if draw(seed).vault][:2]
    for seed in (3, 7, *vaults):
        first, second, told = run_seed(seed), run_seed(seed), run_seed(seed, tell=True)
        assert first.trace_hash == second.trace_hash == told.trace_hash
        assert first.steps == second.steps == told.steps
    assert run_seed(3).trace_hash != run_seed(4).trace_hash


def test_faults_do_something() -> None:
    """A run without trouble settles at once; the worst of a few runs with it does not."""
    quiet = msgspec.structs.replace(draw(5), actions=())
    assert run_schedule(quiet).settled_after_s == pytest.approx(2.0, abs=0.5)
    troubled = [run_seed(seed).settled_after_s or 0.0 for seed in range(8)]
    assert max(troubled) > 4.0


def _held(outcome: Outcome, schedule: Schedule) -> None:
    if outcome.breaches:
        # Played again with all that our code logs: the same run, told in full.
        pytest.fail(readable(run_schedule(schedule, tell=True)), pytrace=False)
