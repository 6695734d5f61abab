"""Every route's good answers and refusals, over a real socket."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import zxingcpp
from PIL import Image

from control_plane.core.rate_limit import RatePolicy
from schemas.commands import QrAnswer
from schemas.errors import ERRORS, BlazzError, ErrorCode
from schemas.messages import Media, Text
from schemas.states import MessageKind, SessionState
from tests.integration.http_server import ALL_SCOPES, TENANT, Running, running
from tests.waiting import eventually

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 64
QR_VALUE = "2@" + "Qz7/+k=" * 30 + ",1,2,3"
NO_SESSION = "ses_00000000000000000000000000"
NO_MESSAGE = "3EB0" + "0" * 18


@pytest.fixture
async def api() -> AsyncIterator[Running]:
    async with running() as served:
        yield served


def problem(answer: httpx.Response, code: ErrorCode) -> dict[str, Any]:
    """Check that an answer is this problem, whole, and give it."""
    body: dict[str, Any] = answer.json()
    assert body["code"] == code, body
    assert answer.status_code == body["status"] == ERRORS[code].http
    assert answer.headers["content-type"] == "application/problem+json"
    assert body["type"] == f"/docs/errors#{code}"
    assert body["request_id"] == answer.headers["x-request-id"]
    assert body.get("retryable", False) is ERRORS[code].retryable
    if ERRORS[code].retryable and answer.status_code in (429, 503):
        assert int(answer.headers["retry-after"]) >= 1
    return body


async def test_a_session_lives_through_all_its_routes(api: Running) -> None:
    made = await api.client.post("/v1/sessions", json={"name": "shop", "metadata": {"k": "v"}})
    assert made.status_code == 201
    session = made.json()["session_id"]
    path = f"/v1/sessions/{session}"
    assert made.headers["location"] == path
    assert (await api.client.get(path)).json()["name"] == "shop"
    assert [s["session_id"] for s in (await api.client.get("/v1/sessions")).json()["data"]] == [
        session
    ]
    for verb, state in (
        ("stop", "stopped"),
        ("start", "starting"),
        ("restart", "starting"),
        ("logout", "logged_out"),
    ):
        answer = await api.client.post(f"{path}/{verb}")
        assert (answer.status_code, answer.json()["state"]) == (202, state)
    gone = await api.client.delete(path)
    assert (gone.status_code, gone.content) == (204, b"")
    problem(await api.client.get(path), ErrorCode.SESSION_NOT_FOUND)


async def test_an_empty_body_makes_a_session_and_pages_follow_each_other(api: Running) -> None:
    for _ in range(3):
        assert (await api.client.post("/v1/sessions")).status_code == 201
    first = (await api.client.get("/v1/sessions", params={"limit": 2})).json()
    assert (len(first["data"]), first["has_more"]) == (2, True)
    second = await api.client.get("/v1/sessions", params={"cursor": first["next_cursor"]})
    assert (len(second.json()["data"]), second.json()["has_more"]) == (1, False)


async def test_a_name_twice_is_a_conflict(api: Running) -> None:
    await api.session(name="one")
    problem(await api.client.post("/v1/sessions", json={"name": "one"}), ErrorCode.SESSION_EXISTS)


async def test_another_tenant_sees_nothing_not_even_that_it_exists(api: Running) -> None:
    session = await api.session(SessionState.ONLINE)
    sent = await api.client.post(
        f"/v1/sessions/{session}/messages", json={"to": "+628123456789", "text": "x"}
    )
    message = sent.json()["message_id"]
    path = f"/v1/sessions/{session}"
    async with api.client_for("rival", *ALL_SCOPES) as rival:
        for method, route, body in (
            ("GET", path, None),
            ("DELETE", path, None),
            ("POST", f"{path}/start", None),
            ("POST", f"{path}/stop", None),
            ("POST", f"{path}/restart", None),
            ("POST", f"{path}/logout", None),
            ("GET", f"{path}/qr", None),
            ("POST", f"{path}/pairing-code", {"phone": "+628123456789"}),
            ("POST", f"{path}/links", {}),
            ("POST", f"{path}/messages", {"to": "+628123456789", "text": "x"}),
            ("GET", f"{path}/messages", None),
            ("GET", f"{path}/messages/{message}", None),
            ("GET", f"{path}/messages/{message}/media", None),
            ("GET", f"{path}/events", None),
        ):
            answer = await rival.request(method, route, json=body)
            problem(answer, ErrorCode.SESSION_NOT_FOUND)
        assert (await rival.get("/v1/sessions")).json()["data"] == []
    assert len(api.memory.messages.sent) == 1


@pytest.mark.parametrize(
    ("accept", "query", "media_type"),
    [
        ("*/*", {}, "application/json"),
        ("application/json", {}, "application/json"),
        ("image/png", {}, "image/png"),
        ("image/svg+xml", {}, "image/svg+xml"),
        ("text/plain", {}, "text/plain; charset=utf-8"),
        ("image/png", {"format": "raw"}, "text/plain; charset=utf-8"),
        ("text/html, image/webp", {}, "application/json"),
    ],
)
async def test_a_qr_comes_as_it_is_asked_for(
    api: Running, accept: str, query: dict[str, str], media_type: str
) -> None:
    session = await api.session(SessionState.PAIRING)
    api.memory.sessions.qrs[session] = QrAnswer(QR_VALUE, 2, 6, 17.5)
    answer = await api.client.get(
        f"/v1/sessions/{session}/qr", headers={"Accept": accept}, params=query
    )
    assert answer.headers["content-type"] == media_type
    assert answer.headers["cache-control"] == "no-store"
    if media_type == "application/json":
        assert answer.json() == {
            "value": QR_VALUE,
            "index": 2,
            "count": 6,
            "expires_in_s": 17.5,
        }
    elif query:
        assert answer.text == QR_VALUE


async def test_the_png_and_the_terminal_blocks_decode_to_the_value(api: Running) -> None:
    session = await api.session(SessionState.PAIRING)
    api.memory.sessions.qrs[session] = QrAnswer(QR_VALUE, 1, 6, 60.0)
    path = f"/v1/sessions/{session}/qr"
    png = (await api.client.get(path, params={"format": "png"})).content
    [found] = zxingcpp.read_barcodes(Image.open(io.BytesIO(png)))
    assert found.text == QR_VALUE
    lines = (await api.client.get(path, params={"format": "text"})).text.splitlines()
    drawn = Image.new("L", (len(lines[0]), 2 * len(lines)))
    for y, line in enumerate(lines):
        for x, glyph in enumerate(line):
            drawn.putpixel((x, 2 * y), 255 * (glyph in "█▀"))
            drawn.putpixel((x, 2 * y + 1), 255 * (glyph in "█▄"))
    [found] = zxingcpp.read_barcodes(drawn.resize((drawn.width * 6, drawn.height * 6), 0))
    assert found.text == QR_VALUE


async def test_a_qr_that_is_not_there_says_why(api: Running) -> None:
    session = await api.session()
    path = f"/v1/sessions/{session}/qr"
    problem(await api.client.get(path), ErrorCode.SESSION_NOT_PAIRING)
    await api.memory.sessions.put(TENANT, session, SessionState.PAIRING)
    problem(await api.client.get(path), ErrorCode.QR_NOT_AVAILABLE)
    api.memory.sessions.qrs[session] = ErrorCode.QR_EXPIRED
    problem(await api.client.get(path), ErrorCode.QR_EXPIRED)
    assert api.memory.sessions.renewed == []
    await api.client.get(path, params={"renew": "true"})
    assert api.memory.sessions.renewed == [session]
    problem(await api.client.get(path, params={"format": "gif"}), ErrorCode.VALIDATION_FAILED)


async def test_a_pairing_code_takes_a_phone_number_as_people_write_it(api: Running) -> None:
    session = await api.session(SessionState.PAIRING)
    path = f"/v1/sessions/{session}/pairing-code"
    answer = await api.client.post(path, json={"phone": "+62 812-3456-789"})
    assert (answer.status_code, answer.json()["code"]) == (200, "ABCD1234")
    body = problem(
        await api.client.post(path, json={"phone": "call me 17"}), ErrorCode.RECIPIENT_INVALID
    )
    assert "call me" not in str(body)


async def test_a_link_is_built_from_the_request_or_the_public_url() -> None:
    async with running() as api:
        session = await api.session()
        made = await api.client.post(f"/v1/sessions/{session}/links", json={"expires_in_s": 60})
        assert made.status_code == 201
        assert made.json()["url"].startswith(f"{api.url}/link/")
        for url in ("javascript:alert(1)", "//evil", "https://u:p@host/", "https://a b/"):
            refused = await api.client.post(
                f"/v1/sessions/{session}/links", json={"return_url": url}
            )
            assert problem(refused, ErrorCode.VALIDATION_FAILED)["errors"][0]["path"] == (
                "return_url"
            )
    async with running(public_url="https://wa.example.com/") as api:
        session = await api.session()
        made = await api.client.post(f"/v1/sessions/{session}/links")
        assert made.json()["url"].startswith("https://wa.example.com/link/")


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


@pytest.mark.parametrize("route", ["/v1/sessions", "/v1/sessions/{session}/messages"])
async def test_an_idempotency_key_does_it_once(api: Running, route: str) -> None:
    session = await api.session(SessionState.ONLINE)
    path = route.format(session=session)
    body = {"to": "+628123456789", "text": "x"} if "messages" in route else {"name": "once"}
    other = {**body, "text": "y"} if "messages" in route else {"name": "other"}
    headers = {"Idempotency-Key": "order-17"}
    first = await api.client.post(path, json=body, headers=headers)
    again = await api.client.post(path, json=body, headers=headers)
    assert first.json() == again.json()
    assert first.status_code == again.status_code
    assert first.headers["location"] == again.headers["location"]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    mismatch = await api.client.post(path, json=other, headers=headers)
    problem(mismatch, ErrorCode.IDEMPOTENCY_MISMATCH)
    too_long = await api.client.post(path, json=body, headers={"Idempotency-Key": "k" * 256})
    assert problem(too_long, ErrorCode.VALIDATION_FAILED)["errors"]
    assert len(api.memory.messages.sent) == (1 if "messages" in route else 0)
    # Another key of the same tenant neither collides nor reads the answer.
    async with api.client_for(TENANT, *ALL_SCOPES) as colleague:
        own = await colleague.post(path, json=other, headers=headers)
        assert own.status_code == first.status_code
        assert "idempotent-replayed" not in own.headers


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


async def test_a_key_in_flight_is_a_conflict_and_a_refusal_gives_it_back(api: Running) -> None:
    api.memory.sessions.creating.clear()
    headers = {"Idempotency-Key": "slow"}
    async with asyncio.TaskGroup() as group:
        slow = group.create_task(api.client.post("/v1/sessions", json={}, headers=headers))
        await eventually(lambda: api.memory.sessions.calls == ["create"])
        problem(
            await api.client.post("/v1/sessions", json={}, headers=headers),
            ErrorCode.IDEMPOTENCY_IN_FLIGHT,
        )
        api.memory.sessions.creating.set()
    assert slow.result().status_code == 201
    headers = {"Idempotency-Key": "refused"}
    api.memory.sessions.fail_create = BlazzError(ErrorCode.NO_NODE_AVAILABLE)
    problem(
        await api.client.post("/v1/sessions", json={}, headers=headers),
        ErrorCode.NO_NODE_AVAILABLE,
    )
    api.memory.sessions.fail_create = BlazzError(ErrorCode.TIMEOUT)
    problem(await api.client.post("/v1/sessions", json={}, headers=headers), ErrorCode.TIMEOUT)
    # Nobody knows what became of that one: it must not be done again at once.
    api.memory.sessions.fail_create = None
    problem(
        await api.client.post("/v1/sessions", json={}, headers=headers),
        ErrorCode.IDEMPOTENCY_IN_FLIGHT,
    )


async def test_requests_that_are_no_request_get_problems(api: Running) -> None:
    json = {"Content-Type": "application/json"}
    for answer, code in (
        (await api.client.get("/v1/nope"), ErrorCode.NOT_FOUND),
        (await api.client.put("/v1/sessions"), ErrorCode.METHOD_NOT_ALLOWED),
        (
            await api.client.post("/v1/sessions", content=b"{", headers=json),
            ErrorCode.MALFORMED_REQUEST,
        ),
        (
            await api.client.post("/v1/sessions", content=b"\xff\xfe", headers=json),
            ErrorCode.MALFORMED_REQUEST,
        ),
        (
            await api.client.post("/v1/sessions", content=b"[]", headers=json),
            ErrorCode.VALIDATION_FAILED,
        ),
        (
            await api.client.post("/v1/sessions", data={"name": "x"}),
            ErrorCode.UNSUPPORTED_MEDIA_TYPE,
        ),
        (
            await api.client.get("/v1/sessions", params={"limit": 0}),
            ErrorCode.VALIDATION_FAILED,
        ),
        (await api.client.get(f"/v1/sessions/{NO_SESSION}"), ErrorCode.SESSION_NOT_FOUND),
        (await api.client.get("/v1/sessions/..%2f..%2fetc"), ErrorCode.NOT_FOUND),
        (await api.client.get("/v1/sessions/nonsense"), ErrorCode.SESSION_NOT_FOUND),
    ):
        problem(answer, code)
    assert (await api.client.put("/v1/sessions")).headers["allow"]


async def test_an_unforeseen_exception_shows_nothing_of_itself(api: Running) -> None:
    api.memory.sessions.fail_create = RuntimeError("secret 628123456789")
    answer = await api.client.post("/v1/sessions", json={}, headers={"X-Request-Id": "mine-7"})
    body = problem(answer, ErrorCode.INTERNAL)
    assert body["request_id"] == "mine-7"
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    unsafe = await api.client.get("/livez", headers={"X-Request-Id": "a b<script>"})
    assert unsafe.headers["x-request-id"].startswith("req_")


async def test_the_rate_is_limited_for_each_key() -> None:
    now = [0.0]
    policy = RatePolicy(per_s=1.0, burst=3)
    async with running(rate=policy, clock=lambda: now[0]) as api:
        answers = [await api.client.get("/v1/sessions") for _ in range(4)]
        assert [a.status_code for a in answers] == [200, 200, 200, 429]
        assert [a.headers["ratelimit"] for a in answers[:3]] == [
            '"key";r=2;t=1',
            '"key";r=1;t=2',
            '"key";r=0;t=3',
        ]
        assert answers[0].headers["ratelimit-policy"] == '"key";q=3;w=3'
        problem(answers[3], ErrorCode.RATE_LIMITED)
        assert answers[3].headers["retry-after"] == "1"
        async with api.client_for(TENANT, "sessions") as other:
            assert (await other.get("/v1/sessions")).status_code == 200
        now[0] = 1.0
        assert (await api.client.get("/v1/sessions")).status_code == 200


async def test_probes_need_no_key_and_readiness_tells_the_checks(api: Running) -> None:
    async with httpx.AsyncClient(base_url=api.url) as nobody:
        assert (await nobody.get("/livez")).status_code == 200
        assert (await nobody.get("/readyz")).json() == {
            "checks": {"bus": True, "state": True, "serving": True}
        }
        api.memory.fleet.checks["bus"] = False
        unready = await nobody.get("/readyz")
        assert (unready.status_code, unready.json()["checks"]["bus"]) == (503, False)


async def test_operators_see_nodes_all_sessions_and_metrics() -> None:
    async with running(metrics=lambda: b"blazz_sessions 1\n") as api:
        await api.session()
        async with api.client_for("other", "sessions") as other:
            await other.post("/v1/sessions", json={})
        assert (await api.client.get("/v1/nodes")).json()["data"][0]["node_id"] == "blazz-local-1"
        fleet = (await api.client.get("/v1/fleet/sessions")).json()["data"]
        assert {s["tenant_id"] for s in fleet} == {TENANT, "other"}
        metrics = await api.client.get("/metrics")
        assert metrics.text == "blazz_sessions 1\n"
        assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")


async def test_keys_are_made_shown_once_and_revoked_and_never_grant_more(api: Running) -> None:
    made = await api.client.post("/v1/keys", json={"name": "till", "scopes": ["sessions"]})
    assert made.status_code == 201
    key, key_id = made.json()["key"], made.json()["key_id"]
    listed = (await api.client.get("/v1/keys")).json()["data"]
    assert key_id in [k["key_id"] for k in listed]
    assert not any("key" in k or "secret_sha256" in k for k in listed)
    headers = {"X-Api-Key": key}
    async with httpx.AsyncClient(base_url=api.url, headers=headers) as till:
        assert (await till.get("/v1/sessions")).status_code == 200
        assert (await api.client.delete(f"/v1/keys/{key_id}")).status_code == 204
        problem(await till.get("/v1/sessions"), ErrorCode.UNAUTHENTICATED)
    problem(await api.client.delete("/v1/keys/nope"), ErrorCode.NOT_FOUND)
    async with api.client_for(TENANT, "keys", "messages") as limited:
        for body, code in (
            ({"scopes": ["operator"]}, ErrorCode.FORBIDDEN),
            ({"scopes": ["messages", "sessions"]}, ErrorCode.FORBIDDEN),
            ({}, ErrorCode.FORBIDDEN),
            ({"scopes": ["messages"], "tenant_id": "rival"}, ErrorCode.FORBIDDEN),
            ({"scopes": ["root"]}, ErrorCode.VALIDATION_FAILED),
            ({"scopes": []}, ErrorCode.VALIDATION_FAILED),
        ):
            problem(await limited.post("/v1/keys", json=body), code)
        assert (await limited.post("/v1/keys", json={"scopes": ["messages"]})).status_code == 201
    elsewhere = await api.client.post(
        "/v1/keys", json={"scopes": ["messages"], "tenant_id": "rival"}
    )
    assert elsewhere.json()["tenant_id"] == "rival"


async def test_every_answer_carries_the_security_headers(api: Running) -> None:
    for path in ("/livez", "/v1/sessions", "/nope", "/docs", "/link/nope"):
        headers = (await api.client.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff", path
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers
