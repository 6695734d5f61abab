"""What holds for all routes at once: closed by default, described, and steady under odd input."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from litestar import Litestar
from litestar.routes import HTTPRoute, WebSocketRoute
from litestar.testing import TestClient

from control_plane.app import HttpSettings, create_app
from control_plane.core.rate_limit import RatePolicy
from control_plane.http.auth import Scope
from control_plane.http.openapi import describe
from schemas.errors import ERRORS, ErrorCode
from tests.integration.http_server import ALL_SCOPES, running
from tests.integration.memory_services import Memory, memory

OPEN_PATHS = {
    "/livez",
    "/readyz",
    "/openapi.json",
    "/docs",
    "/docs/errors",
    "/docs/assets/{name}",
    "/link/{token}",
    "/link/{token}/events",
    "/link/{token}/qr.svg",
    "/link/{token}/start",
    "/link/{token}/pairing-code",
    "/link-assets/{name}",
}


def app_and_memory() -> tuple[Litestar, Memory]:
    kept = memory()
    generous = RatePolicy(per_s=10_000.0, burst=100_000)
    return create_app(kept.services, HttpSettings(rate=generous)), kept


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return describe(app_and_memory()[0])


def routes(app: Litestar) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for route in app.routes:
        if isinstance(route, WebSocketRoute):
            # It lets nobody in without a key either: see test_http_sockets.
            assert route.path == "/v1/events/ws"
            continue
        assert isinstance(route, HTTPRoute), route
        for handler in route.route_handlers:
            for method in handler.http_methods:
                yield method, re.sub(r":\w+}", "}", route.path), dict(handler.opt)


async def test_all_routes_are_closed_without_a_key_and_without_the_scope() -> None:
    app, _ = app_and_memory()
    all_routes = list(routes(app))
    assert len(all_routes) > 40
    async with running() as api:
        clients = {
            needed: api.client_for("acme", *(set(ALL_SCOPES) - {needed})) for needed in Scope
        }
        nobody = httpx.AsyncClient(base_url=api.url)
        wrong = httpx.AsyncClient(base_url=api.url, headers={"X-Api-Key": "blz_live_wrong"})
        for method, path, opt in all_routes:
            if method != "OPTIONS" and path in OPEN_PATHS:
                assert opt["access"] == "public", path
                continue
            url = re.sub(r"{[^}]+}", "ses_00000000000000000000000000", path)
            for stranger in (nobody, wrong):
                refused = await stranger.request(method, url)
                assert refused.status_code == 401, (method, path)
                assert refused.json()["code"] == "unauthenticated"
                assert refused.headers["www-authenticate"].startswith("Bearer")
            if opt.get("instead"):
                scopes = set(ALL_SCOPES) - {opt["access"], opt["instead"]}
                async with api.client_for("acme", *scopes) as client:
                    lacking = await client.request(method, url)
            elif opt.get("access"):
                lacking = await clients[opt["access"]].request(method, url)
            else:
                lacking = await api.client.request(method, url)
            assert (lacking.status_code, lacking.json()["code"]) == (403, "forbidden"), path
        for client in (*clients.values(), nobody, wrong):
            await client.aclose()


def test_every_operation_is_described(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    described = set()
    operation_ids = []
    for path, item in document["paths"].items():
        for method, operation in item.items():
            described.add((method.upper(), path))
            operation_ids.append(operation["operationId"])
            assert operation["summary"], path
            assert operation["tags"], path
            errors = {http: r for http, r in operation["responses"].items() if http >= "400"}
            assert "500" in errors, path
            for answer in errors.values():
                assert set(answer["content"]) == {"application/problem+json"}, path
            if operation["security"]:
                assert {"401", "403", "429", "500"} <= set(errors), path
                assert "Retry-After" in errors["429"]["headers"]
            if "{session_id}" in path:
                assert "404" in errors, path
            if method == "post" and operation.get("requestBody"):
                assert {"413", "415"} <= set(errors), path
    assert len(operation_ids) == len(set(operation_ids))
    app, _ = app_and_memory()
    served = {
        (method, path)
        for method, path, _ in routes(app)
        if method != "OPTIONS" and (path.startswith("/v1") or path in ("/livez", "/metrics"))
    }
    assert served <= described


def test_every_reference_in_the_description_leads_somewhere(document: dict[str, Any]) -> None:
    names = set(re.findall(r"#/components/schemas/([^\"]+)", json.dumps(document)))
    assert names <= set(document["components"]["schemas"])
    assert document["components"]["schemas"]["NewMessage"]["examples"]
    assert document["components"]["schemas"]["NewMessage"]["additionalProperties"] is False


def test_the_docs_come_from_here_alone_and_name_every_error() -> None:
    app, _ = app_and_memory()
    with TestClient(app) as client:
        for path in ("/docs", "/docs/errors"):
            answer = client.get(path)
            assert answer.headers["content-type"] == "text/html; charset=utf-8"
            assert "script-src 'self'" in answer.headers["content-security-policy"]
            assert "unsafe" not in answer.headers["content-security-policy"]
            assets = re.findall(r'(?:src|href)="([^"]+)"', answer.text)
            assert assets
            assert all(asset.startswith(("/", "#")) for asset in assets)
            for asset in assets:
                if "assets" in asset:
                    served = client.get(asset)
                    assert served.status_code == 200
                    assert not re.search(r"https?://(?!www\.w3\.org)", served.text), asset
                    again = client.get(asset, headers={"If-None-Match": served.headers["etag"]})
                    assert again.status_code == 304
        errors = client.get("/docs/errors").text
        assert all(f'id="{code}"' in errors for code in ErrorCode)
        assert client.get("/docs/assets/..%2Fopenapi.py").status_code == 404
        assert client.get("/docs/assets/docs.html").status_code == 404
        assert client.get("/openapi.json").json()["info"]["title"] == "Blazz"


APP, MEMORY = app_and_memory()
KEY = MEMORY.access.new_key("acme", *ALL_SCOPES)
SCHEMA = schemathesis.openapi.from_asgi("/openapi.json", APP)
# Streams never end by themselves; the upload's body is any bytes at all.
STEADY = SCHEMA.exclude(operation_id_regex="^follow.*Events$")


@STEADY.parametrize()
@settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_odd_input_is_answered_as_described(case: schemathesis.Case[Any]) -> None:
    answer = case.call(headers={"Authorization": f"Bearer {KEY}"})
    assert answer.status_code != 500, answer.text
    case.validate_response(
        answer,
        checks=[
            schemathesis.checks.not_a_server_error,
            _described,
        ],
    )


def _described(_context: Any, answer: Any, case: schemathesis.Case[Any]) -> None:
    """An error is a problem with a code of the table; a success has the described shape."""
    if answer.status_code >= 400:
        problem = json.loads(answer.content)
        assert problem["code"] in ERRORS, problem
        assert answer.headers["content-type"] == ["application/problem+json"]
        # Methods that no operation has are tried as well; OPTIONS is closed everywhere.
        if case.method.upper() == case.operation.method.upper():
            described = case.operation.definition.raw["responses"]
            assert str(answer.status_code) in described, problem
    else:
        case.operation.validate_response(answer)
