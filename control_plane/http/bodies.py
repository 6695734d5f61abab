"""Request bodies: read within a limit, decoded strictly.

Owns the byte limits and the decoding. Never trusts `Content-Length`: bytes are counted as they
come.
"""

from collections.abc import AsyncIterator
from typing import Any, Final, TypeVar

import msgspec
from litestar import Request
from litestar.exceptions import InternalServerException

from control_plane.http.problems import from_msgspec
from schemas.errors import BlazzError, ErrorCode

T = TypeVar("T", bound=msgspec.Struct)
AnyRequest = Request[Any, Any, Any]
BODY_NOTE: Final = "body"
"""Where the request's state keeps the decoded JSON body, for the audit log."""


async def limited(
    request: AnyRequest, bytes_max: int, code: ErrorCode = ErrorCode.PAYLOAD_TOO_LARGE
) -> AsyncIterator[bytes]:
    """The body's chunks; raises `code` as soon as the limit is passed, or announced to be, and
    `malformed_request` where the connection breaks off."""
    announced = request.content_length
    if announced is not None and announced > bytes_max:
        raise _too_large(code, bytes_max)
    total = 0
    try:
        async for chunk in request.stream():
            total += len(chunk)
            if total > bytes_max:
                raise _too_large(code, bytes_max)
            if chunk:
                yield chunk
    except InternalServerException:
        # What Litestar says of a client that went away: nobody reads the answer, and it is no
        # failure of ours.
        raise BlazzError(ErrorCode.MALFORMED_REQUEST, "The body broke off.") from None


async def read_body(request: AnyRequest, bytes_max: int) -> bytes:
    """The whole body; raises `payload_too_large`."""
    return b"".join([chunk async for chunk in limited(request, bytes_max)])


def require_json(request: AnyRequest) -> None:
    """Raise `unsupported_media_type` unless the body says it is JSON."""
    content_type, _ = request.content_type
    if content_type != "application/json" and not content_type.endswith("+json"):
        raise BlazzError(ErrorCode.UNSUPPORTED_MEDIA_TYPE)


def decode(body: bytes, kind: type[T]) -> T:
    """Decode strictly: no unknown field, no number in quotes. Raises `malformed_request`,
    `validation_failed` with the field."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise from_msgspec(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BlazzError(ErrorCode.MALFORMED_REQUEST) from None


async def json_body(
    request: AnyRequest, kind: type[T], bytes_max: int, *, optional: bool = False
) -> tuple[T, bytes]:
    """Read and decode a JSON body; with `optional`, no body at all counts as `{}`."""
    body = await read_body(request, bytes_max)
    if not body and optional:
        return decode(b"{}", kind), body
    require_json(request)
    made = decode(body, kind)
    request.scope["state"][BODY_NOTE] = made
    return made, body


def _too_large(code: ErrorCode, bytes_max: int) -> BlazzError:
    return BlazzError(code, f"The limit is {bytes_max} bytes.", bytes_max=bytes_max)
