"""Backoff: how long to wait before an engine is started again, and when to give up.

Owns the arithmetic. Giving up is judged by failures within a window, not by failures in a row:
an engine that crashes once a day for a year is well, one that crashes five times in ten minutes
is not. Pure: the time and the jitter (0 to 1) are arguments.
"""

import msgspec

from schemas.errors import ERRORS, ErrorCode

_OVER = (ErrorCode.STALE_EPOCH, ErrorCode.LEASE_LOST)
"""Retryable for others; here they say that this node's part in the session is over."""


class BackoffPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Waits grow from `first_s` by `factor` up to `longest_s`; up to `jitter` of each is random.

    More than `failures_max` failures within `window_s` mean: give up.
    """

    first_s: float = 1.0
    factor: float = 2.0
    longest_s: float = 60.0
    jitter: float = 0.5
    failures_max: int = 5
    window_s: float = 600.0


class Failures(msgspec.Struct, frozen=True):
    """When the last failures were (monotonic seconds, oldest first), and how many came in a row
    since the last success."""

    at_s: tuple[float, ...] = ()
    in_a_row: int = 0


def delay_s(policy: BackoffPolicy, attempt: int, jitter: float) -> float:
    """The wait before attempt `attempt` (from 1). `jitter` is a random number from 0 to 1; it only
    ever shortens, so that `longest_s` is a promise."""
    steps = min(attempt - 1, 64)
    whole = min(policy.first_s * policy.factor**steps, policy.longest_s)
    return whole * (1.0 - policy.jitter * jitter)


def failed(policy: BackoffPolicy, before: Failures, now_s: float) -> Failures:
    """Note a failure; those that have left the window are forgotten."""
    recent = tuple(at for at in before.at_s if at > now_s - policy.window_s)
    kept = (*recent, now_s)[-(policy.failures_max + 1) :]
    return Failures(at_s=kept, in_a_row=before.in_a_row + 1)


def is_transient(code: str) -> bool:
    """Whether a profile that could not be made ready will be once the vault or the bus is back: it
    is no failure of the session, and waited for as long as it takes."""
    return ERRORS[ErrorCode(code)].retryable and code not in _OVER


def waited(before: Failures) -> Failures:
    """Note a try that failed for want of something else: waits grow, but it is no failure."""
    return Failures(at_s=before.at_s, in_a_row=before.in_a_row + 1)


def succeeded(before: Failures) -> Failures:
    """Note a success: waits start small again, but the window remembers."""
    return Failures(at_s=before.at_s, in_a_row=0)


def gave_up(policy: BackoffPolicy, failures: Failures) -> bool:
    """Whether there were more failures in the window than allowed."""
    return len(failures.at_s) > policy.failures_max
