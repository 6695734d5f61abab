"""What holds for the HTTP API as a whole: idempotency, problems, limits, keys, headers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx
import pytest

from control_plane.core.rate_limit import RatePolicy
from schemas.errors import BlazzError, ErrorCode
from schemas.states import SessionState
from tests.integration.http_server import (
    ALL_SCOPES,
    TENANT,
    Running,
    problem,
    running,
)
from tests.waiting import eventually

NO_SESSION = "ses_00000000000000000000000000"


@pytest.fixture
async def api() -> AsyncIterator[Running]:
    async with running() as served:
        yield served


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


async def test_operators_speak_for_a_tenant_that_they_name() -> None:
    async with running() as api:
        other = api.client_for("globex", "sessions")
        made = await other.post("/v1/sessions", json={"name": "theirs"})
        path = f"/v1/sessions/{made.json()['session_id']}"
        problem(await api.client.get(path), ErrorCode.SESSION_NOT_FOUND)
        named = {"Blazz-Tenant": "globex"}
        assert (await api.client.get(path, headers=named)).json()["name"] == "theirs"
        bad = await api.client.get(path, headers={"Blazz-Tenant": "no tenant"})
        problem(bad, ErrorCode.VALIDATION_FAILED)
        # Neither without scope `operator` nor beyond the key's other scopes.
        plain = api.client_for("acme", "sessions")
        problem(await plain.get(path, headers=named), ErrorCode.FORBIDDEN)
        narrow = api.client_for("acme", "operator")
        problem(await narrow.get(path, headers=named), ErrorCode.FORBIDDEN)
        for client in (other, plain, narrow):
            await client.aclose()


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


async def test_headers_that_never_end_are_cut_off(api: Running) -> None:
    host, _, port = api.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Endless: ")
        answer = b""
        async with asyncio.timeout(20):
            while not answer:
                try:
                    writer.write(b"a" * 4096)
                    await writer.drain()
                except ConnectionError:
                    break
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.01):
                        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 400") or not answer
    finally:
        writer.close()
    assert (await api.client.get("/livez")).status_code == 200
