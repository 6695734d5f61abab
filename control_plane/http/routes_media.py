"""Route of uploads.

Owns the HTTP shape of `ports.MediaStore`. Never holds a whole upload in memory.
"""

from typing import Annotated

from litestar import post
from litestar.params import QueryParameter

from control_plane.http.auth import Scope, access
from control_plane.http.bodies import AnyRequest, limited
from control_plane.http.dependencies import Caller, Ports, Settings
from control_plane.http.message_content import FILENAME_CHARS_MAX, check_mimetype
from control_plane.http.problems import invalid
from schemas.api import MediaView
from schemas.errors import BlazzError
from schemas.errors import ErrorCode as C


@post(
    "/media",
    operation_id="uploadMedia",
    summary="Upload media",
    description="The body is the file itself, its `Content-Type` the mimetype. Send its `media_id` "
    "with a message before it expires, as often as you like.",
    tags=["Messages"],
    status_code=201,
    request_max_body_size=None,
    opt=access(
        Scope.MESSAGES,
        C.MEDIA_TOO_LARGE,
        C.MEDIA_UNSUPPORTED,
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
    ref = await services.media.put(
        caller.tenant_id,
        limited(request, settings.media_bytes_max, C.MEDIA_TOO_LARGE),
        mimetype=mimetype,
        filename=filename,
    )
    return MediaView(
        media_id=ref.media_id,
        mimetype=ref.mimetype,
        size_bytes=ref.size_bytes,
        sha256=ref.sha256,
        expires_at=settings.wall_clock() + settings.media_ttl_s,
        filename=ref.filename,
    )


ROUTES = [upload_media]
