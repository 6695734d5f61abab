"""Delivery: what the dispatcher does with the head of a lane after each answer.

Owns the meaning of every error for a message in flight. Never sends, sleeps or rolls dice.

The one hard question is whether a message may have gone out although no answer came. `doubt`
remembers why: set by an error after which nobody knows, cleared by an answer that proves the node
looked and found nothing. A message given up in doubt ends as `unknown`, never as `failed`, and says
where the doubt came from.
"""

from enum import StrEnum

import msgspec

from control_plane.core.backoff import delay_s
from schemas.errors import ERRORS, ErrorCode
from schemas.states import MessageState


class DeliveryRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long and how often a message is tried."""

    attempts_max: int = 8
    backoff_min_s: float = 1.0
    backoff_max_s: float = 60.0
    age_max_s: float = 86_400.0


class Progress(msgspec.Struct, frozen=True):
    """How far the head of a lane is. `attempts` counts those that reached an engine; `doubt` is
    the code of the error after which nobody knew, empty: it surely did not go out."""

    attempts: int = 0
    waits: int = 0
    doubt: str = ""


class Outcome(StrEnum):
    """What an error says about the message."""

    NOT_HANDED_OVER = "not_handed_over"
    """It never reached an engine: wait, it costs no attempt."""
    DEFINITE = "definite"
    """It surely did not go out and never will."""
    RETRY = "retry"
    """It surely did not go out this time."""
    UNSURE = "unsure"
    """Nobody knows. Safe to repeat: the node looks the id up first."""
    NEVER_KNOWN = "never_known"
    """The node itself gave up finding out."""


class Retry(msgspec.Struct, frozen=True):
    """Try again after a while. `offline`: a change of the session's state is reason enough."""

    progress: Progress
    delay_s: float
    offline: bool


class GiveUp(msgspec.Struct, frozen=True):
    """Nothing more will be tried."""

    state: MessageState
    code: ErrorCode
    detail: str
    attempts: int


_NOT_HANDED_OVER = frozenset(
    {
        ErrorCode.SESSION_NOT_ONLINE,
        ErrorCode.SESSION_NOT_RUNNING,
        ErrorCode.SESSION_NOT_FOUND,
        ErrorCode.SESSION_LOGGED_OUT,
        ErrorCode.SESSION_FAILED,
        ErrorCode.STALE_EPOCH,
        ErrorCode.LEASE_LOST,
        ErrorCode.NODE_AT_CAPACITY,
        ErrorCode.SHUTTING_DOWN,
        ErrorCode.RATE_LIMITED,
        ErrorCode.PAGE_NOT_READY,
        ErrorCode.PAGE_SELF_TEST_FAILED,
        ErrorCode.BROWSER_MISSING,
        ErrorCode.BROWSER_START_FAILED,
        ErrorCode.WA_JS_MISSING,
        ErrorCode.PASSKEY_REQUIRED,
        ErrorCode.STREAM_REPLACED,
    }
)
_UNSURE = frozenset(
    {
        ErrorCode.PAGE_TIMEOUT,
        ErrorCode.PAGE_ERROR,
        ErrorCode.TIMEOUT,
        ErrorCode.NODE_UNREACHABLE,
        ErrorCode.NATS_UNAVAILABLE,
        ErrorCode.BROWSER_CRASHED,
        ErrorCode.INTERNAL,
    }
)


_REASONS = {
    ErrorCode.LEASE_LOST.value: "the dispatcher before this one may have handed it over",
}


def outcome_of(code: ErrorCode, *, received: bool) -> Outcome:
    """What an error means. `received` is False when surely no node took the request."""
    if not received or code in _NOT_HANDED_OVER:
        return Outcome.NOT_HANDED_OVER
    if code is ErrorCode.MESSAGE_OUTCOME_UNKNOWN:
        return Outcome.NEVER_KNOWN
    if code in _UNSURE:
        return Outcome.UNSURE
    return Outcome.RETRY if ERRORS[code].retryable else Outcome.DEFINITE


def after_error(
    progress: Progress,
    code: ErrorCode,
    detail: str,
    *,
    received: bool,
    age_s: float,
    unit_random: float,
    rules: DeliveryRules,
) -> Retry | GiveUp:
    """Decide after an attempt that brought no final answer. `age_s` is since acceptance."""
    outcome = outcome_of(code, received=received)
    match outcome:
        case Outcome.NEVER_KNOWN:
            return GiveUp(MessageState.UNKNOWN, code, detail, progress.attempts + 1)
        case Outcome.DEFINITE:
            return GiveUp(MessageState.FAILED, code, detail, progress.attempts + 1)
        case Outcome.NOT_HANDED_OVER:
            progress = Progress(progress.attempts, progress.waits + 1, progress.doubt)
        case Outcome.RETRY:
            progress = Progress(progress.attempts + 1)
        case Outcome.UNSURE:
            progress = Progress(progress.attempts + 1, doubt=code.value)
    if age_s >= rules.age_max_s or progress.attempts >= rules.attempts_max:
        return give_up(progress, code, detail)
    offline = outcome is Outcome.NOT_HANDED_OVER
    delay = delay_s(
        progress.waits if offline else progress.attempts,
        unit_random,
        min_s=rules.backoff_min_s,
        max_s=rules.backoff_max_s,
    )
    return Retry(progress, min(delay, max(0.0, rules.age_max_s - age_s)), offline)


def give_up(progress: Progress, code: ErrorCode, detail: str) -> GiveUp:
    """The final state of a message for which time or attempts have run out."""
    if not progress.doubt:
        return GiveUp(MessageState.FAILED, code, detail, progress.attempts)
    reason = _REASONS.get(progress.doubt, f"an attempt ended without an answer: {progress.doubt}")
    detail = f"{detail}; {reason}" if detail else reason
    return GiveUp(MessageState.UNKNOWN, code, detail, progress.attempts)


def expired(age_s: float, rules: DeliveryRules) -> bool:
    """Whether a message waited too long to be still wanted."""
    return age_s >= rules.age_max_s
