"""Webhooks: their records, their deliveries, and what the API says of them.

Owns every struct of webhooks. Requests refuse unknown fields, answers and records may gain some.
Never holds a secret in the clear, but for the answer that shows a new one, once.
Times are Unix seconds.
"""

from enum import StrEnum
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from schemas.api import Page, Request
from schemas.ids import EventId, NodeId, SessionId, TenantId, WebhookId

TEST_EVENT: Final = "webhook.test"
SIGNATURES_MAX: Final = 3
OVERLAP_S: Final = 86_400.0
OVERLAP_S_MAX: Final = 7 * 86_400.0
_DESCRIPTION_CHARS_MAX: Final = 200

EventPattern = Annotated[
    str,
    Meta(
        pattern=r"^(\*|[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*(\.\*)?)$",
        max_length=80,
        description="An event's name (`message.received`), all below one (`message.*`), or `*`.",
    ),
]
Url = Annotated[str, Meta(min_length=1, max_length=2_048)]
Patterns = Annotated[tuple[EventPattern, ...], Meta(min_length=1, max_length=50)]
SessionIds = Annotated[tuple[SessionId, ...], Meta(max_length=100)]
Description = Annotated[str, Meta(max_length=_DESCRIPTION_CHARS_MAX)]


class DeliveryState(StrEnum):
    """How far an event's delivery to a webhook is."""

    WAITING = "waiting"
    """It failed and is tried again at `due_at`."""
    DELIVERED = "delivered"
    DEAD = "dead"
    """Given up after the last attempt; it can be sent again."""


# What is kept ----------------------------------------------------------------------------------


class SealedSecret(msgspec.Struct, frozen=True, omit_defaults=True):
    """A signing secret. `plain` says that this fleet has no master key to seal it with;
    `ends_at`: a newer one has taken over, and this one signs beside it until then."""

    sealed: bytes
    created_at: float
    ends_at: float | None = None
    plain: bool = False


class Replay(msgspec.Struct, frozen=True):
    """Past events are sent again: those since a time, up to what there was when it was asked."""

    since: float
    until_seq: int


class Loss(msgspec.Struct, frozen=True):
    """Events that a webhook did not get and never will: the stream dropped them (by age or size)
    while the webhook was disabled or down. The first of them was `from_sequence`; others of the
    tenant's up to `to_sequence` went with it. `found_at`: when it was noticed."""

    from_sequence: int
    to_sequence: int
    found_at: float


class WebhookRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tenant's webhook. `start_seq` is the first event it gets; `secrets` newest first.
    `next_unread`: the event that it has to get next, while its lane stands still."""

    webhook_id: WebhookId
    tenant_id: TenantId
    url: str
    created_at: float
    start_seq: int
    secrets: tuple[SealedSecret, ...]
    events: tuple[EventPattern, ...] = ("*",)
    sessions: tuple[SessionId, ...] = ()
    description: str = ""
    enabled: bool = True
    disabled_reason: str | None = None
    disabled_at: float | None = None
    replay: Replay | None = None
    next_unread: int | None = None
    losses: tuple[Loss, ...] = ()


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True):
    """One request to a webhook. `error` is a code (`url_unreachable`, `timeout`, `http_error`,
    …), None when it was taken; `answer` is the beginning of what came back."""

    at: float
    duration_s: float
    http_code: int | None = None
    error: str | None = None
    detail: str = ""
    answer: str = ""


class Delivery(msgspec.Struct, frozen=True, omit_defaults=True):
    """An event on its way to a webhook, or there. `body` is what is sent, byte for byte, each
    time; it is left out of the log. `round` counts attempts since it was last asked for."""

    webhook_id: WebhookId
    tenant_id: TenantId
    event_id: EventId
    type: str
    session_id: SessionId
    sequence: int
    event_at: float
    state: DeliveryState
    body: str = ""
    attempts: tuple[Attempt, ...] = ()
    round: int = 0
    due_at: float | None = None


class AnyEvent(msgspec.Struct, frozen=True):
    """An event of whatever type, also one that only a newer process knows."""

    event_id: EventId
    at: float
    tenant_id: TenantId
    session_id: SessionId
    node_id: NodeId
    epoch: int
    data: dict[str, Any]


class Payload(msgspec.Struct, frozen=True):
    """A webhook's body. `timestamp` is when it happened, in RFC 3339; `data` holds `event_id`,
    `tenant_id`, `session_id`, `sequence` and the event's own fields."""

    type: str
    timestamp: str
    data: dict[str, Any]


# The API -----------------------------------------------------------------------------------------


class NewWebhook(Request, frozen=True):
    """`POST /v1/webhooks`. Without `sessions`, those of all sessions."""

    url: Url
    events: Patterns = ("*",)
    sessions: SessionIds = ()
    description: Description = ""


class WebhookChange(Request, frozen=True):
    """`PATCH /v1/webhooks/{id}`: what is left out stays."""

    url: Url | msgspec.UnsetType = msgspec.UNSET
    events: Patterns | msgspec.UnsetType = msgspec.UNSET
    sessions: SessionIds | msgspec.UnsetType = msgspec.UNSET
    description: Description | msgspec.UnsetType = msgspec.UNSET


class WebhookBacklog(msgspec.Struct, frozen=True):
    """What a webhook has not got yet. `unread`: the tenant's events that were not looked at."""

    waiting: int
    dead: int
    unread: int


class WebhookView(msgspec.Struct, frozen=True):
    """A webhook. `secret` is there once, in the answer that made it; `secrets_valid` says how many
    sign now; `backlog` only where one webhook is asked for. `losses`, newest last: events that it
    will not get, because they were dropped while it was disabled or down (the last ten times)."""

    webhook_id: WebhookId
    url: str
    events: tuple[str, ...]
    sessions: tuple[str, ...]
    description: str
    enabled: bool
    disabled_reason: str | None
    disabled_at: float | None
    created_at: float
    secrets_valid: int
    replaying: bool
    backlog: WebhookBacklog | None = None
    secret: str | None = None
    losses: tuple[Loss, ...] = ()


class RotateSecret(Request, frozen=True):
    """`POST …/rotate-secret`: for `overlap_s` the old secret signs as well."""

    overlap_s: Annotated[float, Meta(ge=0, le=OVERLAP_S_MAX)] = OVERLAP_S


class WebhookTestView(msgspec.Struct, frozen=True):
    """What became of a test event: `delivered` if it was answered with 2xx."""

    delivered: bool
    event_id: EventId
    attempt: Attempt


class DeliveryView(msgspec.Struct, frozen=True):
    """A delivery. `event_id` is its `webhook-id` header, at every attempt."""

    event_id: EventId
    type: str
    session_id: SessionId
    sequence: int
    event_at: float
    state: DeliveryState
    attempts: tuple[Attempt, ...]
    due_at: float | None


class Recover(Request, frozen=True):
    """`POST …/recover`: have events since a time sent. Those that wait or were given up; with
    `all`, also those that were delivered (receivers know them by their `webhook-id`)."""

    since: Annotated[float, Meta(ge=0)]
    all: bool = False


class RecoverView(msgspec.Struct, frozen=True):
    """How many deliveries are tried again now, and whether past events are being read anew."""

    requeued: int
    replaying: bool


WebhookPage = Page[WebhookView]
DeliveryPage = Page[DeliveryView]
