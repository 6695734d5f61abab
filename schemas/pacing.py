"""Pacing: how fast a session may send to whom, and what is remembered to judge it.

Owns the rules with their defaults, what customers may change of them, the records of the pacing
bucket, and what a dispatcher reports of a lane. Never a decision: see
`control_plane/core/pacing.py`. Times are Unix seconds.
"""

from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from schemas.ids import ChatId, MessageId, SessionId, TenantId

ClockTime = Annotated[str, Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
Word = Annotated[str, Meta(min_length=1, max_length=40)]
Words = Annotated[tuple[Word, ...], Meta(max_length=50)]
TimeZone = Annotated[str, Meta(min_length=1, max_length=64, description="Such as `Asia/Jakarta`.")]
PerMinute = Annotated[float, Meta(gt=0, le=60_000)]
Share = Annotated[float, Meta(ge=0, le=0.9)]


class SendClass(StrEnum):
    """What a message is to its recipient. Declared in the order in which they go first."""

    REPLY = "reply"
    """They wrote lately, or it is about a message already there: nobody is surprised."""
    KNOWN = "known"
    """They wrote once, or it is a group: they know us."""
    COLD = "cold"
    """They never wrote to us."""


class PacingRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is in force for a session. The defaults' reasons are in `docs/sending.md`.

    - `per_minute`, `burst`: the token bucket of all its messages.
    - `cold_per_minute`: the mean pace of cold messages within it, each `jitter` (a share) early or
      late. `cold_per_day`: the most of them in a day of `time_zone`; a number linked less than a
      few days ago starts with `warm_up_first_day`, times `warm_up_growth` every day.
    - `reply_window_s`: for so long after they wrote, what goes to them is a reply.
    - `quiet_from`, `quiet_until`: no cold messages between these times of day; the same: never
      quiet.
    - `stop_words`, `start_words`: a direct message that is one of them opts its sender out or in.
    """

    enabled: bool = True
    per_minute: PerMinute = 30.0
    burst: Annotated[int, Meta(ge=1, le=10_000)] = 10
    cold_per_minute: PerMinute = 4.0
    cold_per_day: Annotated[int, Meta(ge=0, le=1_000_000)] = 250
    warm_up_first_day: Annotated[int, Meta(ge=0, le=1_000_000)] = 20
    warm_up_growth: Annotated[float, Meta(ge=1, le=10)] = 1.5
    jitter: Share = 0.3
    reply_window_s: Annotated[float, Meta(ge=0, le=7 * 86_400)] = 86_400.0
    quiet_from: ClockTime = "21:00"
    quiet_until: ClockTime = "08:00"
    time_zone: TimeZone = "UTC"
    stop_words: Words = ("stop", "unsubscribe", "berhenti")
    start_words: Words = ("start", "mulai")


UNPACED: Final = PacingRules(enabled=False)
"""For the sandbox alone: nobody real is written to."""


class PacingSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a tenant, or one session, wants otherwise; null: as the level above has it. The fields
    are those of `PacingRules`."""

    enabled: bool | None = None
    per_minute: PerMinute | None = None
    burst: Annotated[int, Meta(ge=1, le=10_000)] | None = None
    cold_per_minute: PerMinute | None = None
    cold_per_day: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    warm_up_first_day: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    warm_up_growth: Annotated[float, Meta(ge=1, le=10)] | None = None
    jitter: Share | None = None
    reply_window_s: Annotated[float, Meta(ge=0, le=7 * 86_400)] | None = None
    quiet_from: ClockTime | None = None
    quiet_until: ClockTime | None = None
    time_zone: TimeZone | None = None
    stop_words: Words | None = None
    start_words: Words | None = None


class PacingState(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a session has used up; written by its shard's dispatcher BEFORE each paced send, so
    that another dispatcher grants nothing anew and knows what may have been handed over.

    - `arrival_at`: the bucket's theoretical arrival time.
    - `cold_next_at`: no cold message before. `cold_day`, `cold_sent`: how many in which local day.
    - `message_id`, `cold_message_id`: the last one paced, of any class and of the cold ones.
    """

    session_id: SessionId
    arrival_at: float = 0.0
    cold_next_at: float = 0.0
    cold_day: int = 0
    cold_sent: int = 0
    message_id: str = ""
    cold_message_id: str = ""


class ContactRecord(msgspec.Struct, frozen=True):
    """A chat that wrote to a session. `last_at` may be up to an hour behind."""

    session_id: SessionId
    last_at: float


class ChatAlias(msgspec.Struct, frozen=True):
    """Under which id a customer writes to a chat that WhatsApp calls by another (`@lid`)."""

    session_id: SessionId
    to: ChatId


class LinkedRecord(msgspec.Struct, frozen=True):
    """Since when a session has had its number: a new one is warmed up."""

    session_id: SessionId
    phone: str
    since: float


class OptOutRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A recipient's wish. One that came back stays on record with `active` false, so that an old
    wish that is told again does not count as a new one."""

    tenant_id: TenantId
    chat_id: ChatId
    at: float
    active: bool = True
    by: str = "api"
    """`word`: they wrote one; `api`: the tenant did it for them."""


class AskLane(msgspec.Struct, frozen=True):
    """What does this session's lane wait for?"""

    tenant_id: TenantId
    session_id: SessionId


class LaneState(StrEnum):
    """What a lane does."""

    EMPTY = "empty"
    QUEUED = "queued"
    """Its turn comes."""
    SENDING = "sending"
    BACKING_OFF = "backing_off"
    OFFLINE = "offline"
    """Its session is not online."""
    PACED = "paced"
    UNATTENDED = "unattended"
    """Nobody dispatches it right now."""


class LaneReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """What its dispatcher says. `until` is when it looks again at the latest; `reason` an error's
    code, or what paces it; `message_id` and `attempts` are of the message tried last."""

    state: LaneState
    until: float | None = None
    reason: str | None = None
    message_id: MessageId | None = None
    attempts: int = 0
