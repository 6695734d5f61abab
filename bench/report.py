"""The one shape of every bench: what was measured, against which goals, on which machine.

Owns the last line on stdout: `{"bench","ok","figures","goals","machine"}`. A bench that ran exits
with 0, whatever its goals say; `ok` says whether all were met.
"""

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import psutil


class Goal(msgspec.Struct, frozen=True):
    """One goal: what was wanted, what was got."""

    name: str
    goal: str
    got: float
    ok: bool


def at_most(name: str, limit: float, got: float, unit: str) -> Goal:
    """A goal met when the figure is not above the limit."""
    return Goal(name=name, goal=f"<= {limit:g} {unit}", got=round(got, 3), ok=got <= limit)


def at_least(name: str, limit: float, got: float, unit: str) -> Goal:
    """A goal met when the figure is not below the limit."""
    wanted = f">= {limit:g} {unit}".rstrip()
    return Goal(name=name, goal=wanted, got=round(got, 3), ok=got >= limit)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "cores": os.cpu_count() or 1,
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_1m": round(os.getloadavg()[0], 2),
    }


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` (0 to 1) of them do not exceed (nearest rank)."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered) + 0.5) - 1))]


def print_report(bench: str, figures: Mapping[str, Any], goals: Sequence[Goal]) -> None:
    """Print the last line."""
    line = {
        "bench": bench,
        "ok": all(goal.ok for goal in goals),
        "figures": dict(figures),
        "goals": [msgspec.to_builtins(goal) for goal in goals],
        "machine": machine(),
    }
    sys.stdout.write(json.dumps(line, separators=(",", ":")) + "\n")
    sys.stdout.flush()
