"""Routes of media: uploads, whole or in pieces.

Owns the HTTP shape of `ports.MediaStore` and `ports.Uploads`. Never holds a whole upload in memory.
"""

from typing import Annotated

import msgspec
from litestar import Response, delete, get, patch, post
from litestar.params import FromPath, HeaderParameter, QueryParameter

from control_plane.http.auth import Scope, access
from control_plane.http.bodies import AnyRequest, json_body, limited
from control_plane.http.dependencies import Caller, Ports, Settings
from control_plane.http.message_content import check_mimetype
from control_plane.http.problems import invalid
from control_plane.media_ports import HeldMedia, Upload
from schemas.api_messages import FILENAME_CHARS_MAX, MediaView, NewUpload, UploadView
from schemas.errors import BlazzError
from schemas.errors import ErrorCode as C
from schemas.ids import MediaId

TAGS = ["Media"]
UPLOAD_OFFSET = "Upload-Offset"


@post(
    "/media",
    operation_id="uploadMedia",
    summary="Upload media",
    description="The body is the file itself, its `Content-Type` the mimetype. Send its `media_id` "
    "with a message before it expires, as often as you like.",
    tags=TAGS,
    status_code=201,
    request_max_body_size=None,
    opt=access(
        Scope.MESSAGES,
        C.MEDIA_TOO_LARGE,
        C.MEDIA_UNSUPPORTED,
        C.MEDIA_CORRUPT,
        C.MEDIA_QUOTA_EXCEEDED,
        C.VALIDATION_FAILED,
        C.NATS_UNAVAILABLE,
        body=bytes,
    ),
)
async def upload_media(
    request: AnyRequest,
    services: Ports,
    settings: Settings,
    caller: Caller,
    filename: Annotated[
        str | None, QueryParameter(name="filename", min_length=1, max_length=FILENAME_CHARS_MAX)
    ] = None,
) -> MediaView:
    """`POST /v1/media`"""
    declared = request.headers.get("content-type")
    if not declared:
        raise BlazzError(C.MEDIA_UNSUPPORTED, "Say what it is in Content-Type.")
    mimetype = check_mimetype(declared)
    if mimetype.startswith("multipart/"):
        raise BlazzError(C.MEDIA_UNSUPPORTED, "Send the file itself as the body, not a form.")
    if request.content_length == 0:
        raise invalid("", "The body is empty.")
    held = await services.media.put(
        caller.tenant_id,
        limited(request, settings.media_bytes_max, C.MEDIA_TOO_LARGE),
        mimetype=mimetype,
        filename=filename,
    )
    return _media(held)


@get(
    "/media/{media_id:str}",
    operation_id="getMedia",
    summary="Look an upload up",
    tags=TAGS,
    opt=access(Scope.MESSAGES, C.MEDIA_NOT_FOUND),
)
async def get_media(services: Ports, caller: Caller, media_id: FromPath[MediaId]) -> MediaView:
    """`GET /v1/media/{id}`"""
    return _media(await services.media.held(caller.tenant_id, media_id))


@delete(
    "/media/{media_id:str}",
    operation_id="deleteMedia",
    summary="Delete an upload",
    description="Gives its room back, or breaks an upload in pieces off. Messages that wait to be "
    "sent with it will fail.",
    tags=TAGS,
    status_code=204,
    opt=access(Scope.MESSAGES, C.MEDIA_NOT_FOUND),
)
async def delete_media(services: Ports, caller: Caller, media_id: FromPath[MediaId]) -> None:
    """`DELETE /v1/media/{id}`"""
    await services.media.delete(caller.tenant_id, media_id)


