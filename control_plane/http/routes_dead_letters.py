"""Routes of dead letters: what ended as failed or unknown, and its way back.

Owns the HTTP shape of `ports.DeadLetters`. Never redrives by itself.
"""

from typing import Annotated, Any

from litestar import Response, delete, get, post
from litestar.params import FromPath, QueryParameter

from control_plane.http.auth import Scope, access
from control_plane.http.dependencies import Caller, Cursor, Limit, Ports
from schemas.api import Page
from schemas.api_sending import DeadLetterCount, DeadLetterView, RedriveView
from schemas.errors import ErrorCode as C
from schemas.ids import MessageId, SessionId
from schemas.messages import ChatMessage

TAGS = ["Sending"]
Force = Annotated[
    bool,
    QueryParameter(
        name="force",
        description="Also what ended as `unknown`: it may have gone out, and the recipient may get "
        "it twice where the session's device no longer knows it.",
    ),
]


@get(
    "/sessions/{session_id:str}/dead-letters",
    operation_id="listDeadLetters",
    summary="List messages that failed or whose end nobody knows",
    tags=TAGS,
    opt=access(Scope.MESSAGES, C.SESSION_NOT_FOUND, C.VALIDATION_FAILED),
)
async def list_dead_letters(
    services: Ports,
    caller: Caller,
    session_id: FromPath[SessionId],
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[DeadLetterView]:
    """`GET …/dead-letters`"""
    return await services.dead_letters.list(
        caller.tenant_id, session_id, limit=limit, cursor=cursor
    )


@get(
    "/dead-letters",
    operation_id="countDeadLetters",
    summary="Count dead letters by session",
    description="Of those of your sessions that have any, the most first.",
    tags=TAGS,
    opt=access(Scope.MESSAGES, C.NATS_UNAVAILABLE),
)
async def count_dead_letters(services: Ports, caller: Caller) -> Page[DeadLetterCount]:
    """`GET /v1/dead-letters`"""
    return Page(list(await services.dead_letters.counts(caller.tenant_id)))


@get(
    "/fleet/dead-letters",
    operation_id="countFleetDeadLetters",
    summary="Count all tenants' dead letters by session",
    tags=["Fleet"],
    opt=access(Scope.OPERATOR, C.NATS_UNAVAILABLE),
)
async def count_fleet_dead_letters(services: Ports) -> Page[DeadLetterCount]:
    """`GET /v1/fleet/dead-letters`"""
    return Page(list(await services.dead_letters.counts(None)))


@get(
    "/sessions/{session_id:str}/dead-letters/{message_id:str}",
    operation_id="getDeadLetter",
    summary="Read a dead letter",
    tags=TAGS,
    opt=access(Scope.MESSAGES, C.SESSION_NOT_FOUND, C.DEAD_LETTER_NOT_FOUND),
)
async def get_dead_letter(
    services: Ports,
    caller: Caller,
    session_id: FromPath[SessionId],
    message_id: FromPath[MessageId],
) -> DeadLetterView:
    """`GET …/dead-letters/{id}`"""
    return await services.dead_letters.get(caller.tenant_id, session_id, message_id)


@post(
    "/sessions/{session_id:str}/dead-letters/{message_id:str}/redrive",
    operation_id="redriveDeadLetter",
    summary="Send a dead letter again",
    description="It keeps its id, goes to the end of its session's lane and is `accepted` again, "
    "with `redrives` counted up.",
    tags=TAGS,
    status_code=202,
    opt=access(
        Scope.MESSAGES,
        C.SESSION_NOT_FOUND,
        C.DEAD_LETTER_NOT_FOUND,
        C.REDRIVE_UNSAFE,
        C.QUEUE_FULL,
        C.NATS_UNAVAILABLE,
        C.VALIDATION_FAILED,
    ),
)
async def redrive_dead_letter(
    services: Ports,
    caller: Caller,
    session_id: FromPath[SessionId],
    message_id: FromPath[MessageId],
    *,
    force: Force = False,
) -> Response[ChatMessage]:
    """`POST …/dead-letters/{id}/redrive`"""
    message = await services.dead_letters.redrive(
        caller.tenant_id, session_id, message_id, force=force
    )
    location = f"/v1/sessions/{session_id}/messages/{message_id}"
    return Response(message, status_code=202, headers={"Location": location})


@post(
    "/sessions/{session_id:str}/dead-letters/redrive",
    operation_id="redriveDeadLetters",
    summary="Send all dead letters of a session again",
    description="In the order in which they were accepted, at most a thousand a request. Those "
    "that ended as `unknown` only with `force`.",
    tags=TAGS,
    status_code=202,
    opt=access(
        Scope.MESSAGES,
        C.SESSION_NOT_FOUND,
        C.QUEUE_FULL,
        C.NATS_UNAVAILABLE,
        C.VALIDATION_FAILED,
    ),
)
async def redrive_dead_letters(
    services: Ports, caller: Caller, session_id: FromPath[SessionId], *, force: Force = False
) -> RedriveView:
    """`POST …/dead-letters/redrive`"""
    return await services.dead_letters.redrive_all(caller.tenant_id, session_id, force=force)


@delete(
    "/sessions/{session_id:str}/dead-letters/{message_id:str}",
    operation_id="dropDeadLetter",
    summary="Forget a dead letter",
    description="It can't be redriven any more; how it ended stays readable with the messages.",
    tags=TAGS,
    status_code=204,
    opt=access(Scope.MESSAGES, C.SESSION_NOT_FOUND, C.DEAD_LETTER_NOT_FOUND),
)
async def drop_dead_letter(
    services: Ports,
    caller: Caller,
    session_id: FromPath[SessionId],
    message_id: FromPath[MessageId],
) -> None:
    """`DELETE …/dead-letters/{id}`"""
    await services.dead_letters.drop(caller.tenant_id, session_id, message_id)


ROUTES: list[Any] = [
    list_dead_letters,
    count_dead_letters,
    count_fleet_dead_letters,
    get_dead_letter,
    redrive_dead_letter,
    redrive_dead_letters,
    drop_dead_letter,
]
