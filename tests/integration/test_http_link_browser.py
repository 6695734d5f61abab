"""A link page belongs to the browser that first starts it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from schemas.errors import BlazzError, ErrorCode
from schemas.states import DesiredState, SessionState
from tests.integration.http_server import TENANT, Running, problem, running


@pytest.fixture
async def api() -> AsyncIterator[Running]:
    async with running(link_tick_s=0.2) as served:
        yield served


async def link_of(api: Running) -> str:
    session = await api.session()
    await api.memory.sessions.put(TENANT, session, SessionState.STOPPED, DesiredState.STOPPED)
    made = await api.client.post(f"/v1/sessions/{session}/links", json={})
    return str(made.json()["url"])


def browser(api: Running) -> httpx.AsyncClient:
    return httpx.AsyncClient(headers={"Origin": api.url})


async def test_the_first_to_start_it_has_it_and_no_get_takes_it(api: Running) -> None:
    url = await link_of(api)
    async with browser(api) as preview, browser(api) as mine, browser(api) as other:
        for _ in range(2):
            looked = await preview.get(url)
            assert (looked.status_code, "set-cookie" in looked.headers) == (200, False)
        started = await mine.post(f"{url}/start", json={})
        assert started.status_code == 204
        cookie = started.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert f"Path={httpx.URL(url).path}" in cookie
        assert "Secure" not in cookie  # plain http here
        again = await mine.post(f"{url}/start", json={})
        assert (again.status_code, "set-cookie" in again.headers) == (204, False)
        assert (await mine.get(url)).status_code == 200
        page = await other.get(url)
        assert page.status_code == 403
        assert "opened in another browser" in page.text
        for method, path in (("GET", "events"), ("GET", "qr.svg"), ("POST", "start")):
            refused = await other.request(
                method, f"{url}/{path}", json={} if method == "POST" else None
            )
            problem(refused, ErrorCode.LINK_IN_USE)
        code = await other.post(f"{url}/pairing-code", json={"phone": "+628123456789"})
        assert code.status_code == 403
        forged = await other.get(url, headers={"Cookie": "blazz_link=guess"})
        assert forged.status_code == 403
    [record] = api.memory.access.links.values()
    assert record.browser_sha256 is not None
    assert record.browser_sha256 not in cookie


async def test_a_start_that_fails_takes_nothing(api: Running) -> None:
    url = await link_of(api)
    async with browser(api) as mine, browser(api) as other:
        api.memory.sessions.fail_start = BlazzError(ErrorCode.NO_NODE_AVAILABLE)
        problem(await mine.post(f"{url}/start", json={}), ErrorCode.NO_NODE_AVAILABLE)
        api.memory.sessions.fail_start = None
        assert (await other.post(f"{url}/start", json={})).status_code == 204
        assert (await mine.get(url)).status_code == 403


async def test_behind_https_the_cookie_goes_nowhere_else() -> None:
    async with running(public_url="https://wa.example.com") as api:
        url = (await link_of(api)).replace("https://wa.example.com", api.url)
        async with httpx.AsyncClient(headers={"Origin": "https://wa.example.com"}) as mine:
            started = await mine.post(f"{url}/start", json={})
    assert "Secure" in started.headers["set-cookie"]
