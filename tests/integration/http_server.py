"""The HTTP app on a real socket, for tests.

Owns starting and stopping it. Must never be imported outside tests.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec

from control_plane.app import HttpSettings, create_app, serve
from control_plane.core.rate_limit import RatePolicy
from schemas.errors import ERRORS, ErrorCode
from schemas.states import SessionState
from tests.integration.memory_services import Memory, memory

TENANT = "acme"
ALL_SCOPES = ("sessions", "messages", "webhooks", "keys", "operator")


class Running(msgspec.Struct, frozen=True):
    """A served app, the state behind it, and a client whose key has every scope."""

    memory: Memory
    url: str
    client: httpx.AsyncClient
    stop: asyncio.Event

    def client_for(self, tenant: str, *scopes: str) -> httpx.AsyncClient:
        """Another client, with a key of its own."""
        key = self.memory.access.new_key(tenant, *scopes)
        return httpx.AsyncClient(base_url=self.url, headers={"Authorization": f"Bearer {key}"})

    async def session(self, state: SessionState | None = None, **fields: Any) -> str:
        """A new session of the tenant, put into a state."""
        answer = await self.client.post("/v1/sessions", json=fields)
        assert answer.status_code == 201, answer.text
        session: str = answer.json()["session_id"]
        if state is not None:
            await self.memory.sessions.put(TENANT, session, state)
        return session


@asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[Running]:
    """Serve a fresh app; limits are out of the way unless a test sets them."""
    settings.setdefault("rate", RatePolicy(per_s=10_000.0, burst=10_000))
    settings.setdefault("stop_grace_s", 2.0)
    kept = memory()
    app = create_app(kept.services, HttpSettings(**settings))
    stop = asyncio.Event()
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as group:
        group.create_task(serve(app, "127.0.0.1", 0, stop, port.set_result))
        url = f"http://127.0.0.1:{await port}"
        key = kept.access.new_key(TENANT, *ALL_SCOPES)
        headers = {"Authorization": f"Bearer {key}"}
        try:
            async with httpx.AsyncClient(base_url=url, headers=headers, timeout=20) as client:
                yield Running(kept, url, client, stop)
        finally:
            stop.set()


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
