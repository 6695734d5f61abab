"""The HTTP API's bodies about sending: dead letters, the outbox, pacing, the opt-out list.

Owns their structs, as `api` does for all else. Times are Unix seconds.
"""

import msgspec

from schemas.api import Request
from schemas.api_messages import Recipient
from schemas.ids import MessageId, SessionId, TenantId
from schemas.pacing import LaneState, PacingRules, PacingSettings
from schemas.states import MessageKind, MessageState


class DeadLetterView(msgspec.Struct, frozen=True):
    """A message that ended as `failed` or `unknown`, and why."""

    message_id: MessageId
    session_id: SessionId
    state: MessageState
    chat_id: str
    kind: MessageKind
    accepted_at: float
    died_at: float
    attempts: int
    redrives: int
    error_code: str
    error_detail: str | None = None
    text: str | None = None


class DeadLetterCount(msgspec.Struct, frozen=True):
    """How many dead letters a session has."""

    tenant_id: TenantId
    session_id: SessionId
    count: int


class RedriveView(msgspec.Struct, frozen=True):
    """What came of redriving all: `left` are for the next request, `unsafe` need `force`."""

    redriven: int
    left: int
    unsafe: int


class OutboxView(msgspec.Struct, frozen=True):
    """`GET /v1/sessions/{id}/outbox`: how many messages wait, and for what.

    `until`: when the lane is looked at again at the latest; `reason`: an error's code, or what
    paces it (`rate`, `cold_pace`, `cold_limit_of_the_day`, `quiet_hours`); `message_id`,
    `attempts`: of the message tried last."""

    session_id: SessionId
    depth: int
    depth_max: int
    state: LaneState
    oldest_age_s: float | None = None
    until: float | None = None
    reason: str | None = None
    message_id: MessageId | None = None
    attempts: int = 0


class PacingView(msgspec.Struct, frozen=True):
    """The rules in force, what this level wants otherwise, and (for a session) where it stands."""

    rules: PacingRules
    settings: PacingSettings
    quiet_now: bool
    cold_sent_today: int | None = None
    cold_limit_today: int | None = None


class NewOptOut(Request, frozen=True):
    """`POST /v1/opt-outs`"""

    to: Recipient


class OptOutView(msgspec.Struct, frozen=True):
    """A recipient who wants no messages; `by`: `word` (they wrote one) or `api`."""

    chat_id: str
    at: float
    by: str


class TraceStep(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that happened to a message. `what`: `accepted`, an event's name (`message.sent`),
    `dead_letter`, `webhook.attempt`, or what only the ledger still knows (`state.sent`).

    `detail`: a receipt (`delivered`), an error's detail, a number of attempts."""

    at: float
    what: str
    node_id: str | None = None
    epoch: int | None = None
    detail: str | None = None
    error_code: str | None = None
    event_id: str | None = None
    webhook_id: str | None = None
    http_code: int | None = None


class TraceView(msgspec.Struct, frozen=True):
    """`GET …/messages/{id}/trace`: a message's whole way, as far as it is known. `waits`: its lane,
    while it has not ended; `unknown`: what is not told here, and why."""

    message_id: MessageId
    session_id: SessionId
    state: MessageState
    steps: list[TraceStep]
    waits: OutboxView | None = None
    unknown: list[str] = []
