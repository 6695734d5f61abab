"""Routes of messages and media: good answers and refusals, over a real socket."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from schemas.errors import ErrorCode
from schemas.messages import Media, Text
from schemas.states import MessageKind, SessionState
from tests.integration.http_server import (
    TENANT,
    Running,
    problem,
    running,
)

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 64
NO_MESSAGE = "3EB0" + "0" * 18


@pytest.fixture
async def api() -> AsyncIterator[Running]:
    async with running() as served:
        yield served


async def test_a_text_is_accepted_read_and_listed(api: Running) -> None:
    session = await api.session(SessionState.ONLINE)
    path = f"/v1/sessions/{session}/messages"
    made = await api.client.post(path, json={"to": "+62 812 3456 789", "text": "hello"})
    assert (made.status_code, made.json()["state"]) == (202, "accepted")
    assert made.headers["location"] == f"{path}/{made.json()['message_id']}"
    assert api.memory.messages.sent == [("628123456789@c.us", Text("hello"))]
    assert (await api.client.get(made.headers["location"])).json() == made.json()
    await api.client.post(path, json={"to": "120363@g.us", "text": "group"})
    listed = (await api.client.get(path)).json()["data"]
    assert [m["text"] for m in listed] == ["group", "hello"]
    one = (await api.client.get(path, params={"chat": "+628123456789"})).json()["data"]
    assert [m["text"] for m in one] == ["hello"]
    problem(await api.client.get(f"{path}/{NO_MESSAGE}"), ErrorCode.MESSAGE_NOT_FOUND)
    problem(await api.client.get(f"{path}/nonsense"), ErrorCode.MESSAGE_NOT_FOUND)


async def test_waiting_answers_200_when_it_ends_in_time_and_202_when_not(api: Running) -> None:
    session = await api.session(SessionState.ONLINE)
    path = f"/v1/sessions/{session}/messages"
    body = {"to": "+628123456789", "text": "x"}
    late = await api.client.post(path, json=body, params={"wait": "sent", "timeout_s": 0.1})
    assert (late.status_code, late.json()["state"]) == (202, "accepted")
    api.memory.messages.final.set()
    done = await api.client.post(path, json=body, params={"wait": "sent"})
    assert (done.status_code, done.json()["state"]) == (200, "sent")
    problem(
        await api.client.post(path, json=body, params={"wait": "sent", "timeout_s": 600}),
        ErrorCode.VALIDATION_FAILED,
    )


async def test_media_goes_by_upload_inline_or_form_and_is_the_same(api: Running) -> None:
    session = await api.session(SessionState.ONLINE)
    path = f"/v1/sessions/{session}/messages"
    up = await api.client.post(
        "/v1/media",
        content=PNG,
        headers={"Content-Type": "image/png"},
        params={"filename": "a.png"},
    )
    assert up.status_code == 201
    assert up.json()["sha256"] == hashlib.sha256(PNG).hexdigest()
    to = "+628123456789"
    answers = [
        await api.client.post(
            path, json={"to": to, "media_id": up.json()["media_id"], "caption": "c"}
        ),
        await api.client.post(
            path,
            json={
                "to": to,
                "caption": "c",
                "media": {
                    "data": base64.b64encode(PNG).decode(),
                    "mimetype": "image/png",
                    "filename": "a.png",
                },
            },
        ),
        await api.client.post(
            path, data={"to": to, "caption": "c"}, files={"file": ("a.png", PNG, "image/png")}
        ),
    ]
    assert [a.status_code for a in answers] == [202, 202, 202], [a.text for a in answers]
    for _, content in api.memory.messages.sent:
        assert isinstance(content, Media)
        assert (content.kind, content.caption) == (MessageKind.IMAGE, "c")
        assert (content.media.sha256, content.media.filename) == (up.json()["sha256"], "a.png")


@pytest.mark.parametrize(
    ("body", "code", "path"),
    [
        ({}, ErrorCode.VALIDATION_FAILED, "to"),
        ({"to": "+628123456789"}, ErrorCode.VALIDATION_FAILED, ""),
        ({"to": "+628123456789", "text": ""}, ErrorCode.VALIDATION_FAILED, "text"),
        ({"to": "+628123456789", "text": 5}, ErrorCode.VALIDATION_FAILED, "text"),
        ({"to": "+628123456789", "text": "x", "txt": 1}, ErrorCode.VALIDATION_FAILED, "txt"),
        (
            {"to": "+628123456789", "text": "x", "caption": "c"},
            ErrorCode.VALIDATION_FAILED,
            "caption",
        ),
        (
            {"to": "+628123456789", "media": {"data": "%%", "mimetype": "image/png"}},
            ErrorCode.VALIDATION_FAILED,
            "media.data",
        ),
        (
            {"to": "+628123456789", "media": {"data": "", "mimetype": "image/png", "x": 1}},
            ErrorCode.VALIDATION_FAILED,
            "media.x",
        ),
        ({"to": "nobody", "text": "x"}, ErrorCode.RECIPIENT_INVALID, None),
        (
            {"to": "+628123456789", "media": {"data": "AAAA", "mimetype": "image/x-nothing"}},
            ErrorCode.MEDIA_UNSUPPORTED,
            None,
        ),
        (
            {
                "to": "+628123456789",
                "kind": "image",
                "media": {"data": "AAAA", "mimetype": "application/pdf"},
            },
            ErrorCode.MEDIA_UNSUPPORTED,
            None,
        ),
        (
            {"to": "+628123456789", "media_id": "med_00000000000000000000000000"},
            ErrorCode.MEDIA_NOT_FOUND,
            None,
        ),
    ],
)
async def test_a_wrong_message_says_which_field(
    api: Running, body: dict[str, Any], code: ErrorCode, path: str | None
) -> None:
    session = await api.session(SessionState.ONLINE)
    answer = await api.client.post(f"/v1/sessions/{session}/messages", json=body)
    found = problem(answer, code)
    if path is not None:
        assert found["errors"][0]["path"] == path, found
    assert "628123456789" not in answer.text
    assert api.memory.messages.sent == []


async def test_a_wrong_form_says_which_field(api: Running) -> None:
    session = await api.session(SessionState.ONLINE)
    path = f"/v1/sessions/{session}/messages"
    file = {"file": ("a.png", PNG, "image/png")}
    for data, files, field in (
        ({"to": "+628123456789", "nope": "1"}, file, "nope"),
        ({"to": "+628123456789", "text": "x"}, file, ""),
        ({"to": "+628123456789"}, {"file": ("a.png", b"", "image/png")}, "file"),
        ({}, file, "to"),
    ):
        answer = await api.client.post(path, data=data, files=files)
        found = problem(answer, ErrorCode.VALIDATION_FAILED)
        assert found["errors"][0]["path"] == field, found
    assert api.memory.messages.sent == []


async def test_bodies_over_the_limit_stop_the_upload_early() -> None:
    async with running(media_bytes_max=10_000, json_bytes_max=1_000) as api:
        session = await api.session(SessionState.ONLINE)

        async def endless() -> AsyncIterator[bytes]:
            for _ in range(10_000):
                yield b"x" * 4_096

        png = {"Content-Type": "image/png"}
        announced = await api.client.post("/v1/media", content=b"x" * 10_001, headers=png)
        assert problem(announced, ErrorCode.MEDIA_TOO_LARGE)["fields"] == {"bytes_max": 10_000}
        assert api.memory.media.received == 0
        try:
            chunked = await api.client.post("/v1/media", content=endless(), headers=png)
        except httpx.WriteError:
            pass  # the server closed while we were still sending
        else:
            problem(chunked, ErrorCode.MEDIA_TOO_LARGE)
        assert api.memory.media.received <= 10_000
        assert api.memory.media.all == {}
        problem(
            await api.client.post("/v1/sessions", json={"name": "x" * 2_000}),
            ErrorCode.PAYLOAD_TOO_LARGE,
        )
        form = await api.client.post(
            f"/v1/sessions/{session}/messages",
            data={"to": "+628123456789"},
            files={"file": ("a.png", PNG + b"\0" * 10_000, "image/png")},
        )
        problem(form, ErrorCode.MEDIA_TOO_LARGE)
    async with running(inline_media_bytes_max=30) as api:
        session = await api.session(SessionState.ONLINE)
        inline = {"data": base64.b64encode(PNG).decode(), "mimetype": "image/png"}
        answer = await api.client.post(
            f"/v1/sessions/{session}/messages", json={"to": "+628123456789", "media": inline}
        )
        problem(answer, ErrorCode.MEDIA_TOO_LARGE)


async def test_uploads_of_the_wrong_type_are_refused(api: Running) -> None:
    for content_type in ("", "nonsense", "image/x-nothing", "multipart/form-data; boundary=x"):
        answer = await api.client.post(
            "/v1/media", content=b"x", headers={"Content-Type": content_type}
        )
        problem(answer, ErrorCode.MEDIA_UNSUPPORTED)


async def test_inbound_media_is_streamed_whole_and_never_runs_in_a_browser(api: Running) -> None:
    session = await api.session(SessionState.ONLINE)
    data = PNG + bytes(range(256)) * 20
    got = api.memory.messages.receive(TENANT, session, data, 'a"\r\nb.png')
    answer = await api.client.get(f"/v1/sessions/{session}/messages/{got.message_id}/media")
    assert answer.content == data
    assert answer.headers["content-length"] == str(len(data))
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''a%22%0D%0Ab.png"
    assert "sandbox" in answer.headers["content-security-policy"]
    sent = await api.client.post(
        f"/v1/sessions/{session}/messages", json={"to": "+628123456789", "text": "x"}
    )
    problem(await api.client.get(sent.headers["location"] + "/media"), ErrorCode.MEDIA_NOT_FOUND)


async def test_a_form_repeated_with_another_boundary_is_the_same_request(api: Running) -> None:
    session = await api.session(SessionState.ONLINE)
    path = f"/v1/sessions/{session}/messages"
    headers = {"Idempotency-Key": "form"}
    answers = [
        await api.client.post(
            path,
            data={"to": "+628123456789"},
            files={"file": ("a.png", PNG, "image/png")},
            headers=headers,
        )
        for _ in range(2)
    ]
    assert answers[1].headers.get("idempotent-replayed") == "true", answers[1].text
    assert len(api.memory.messages.sent) == 1


async def test_erases_a_chats_history_and_no_other(api: Running) -> None:
    session = await api.session(SessionState.ONLINE)
    for to in ("+15550000002", "+15550000003"):
        await api.client.post(f"/v1/sessions/{session}/messages", json={"to": to, "text": "x"})
    path = f"/v1/sessions/{session}/history"
    answer = await api.client.delete(path, params={"chat": "+15550000002"})
    assert answer.status_code == 204
    left = (await api.client.get(f"/v1/sessions/{session}/messages")).json()["data"]
    assert [message["chat_id"] for message in left] == ["15550000003@c.us"]
    assert (await api.client.delete(path)).status_code == 204
    assert (await api.client.get(f"/v1/sessions/{session}/messages")).json()["data"] == []
    foreign = api.client_for("other", "messages")
    assert (await foreign.delete(path)).status_code == 404


async def test_only_an_operator_erases_another_tenant_and_must_say_which(api: Running) -> None:
    path = "/v1/tenants/other/erasure"
    assert (await api.client.get(path)).status_code == 404
    assert (await api.client.post(path, json={"confirm": "othre"})).status_code == 422
    own = await api.client.post("/v1/tenants/acme/erasure", json={"confirm": "acme"})
    assert (own.status_code, own.json()["code"]) == (409, "conflict")
    tenant = api.client_for("other", "sessions", "messages", "keys")
    assert (await tenant.post(path, json={"confirm": "other"})).status_code == 403
    assert (await api.client.post(path, json={"confirm": "other"})).status_code == 202
    assert (await api.client.get(path)).json()["left"] == {"sessions": 1}
