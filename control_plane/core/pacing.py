"""Pacing: whether a message may go now, and if not, when and why.

Owns the arithmetic: token bucket, cold spacing, warm-up, quiet hours. Never reads a clock, a time
zone or a record: they are handed in, and the state to be kept is handed out.

Cold messages draw on half of the bucket only, so a reply finds a token however many of them go
out. What was granted once is granted again to the same message: a retry costs nothing.
"""

from enum import StrEnum
from typing import Final

import msgspec

from control_plane.core.contacts import ChatMark
from schemas.pacing import PacingRules, PacingSettings, PacingState, SendClass

_DAY_S: Final = 86_400.0
_DAY_MINUTES: Final = 1_440
_WARM_UP_DAYS_MAX: Final = 60
_EPSILON_S: Final = 1e-6


class Reason(StrEnum):
    """Why a message has to wait."""

    RATE = "rate"
    COLD_PACE = "cold_pace"
    COLD_DAY = "cold_limit_of_the_day"
    QUIET_HOURS = "quiet_hours"


class LocalTime(msgspec.Struct, frozen=True):
    """A moment in the rules' time zone: days since the epoch, minutes since midnight."""

    day: int
    minute: float


class Standing(msgspec.Struct, frozen=True):
    """What is known of a chat: when it last wrote to the session (None: never)."""

    last_inbound_at: float | None = None


class Go(msgspec.Struct, frozen=True):
    """Send it. `state` must be kept before, if it is `charged`."""

    state: PacingState
    charged: bool


class Hold(msgspec.Struct, frozen=True):
    """Not before `until` (Unix seconds)."""

    until: float
    reason: Reason


def resolve(defaults: PacingRules, *levels: PacingSettings | None) -> PacingRules:
    """The rules in force: each level says what it wants otherwise than the one before."""
    rules = defaults
    for level in levels:
        if level is not None:
            wanted = {
                name: value
                for name in level.__struct_fields__
                if (value := getattr(level, name)) is not None
            }
            rules = msgspec.structs.replace(rules, **wanted)
    return rules


def send_class(mark: ChatMark, standing: Standing, now: float, rules: PacingRules) -> SendClass:
    """What a message is to its recipient."""
    last_at = standing.last_inbound_at
    if mark.answers or (last_at is not None and now - last_at <= rules.reply_window_s):
        return SendClass.REPLY
    return SendClass.KNOWN if mark.group or last_at is not None else SendClass.COLD


def cold_limit(rules: PacingRules, linked_at: float, now: float) -> int:
    """How many cold messages a day a number may send that was linked at `linked_at`."""
    days = min(max(0, int((now - linked_at) / _DAY_S)), _WARM_UP_DAYS_MAX)
    return int(min(rules.cold_per_day, rules.warm_up_first_day * rules.warm_up_growth**days))


def cold_sent_today(state: PacingState, local: LocalTime) -> int:
    """How many went out today. A clock that went back does not begin a new day."""
    return state.cold_sent if state.cold_day >= local.day else 0


def decide(
    rules: PacingRules,
    state: PacingState,
    sending: SendClass,
    message_id: str,
    *,
    now: float,
    local: LocalTime,
    linked_at: float,
    unit_random: float,
) -> Go | Hold:
    """Whether the message may go now."""
    if not rules.enabled or message_id in (state.message_id, state.cold_message_id):
        return Go(state, charged=False)
    cold = sending is SendClass.COLD
    if cold:
        hold = _hold_cold(rules, state, now=now, local=local, linked_at=linked_at)
        if hold is not None:
            return hold
    interval_s = 60.0 / rules.per_minute
    longest_s = interval_s * rules.burst * (1.0 + rules.jitter)
    # A clock that jumped must not close the bucket for long.
    arrival_at = min(max(state.arrival_at, now), now + longest_s)
    room = rules.burst - 1 if sending is SendClass.REPLY else (rules.burst - 1) // 2
    early_s = arrival_at - now - interval_s * room
    if early_s > _EPSILON_S:
        return Hold(now + early_s, Reason.RATE)
    sway = 1.0 - rules.jitter + 2.0 * rules.jitter * unit_random
    taken = msgspec.structs.replace(
        state, arrival_at=arrival_at + interval_s * sway, message_id=message_id
    )
    if cold:
        taken = msgspec.structs.replace(
            taken,
            cold_next_at=now + 60.0 / rules.cold_per_minute * sway,
            cold_day=max(local.day, state.cold_day),
            cold_sent=cold_sent_today(state, local) + 1,
            cold_message_id=message_id,
        )
    return Go(taken, charged=True)


def _hold_cold(
    rules: PacingRules, state: PacingState, *, now: float, local: LocalTime, linked_at: float
) -> Hold | None:
    quiet_minutes = minutes_of_quiet_left(rules, local)
    if quiet_minutes > 0:
        return Hold(now + quiet_minutes * 60.0, Reason.QUIET_HOURS)
    if cold_sent_today(state, local) >= cold_limit(rules, linked_at, now):
        return Hold(now + (_DAY_MINUTES - local.minute) * 60.0, Reason.COLD_DAY)
    longest_s = 60.0 / rules.cold_per_minute * (1.0 + rules.jitter)
    next_at = min(state.cold_next_at, now + longest_s)
    return Hold(next_at, Reason.COLD_PACE) if next_at > now + _EPSILON_S else None


def minutes_of_quiet_left(rules: PacingRules, local: LocalTime) -> float:
    """0 outside quiet hours."""
    begin, end = _minutes(rules.quiet_from), _minutes(rules.quiet_until)
    length = (end - begin) % _DAY_MINUTES
    since = (local.minute - begin) % _DAY_MINUTES
    return length - since if since < length else 0.0


def _minutes(clock_time: str) -> int:
    hours, _, minutes = clock_time.partition(":")
    return int(hours) * 60 + int(minutes)


# Words ---------------------------------------------------------------------------------------


class Wish(StrEnum):
    """What somebody asked for with a word."""

    OUT = "out"
    IN = "in"


def wish_of(text: str, rules: PacingRules) -> Wish | None:
    """Whether a message is one of the words, and nothing else."""
    said = _plain(text)
    if said in {_plain(word) for word in rules.stop_words}:
        return Wish.OUT
    return Wish.IN if said in {_plain(word) for word in rules.start_words} else None


def _plain(text: str) -> str:
    return text.strip(" \t\r\n.,!?\"'*_~").casefold()
