"""`blazz message send|show|list` against the HTTP API on a real socket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cli.exit_codes import Exit
from cli.message_sending import Draft, list_messages, send_message, show_message
from cli.options import Target
from schemas.errors import BlazzError, ErrorCode
from schemas.messages import Media, Poll, Text
from schemas.states import SessionState
from tests.integration.http_server import ALL_SCOPES, TENANT, Running, running

TO = "+62 812 3456 789"
TABLE = Target(None)
JSON = Target(None, json=True)


@pytest.fixture
async def api(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    async with running() as served:
        key = served.memory.access.new_key(TENANT, *ALL_SCOPES)
        monkeypatch.setenv("BLAZZ_API_URL", served.url)
        monkeypatch.setenv("BLAZZ_API_KEY", key)
        yield served


def printed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The command's own lines: the server in this process logs to stdout as well."""
    lines = capsys.readouterr().out.splitlines()
    return [line for line in lines if "[debug" not in line and "[info" not in line]


async def test_a_text_is_sent_shown_and_listed(
    api: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    session = await api.session(SessionState.ONLINE)
    api.memory.messages.final.set()
    draft = Draft(to=TO, text="hello")
    for _ in range(2):
        done = await send_message(TABLE, session, draft, key="once", wait_s=5)
        assert done is Exit.OK
    [(chat, content)] = api.memory.messages.sent
    assert (chat, content) == ("628123456789@c.us", Text("hello"))
    message_id, kind, state = printed(capsys)[-1].split()
    assert (kind, state) == ("text", "sent")
    await show_message(TABLE, session, message_id)
    assert any(line.split() == ["state", "sent"] for line in printed(capsys))
    await list_messages(JSON, session, chat=TO, text=None, limit=10)
    assert [m["message_id"] for m in json.loads(printed(capsys)[-1])] == [message_id]
    await list_messages(TABLE, session, chat=None, text=None, limit=10)
    assert printed(capsys)[-1].endswith("hello")
    with pytest.raises(BlazzError) as caught:
        await show_message(TABLE, session, "3EB0" + "0" * 18)
    assert caught.value.code is ErrorCode.MESSAGE_NOT_FOUND


async def test_without_waiting_it_is_accepted(
    api: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    session = await api.session(SessionState.ONLINE)
    draft = Draft(to=TO, body='{"poll": {"question": "When?", "options": ["6", "7"]}}')
    assert await send_message(JSON, session, draft, key=None, wait_s=None) is Exit.OK
    assert json.loads(printed(capsys)[-1])["state"] == "accepted"
    assert api.memory.messages.sent == [("628123456789@c.us", Poll("When?", ("6", "7")))]


async def test_a_file_is_uploaded_once_and_goes_on_where_it_stopped(
    api: Running, tmp_path: Path
) -> None:
    session = await api.session(SessionState.ONLINE)
    file = tmp_path / "menu.pdf"
    file.write_bytes(b"%PDF-1.7 " + b"x" * 5_000)
    draft = Draft(to=TO, file=file, caption="The menu")
    for _ in range(2):
        await send_message(TABLE, session, draft, key=None, wait_s=None)
    sent = [content for _, content in api.memory.messages.sent]
    assert all(isinstance(content, Media) for content in sent)
    assert sent[0] == sent[1]
    [(new, data)] = api.memory.uploads.all.values()
    assert (new.filename, new.mimetype) == ("menu.pdf", "application/pdf")
    assert bytes(data) == file.read_bytes()


@pytest.mark.parametrize("body", ["{", "[]", '{"poll": 5}', '{"txt": "x"}'])
async def test_words_that_make_no_message_are_refused_here(api: Running, body: str) -> None:
    session = await api.session(SessionState.ONLINE)
    with pytest.raises(BlazzError) as caught:
        await send_message(TABLE, session, Draft(to=TO, body=body), key=None, wait_s=None)
    assert caught.value.code is ErrorCode.CONFIG_INVALID
    assert api.memory.messages.sent == []
