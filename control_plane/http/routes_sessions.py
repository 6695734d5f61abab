"""Routes of sessions: their life, their QR and pairing codes, their link pages.

Owns the HTTP shape of `ports.Sessions`. Never decides a state.
"""

from typing import Annotated, Literal

from litestar import Response, delete, get, post
from litestar.params import FromPath, QueryParameter

from control_plane.http import qr_images
from control_plane.http.auth import Scope, access
from control_plane.http.bodies import AnyRequest, json_body
from control_plane.http.dependencies import (
    Caller,
    Cursor,
    Limit,
    Ports,
    Settings,
    check_return_url,
    public_base,
)
from control_plane.http.idempotency import IdempotencyKey, once, sha256_of
from control_plane.http.people import people_of
from schemas.api import (
    LinkView,
    NewLink,
    NewSession,
    Page,
    PairingCodeRequest,
    PairingCodeView,
    QrView,
    SessionView,
)
from schemas.errors import ErrorCode as C
from schemas.ids import SessionId

TAGS = ["Sessions"]
LINKING = ["Linking a phone"]
_LIFE = (C.SESSION_NOT_FOUND, C.ILLEGAL_TRANSITION, C.NODE_UNREACHABLE, C.NATS_UNAVAILABLE)
_PAIRING = (
    C.SESSION_NOT_FOUND,
    C.SESSION_NOT_RUNNING,
    C.SESSION_NOT_PAIRING,
    C.SESSION_ALREADY_LINKED,
    C.NODE_UNREACHABLE,
)
QrFormat = Literal["svg", "png", "raw", "text", "json"]
_FORMAT_OF_ACCEPT: tuple[tuple[str, QrFormat], ...] = (
    ("application/json", "json"),
    ("image/svg+xml", "svg"),
    ("image/png", "png"),
    ("text/plain", "text"),
)


@post(
    "/sessions",
    operation_id="createSession",
    summary="Create a session",
    description="Places a session on a node and, unless `start` is false, starts it. Follow its "
    "`state`, or its events, until it is `pairing`; then show its QR code.",
    tags=TAGS,
    status_code=201,
    opt=access(
        Scope.SESSIONS,
        C.MALFORMED_REQUEST,
        C.VALIDATION_FAILED,
        C.UNSUPPORTED_MEDIA_TYPE,
        C.PAYLOAD_TOO_LARGE,
        C.SESSION_EXISTS,
        C.IDEMPOTENCY_MISMATCH,
        C.IDEMPOTENCY_IN_FLIGHT,
        C.NO_NODE_AVAILABLE,
        body=NewSession,
    ),
)
async def create_session(
    request: AnyRequest,
    services: Ports,
    settings: Settings,
    caller: Caller,
    idempotency_key: IdempotencyKey = None,
) -> Response[SessionView]:
    """`POST /v1/sessions`"""
    new, body = await json_body(request, NewSession, settings.json_bytes_max, optional=True)
    made = await once(
        services.idempotency,
        caller,
        "sessions",
        idempotency_key,
        sha256_of(request.scope["path"].encode(), body),
        SessionView,
        lambda: services.sessions.create(caller.tenant_id, new),
    )
    headers = {"Location": f"/v1/sessions/{made.result.session_id}"}
    if made.replayed:
        headers["Idempotent-Replayed"] = "true"
    return Response(made.result, status_code=201, headers=headers)


@get(
    "/sessions",
    operation_id="listSessions",
    summary="List sessions",
    tags=TAGS,
    opt=access(Scope.SESSIONS, C.VALIDATION_FAILED),
)
async def list_sessions(
    services: Ports, caller: Caller, limit: Limit = 50, cursor: Cursor = None
) -> Page[SessionView]:
    """`GET /v1/sessions`"""
    return await services.sessions.list(caller.tenant_id, limit=limit, cursor=cursor)


