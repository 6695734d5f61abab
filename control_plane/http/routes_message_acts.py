"""Routes of what is done to a message: react, edit, delete, forward.

Owns only their HTTP shape: each is `POST …/messages` with the message named in the path, and an
accepted message of its own.
"""

from litestar import Response, delete, patch, post
from litestar.params import FromPath

from control_plane.http.auth import Scope, access
from control_plane.http.bodies import AnyRequest, json_body
from control_plane.http.dependencies import Caller, Ports, Settings
from control_plane.http.idempotency import IdempotencyKey, sha256_of
from control_plane.http.message_acts import Act
from control_plane.http.message_content import emoji_problems, read_mentions
from control_plane.http.message_request import Asked
from control_plane.http.people import people_of
from control_plane.http.problems import InvalidFields
from control_plane.http.sending import SENDING, How, Wait, WaitSeconds, send
from schemas.api_messages import EditRequest, ForwardRequest, ReactionRequest
from schemas.errors import ErrorCode as C
from schemas.ids import MessageId, SessionId
from schemas.messages import ChatMessage
from schemas.states import MessageKind

TAGS = ["Messages"]
_BODY = (C.MALFORMED_REQUEST, C.UNSUPPORTED_MEDIA_TYPE, C.PAYLOAD_TOO_LARGE)


@post(
    "/sessions/{session_id:str}/messages/{message_id:str}/reactions",
    operation_id="reactToMessage",
    summary="React to a message",
    description="The answer is the reaction, a message with an id of its own. An empty `emoji` "
    "takes yours back.",
    tags=TAGS,
    status_code=202,
    opt=access(Scope.MESSAGES, *SENDING, *_BODY, body=ReactionRequest),
)
async def react(
    request: AnyRequest,
    services: Ports,
    settings: Settings,
    caller: Caller,
    session_id: FromPath[SessionId],
    message_id: FromPath[MessageId],
    idempotency_key: IdempotencyKey = None,
    wait: Wait = None,
    timeout_s: WaitSeconds = 30.0,
) -> Response[ChatMessage]:
    """`POST …/messages/{id}/reactions`"""
    new, body = await json_body(request, ReactionRequest, settings.json_bytes_max)
    if wrong := emoji_problems(new.emoji, "emoji"):
        raise InvalidFields(*wrong)
    act = Act(kind=MessageKind.REACTION, message_id=message_id, emoji=new.emoji)
    how = How(idempotency_key, wait, timeout_s)
    return await send(services, settings, caller, session_id, _asked(request, body, act), how)


@patch(
    "/sessions/{session_id:str}/messages/{message_id:str}",
    operation_id="editMessage",
    summary="Edit a text",
    description="Only a text of this session's account, for 15 minutes after it was sent. The "
    "answer is the edit, a message with an id of its own.",
    tags=TAGS,
    status_code=202,
    opt=access(Scope.MESSAGES, *SENDING, *_BODY, body=EditRequest),
)
async def edit(
    request: AnyRequest,
    services: Ports,
    settings: Settings,
    caller: Caller,
    session_id: FromPath[SessionId],
    message_id: FromPath[MessageId],
    idempotency_key: IdempotencyKey = None,
    wait: Wait = None,
    timeout_s: WaitSeconds = 30.0,
) -> Response[ChatMessage]:
    """`PATCH …/messages/{id}`"""
    new, body = await json_body(request, EditRequest, settings.json_bytes_max)
    mentions = read_mentions(new.mentions, await people_of(services, caller))
    act = Act(kind=MessageKind.EDIT, message_id=message_id, text=new.text, mentions=mentions)
    how = How(idempotency_key, wait, timeout_s)
    return await send(services, settings, caller, session_id, _asked(request, body, act), how)


@delete(
    "/sessions/{session_id:str}/messages/{message_id:str}",
    operation_id="deleteMessage",
    summary="Delete a message for everyone",
    description="Only a message of this session's account. The answer is the deletion, a message "
    "with an id of its own.",
    tags=TAGS,
    status_code=202,
    opt=access(Scope.MESSAGES, *SENDING),
)
async def delete_message(
    request: AnyRequest,
    services: Ports,
    settings: Settings,
    caller: Caller,
    session_id: FromPath[SessionId],
    message_id: FromPath[MessageId],
    idempotency_key: IdempotencyKey = None,
    wait: Wait = None,
    timeout_s: WaitSeconds = 30.0,
) -> Response[ChatMessage]:
    """`DELETE …/messages/{id}`"""
    act = Act(kind=MessageKind.DELETE, message_id=message_id)
    how = How(idempotency_key, wait, timeout_s)
    return await send(services, settings, caller, session_id, _asked(request, b"", act), how)


@post(
    "/sessions/{session_id:str}/messages/{message_id:str}/forward",
    operation_id="forwardMessage",
    summary="Forward a message",
    description="The answer is the new message, with an id of its own.",
    tags=TAGS,
    status_code=202,
    opt=access(Scope.MESSAGES, *SENDING, *_BODY, body=ForwardRequest),
)
async def forward(
    request: AnyRequest,
    services: Ports,
    settings: Settings,
    caller: Caller,
    session_id: FromPath[SessionId],
    message_id: FromPath[MessageId],
    idempotency_key: IdempotencyKey = None,
    wait: Wait = None,
    timeout_s: WaitSeconds = 30.0,
) -> Response[ChatMessage]:
    """`POST …/messages/{id}/forward`"""
    new, body = await json_body(request, ForwardRequest, settings.json_bytes_max)
    to = (await people_of(services, caller)).chat(new.to, "to")
    act = Act(kind=MessageKind.FORWARD, message_id=message_id, to=to)
    how = How(idempotency_key, wait, timeout_s)
    return await send(services, settings, caller, session_id, _asked(request, body, act), how)


def _asked(request: AnyRequest, body: bytes, act: Act) -> Asked:
    method_and_path = f"{request.method} {request.scope['path']}".encode()
    return Asked(sha256=sha256_of(method_and_path, body), act=act)


ROUTES = [react, edit, delete_message, forward]
