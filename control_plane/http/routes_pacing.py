"""Routes of sending's pace: what a lane waits for, pacing settings, the opt-out list.

Owns the HTTP shape of `ports.Sending`. Never decides what may go.
"""

from typing import Annotated, Any

from litestar import delete, get, post, put
from litestar.params import FromPath, PathParameter

from control_plane.http.auth import Scope, access
from control_plane.http.bodies import AnyRequest, json_body
from control_plane.http.dependencies import Caller, Cursor, Limit, Ports, Settings
from control_plane.http.people import people_of
from control_plane.http.problems import invalid
from control_plane.pacing.book import known_time_zone
from schemas.api import Page
from schemas.api_sending import NewOptOut, OptOutView, OutboxView, PacingView
from schemas.errors import ErrorCode as C
from schemas.ids import SessionId
from schemas.pacing import PacingSettings

TAGS = ["Sending"]
_CHANGES = (
    C.MALFORMED_REQUEST,
    C.VALIDATION_FAILED,
    C.UNSUPPORTED_MEDIA_TYPE,
    C.PAYLOAD_TOO_LARGE,
    C.NATS_UNAVAILABLE,
)


@get(
    "/sessions/{session_id:str}/outbox",
    operation_id="getOutbox",
    summary="See how many messages wait, and for what",
    tags=TAGS,
    opt=access(Scope.MESSAGES, C.SESSION_NOT_FOUND, C.NATS_UNAVAILABLE),
)
async def get_outbox(
    services: Ports, caller: Caller, session_id: FromPath[SessionId]
) -> OutboxView:
    """`GET …/outbox`"""
    return await services.sending.outbox(caller.tenant_id, session_id)


@get(
    "/sessions/{session_id:str}/pacing",
    operation_id="getSessionPacing",
    summary="Read a session's pacing",
    tags=TAGS,
    opt=access(Scope.MESSAGES, C.SESSION_NOT_FOUND, C.NATS_UNAVAILABLE),
)
async def get_session_pacing(
    services: Ports, caller: Caller, session_id: FromPath[SessionId]
) -> PacingView:
    """`GET …/pacing`"""
    return await services.sending.pacing(caller.tenant_id, session_id)


@put(
    "/sessions/{session_id:str}/pacing",
    operation_id="setSessionPacing",
    summary="Set a session's pacing",
    description="Replaces what this session wants otherwise than its tenant; what is left out or "
    "null is as the tenant has it.",
    tags=TAGS,
    opt=access(Scope.SESSIONS, C.SESSION_NOT_FOUND, *_CHANGES, body=PacingSettings),
)
async def set_session_pacing(
    request: AnyRequest,
    services: Ports,
    settings: Settings,
    caller: Caller,
    session_id: FromPath[SessionId],
) -> PacingView:
    """`PUT …/pacing`"""
    wanted = await _wanted(request, settings.json_bytes_max)
    return await services.sending.set_pacing(caller.tenant_id, session_id, wanted)


@get(
    "/pacing",
    operation_id="getPacing",
    summary="Read the pacing of all your sessions",
    tags=TAGS,
    opt=access(Scope.MESSAGES, C.NATS_UNAVAILABLE),
)
async def get_pacing(services: Ports, caller: Caller) -> PacingView:
    """`GET /v1/pacing`"""
    return await services.sending.pacing(caller.tenant_id, None)


@put(
    "/pacing",
    operation_id="setPacing",
    summary="Set the pacing of all your sessions",
    description="Replaces what you want otherwise than this installation's defaults.",
    tags=TAGS,
    opt=access(Scope.SESSIONS, *_CHANGES, body=PacingSettings),
)
async def set_pacing(
    request: AnyRequest, services: Ports, settings: Settings, caller: Caller
) -> PacingView:
    """`PUT /v1/pacing`"""
    wanted = await _wanted(request, settings.json_bytes_max)
    return await services.sending.set_pacing(caller.tenant_id, None, wanted)


async def _wanted(request: AnyRequest, bytes_max: int) -> PacingSettings:
    wanted, _ = await json_body(request, PacingSettings, bytes_max)
    if wanted.time_zone is not None and not known_time_zone(wanted.time_zone):
        raise invalid("time_zone", "No such time zone; write it as `Asia/Jakarta`.")
    return wanted


@get(
    "/opt-outs",
    operation_id="listOptOuts",
    summary="List recipients who do not want your messages",
    tags=TAGS,
    opt=access(Scope.MESSAGES, C.VALIDATION_FAILED),
)
async def list_opt_outs(
    services: Ports, caller: Caller, limit: Limit = 50, cursor: Cursor = None
) -> Page[OptOutView]:
    """`GET /v1/opt-outs`"""
    return await services.sending.opt_outs(caller.tenant_id, limit=limit, cursor=cursor)


@post(
    "/opt-outs",
    operation_id="addOptOut",
    summary="Opt a recipient out",
    description="Nothing more goes to them from any of your sessions: what waits already fails "
    "with `recipient_opted_out`.",
    tags=TAGS,
    status_code=201,
    opt=access(Scope.MESSAGES, C.RECIPIENT_INVALID, *_CHANGES, body=NewOptOut),
)
async def add_opt_out(
    request: AnyRequest, services: Ports, settings: Settings, caller: Caller
) -> OptOutView:
    """`POST /v1/opt-outs`"""
    new, _ = await json_body(request, NewOptOut, settings.json_bytes_max)
    chat_id = (await people_of(services, caller)).chat(new.to, "to")
    return await services.sending.opt_out(caller.tenant_id, chat_id)


@delete(
    "/opt-outs/{to:str}",
    operation_id="removeOptOut",
    summary="Take a recipient off the list",
    description="Only if they asked you to: writing `START` does it without you.",
    tags=TAGS,
    status_code=204,
    opt=access(Scope.MESSAGES, C.RECIPIENT_INVALID, C.NOT_FOUND, C.NATS_UNAVAILABLE),
)
async def remove_opt_out(
    services: Ports,
    caller: Caller,
    to: Annotated[str, PathParameter(max_length=80, description="A phone number or chat id.")],
) -> None:
    """`DELETE /v1/opt-outs/{to}`"""
    chat_id = (await people_of(services, caller)).chat(to, "to")
    await services.sending.opt_in(caller.tenant_id, chat_id)


ROUTES: list[Any] = [
    get_outbox,
    get_session_pacing,
    set_session_pacing,
    get_pacing,
    set_pacing,
    list_opt_outs,
    add_opt_out,
    remove_opt_out,
]
