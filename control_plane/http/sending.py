"""From a checked request to an accepted message and its answer: the way all routes that send go.

Owns idempotency, waiting and the answer's headers. Never reads a body.
"""

from typing import Annotated, Final, Literal

import msgspec
from litestar import Response
from litestar.params import QueryParameter

from control_plane.core.message_identity import OnceKey
from control_plane.http.idempotency import once
from control_plane.http.message_request import Asked, content_of
from control_plane.http.settings import HttpSettings
from control_plane.ports import Principal, Services
from schemas.errors import ErrorCode as C
from schemas.ids import SessionId
from schemas.messages import ChatMessage
from schemas.transport.checkpoints import At, checkpoint

SENDING: Final = (
    C.SESSION_NOT_FOUND,
    C.SESSION_LOGGED_OUT,
    C.MESSAGE_NOT_FOUND,
    C.MESSAGE_NOT_CHANGEABLE,
    C.VALIDATION_FAILED,
    C.RECIPIENT_INVALID,
    C.RECIPIENT_OPTED_OUT,
    C.IDEMPOTENCY_MISMATCH,
    C.IDEMPOTENCY_IN_FLIGHT,
    C.QUEUE_FULL,
    C.NATS_UNAVAILABLE,
)
"""What every route that sends may be refused with."""
Wait = Annotated[
    Literal["sent"] | None, QueryParameter(name="wait", description="Wait for its end.")
]
WaitSeconds = Annotated[
    float, QueryParameter(name="timeout_s", ge=0.1, le=60, description="How long to wait.")
]


class How(msgspec.Struct, frozen=True):
    """How a message is asked for: under which idempotency key, and how long to wait for its end."""

    idempotency_key: str | None
    wait: Literal["sent"] | None
    timeout_s: float


async def send(
    services: Services,
    settings: HttpSettings,
    caller: Principal,
    session_id: SessionId,
    asked: Asked,
    how: How,
) -> Response[ChatMessage]:
    """Accept it (once a key), wait if asked to: 200 with its end, else 202."""
    tenant = caller.tenant_id

    async def accept(*, seen_before: bool = False) -> ChatMessage:
        to, content = await content_of(
            asked, services, tenant, session_id, now=settings.wall_clock()
        )
        once_key = None
        if how.idempotency_key is not None:
            once_key = OnceKey(caller.key_id, how.idempotency_key, asked.sha256, seen_before)
        return await services.messages.accept(tenant, session_id, to, content, once_key)

    made = await once(
        services.idempotency,
        caller,
        "messages",
        how.idempotency_key,
        asked.sha256,
        ChatMessage,
        accept,
        lambda: accept(seen_before=True),
    )
    checkpoint(At.ACCEPT_BEFORE_ANSWER)
    message = made.result
    if how.wait == "sent" and not message.state.final:
        message = await services.messages.wait_final(
            tenant, session_id, message.message_id, timeout_s=how.timeout_s
        )
    headers = {"Location": f"/v1/sessions/{session_id}/messages/{message.message_id}"}
    if made.replayed:
        headers["Idempotent-Replayed"] = "true"
    return Response(message, status_code=200 if message.state.final else 202, headers=headers)