@get(
    "/sessions/{session_id:str}",
    operation_id="getSession",
    summary="Read a session",
    tags=TAGS,
    opt=access(Scope.SESSIONS, C.SESSION_NOT_FOUND),
)
async def get_session(
    services: Ports, caller: Caller, session_id: FromPath[SessionId]
) -> SessionView:
    """`GET /v1/sessions/{id}`"""
    return await services.sessions.get(caller.tenant_id, session_id)


@delete(
    "/sessions/{session_id:str}",
    operation_id="deleteSession",
    summary="Delete a session",
    description="Stops it and forgets it, its profile and its messages. It is unlinked at WhatsApp "
    "only if it is online: one that is stopped, or whose node is lost, is forgotten all the same, "
    "and the phone goes on listing the device until somebody removes it there. "
    "To be sure, `POST …/logout` first.",
    tags=TAGS,
    status_code=204,
    opt=access(Scope.SESSIONS, C.SESSION_NOT_FOUND),
)
async def delete_session(services: Ports, caller: Caller, session_id: FromPath[SessionId]) -> None:
    """`DELETE /v1/sessions/{id}`"""
    await services.sessions.delete(caller.tenant_id, session_id)


@post(
    "/sessions/{session_id:str}/start",
    operation_id="startSession",
    summary="Start a session",
    description="A running session stays as it is.",
    tags=TAGS,
    status_code=202,
    opt=access(Scope.SESSIONS, *_LIFE, C.NO_NODE_AVAILABLE),
)
async def start_session(
    services: Ports, caller: Caller, session_id: FromPath[SessionId]
) -> SessionView:
    """`POST …/start`"""
    return await services.sessions.start(caller.tenant_id, session_id)


@post(
    "/sessions/{session_id:str}/stop",
    operation_id="stopSession",
    summary="Stop a session",
    description="The phone stays linked: a later start needs no new QR code.",
    tags=TAGS,
    status_code=202,
    opt=access(Scope.SESSIONS, *_LIFE),
)
async def stop_session(
    services: Ports, caller: Caller, session_id: FromPath[SessionId]
) -> SessionView:
    """`POST …/stop`"""
    return await services.sessions.stop(caller.tenant_id, session_id)


@post(
    "/sessions/{session_id:str}/restart",
    operation_id="restartSession",
    summary="Restart a session",
    tags=TAGS,
    status_code=202,
    opt=access(Scope.SESSIONS, *_LIFE, C.NO_NODE_AVAILABLE),
)
async def restart_session(
    services: Ports, caller: Caller, session_id: FromPath[SessionId]
) -> SessionView:
    """`POST …/restart`"""
    return await services.sessions.restart(caller.tenant_id, session_id)


@post(
    "/sessions/{session_id:str}/logout",
    operation_id="logoutSession",
    summary="Unlink the phone",
    description="Removes this device at WhatsApp and stops the session.",
    tags=TAGS,
    status_code=202,
    opt=access(Scope.SESSIONS, *_LIFE),
)
async def logout_session(
    services: Ports, caller: Caller, session_id: FromPath[SessionId]
) -> SessionView:
    """`POST …/logout`"""
    return await services.sessions.logout(caller.tenant_id, session_id)


