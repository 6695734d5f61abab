"""Routes of a session's account: its chats, contacts, groups, profile, and what is done at once.

Owns the HTTP shape of `ports.Accounts`. None of these is a message: nothing here is queued, kept or
repeated, so the session must be online.
"""

from typing import Final

from litestar import delete, get, patch, post, put
from litestar.params import FromPath

from control_plane.core.media_kinds import PICTURE_MIMETYPES
from control_plane.http.auth import Scope, access
from control_plane.http.bodies import AnyRequest, json_body
from control_plane.http.dependencies import Caller, Cursor, Limit, Ports, Settings
from control_plane.http.people import people_of
from control_plane.http.problems import InvalidFields, invalid
from schemas.api import FieldProblem, Page
from schemas.api_accounts import (
    NumbersRequest,
    PictureView,
    PresenceRequest,
    ProfileChange,
    ProfilePicture,
)
from schemas.chats import Chat, ChatPresence, Contact, Group, NumberCheck, Profile
from schemas.errors import ErrorCode as C
from schemas.ids import SessionId

TAGS: Final = ["Chats and contacts"]
PROFILE: Final = ["Profile"]
_LIVE: Final = (
    C.SESSION_NOT_FOUND,
    C.SESSION_NOT_RUNNING,
    C.SESSION_NOT_ONLINE,
    C.STALE_EPOCH,
    C.UNSUPPORTED_BY_ENGINE,
    C.NODE_UNREACHABLE,
    C.NATS_UNAVAILABLE,
    C.PAGE_ERROR,
    C.PAGE_TIMEOUT,
)
_CHAT: Final = (*_LIVE, C.RECIPIENT_INVALID, C.CHAT_NOT_FOUND)
_BODY: Final = (
    C.MALFORMED_REQUEST,
    C.VALIDATION_FAILED,
    C.UNSUPPORTED_MEDIA_TYPE,
    C.PAYLOAD_TOO_LARGE,
)


@post(
    "/sessions/{session_id:str}/chats/{chat_id:str}/presence",
    operation_id="setPresence",
    summary="Show typing or recording",
    description="WhatsApp forgets it by itself after some 25 seconds.",
    tags=TAGS,
    status_code=204,
    opt=access(Scope.MESSAGES, *_CHAT, *_BODY, body=PresenceRequest),
)
async def set_presence(
    request: AnyRequest,
    services: Ports,
    settings: Settings,
    caller: Caller,
    session_id: FromPath[SessionId],
    chat_id: FromPath[str],
) -> None:
    """`POST …/chats/{chat_id}/presence`"""
    asked, _ = await json_body(request, PresenceRequest, settings.json_bytes_max)
    chat = (await people_of(services, caller)).chat(chat_id, "chat_id")
    presence = ChatPresence(asked.state)
    await services.accounts.set_presence(caller.tenant_id, session_id, chat, presence)


@post(
    "/sessions/{session_id:str}/chats/{chat_id:str}/presence/subscribe",
    operation_id="subscribePresence",
    summary="Be told what the other side does",
    description="From then on `presence` events come for this chat, until the session's engine "
    "ends: ask again after `session.state` says `online`.",
    tags=TAGS,
    status_code=204,
    opt=access(Scope.MESSAGES, *_CHAT),
)
async def subscribe_presence(
    services: Ports, caller: Caller, session_id: FromPath[SessionId], chat_id: FromPath[str]
) -> None:
    """`POST …/chats/{chat_id}/presence/subscribe`"""
    chat = (await people_of(services, caller)).chat(chat_id, "chat_id")
    await services.accounts.subscribe_presence(caller.tenant_id, session_id, chat)


@post(
    "/sessions/{session_id:str}/chats/{chat_id:str}/seen",
    operation_id="markSeen",
    summary="Mark a chat as read",
    tags=TAGS,
    status_code=204,
    opt=access(Scope.MESSAGES, *_CHAT),
)
async def mark_seen(
    services: Ports, caller: Caller, session_id: FromPath[SessionId], chat_id: FromPath[str]
) -> None:
    """`POST …/chats/{chat_id}/seen`"""
    chat = (await people_of(services, caller)).chat(chat_id, "chat_id")
    await services.accounts.mark_seen(caller.tenant_id, session_id, chat)


