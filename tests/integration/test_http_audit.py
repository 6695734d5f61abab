"""The audit log's hook on a real socket: what is recorded of whom, and that nothing is done
without a record."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from litestar.routes import HTTPRoute

from control_plane.app import create_app
from control_plane.http.audited import AUDITED, NOT_AUDITED
from control_plane.http.settings import HttpSettings
from schemas.errors import ErrorCode
from schemas.states import SessionState
from tests.integration.http_server import TENANT, Running, problem, running
from tests.integration.memory_services import memory

NODE = "blazz-local-1"


async def acts(app: Running, **query: Any) -> list[dict[str, Any]]:
    answer = await app.client.get("/v1/audit", params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


def test_every_operation_that_changes_something_is_decided_upon() -> None:
    app = create_app(memory().services, HttpSettings())
    changing = set()
    for route in app.routes:
        if isinstance(route, HTTPRoute) and route.path.startswith(("/v1", "/link/")):
            for handler in route.route_handlers:
                if handler.http_methods - {"GET", "HEAD", "OPTIONS"}:
                    changing.add(handler.operation_id)
    assert AUDITED.keys() | NOT_AUDITED == changing
    assert AUDITED.keys().isdisjoint(NOT_AUDITED)


async def test_an_act_tells_who_what_where_and_how_it_ended() -> None:
    async with running() as app:
        body = {"deadline_s": None, "reason": "new kernel"}
        answer = await app.client.post(f"/v1/nodes/{NODE}/drain", json=body)
        assert answer.status_code == 202
        (act,) = await acts(app)
        (key,) = app.memory.access.keys.values()
        assert act["operation"] == "drainNode"
        assert act["tenant_id"] == TENANT
        assert act["key_id"] == key.key_id
        assert act["address"] == "127.0.0.1"
        assert act["target"] == [NODE]
        assert act["parameters"] == {"deadline_s": None, "reason": "new kernel"}
        assert act["http"] == 202
        assert act["request_id"] == answer.headers["x-request-id"]
        assert act["ended_at"] >= act["at"]
        assert "error_code" not in act


async def test_what_was_made_is_named() -> None:
    async with running() as app:
        session = await app.session(name="Secret name", metadata={"phone": "+62812"})
        made = await app.client.post("/v1/keys", json={"name": "ann", "scopes": ["keys"]})
        by_operation = {act["operation"]: act for act in await acts(app)}
        assert by_operation["createSession"]["target"] == [session]
        assert by_operation["createSession"]["parameters"] == {"start": True}
        assert by_operation["createKey"]["target"] == [made.json()["key_id"]]
        assert made.json()["key"] not in str(by_operation)
        ann = app.client_for(TENANT, "keys")
        ann.headers["Authorization"] = f"Bearer {made.json()['key']}"
        async with ann:
            await ann.delete("/v1/keys/nosuchkey")
        (act,) = await acts(app, operation="revokeKey")
        assert act["key_name"] == "ann"
        assert (act["http"], act["error_code"]) == (404, "not_found")


@pytest.mark.parametrize("operation", ["addOptOut", "createPairingCode", "createWebhook"])
async def test_no_phone_number_and_no_address_is_kept(operation: str) -> None:
    async with running() as app:
        session = await app.session()
        if operation == "addOptOut":
            await app.client.post("/v1/opt-outs", json={"to": "+6281234567890"})
            await app.client.delete("/v1/opt-outs/+6281234567890")
        elif operation == "createPairingCode":
            path = f"/v1/sessions/{session}/pairing-code"
            await app.client.post(path, json={"phone": "+6281234567890"})
        else:
            url = "https://user:6281234567890@example.test/"
            await app.client.post("/v1/webhooks", json={"url": url})
        assert await acts(app, operation=operation)
        assert "6281234567890" not in str(app.memory.audit.all)


async def test_what_cannot_be_recorded_is_not_begun() -> None:
    async with running() as app:
        session = await app.session()
        app.memory.audit.away = True
        problem(await app.client.post(f"/v1/nodes/{NODE}/drain"), ErrorCode.AUDIT_UNAVAILABLE)
        problem(await app.client.delete(f"/v1/sessions/{session}"), ErrorCode.AUDIT_UNAVAILABLE)
        assert app.memory.operations.asked == []
        assert (await app.client.get(f"/v1/sessions/{session}")).status_code == 200
        assert (await app.client.get("/v1/nodes")).status_code == 200


async def test_who_may_not_is_recorded_and_who_has_no_key_is_not() -> None:
    async with running() as app:
        async with app.client_for("other", "sessions") as other:
            problem(await other.post(f"/v1/nodes/{NODE}/cordon"), ErrorCode.FORBIDDEN)
            other.headers["Authorization"] = "Bearer nonsense"
            problem(await other.post(f"/v1/nodes/{NODE}/cordon"), ErrorCode.UNAUTHENTICATED)
        (act,) = await acts(app)
        assert (act["tenant_id"], act["http"], act["error_code"]) == ("other", 403, "forbidden")
        assert app.memory.operations.asked == []


async def test_a_tenant_sees_its_own_acts_and_an_operator_all() -> None:
    async with running() as app:
        await app.session()
        async with app.client_for("other", "sessions", "keys") as other:
            await other.post("/v1/sessions", json={})
            mine = (await other.get("/v1/audit")).json()["data"]
            assert {act["tenant_id"] for act in mine} == {"other"}
        assert {act["tenant_id"] for act in await acts(app)} == {TENANT, "other"}
        async with app.client_for("ops", "operator") as operator:
            assert len((await operator.get("/v1/audit")).json()["data"]) == 2
        async with app.client_for("other", "sessions") as nobody:
            problem(await nobody.get("/v1/audit"), ErrorCode.FORBIDDEN)


async def test_an_operator_who_speaks_for_a_tenant_is_seen_by_it() -> None:
    async with running() as app:
        for_other = {"Blazz-Tenant": "other"}
        await app.client.post("/v1/sessions", json={}, headers=for_other)
        async with app.client_for("other", "keys") as other:
            (act,) = (await other.get("/v1/audit")).json()["data"]
        keys = {r.key_id for r in app.memory.access.keys.values() if r.tenant_id == TENANT}
        assert act["tenant_id"] == "other"
        assert act["key_id"] in keys


async def test_the_list_is_chosen_and_paged() -> None:
    async with running() as app:
        sessions = [await app.session() for _ in range(3)]
        await app.client.post(f"/v1/sessions/{sessions[0]}/stop")
        of_one = await acts(app, target=sessions[0])
        assert [act["operation"] for act in of_one] == ["stopSession", "createSession"]
        assert await acts(app, since=of_one[0]["ended_at"] + 60) == []
        assert await acts(app, key="nobody") == []
        first = (await app.client.get("/v1/audit", params={"limit": 3})).json()
        assert first["has_more"]
        query = {"limit": 3, "cursor": first["next_cursor"]}
        second = (await app.client.get("/v1/audit", params=query)).json()
        assert len({act["audit_id"] for act in first["data"] + second["data"]}) == 4
        problem(
            await app.client.get("/v1/audit", params={"cursor": "x"}), ErrorCode.VALIDATION_FAILED
        )


async def test_what_is_begun_by_a_link_page_is_recorded_without_its_token() -> None:
    async with running() as app:
        session = await app.session(SessionState.PAIRING)
        url = (await app.client.post(f"/v1/sessions/{session}/links")).json()["url"]
        token = url.rpartition("/")[2]
        headers = {"Sec-Fetch-Site": "same-origin"}
        async with httpx.AsyncClient(headers=headers) as person:
            await person.get(url)
            assert await acts(app, operation="startByLink") == [], "a GET begins nothing"
            await person.post(f"{url}/start", json={"pressed": True})
            await person.post(f"{url}/pairing-code", json={"phone": "+6281234567890"})
            await person.post(f"{url}/start", headers={"Sec-Fetch-Site": "cross-site"}, json={})
        (started,) = await acts(app, operation="startByLink")
        assert (started["tenant_id"], started["target"]) == (TENANT, [session])
        assert (started["key_name"], started["http"]) == ("link page", 204)
        (paired,) = await acts(app, operation="pairByLink")
        assert paired["key_id"] == started["key_id"]
        kept = str(app.memory.audit.all)
        assert token not in kept
        assert "6281234567890" not in kept
        app.memory.audit.away = True
        async with httpx.AsyncClient(headers=headers, cookies=person.cookies) as again:
            refused = await again.post(f"{url}/start", json={})
        assert refused.status_code == 503
