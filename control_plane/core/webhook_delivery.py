"""Deliveries: what an answer means, and when the next attempt is.

Owns the schedule, the meaning of HTTP codes and of `Retry-After`, and a delivery's steps from one
attempt to the next. Never sends, never reads a clock and never makes randomness.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

import msgspec

from schemas.webhooks import Attempt, Delivery, DeliveryState

SCHEDULE_S: Final = (
    0.0,
    5.0,
    5 * 60.0,
    30 * 60.0,
    2 * 3600.0,
    5 * 3600.0,
    10 * 3600.0,
    14 * 3600.0,
    20 * 3600.0,
    24 * 3600.0,
)
"""The pause before each attempt of a round; after the last one it is given up."""
JITTER_SHARE: Final = 0.1
"""A pause is longer by up to this share of it, so that what failed together does not come back
together. Never shorter: that is what was promised."""
RETRY_AFTER_MAX_S: Final = 24 * 3600.0
_HTTP_DATE: Final = "%a, %d %b %Y %H:%M:%S GMT"
ATTEMPTS_KEPT: Final = 20
DOWN_AFTER: Final = 5
"""So many failures in a row, of whatever deliveries, and the webhook itself counts as down."""


class Verdict(StrEnum):
    """What an attempt came to."""

    DELIVERED = "delivered"
    FAILED = "failed"
    GONE = "gone"
    """It failed, and the webhook wants no more."""


class Outcome(msgspec.Struct, frozen=True):
    """An attempt, what it came to, and how long its answer asks us to wait."""

    attempt: Attempt
    verdict: Verdict
    retry_after_s: float | None = None


def verdict_of(http_code: int) -> Verdict:
    """Any 2xx is delivered. A redirect is not: following it could lead anywhere."""
    if 200 <= http_code < 300:
        return Verdict.DELIVERED
    return Verdict.GONE if http_code == 410 else Verdict.FAILED


def retry_after_s(http_code: int, headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that `Retry-After` (a number or a date; lower-case header names) asks for, bounded;
    None where it does not count: with any code but 429 and 5xx, or when it can't be read."""
    text = headers.get("retry-after", "").strip()
    if not text or not (http_code == 429 or http_code >= 500):
        return None
    if text.isdecimal() and text.isascii():
        return min(float(text[:9]), RETRY_AFTER_MAX_S)
    try:
        date = datetime.strptime(text, _HTTP_DATE).replace(tzinfo=UTC)
    except ValueError:
        return None
    return min(max(0.0, date.timestamp() - now), RETRY_AFTER_MAX_S)


def pause_s(
    made: int,
    unit_random: float,
    asked_s: float | None,
    schedule: Sequence[float] = SCHEDULE_S,
) -> float | None:
    """How long after attempt number `made` (from 1) the next one is; None after the last. An
    answer that asked for a longer pause gets it."""
    if made >= len(schedule):
        return None
    pause = max(schedule[made], asked_s or 0.0)
    return pause * (1.0 + JITTER_SHARE * unit_random)


def after(
    delivery: Delivery,
    outcome: Outcome,
    *,
    now: float,
    unit_random: float,
    schedule: Sequence[float] = SCHEDULE_S,
) -> Delivery:
    """The delivery with one more attempt: delivered, waiting for the next one, or dead."""
    made = delivery.round + 1
    attempts = (*delivery.attempts, outcome.attempt)[-ATTEMPTS_KEPT:]
    tried = msgspec.structs.replace(delivery, attempts=attempts, round=made, due_at=None)
    if outcome.verdict is Verdict.DELIVERED:
        return msgspec.structs.replace(tried, state=DeliveryState.DELIVERED)
    pause = pause_s(made, unit_random, outcome.retry_after_s, schedule)
    if pause is None:
        return msgspec.structs.replace(tried, state=DeliveryState.DEAD)
    return msgspec.structs.replace(tried, state=DeliveryState.WAITING, due_at=now + pause)


def asked_again(delivery: Delivery, now: float) -> Delivery:
    """The delivery with a whole new round before it, beginning now."""
    return msgspec.structs.replace(delivery, state=DeliveryState.WAITING, round=0, due_at=now)
