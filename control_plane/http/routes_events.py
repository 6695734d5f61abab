"""Routes of events: streams (server-sent events) and sockets (WebSocket).

Owns which feed a caller may follow and from where. Never the wire format: see `event_stream` and
`event_socket`.
"""

from typing import Annotated, Any, Final

from litestar import WebSocket, get, post, websocket
from litestar.params import FromPath, FromQuery, HeaderParameter
from litestar.response.base import ASGIResponse

from control_plane.http.auth import PUBLIC, Scope, access
from control_plane.http.dependencies import Caller, OpenStreams, Ports
from control_plane.http.event_filter import Types, event_filter
from control_plane.http.event_socket import EventSocket
from control_plane.http.event_stream import Feed, feed_source
from control_plane.ports import Principal
from schemas.api import EventTicketView
from schemas.errors import BlazzError
from schemas.errors import ErrorCode as C
from schemas.ids import SessionId

TAGS = ["Events"]
TICKET_S: Final = 30
LastEventId = Annotated[
    int | None,
    HeaderParameter(
        name="Last-Event-ID",
        ge=0,
        le=2**63 - 1,
        description="Resume after this event. Browsers and SSE clients send it by themselves.",
    ),
]
_HOW = (
    "Server-sent events: `id` is the place in the stream, `event` the name (`message.received`), "
    "`data` an Event as JSON. A comment comes every 15 s. `gap` says that events are no longer "
    "kept: read the states anew. The stream ends now and then; reconnect with `Last-Event-ID`."
)


@get(
    "/events",
    operation_id="followEvents",
    summary="Follow all events",
    description=_HOW,
    tags=TAGS,
    media_type="text/event-stream",
    opt=access(Scope.MESSAGES, C.VALIDATION_FAILED, C.SHUTTING_DOWN, media=("text/event-stream",)),
)
async def follow_events(
    services: Ports,
    streams: OpenStreams,
    caller: Caller,
    last_event_id: LastEventId = None,
    types: Types = None,
) -> ASGIResponse:
    """`GET /v1/events`"""
    return streams.respond(
        feed_source(
            lambda: services.feed.follow(caller.tenant_id, after_sequence=last_event_id),
            event_filter(types),
        )
    )


@get(
    "/sessions/{session_id:str}/events",
    operation_id="followSessionEvents",
    summary="Follow a session's events",
    description=_HOW,
    tags=TAGS,
    media_type="text/event-stream",
    opt=access(
        Scope.MESSAGES,
        C.SESSION_NOT_FOUND,
        C.VALIDATION_FAILED,
        C.SHUTTING_DOWN,
        media=("text/event-stream",),
    ),
)
async def follow_session_events(
    services: Ports,
    streams: OpenStreams,
    caller: Caller,
    session_id: FromPath[SessionId],
    last_event_id: LastEventId = None,
    types: Types = None,
) -> ASGIResponse:
    """`GET …/events`"""
    # A session of another tenant must be unknown, not silent.
    await services.sessions.get(caller.tenant_id, session_id)
    return streams.respond(
        feed_source(
            lambda: services.feed.follow(
                caller.tenant_id, session=session_id, after_sequence=last_event_id
            ),
            event_filter(types),
        )
    )


@get(
    "/fleet/events",
    operation_id="followFleetEvents",
    summary="Follow all tenants' events",
    description="From now on only. " + _HOW,
    tags=["Fleet"],
    media_type="text/event-stream",
    opt=access(Scope.OPERATOR, C.SHUTTING_DOWN, media=("text/event-stream",)),
)
async def follow_fleet_events(
    services: Ports, streams: OpenStreams, types: Types = None
) -> ASGIResponse:
    """`GET /v1/fleet/events`"""
    return streams.respond(feed_source(services.fleet.follow, event_filter(types)))


@post(
    "/events/ticket",
    operation_id="createEventTicket",
    summary="Get a ticket for the event socket",
    description="For a browser, which can send no header with a WebSocket: ask for it where your "
    "API key is, hand it to the page, and open `/v1/events/ws?ticket=…` with it. It opens one "
    "socket, within 30 seconds, with the rights of your key.",
    tags=TAGS,
    status_code=201,
    opt=access(Scope.MESSAGES),
)
async def create_event_ticket(services: Ports, caller: Caller) -> EventTicketView:
    """`POST /v1/events/ticket`"""
    text, expires_at = await services.access.create_ticket(caller, expires_in_s=TICKET_S)
    return EventTicketView(ticket=text, expires_at=expires_at)


@websocket("/events/ws", opt={"access": PUBLIC})
async def event_socket(
    socket: WebSocket[Any, Any, Any],
    services: Ports,
    streams: OpenStreams,
    after: FromQuery[int | None] = None,
    session_id: FromQuery[str | None] = None,
    types: FromQuery[str | None] = None,
    ticket: FromQuery[str | None] = None,
) -> None:
    """`GET /v1/events/ws`: authenticated by header, ticket or first message; see `EventSocket`."""

    def follow(caller: Principal) -> Feed:
        return services.feed.follow(caller.tenant_id, session=session_id, after_sequence=after)

    async def check(caller: Principal) -> None:
        if after is not None and after < 0:
            raise BlazzError(C.VALIDATION_FAILED)
        if session_id is not None:
            await services.sessions.get(caller.tenant_id, session_id)

    line = EventSocket(socket, services, streams)
    await line.serve(follow, check, lambda: event_filter(types), ticket)


ROUTES = [
    follow_events,
    follow_session_events,
    follow_fleet_events,
    create_event_ticket,
    event_socket,
]
