"""Routes of messages: send, look up, read media.

Owns the HTTP shape of `ports.Messages`. Never sends one: an accepted message is the outbox's.
"""

from collections.abc import AsyncIterator
from typing import Annotated, Any
from urllib.parse import quote

from litestar import Response, delete, get, post
from litestar.params import FromPath, QueryParameter
from litestar.response import Stream

from control_plane.core.text_search import QUERY_CHARS_MAX
from control_plane.http.auth import Scope, access
from control_plane.http.bodies import AnyRequest
from control_plane.http.dependencies import Caller, Cursor, Limit, Ports, Settings
from control_plane.http.idempotency import IdempotencyKey
from control_plane.http.message_request import read_message
from control_plane.http.people import people_of
from control_plane.http.sending import SENDING, How, Wait, WaitSeconds, send
from control_plane.ports import Principal, Services
from schemas.api import Page
from schemas.api_messages import NewMessage
from schemas.api_sending import TraceView
from schemas.commands import MediaChunk
from schemas.errors import BlazzError
from schemas.errors import ErrorCode as C
from schemas.ids import MessageId, SessionId
from schemas.messages import ChatMessage

TAGS = ["Messages"]

ChatFilter = Annotated[
    str | None,
    QueryParameter(name="chat", max_length=80, description="Only this phone number or chat id."),
]


@post(
    "/sessions/{session_id:str}/messages",
    operation_id="sendMessage",
    summary="Send a message",
    description="Accepts one message of any kind, reactions, edits, deletions and forwards "
    "included: from here on it ends exactly once as `sent`, `failed` or `unknown`. Answers 202 at "
    "once; with `wait=sent` it waits and answers 200 when that end is reached in time. A form "
    "(`multipart/form-data`) with `to`, `caption`, `kind`, `reply_to` and a `file` does as well.",
    tags=TAGS,
    status_code=202,
    request_max_body_size=None,
    opt=access(
        Scope.MESSAGES,
        *SENDING,
        C.MALFORMED_REQUEST,
        C.MEDIA_NOT_FOUND,
        C.MEDIA_NOT_FETCHED,
        C.MEDIA_UNSUPPORTED,
        C.MEDIA_CORRUPT,
        C.MEDIA_TOO_LARGE,
        C.MEDIA_QUOTA_EXCEEDED,
        C.URL_NOT_ALLOWED,
        C.PAYLOAD_TOO_LARGE,
        C.UNSUPPORTED_MEDIA_TYPE,
        body=NewMessage,
    ),
)
async def send_message(
    request: AnyRequest,
    services: Ports,
    settings: Settings,
    caller: Caller,
    session_id: FromPath[SessionId],
    idempotency_key: IdempotencyKey = None,
    wait: Wait = None,
    timeout_s: WaitSeconds = 30.0,
) -> Response[ChatMessage]:
    """`POST …/messages`"""
    asked = await read_message(request, settings, services, caller)
    how = How(idempotency_key, wait, timeout_s)
    return await send(services, settings, caller, session_id, asked, how)


