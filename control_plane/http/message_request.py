"""Reading `POST …/messages`: JSON or a form, checked, with a digest for idempotency.

Owns what a valid request to send is. Nothing is stored until `content_of`.
"""

import hashlib
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec
from litestar.datastructures import UploadFile

from control_plane.http.bodies import AnyRequest, decode, limited, read_body, require_json
from control_plane.http.idempotency import sha256_of
from control_plane.http.message_content import (
    FILENAME_CHARS_MAX,
    check_fields,
    check_mimetype,
    kind_for,
    media_content,
    read_inline,
    text_content,
)
from control_plane.http.problems import from_msgspec, invalid
from control_plane.http.settings import HttpSettings
from control_plane.ports import Services
from control_plane.recipients import chat_id_of
from schemas.api import NewMessage
from schemas.errors import BlazzError, ErrorCode
from schemas.ids import ChatId, TenantId
from schemas.messages import Content

_FORM_OVERHEAD_BYTES: Final = 512 * 1024
_CHUNK_BYTES: Final = 256 * 1024
_FORM_FIELDS: Final = frozenset({"to", "text", "caption", "kind", "reply_to", "media_id"})


class Asked(msgspec.Struct, frozen=True):
    """A checked request to send; `sha256` is of everything that decides what is sent."""

    to: ChatId
    new: NewMessage
    sha256: str
    file: Any = None
    """A form's file (Litestar's), or the bytes of inline media."""
    mimetype: str = ""
    filename: str | None = None


async def read_message(request: AnyRequest, settings: HttpSettings) -> Asked:
    """Read and check the request. Raises what the route documents."""
    content_type, _ = request.content_type
    if content_type == "multipart/form-data":
        return await _read_form(request, settings)
    return await _read_json(request, settings)


async def content_of(asked: Asked, services: Services, tenant: TenantId) -> Content:
    """What is sent; stores a file first. Raises `media_not_found`, `media_too_large`."""
    new = asked.new
    if new.media_id is not None:
        return media_content(new, await services.media.ref(tenant, new.media_id))
    if asked.file is None:
        return text_content(new)
    ref = await services.media.put(
        tenant, _chunks(asked.file), mimetype=asked.mimetype, filename=asked.filename
    )
    return media_content(new, ref)


async def _read_json(request: AnyRequest, settings: HttpSettings) -> Asked:
    require_json(request)
    # Four thirds for base64, and room for the text and the JSON around it.
    bytes_max = settings.inline_media_bytes_max * 4 // 3 + settings.json_bytes_max
    body = await read_body(request, bytes_max)
    new = decode(body, NewMessage)
    check_fields(new)
    to = _recipient(new, settings)
    sha256 = sha256_of(request.scope["path"].encode(), body)
    if new.media is None:
        return Asked(to, new, sha256)
    mimetype = check_mimetype(new.media.mimetype)
    kind_for(mimetype, new.kind)
    raw = read_inline(new.media, settings.inline_media_bytes_max)
    # The base64 text isn't kept beside its bytes.
    without = msgspec.structs.replace(new, media=None)
    return Asked(to, without, sha256, raw, mimetype, new.media.filename)


async def _read_form(request: AnyRequest, settings: HttpSettings) -> Asked:
    form = await _form_within(request, settings.media_bytes_max + _FORM_OVERHEAD_BYTES)
    fields: dict[str, str] = {}
    file: UploadFile | None = None
    for name, value in form.multi_items():
        if name == "file" and isinstance(value, UploadFile) and file is None:
            file = value
        elif name in _FORM_FIELDS and isinstance(value, str) and name not in fields:
            fields[name] = value
        else:
            raise invalid(name, "Unknown, repeated or of the wrong kind.")
    try:
        new = msgspec.convert(fields, NewMessage)
    except msgspec.ValidationError as error:
        raise from_msgspec(error) from None
    check_fields(new, has_file=file is not None)
    to = _recipient(new, settings)
    path = request.scope["path"].encode()
    if file is None:
        return Asked(to, new, sha256_of(path, msgspec.json.encode(new)))
    mimetype = check_mimetype(file.content_type)
    kind_for(mimetype, new.kind)
    filename = file.filename[:FILENAME_CHARS_MAX] or None
    digest = hashlib.sha256()
    size = 0
    async for chunk in _chunks(file):
        digest.update(chunk)
        size += len(chunk)
    if not size:
        raise invalid("file", "It is empty.")
    if size > settings.media_bytes_max:
        raise BlazzError(
            ErrorCode.MEDIA_TOO_LARGE,
            f"The limit is {settings.media_bytes_max} bytes.",
            bytes_max=settings.media_bytes_max,
        )
    # Not of the raw body: a form's boundary differs at each retry.
    sha256 = sha256_of(
        path, msgspec.json.encode(new), digest.digest(), f"{mimetype}\n{filename}".encode()
    )
    return Asked(to, new, sha256, file, mimetype, filename)


async def _form_within(request: AnyRequest, bytes_max: int) -> Any:
    announced = request.content_length
    if announced is None:
        raise BlazzError(ErrorCode.MALFORMED_REQUEST, "A form needs a Content-Length.")
    if announced > bytes_max:
        # Only to raise the same error as everywhere.
        async for _ in limited(request, bytes_max):
            break
    return await request.form()


async def _chunks(file: UploadFile | bytes) -> AsyncIterator[bytes]:
    if isinstance(file, bytes):
        for start in range(0, len(file), _CHUNK_BYTES):
            yield file[start : start + _CHUNK_BYTES]
        return
    await file.seek(0)
    while chunk := await file.read(_CHUNK_BYTES):
        yield chunk


def _recipient(new: NewMessage, settings: HttpSettings) -> ChatId:
    return chat_id_of(new.to, region=settings.default_region)
