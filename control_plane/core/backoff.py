"""Backoff: how long to wait before trying again.

Owns one formula. Never makes randomness: `unit_random` in [0, 1) is passed in.
"""


def delay_s(attempt: int, unit_random: float, *, min_s: float, max_s: float) -> float:
    """Before attempt `attempt + 1` (counted from 1): doubling, capped, half of it random."""
    ceiling = min(max_s, min_s * 2.0 ** min(max(attempt, 1) - 1, 30))
    return ceiling * (0.5 + 0.5 * unit_random)
