"""`blazz bench chaos`: a fleet under load while its processes are killed and cut off.

Owns the run: how long, how much traffic, which faults in which order (all by one seed), and the
report. Exit 1 when something that is promised did not hold; the goal of 10,000 messages is one of
the report's, for it depends on the machine.
"""

import asyncio
import random
import secrets
import sys
import time
from collections import Counter
from typing import Any, Final

import msgspec

from bench.chaos_faults import Breaker, Kind, deck, parts_of
from bench.chaos_fleet import open_fleet
from bench.chaos_judge import Verdict, judge
from bench.chaos_traffic import Record, Traffic
from bench.report import Goal, at_least, at_most, print_report
from cli.exit_codes import Exit
from schemas.states import EngineKind
from schemas.transport.checkpoints import At

SESSIONS: Final = {EngineKind.LOOPBACK: 12, EngineKind.CHROMIUM: 3}
OUT_PER_S: Final = {EngineKind.LOOPBACK: 42.0, EngineKind.CHROMIUM: 4.0}
"""Messages a second, over all sessions; half as many come in."""
MESSAGES_GOAL: Final = 10_000
PAUSE_S: Final = (0.2, 1.5)
"""Between a mended fault and the next."""


class ChaosOptions(msgspec.Struct, frozen=True):
    """What the command line said."""

    quiet: bool
    minutes: float
    seed: int | None
    engine: str
    sessions: int | None


async def run_chaos(options: ChaosOptions, stop: asyncio.Event) -> Exit:
    """Break the fleet for so long, and print the one line."""
    engine = EngineKind(options.engine)
    seed = secrets.randbits(32) if options.seed is None else options.seed
    rng = random.Random(seed)
    sessions = options.sessions or SESSIONS[engine]
    period_s = sessions / OUT_PER_S[engine]
    async with open_fleet(engine, sessions) as fleet:
        _say(options, f"{sessions} sessions online; seed {seed}")
        traffic = Traffic(fleet, out_period_s=period_s, in_period_s=2 * period_s)
        breaker = Breaker(fleet, rng)
        began = time.monotonic()
        async with traffic.running():
            for fault in deck(rng, parts_of(fleet)):
                if stop.is_set() or time.monotonic() - began > options.minutes * 60:
                    break
                broken = await breaker.carry_out(fault)
                what = f"on {broken.process}" if broken else "was not passed"
                _say(
                    options,
                    f"{time.monotonic() - began:6.1f} s  {fault} {what}; "
                    f"{len(traffic.record.accepted)} out, {len(traffic.record.inbound)} in",
                )
                await asyncio.sleep(rng.uniform(*PAUSE_S))
        took_s = time.monotonic() - began
        _say(options, f"{len(traffic.record.accepted)} accepted; waiting until all is settled")
        verdict = await judge(fleet, traffic.record, breaker.broken, breaker.deaths)
        passed = fleet.armory.passed()
    figures = {
        "engine": engine,
        "seed": seed,
        "seconds": round(took_s, 1),
        "sessions": sessions,
        "verdict": _shown(verdict),
        "inbound_that_died_with_a_node": len(verdict.died_with_node),
        "requests_repeated": dict(traffic.repeats),
        "refused": dict(traffic.refused),
        "unanswered": len(traffic.record.unanswered),
        "faults": _faults(breaker),
        "never_passed_while_armed": [str(fault) for fault in breaker.never_passed],
        "steps_never_passed": sorted(set(At) - passed),
    }
    print_report("chaos", figures, _goals(verdict, traffic.record))
    if stop.is_set():
        return Exit.INTERRUPTED
    return Exit.FAILED if verdict.broken() else Exit.OK


def _goals(verdict: Verdict, record: Record) -> list[Goal]:
    goals = [
        at_most(name, 0, len(found), "messages")
        for name, found in (
            ("lost", verdict.lost + verdict.not_final),
            ("duplicates", verdict.duplicates),
            ("out of order", verdict.out_of_order),
            ("failed, but sent", verdict.sent_all_the_same),
            ("failed or unknown without a reason", verdict.unexplained),
            ("message.sent missing or twice", verdict.sent_events_wrong),
            ("inbound not in the ledger", verdict.inbound_not_in_ledger),
            ("inbound with no event", verdict.inbound_no_event),
            ("inbound under two event ids", verdict.inbound_events_twice),
            ("events that a webhook never told", verdict.hooks_missing),
            ("events that a webhook told under a new id", verdict.hooks_unknown),
        )
    ]
    messages = len(record.accepted) + len(record.inbound)
    return [*goals, at_least("messages, both ways", MESSAGES_GOAL, messages, "messages")]


def _shown(verdict: Verdict) -> dict[str, Any]:
    """Counts, and a few examples of what is wrong; every unknown and every failed in full."""
    shown: dict[str, Any] = {}
    for name, value in msgspec.to_builtins(verdict).items():
        listed = isinstance(value, list) and name not in ("unknown", "failed")
        shown[name] = value[:5] if listed else value
    return shown | {"broken": verdict.broken()}


def _faults(breaker: Breaker) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {kind.value: Counter() for kind in Kind}
    for broken in breaker.broken:
        where = f"{broken.fault.at} {broken.process}" if broken.fault.at else broken.process
        counts[broken.fault.kind][where] += 1
    return {kind: dict(sorted(count.items())) for kind, count in counts.items()}


def _say(options: ChaosOptions, text: str) -> None:
    if not options.quiet:
        print(text, file=sys.stderr, flush=True)
