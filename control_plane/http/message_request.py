"""Reading a request to send: JSON or a form, checked, with a digest for idempotency.

Owns what a valid request to send is, and what it takes to make a content of it. Nothing is stored,
fetched or looked up until `content_of`.
"""

import hashlib
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec
from litestar.datastructures import UploadFile

from control_plane.http.bodies import AnyRequest, decode, limited, read_body, require_json
from control_plane.http.idempotency import sha256_of
from control_plane.http.message_acts import Act, about, act_of
from control_plane.http.message_content import (
    check_fields,
    check_mimetype,
    kind_for,
    media_content,
    plain_content,
    read_cards,
    read_inline,
    read_mentions,
)
from control_plane.http.people import People, people_of
from control_plane.http.problems import InvalidFields, from_msgspec, invalid
from control_plane.http.settings import HttpSettings
from control_plane.ports import Principal, Services
from schemas.api import FieldProblem
from schemas.api_messages import FILENAME_CHARS_MAX, NewMessage
from schemas.errors import BlazzError, ErrorCode
from schemas.ids import ChatId, SessionId, TenantId
from schemas.messages import ContactCard, Content, MediaRef

_FORM_OVERHEAD_BYTES: Final = 512 * 1024
_CHUNK_BYTES: Final = 256 * 1024
_FORM_FIELDS: Final = frozenset({"to", "text", "caption", "kind", "reply_to", "media_id"})


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A checked request to send; `sha256` is of everything that decides what is sent."""

    sha256: str
    act: Act | None = None
    """Where it is about another message; else what follows."""
    to: ChatId = ""
    new: NewMessage | None = None
    mentions: tuple[ChatId, ...] = ()
    cards: tuple[ContactCard, ...] = ()
    file: Any = None
    """A form's file (Litestar's), or the bytes of inline media."""
    mimetype: str = ""
    filename: str | None = None


async def read_message(
    request: AnyRequest, settings: HttpSettings, services: Services, caller: Principal
) -> Asked:
    """Read and check the request. Raises what the route documents."""
    content_type, _ = request.content_type
    people = await people_of(services, caller)
    if content_type == "multipart/form-data":
        return await _read_form(request, settings, people)
    return await _read_json(request, settings, people)


async def content_of(
    asked: Asked, services: Services, tenant: TenantId, session: SessionId, *, now: float
) -> tuple[ChatId, Content]:
    """Where to and what. Looks up what it is about; fetches and stores media first.

    Raises `message_not_found`, `message_not_changeable`; `media_not_found`, `media_not_fetched`,
    `url_not_allowed`, `media_too_large`, `media_unsupported`, `media_quota_exceeded`.
    """
    if asked.act is not None:
        return await about(asked.act, services, tenant, session, now=now)
    new = asked.new
    assert new is not None
    if new.media_id is not None:
        ref = await services.media.ref(tenant, new.media_id)
    elif new.media_url is not None:
        ref = await _fetched(new, new.media_url, services, tenant)
    elif asked.file is not None:
        held = await services.media.put(
            tenant, _chunks(asked.file), mimetype=asked.mimetype, filename=asked.filename
        )
        ref = held.ref
    else:
        return asked.to, plain_content(new, asked.mentions, asked.cards)
    return asked.to, media_content(new, ref, asked.mentions)


async def _fetched(new: NewMessage, url: str, services: Services, tenant: TenantId) -> MediaRef:
    try:
        file = await services.remote_media.fetch(tenant, url)
        mimetype = check_mimetype(file.mimetype)
        kind_for(mimetype, new)
        held = await services.media.put(
            tenant,
            _chunks(file.data),
            mimetype=mimetype,
            filename=new.filename or file.filename,
        )
    except InvalidFields:
        raise
    except BlazzError as error:
        if error.spec.http >= 500:
            raise
        raise InvalidFields(FieldProblem("media_url", error.detail), code=error.code) from error
    return held.ref


async def _read_json(request: AnyRequest, settings: HttpSettings, people: People) -> Asked:
    require_json(request)
    # Four thirds for base64, and room for the text and the JSON around it.
    bytes_max = settings.inline_media_bytes_max * 4 // 3 + settings.json_bytes_max
    body = await read_body(request, bytes_max)
    new = decode(body, NewMessage)
    check_fields(new)
    to = people.chat(new.to, "to")
    mentions = read_mentions(new.mentions, people)
    sha256 = sha256_of(request.scope["path"].encode(), body)
    if (act := act_of(new, to, mentions)) is not None:
        return Asked(sha256=sha256, act=act)
    if new.media is None:
        cards = read_cards(new.contacts or (), people)
        return Asked(sha256=sha256, to=to, new=new, mentions=mentions, cards=cards)
    mimetype = check_mimetype(new.media.mimetype)
    kind_for(mimetype, new)
    raw = read_inline(new.media, settings.inline_media_bytes_max)
    return Asked(
        sha256=sha256,
        to=to,
        # The base64 text isn't kept beside its bytes.
        new=msgspec.structs.replace(new, media=None),
        mentions=mentions,
        file=raw,
        mimetype=mimetype,
        filename=new.media.filename,
    )


async def _read_form(request: AnyRequest, settings: HttpSettings, people: People) -> Asked:
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
    to = people.chat(new.to, "to")
    path = request.scope["path"].encode()
    if file is None:
        return Asked(sha256=sha256_of(path, msgspec.json.encode(new)), to=to, new=new)
    mimetype = check_mimetype(file.content_type)
    kind_for(mimetype, new)
    filename = file.filename[:FILENAME_CHARS_MAX] or None
    # Not of the raw body: a form's boundary differs at each retry.
    sha256 = sha256_of(
        path,
        msgspec.json.encode(new),
        await _digest_of(file, settings.media_bytes_max),
        f"{mimetype}\n{filename}".encode(),
    )
    return Asked(sha256=sha256, to=to, new=new, file=file, mimetype=mimetype, filename=filename)


async def _digest_of(file: UploadFile, bytes_max: int) -> bytes:
    digest = hashlib.sha256()
    size = 0
    async for chunk in _chunks(file):
        digest.update(chunk)
        size += len(chunk)
    if not size:
        raise invalid("file", "It is empty.")
    if size > bytes_max:
        raise BlazzError(
            ErrorCode.MEDIA_TOO_LARGE, f"The limit is {bytes_max} bytes.", bytes_max=bytes_max
        )
    return digest.digest()


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