@post(
    "/media/uploads",
    operation_id="beginUpload",
    summary="Begin, or find, an upload in pieces",
    description="Say what will come, then `PATCH` the bytes from `offset` on. What this tenant has "
    "uploaded before is there at once (200, with `media`), and an upload that was broken off is "
    "found again by repeating this very request.",
    tags=TAGS,
    status_code=201,
    opt=access(
        Scope.MESSAGES,
        C.MALFORMED_REQUEST,
        C.VALIDATION_FAILED,
        C.UNSUPPORTED_MEDIA_TYPE,
        C.PAYLOAD_TOO_LARGE,
        C.MEDIA_UNSUPPORTED,
        C.MEDIA_TOO_LARGE,
        C.MEDIA_QUOTA_EXCEEDED,
        C.NATS_UNAVAILABLE,
        body=NewUpload,
    ),
)
async def begin_upload(
    request: AnyRequest, services: Ports, settings: Settings, caller: Caller
) -> Response[UploadView]:
    """`POST /v1/media/uploads`"""
    new, _ = await json_body(request, NewUpload, settings.json_bytes_max)
    new = msgspec.structs.replace(new, mimetype=check_mimetype(new.mimetype))
    return _answer(await services.uploads.begin(caller.tenant_id, new), begun=True)


@get(
    "/media/uploads/{upload_id:str}",
    operation_id="getUpload",
    summary="See how far an upload is",
    tags=TAGS,
    opt=access(Scope.MESSAGES, C.MEDIA_NOT_FOUND),
)
async def get_upload(
    services: Ports, caller: Caller, upload_id: FromPath[MediaId]
) -> Response[UploadView]:
    """`GET /v1/media/uploads/{id}`"""
    return _answer(await services.uploads.upload(caller.tenant_id, upload_id))


@patch(
    "/media/uploads/{upload_id:str}",
    operation_id="appendToUpload",
    summary="Upload the next bytes",
    description="The body is the bytes from `Upload-Offset` on, as many as you like. If the "
    "connection breaks, ask for `offset` and go on from there, on any address of this server. "
    "When the last byte is there, the whole is checked and the answer has its `media`.",
    tags=TAGS,
    request_max_body_size=None,
    opt=access(
        Scope.MESSAGES,
        C.MEDIA_NOT_FOUND,
        C.MEDIA_TOO_LARGE,
        C.MEDIA_CORRUPT,
        C.UPLOAD_OFFSET_MISMATCH,
        C.VALIDATION_FAILED,
        C.NATS_UNAVAILABLE,
        body=bytes,
    ),
)
async def append_to_upload(
    request: AnyRequest,
    services: Ports,
    settings: Settings,
    caller: Caller,
    upload_id: FromPath[MediaId],
    offset: Annotated[
        int | None,
        HeaderParameter(name=UPLOAD_OFFSET, ge=0, description="Where these bytes begin; needed."),
    ] = None,
) -> Response[UploadView]:
    """`PATCH /v1/media/uploads/{id}`"""
    if offset is None:
        raise invalid(UPLOAD_OFFSET, "Say where these bytes begin.")
    data = limited(request, settings.media_bytes_max, C.MEDIA_TOO_LARGE)
    return _answer(await services.uploads.append(caller.tenant_id, upload_id, offset, data))


def _media(held: HeldMedia) -> MediaView:
    ref = held.ref
    return MediaView(
        media_id=ref.media_id,
        mimetype=ref.mimetype,
        size_bytes=ref.size_bytes,
        sha256=ref.sha256,
        expires_at=held.expires_at,
        filename=ref.filename,
    )


def _answer(upload: Upload, *, begun: bool = False) -> Response[UploadView]:
    view = UploadView(
        upload_id=upload.upload_id,
        offset=upload.offset,
        size_bytes=upload.size_bytes,
        expires_at=upload.expires_at,
        media=None if upload.held is None else _media(upload.held),
    )
    headers = {UPLOAD_OFFSET: str(upload.offset)}
    if begun:
        headers["Location"] = f"/v1/media/uploads/{upload.upload_id}"
    new = begun and upload.held is None and upload.offset == 0
    return Response(view, status_code=201 if new else 200, headers=headers)


ROUTES = [
    upload_media,
    get_media,
    delete_media,
    begin_upload,
    get_upload,
    append_to_upload,
]