@get(
    "/sessions/{session_id:str}/qr",
    operation_id="getQr",
    summary="Read the QR code on show",
    description="As `Accept` or `format` says: a picture, its raw text, blocks for a terminal, or "
    "JSON with the seconds left. Whoever scans it owns the session: treat it as a password.",
    tags=LINKING,
    opt=access(
        Scope.SESSIONS,
        *_PAIRING,
        C.QR_NOT_AVAILABLE,
        C.QR_EXPIRED,
        C.VALIDATION_FAILED,
        media=("image/svg+xml", "image/png", "text/plain"),
    ),
)
async def get_qr(
    request: AnyRequest,
    services: Ports,
    caller: Caller,
    session_id: FromPath[SessionId],
    qr_format: Annotated[
        QrFormat | None, QueryParameter(name="format", description="Wins over `Accept`.")
    ] = None,
    renew: Annotated[
        bool, QueryParameter(name="renew", description="Ask for new codes when they have run out.")
    ] = False,
) -> Response[QrView]:
    """`GET …/qr`"""
    shown = await services.sessions.qr(caller.tenant_id, session_id, renew=renew)
    chosen = qr_format or _accepted_format(request)
    headers = {"Cache-Control": "no-store", "Vary": "Accept"}
    content: object
    if chosen == "json":
        content = QrView(shown.value, shown.index, shown.count, shown.expires_in_s)
        media_type = "application/json"
    elif chosen == "svg":
        content, media_type = qr_images.svg(shown.value), "image/svg+xml"
    elif chosen == "png":
        content, media_type = qr_images.png(shown.value), "image/png"
    else:
        drawn = shown.value if chosen == "raw" else qr_images.terminal(shown.value)
        content, media_type = drawn, "text/plain"
    return Response(content, media_type=media_type, headers=headers)  # type: ignore[arg-type]


@post(
    "/sessions/{session_id:str}/pairing-code",
    operation_id="createPairingCode",
    summary="Get a code to type on the phone",
    description="Instead of scanning the QR: the phone asks for these eight characters under "
    "Linked devices, Link with phone number.",
    tags=LINKING,
    status_code=200,
    opt=access(
        Scope.SESSIONS,
        *_PAIRING,
        C.MALFORMED_REQUEST,
        C.VALIDATION_FAILED,
        C.UNSUPPORTED_MEDIA_TYPE,
        C.PAYLOAD_TOO_LARGE,
        C.RECIPIENT_INVALID,
        C.PAIRING_CODE_REFUSED,
        body=PairingCodeRequest,
    ),
)
async def create_pairing_code(
    request: AnyRequest,
    services: Ports,
    settings: Settings,
    caller: Caller,
    session_id: FromPath[SessionId],
) -> PairingCodeView:
    """`POST …/pairing-code`"""
    asked, _ = await json_body(request, PairingCodeRequest, settings.json_bytes_max)
    phone = (await people_of(services, caller)).phone(asked.phone, "phone")
    answer = await services.sessions.pairing_code(caller.tenant_id, session_id, phone)
    return PairingCodeView(answer.code, answer.expires_in_s)


@post(
    "/sessions/{session_id:str}/links",
    operation_id="createLink",
    summary="Make a link page",
    description="A page on which somebody without an API key links a phone. Its address is shown "
    "this once. The first browser that opens it has it for good; until then, and until it expires, "
    "whoever has the address can link the session.",
    tags=LINKING,
    status_code=201,
    opt=access(
        Scope.SESSIONS,
        C.SESSION_NOT_FOUND,
        C.MALFORMED_REQUEST,
        C.VALIDATION_FAILED,
        C.UNSUPPORTED_MEDIA_TYPE,
        C.PAYLOAD_TOO_LARGE,
        body=NewLink,
    ),
)
async def create_link(
    request: AnyRequest,
    services: Ports,
    settings: Settings,
    caller: Caller,
    session_id: FromPath[SessionId],
) -> LinkView:
    """`POST …/links`"""
    new, _ = await json_body(request, NewLink, settings.json_bytes_max, optional=True)
    return_url = check_return_url(new.return_url)
    record, token = await services.access.create_link(
        caller.tenant_id, session_id, expires_in_s=new.expires_in_s, return_url=return_url
    )
    return LinkView(f"{public_base(request, settings)}/link/{token}", record.expires_at)


def _accepted_format(request: AnyRequest) -> QrFormat:
    best = request.accept.best_match([mime for mime, _ in _FORMAT_OF_ACCEPT])
    return dict(_FORMAT_OF_ACCEPT).get(best or "", "json")


ROUTES = [
    create_session,
    list_sessions,
    get_session,
    delete_session,
    start_session,
    stop_session,
    restart_session,
    logout_session,
    get_qr,
    create_pairing_code,
    create_link,
]