@get(
    "/sessions/{session_id:str}/messages",
    operation_id="listMessages",
    summary="List messages, newest first",
    tags=TAGS,
    opt=access(Scope.MESSAGES, C.SESSION_NOT_FOUND, C.VALIDATION_FAILED, C.RECIPIENT_INVALID),
)
async def list_messages(
    services: Ports,
    caller: Caller,
    session_id: FromPath[SessionId],
    chat: ChatFilter = None,
    q: Annotated[
        str | None,
        QueryParameter(
            name="q",
            min_length=1,
            max_length=QUERY_CHARS_MAX,
            description="Only messages whose text, caption, file name, place, card or poll holds "
            "all of these words, in any case and anywhere.",
        ),
    ] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[ChatMessage]:
    """`GET …/messages`"""
    chat_id = None
    if chat is not None:
        chat_id = (await people_of(services, caller)).chat(chat, "chat")
    return await services.messages.list(
        caller.tenant_id, session_id, chat=chat_id, text=q, limit=limit, cursor=cursor
    )


@delete(
    "/sessions/{session_id:str}/history",
    operation_id="eraseHistory",
    summary="Erase what is kept of a session's messages, or of one chat's",
    description="From Blazz's own history, for good; WhatsApp's copies stay. Messages that are "
    "still to be sent are sent, and events that were told stay on the stream for their week.",
    tags=TAGS,
    status_code=204,
    opt=access(Scope.MESSAGES, C.SESSION_NOT_FOUND, C.RECIPIENT_INVALID),
)
async def erase_history(
    services: Ports,
    caller: Caller,
    session_id: FromPath[SessionId],
    chat: ChatFilter = None,
) -> None:
    """`DELETE …/history`"""
    chat_id = None
    if chat is not None:
        chat_id = (await people_of(services, caller)).chat(chat, "chat")
    await services.messages.erase(caller.tenant_id, session_id, chat=chat_id)


@get(
    "/sessions/{session_id:str}/messages/{message_id:str}",
    operation_id="getMessage",
    summary="Read a message",
    tags=TAGS,
    opt=access(Scope.MESSAGES, C.SESSION_NOT_FOUND, C.MESSAGE_NOT_FOUND),
)
async def get_message(
    services: Ports,
    caller: Caller,
    session_id: FromPath[SessionId],
    message_id: FromPath[MessageId],
) -> ChatMessage:
    """`GET …/messages/{id}`"""
    return await services.messages.get(caller.tenant_id, session_id, message_id)


@get(
    "/sessions/{session_id:str}/messages/{message_id:str}/trace",
    operation_id="traceMessage",
    summary="Trace a message",
    description="Its whole way, with times: accepted, what it waits for, sent or not, each "
    "receipt, its dead letter, and what your webhooks were told. `unknown` says what is not kept.",
    tags=TAGS,
    opt=access(Scope.MESSAGES, C.SESSION_NOT_FOUND, C.MESSAGE_NOT_FOUND),
)
async def trace_message(
    services: Ports,
    caller: Caller,
    session_id: FromPath[SessionId],
    message_id: FromPath[MessageId],
) -> TraceView:
    """`GET …/messages/{id}/trace`"""
    return await services.traces.trace(caller.tenant_id, session_id, message_id)


@get(
    "/sessions/{session_id:str}/messages/{message_id:str}/media",
    operation_id="getMessageMedia",
    summary="Download a message's media",
    description="What the tenant's `media_policy` had downloaded comes from here; all else is "
    "streamed from WhatsApp through the session, which must be online.",
    tags=TAGS,
    opt=access(
        Scope.MESSAGES,
        C.SESSION_NOT_FOUND,
        C.MESSAGE_NOT_FOUND,
        C.MEDIA_NOT_FOUND,
        C.SESSION_NOT_ONLINE,
        C.NODE_UNREACHABLE,
        media=("application/octet-stream",),
    ),
)
async def get_message_media(
    services: Ports,
    caller: Caller,
    session_id: FromPath[SessionId],
    message_id: FromPath[MessageId],
) -> Stream:
    """`GET …/messages/{id}/media`"""
    message = await services.messages.get(caller.tenant_id, session_id, message_id)
    # The first chunk is read before the answer begins, so that a refusal can still be a problem.
    first = await services.messages.media(caller.tenant_id, session_id, message_id, 0)
    filename = message.media.filename if message.media else None
    disposition = "attachment"
    if filename:
        disposition += f"; filename*=UTF-8''{quote(filename, safe='')}"
    headers = {
        "Content-Length": str(first.total_bytes),
        "Content-Disposition": disposition,
        # A stranger chose these bytes: no browser may run them under our origin.
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    return Stream(
        _chunks(services, caller, session_id, message_id, first),
        media_type=_safe_media_type(first.mimetype),
        headers=headers,
    )


async def _chunks(
    services: Services, caller: Principal, session: str, message: str, first: MediaChunk
) -> AsyncIterator[bytes]:
    chunk = first
    while True:
        yield chunk.data
        offset = chunk.offset + len(chunk.data)
        if offset >= first.total_bytes:
            return
        chunk = await services.messages.media(caller.tenant_id, session, message, offset)
        if not chunk.data or chunk.offset != offset:
            # The answer has begun: falling short of its Content-Length is all that can tell.
            raise BlazzError(C.MEDIA_CORRUPT, "The media ended early.")


def _safe_media_type(mimetype: str) -> str:
    plain = all(32 < ord(c) < 127 or c == " " for c in mimetype)
    return mimetype if plain and "/" in mimetype else "application/octet-stream"


ROUTES: list[Any] = [
    erase_history,
    send_message,
    list_messages,
    get_message,
    get_message_media,
    trace_message,
]
