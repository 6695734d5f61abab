"""Runs of the simulation: one by seed, or many over the machine's cores.

Owns the outcome of a run, the trace's printing and the command line
(`python -m tests.simulation.run --count 1000`, `--seed 42`). Never a check.
"""

import argparse
import gc
import hashlib
import multiprocessing
import os
import re
import sys
import time
from collections.abc import Iterator
from typing import Final

import msgspec

from tests.simulation.player import Player
from tests.simulation.schedule import Schedule, draw
from tests.simulation.stage import open_world

TRUTH: Final = frozenset({"store", "bus", "switch", "PLAYER", "BREACH"})
"""Who tells what happened, as against what our code says of it."""


class Outcome(msgspec.Struct, frozen=True):
    """What became of a run. `trace_hash` is the same for the same seed and the same code."""

    seed: int
    breaches: tuple[str, ...]
    trace_hash: str
    steps: int
    virtual_s: float
    settled_after_s: float | None
    trace: tuple[tuple[float, str, str], ...] = ()


def run_seed(seed: int, *, tell: bool = False) -> Outcome:
    """Run a seed's schedule."""
    return run_schedule(draw(seed), tell=tell)


def run_schedule(schedule: Schedule, *, tell: bool = False) -> Outcome:
    """Run a schedule; `tell` adds what our code logs to the trace."""
    with open_world(schedule.seed, vault=schedule.vault, tell=tell) as world:
        player = Player(world, schedule)
        try:
            world.loop.run_until_complete(player.play())
        except Exception as error:  # noqa: BLE001 - the run is judged, not ended
            world.breach(f"the simulation itself failed: {error!r}")
        steps, virtual_s = world.loop.steps, world.loop.now
        for error_text in world.loop.errors:
            world.breach(f"unhandled: {error_text}")
        trace = tuple(world.trace)
        breaches = tuple(world.breaches)
    # What our code logs is told of a run, not part of it.
    lines = (f"{at:.6f} {who} {what}" for at, who, what in trace if who in TRUTH)
    return Outcome(
        seed=schedule.seed,
        breaches=breaches,
        trace_hash=hashlib.sha256("\n".join(lines).encode()).hexdigest(),
        steps=steps,
        virtual_s=virtual_s,
        settled_after_s=player.settled_after_s,
        trace=trace if breaches or tell else (),
    )


def readable(outcome: Outcome) -> str:
    """The whole story of a run."""
    lines = [f"{at:9.3f}  {who:<10} {what}" for at, who, what in outcome.trace]
    lines.append(f"seed {outcome.seed}, trace {outcome.trace_hash[:16]}:")
    lines += [f"  BROKEN {breach}" for breach in outcome.breaches] or ["  all held"]
    return "\n".join(lines)


def many(seeds: range, *, jobs: int) -> Iterator[Outcome]:
    """Run many seeds over processes, in no order."""
    context = multiprocessing.get_context("fork")
    # A node that was killed leaves its files open until its process ends: so let it end.
    with context.Pool(jobs, initializer=_begin_worker, maxtasksperchild=100) as pool:
        yield from pool.imap_unordered(_one, seeds, chunksize=8)


def _begin_worker() -> None:
    gc.freeze()
    gc.disable()


def _one(seed: int) -> Outcome:
    outcome = run_seed(seed)
    gc.collect()
    return msgspec.structs.replace(outcome, trace=())


def main(arguments: list[str]) -> int:
    """The command line (`count=10` stands for `--count=10`). Returns 1 if an invariant broke."""
    arguments = [f"--{word}" if re.match(r"\w+=", word) else word for word in arguments]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", default="", help="run this one and print its whole story")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="the first seed of many")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args(arguments)
    if given.seed:
        outcome = run_seed(int(given.seed), tell=True)
        sys.stdout.write(readable(outcome) + "\n")
        return 1 if outcome.breaches else 0
    return _run_many(range(given.first, given.first + given.count), given.jobs)


def _run_many(seeds: range, jobs: int) -> int:
    began, done, failed, virtual_s, slowest = time.perf_counter(), 0, [], 0.0, 0.0
    for outcome in many(seeds, jobs=jobs):
        done += 1
        virtual_s += outcome.virtual_s
        slowest = max(slowest, outcome.settled_after_s or 0.0)
        if outcome.breaches:
            failed.append(outcome.seed)
            _say(f"seed {outcome.seed}: {outcome.breaches[0]}")
        if done % 500 == 0:
            _say(f"{done} schedules, {time.perf_counter() - began:.0f} s")
    _say(
        f"{done} schedules, {virtual_s:.0f} virtual s in {time.perf_counter() - began:.1f} s, "
        f"slowest to settle {slowest:.1f} s, broken: {sorted(failed) or 'none'}"
    )
    return 1 if failed else 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
