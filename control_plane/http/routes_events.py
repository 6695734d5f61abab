"""Routes of event streams (server-sent events).

Owns which feed a caller may follow and from where. Never the wire format: see `event_stream`.
"""

from typing import Annotated

from litestar import get
from litestar.params import FromPath, HeaderParameter
from litestar.response.base import ASGIResponse

from control_plane.http.auth import Scope, access
from control_plane.http.dependencies import Caller, OpenStreams, Ports
from control_plane.http.event_stream import feed_source
from schemas.errors import ErrorCode as C
from schemas.ids import SessionId

TAGS = ["Events"]
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
    services: Ports, streams: OpenStreams, caller: Caller, last_event_id: LastEventId = None
) -> ASGIResponse:
    """`GET /v1/events`"""
    return streams.respond(
        feed_source(lambda: services.feed.follow(caller.tenant_id, after_sequence=last_event_id))
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
) -> ASGIResponse:
    """`GET …/events`"""
    # A session of another tenant must be unknown, not silent.
    await services.sessions.get(caller.tenant_id, session_id)
    return streams.respond(
        feed_source(
            lambda: services.feed.follow(
                caller.tenant_id, session=session_id, after_sequence=last_event_id
            )
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
async def follow_fleet_events(services: Ports, streams: OpenStreams) -> ASGIResponse:
    """`GET /v1/fleet/events`"""
    return streams.respond(feed_source(services.fleet.follow))


ROUTES = [follow_events, follow_session_events, follow_fleet_events]
