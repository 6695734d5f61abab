"""A message's way: what is known of it from several places, in one order.

Owns which facts become steps, and saying what is not known. Pure.
"""

from collections.abc import Iterable
from typing import Final

from schemas.api_sending import DeadLetterView, TraceStep
from schemas.events import (
    Event,
    MediaFailed,
    MessageAck,
    MessageFailed,
    MessageReceived,
    MessageUnknown,
    event_name,
)
from schemas.messages import ChatMessage
from schemas.states import MessageDirection, MessageState
from schemas.webhooks import DeliveryView

_ENDS: Final = {
    MessageState.SENT: "message.sent",
    MessageState.FAILED: "message.failed",
    MessageState.UNKNOWN: "message.unknown",
}
ATTEMPTS: Final = (
    "the single attempts: a node keeps them in its log only (`message_id`); their number is known "
    "of dead letters"
)
ENDED_EARLIER: Final = "when it ended and its receipts: those events are no longer kept"
REDRIVEN: Final = "what its earlier lives waited for"


def concerns(event: Event, message_id: str) -> bool:
    """Whether an event is about a message, or was caused by it."""
    data = event.data
    if isinstance(data, MessageReceived):
        return data.message.message_id == message_id
    return message_id in (getattr(data, "message_id", None), getattr(data, "cause", None))


def steps(
    message: ChatMessage,
    events: Iterable[Event],
    letter: DeadLetterView | None,
    deliveries: Iterable[tuple[str, DeliveryView]],
) -> list[TraceStep]:
    """What happened, in order of time; what happened at once stays in the order given."""
    found = list(events)
    made = [_of_event(event) for event in found]
    if message.direction is MessageDirection.OUTBOUND:
        made.insert(0, TraceStep(message.created_at, "accepted"))
    if not _told(message, made) and message.state_at is not None:
        made.append(
            TraceStep(message.state_at, f"state.{message.state}", error_code=message.error_code)
        )
    if letter is not None:
        made.append(
            TraceStep(
                letter.died_at,
                "dead_letter",
                detail=f"{letter.attempts} attempts, redriven {letter.redrives} times",
                error_code=letter.error_code,
            )
        )
    for webhook_id, delivery in deliveries:
        made += _of_delivery(webhook_id, delivery)
    return sorted(made, key=lambda step: step.at)


def not_known(message: ChatMessage, made: Iterable[TraceStep]) -> list[str]:
    """What a reader might look for in vain."""
    if message.direction is not MessageDirection.OUTBOUND:
        return []
    unknown = [ATTEMPTS]
    if message.redrives:
        unknown.append(REDRIVEN)
    if message.state in _ENDS and not _told(message, list(made)):
        unknown.append(ENDED_EARLIER)
    return unknown


def _told(message: ChatMessage, made: list[TraceStep]) -> bool:
    end = _ENDS.get(message.state)
    return end is None or any(step.what == end for step in made)


def _of_event(event: Event) -> TraceStep:
    data = event.data
    detail, code = None, None
    if isinstance(data, MessageAck):
        detail = data.ack.value
    elif isinstance(data, MessageFailed | MessageUnknown | MediaFailed):
        detail, code = data.error_detail, data.error_code
    return TraceStep(
        event.at,
        event_name(data),
        node_id=event.node_id,
        epoch=event.epoch,
        detail=detail,
        error_code=code,
        event_id=event.event_id,
    )


def _of_delivery(webhook_id: str, delivery: DeliveryView) -> list[TraceStep]:
    made = [
        TraceStep(
            attempt.at,
            "webhook.attempt",
            detail=f"{delivery.type} in {attempt.duration_s:.3f} s",
            error_code=attempt.error,
            event_id=delivery.event_id,
            webhook_id=webhook_id,
            http_code=attempt.http_code,
        )
        for attempt in delivery.attempts
    ]
    if delivery.due_at is not None:
        made.append(
            TraceStep(
                delivery.due_at,
                "webhook.due",
                detail=delivery.type,
                event_id=delivery.event_id,
                webhook_id=webhook_id,
            )
        )
    return made