@get(
    "/sessions/{session_id:str}/chats",
    operation_id="listChats",
    summary="List chats, last used first",
    tags=TAGS,
    opt=access(Scope.MESSAGES, *_LIVE, C.VALIDATION_FAILED),
)
async def list_chats(
    services: Ports,
    caller: Caller,
    session_id: FromPath[SessionId],
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[Chat]:
    """`GET …/chats`"""
    return await services.accounts.chats(
        caller.tenant_id, session_id, groups_only=False, limit=limit, cursor=cursor
    )


@get(
    "/sessions/{session_id:str}/groups",
    operation_id="listGroups",
    summary="List group chats, last used first",
    tags=TAGS,
    opt=access(Scope.MESSAGES, *_LIVE, C.VALIDATION_FAILED),
)
async def list_groups(
    services: Ports,
    caller: Caller,
    session_id: FromPath[SessionId],
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[Chat]:
    """`GET …/groups`"""
    return await services.accounts.chats(
        caller.tenant_id, session_id, groups_only=True, limit=limit, cursor=cursor
    )


@get(
    "/sessions/{session_id:str}/groups/{chat_id:str}",
    operation_id="getGroup",
    summary="Read a group and its members",
    tags=TAGS,
    opt=access(Scope.MESSAGES, *_CHAT),
)
async def get_group(
    services: Ports, caller: Caller, session_id: FromPath[SessionId], chat_id: FromPath[str]
) -> Group:
    """`GET …/groups/{chat_id}`"""
    chat = (await people_of(services, caller)).chat(chat_id, "chat_id")
    if not chat.endswith("@g.us"):
        wrong = FieldProblem("chat_id", "That is not a group: a group's id ends with @g.us.")
        raise InvalidFields(wrong, code=C.RECIPIENT_INVALID)
    return await services.accounts.group(caller.tenant_id, session_id, chat)


@get(
    "/sessions/{session_id:str}/contacts",
    operation_id="listContacts",
    summary="List contacts",
    tags=TAGS,
    opt=access(Scope.MESSAGES, *_LIVE, C.VALIDATION_FAILED),
)
async def list_contacts(
    services: Ports,
    caller: Caller,
    session_id: FromPath[SessionId],
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[Contact]:
    """`GET …/contacts`"""
    return await services.accounts.contacts(
        caller.tenant_id, session_id, limit=limit, cursor=cursor
    )


@get(
    "/sessions/{session_id:str}/contacts/{chat_id:str}/picture",
    operation_id="getPicture",
    summary="Find the picture of a person or a group",
    description="`url` is WhatsApp's own and works for a while; null: there is none, or it is "
    "hidden from this account.",
    tags=TAGS,
    opt=access(Scope.MESSAGES, *_CHAT),
)
async def get_picture(
    services: Ports, caller: Caller, session_id: FromPath[SessionId], chat_id: FromPath[str]
) -> PictureView:
    """`GET …/contacts/{chat_id}/picture`"""
    chat = (await people_of(services, caller)).chat(chat_id, "chat_id")
    return PictureView(await services.accounts.picture(caller.tenant_id, session_id, chat))


@post(
    "/sessions/{session_id:str}/numbers/check",
    operation_id="checkNumbers",
    summary="Ask which numbers are on WhatsApp",
    description="Answers in the order asked. WhatsApp watches who asks for many: check only "
    "numbers that you are about to write to.",
    tags=TAGS,
    status_code=200,
    opt=access(Scope.MESSAGES, *_LIVE, C.RECIPIENT_INVALID, *_BODY, body=NumbersRequest),
)
async def check_numbers(
    request: AnyRequest,
    services: Ports,
    settings: Settings,
    caller: Caller,
    session_id: FromPath[SessionId],
) -> Page[NumberCheck]:
    """`POST …/numbers/check`"""
    asked, _ = await json_body(request, NumbersRequest, settings.json_bytes_max)
    people = await people_of(services, caller)
    phones = [people.phone(text, f"phones[{at}]") for at, text in enumerate(asked.phones)]
    return Page(await services.accounts.check_numbers(caller.tenant_id, session_id, phones))


@get(
    "/sessions/{session_id:str}/numbers/{phone:str}",
    operation_id="checkNumber",
    summary="Ask whether a number is on WhatsApp",
    tags=TAGS,
    opt=access(Scope.MESSAGES, *_LIVE, C.RECIPIENT_INVALID),
)
async def check_number(
    services: Ports, caller: Caller, session_id: FromPath[SessionId], phone: FromPath[str]
) -> NumberCheck:
    """`GET …/numbers/{phone}`"""
    digits = (await people_of(services, caller)).phone(phone, "phone")
    [found] = await services.accounts.check_numbers(caller.tenant_id, session_id, [digits])
    return found


@get(
    "/sessions/{session_id:str}/profile",
    operation_id="getProfile",
    summary="Read the account's own profile",
    tags=PROFILE,
    opt=access(Scope.SESSIONS, *_LIVE),
)
async def get_profile(services: Ports, caller: Caller, session_id: FromPath[SessionId]) -> Profile:
    """`GET …/profile`"""
    return await services.accounts.profile(caller.tenant_id, session_id)


@patch(
    "/sessions/{session_id:str}/profile",
    operation_id="changeProfile",
    summary="Change the account's name or about text",
    tags=PROFILE,
    opt=access(Scope.SESSIONS, *_LIVE, *_BODY, body=ProfileChange),
)
async def change_profile(
    request: AnyRequest,
    services: Ports,
    settings: Settings,
    caller: Caller,
    session_id: FromPath[SessionId],
) -> Profile:
    """`PATCH …/profile`"""
    change, _ = await json_body(request, ProfileChange, settings.json_bytes_max)
    if change.name is None and change.about is None:
        raise invalid("", "Give name, about, or both.")
    return await services.accounts.change_profile(
        caller.tenant_id, session_id, name=change.name, about=change.about
    )


@put(
    "/sessions/{session_id:str}/profile/picture",
    operation_id="setProfilePicture",
    summary="Set the account's picture",
    tags=PROFILE,
    opt=access(
        Scope.SESSIONS,
        *_LIVE,
        *_BODY,
        C.MEDIA_NOT_FOUND,
        C.MEDIA_UNSUPPORTED,
        body=ProfilePicture,
    ),
)
async def set_profile_picture(
    request: AnyRequest,
    services: Ports,
    settings: Settings,
    caller: Caller,
    session_id: FromPath[SessionId],
) -> Profile:
    """`PUT …/profile/picture`"""
    asked, _ = await json_body(request, ProfilePicture, settings.json_bytes_max)
    ref = await services.media.ref(caller.tenant_id, asked.media_id)
    if ref.mimetype not in PICTURE_MIMETYPES:
        accepted = " or ".join(PICTURE_MIMETYPES)
        wrong = FieldProblem("media_id", f"A profile picture is {accepted}.")
        raise InvalidFields(wrong, code=C.MEDIA_UNSUPPORTED)
    return await services.accounts.change_profile(caller.tenant_id, session_id, picture=ref)


@delete(
    "/sessions/{session_id:str}/profile/picture",
    operation_id="removeProfilePicture",
    summary="Remove the account's picture",
    tags=PROFILE,
    status_code=200,
    opt=access(Scope.SESSIONS, *_LIVE),
)
async def remove_profile_picture(
    services: Ports, caller: Caller, session_id: FromPath[SessionId]
) -> Profile:
    """`DELETE …/profile/picture`"""
    return await services.accounts.change_profile(caller.tenant_id, session_id, remove_picture=True)


ROUTES = [
    set_presence,
    subscribe_presence,
    mark_seen,
    list_chats,
    list_groups,
    get_group,
    list_contacts,
    get_picture,
    check_numbers,
    check_number,
    get_profile,
    change_profile,
    set_profile_picture,
    remove_profile_picture,
]
