"""What `blazz message send|show|list` do: through the API, with the words they print.

Owns making a request of the words, and the upload of a file. Never a decision: the API makes it.
"""

import asyncio
import hashlib
import mimetypes
import sys
from pathlib import Path
from typing import Final

import msgspec

from cli.client import Api
from cli.exit_codes import Exit
from cli.options import Form, Target
from cli.render import Column, Shape, moment, show, show_one
from cli.target import open_api
from schemas.api import MessagePage
from schemas.api_messages import MediaView, NewMessage, NewUpload, UploadView
from schemas.errors import BlazzError, ErrorCode
from schemas.messages import ChatMessage
from schemas.states import MessageState

_TEXT_CHARS_SHOWN: Final = 50


MESSAGES: Final = Shape[ChatMessage](
    (
        Column("TIME", lambda m: moment(m.created_at)),
        Column("MESSAGE", lambda m: m.message_id),
        Column("WAY", lambda m: m.direction.value),
        Column("KIND", lambda m: m.kind.value),
        Column("STATE", lambda m: m.state.value),
        Column("ACK", lambda m: m.ack.value),
        Column("CHAT", lambda m: m.chat_id),
        Column("ERROR", lambda m: m.error_code, wide=True),
        Column("TEXT", lambda m: _shown(m.text)),
    ),
    lambda m: m.message_id,
)


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A message as the command's words say it. `body` is JSON of the API's own fields, for kinds
    that have no flag; `-` reads it from stdin."""

    to: str
    text: str | None = None
    file: Path | None = None
    url: str | None = None
    kind: str | None = None
    caption: str | None = None
    reply_to: str | None = None
    body: str | None = None


async def send_message(
    target: Target, session_id: str, draft: Draft, *, key: str | None, wait_s: float | None
) -> Exit:
    """Send it and print where it stands; fails unless it is sent (or accepted, without waiting).

    Raises `config_invalid` for words that make no message, and what the API refuses with.
    """
    async with open_api(target) as api:
        message = await _request(api, draft)
        query = {} if wait_s is None else {"wait": "sent", "timeout_s": f"{wait_s:g}"}
        made = await api.call(
            "POST",
            f"/v1/sessions/{session_id}/messages",
            ChatMessage,
            body=message,
            query=query,
            headers={} if key is None else {"Idempotency-Key": key},
        )
    if target.form not in (Form.TABLE, Form.WIDE):
        show_one(made, MESSAGES, target.form)
    else:
        print(f"{made.message_id}  {made.kind}  {made.state}")
        if made.state is MessageState.ACCEPTED:
            print(f"See: blazz message show {session_id} {made.message_id}", file=sys.stderr)
    if made.state in (MessageState.FAILED, MessageState.UNKNOWN):
        print(f"{made.error_code}: {made.error_detail or ''}", file=sys.stderr)
        return Exit.FAILED
    return Exit.OK


async def show_message(target: Target, session_id: str, message_id: str) -> Exit:
    """Print one message, every field."""
    async with open_api(target) as api:
        found = await api.message(session_id, message_id)
    if target.form not in (Form.TABLE, Form.WIDE):
        return show_one(found, MESSAGES, target.form)
    for name, value in msgspec.to_builtins(found).items():
        if value not in (None, {}, (), "", False):
            print(f"{name:14} {value}")
    return Exit.OK


async def list_messages(
    target: Target, session_id: str, *, chat: str | None, text: str | None, limit: int
) -> Exit:
    """Print a session's messages, newest first."""
    query = {"limit": str(limit)}
    query |= {} if chat is None else {"chat": chat}
    query |= {} if text is None else {"q": text}
    async with open_api(target) as api:
        page = await api.call(
            "GET", f"/v1/sessions/{session_id}/messages", MessagePage, query=query
        )
    show(page.data, MESSAGES, target.form)
    if page.has_more:
        print(f"There are more than these {limit}.", file=sys.stderr)
    return Exit.OK


async def _request(api: Api, draft: Draft) -> NewMessage:
    fields = {
        "to": draft.to,
        "text": draft.text,
        "media_url": draft.url,
        "kind": draft.kind,
        "caption": draft.caption,
        "reply_to": draft.reply_to,
    }
    given = {name: value for name, value in fields.items() if value is not None}
    try:
        if draft.body is not None:
            raw = sys.stdin.read() if draft.body == "-" else draft.body
            given |= msgspec.json.decode(raw, type=dict[str, object])
        message = msgspec.convert(given, NewMessage)
    except msgspec.MsgspecError as error:
        raise BlazzError(ErrorCode.CONFIG_INVALID, f"that makes no message: {error}") from None
    if draft.file is None:
        return message
    media = await upload_file(api, draft.file)
    return msgspec.structs.replace(message, media_id=media.media_id)


async def upload_file(api: Api, path: Path) -> MediaView:
    """Upload a file; what a former try has left there is not sent again."""
    try:
        data = await asyncio.to_thread(path.read_bytes)
    except OSError as error:
        raise BlazzError(ErrorCode.CONFIG_INVALID, f"{path}: {error.strerror}") from None
    if not data:
        raise BlazzError(ErrorCode.CONFIG_INVALID, f"{path} is empty")
    new = NewUpload(
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        mimetype=mimetypes.guess_type(path.name)[0] or "application/octet-stream",
        filename=path.name,
    )
    upload = await api.call("POST", "/v1/media/uploads", UploadView, body=new)
    if upload.media is None:
        upload = await api.call(
            "PATCH",
            f"/v1/media/uploads/{upload.upload_id}",
            UploadView,
            data=data[upload.offset :],
            headers={"Upload-Offset": str(upload.offset)},
        )
    if upload.media is None:
        raise BlazzError(ErrorCode.INTERNAL, "the upload did not end")
    return upload.media


def _shown(text: str | None) -> str:
    line = " ".join((text or "").split())
    return line if len(line) <= _TEXT_CHARS_SHOWN else line[: _TEXT_CHARS_SHOWN - 1] + "…"
