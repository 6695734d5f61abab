"""Routes of sessions and of linking a phone: good answers and refusals, over a real socket."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator

import pytest
import zxingcpp
from PIL import Image

from schemas.api_snapshots import GenerationView
from schemas.commands import QrAnswer
from schemas.errors import ErrorCode
from schemas.snapshots import GenerationUse
from schemas.states import EngineKind, SessionState
from tests.integration.http_server import (
    ALL_SCOPES,
    TENANT,
    Running,
    problem,
    running,
)

QR_VALUE = "2@" + "Qz7/+k=" * 30 + ",1,2,3"


@pytest.fixture
async def api() -> AsyncIterator[Running]:
    async with running() as served:
        yield served


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
            ("GET", f"{path}/snapshots", None),
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


async def test_snapshots_are_listed_without_anything_of_theirs(api: Running) -> None:
    session = await api.session(SessionState.ONLINE)
    path = f"/v1/sessions/{session}/snapshots"
    assert (await api.client.get(path)).json() == {"session_id": session, "generations": []}
    api.memory.snapshots.all[session] = [
        GenerationView(
            3, GenerationUse.CURRENT, 2, "node-a", EngineKind.CHROMIUM, "156", 4, 900, 1.0, 9.0,
            False, True,
        )
    ]  # fmt: skip
    [told] = (await api.client.get(path)).json()["generations"]
    assert (told["generation"], told["use"], told["epoch"], told["proven"]) == (
        3,
        "current",
        2,
        True,
    )
    assert not {"objects_", "sha256", "key", "data_key", "manifest"} & told.keys()
