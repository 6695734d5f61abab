"""The HTTP API on the real services: a bus, a node (loopback) and the sandbox's phones."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import zxingcpp
from PIL import Image

from cli.embedded.server import EmbeddedNats
from control_plane.app import HttpSettings, create_app, serve
from control_plane.ports import Services
from sandbox.phone import PhoneBook
from sandbox.server import Sandbox
from schemas.states import NodeState
from schemas.transport.connection import Bus
from tests.integration.control_fixture import (
    TENANT,
    book,  # noqa: F401
    control_plane,
    nats,  # noqa: F401
    node,
    node_is,
    sandbox,  # noqa: F401
)
from tests.integration.nats_fixture import bus  # noqa: F401
from tests.waiting import eventually

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 3_000


@asynccontextmanager
async def api_on(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    stop = asyncio.Event()
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    app = create_app(services, HttpSettings(link_tick_s=0.5))
    _, key = await services.access.create_key(
        TENANT, name=None, scopes=("sessions", "messages", "operator"), expires_in_s=None
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(serve(app, "127.0.0.1", 0, stop, port.set_result))
        url = f"http://127.0.0.1:{await port}"
        try:
            async with httpx.AsyncClient(
                base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=20
            ) as client:
                yield client
        finally:
            stop.set()


async def in_state(client: httpx.AsyncClient, path: str, state: str) -> None:
    async def look() -> bool:
        return bool((await client.get(path)).json()["state"] == state)

    await eventually(look, timeout_s=15, what=f"{path} is {state}")


async def views(client: httpx.AsyncClient, path: str, until: str) -> list[str]:
    """The names of the link page's views, up to one."""
    names: list[str] = []
    async with client.stream("GET", path) as answer, asyncio.timeout(20):
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                view: dict[str, Any] = json.loads(line[6:])
                names.append(view["name"])
                if view["name"] == until:
                    break
    return names


async def test_from_a_link_page_to_messages_both_ways(
    nats: EmbeddedNats,  # noqa: F811
    bus: Bus,  # noqa: F811
    sandbox: Sandbox,  # noqa: F811
    book: PhoneBook,  # noqa: F811
    tmp_path: Path,
) -> None:
    del bus  # it makes the streams
    async with (
        control_plane(nats) as services,
        api_on(services) as client,
        node(nats, sandbox, tmp_path),
    ):
        await node_is(services, NodeState.ALIVE)
        assert (await client.get("/readyz")).status_code == 200

        made = await client.post("/v1/sessions", json={"name": "shop", "start": False})
        assert made.status_code == 201, made.text
        path = made.headers["location"]
        link = (await client.post(f"{path}/links")).json()["url"]

        # The page's own POST starts the session; the phone scans what the API shows.
        started = await client.post(
            f"{link}/start", json={}, headers={"Origin": str(client.base_url).rstrip("/")}
        )
        assert started.status_code == 204, started.text
        assert (await views(client, f"{link}/events", "qr"))[-1] == "qr"
        png = (await client.get(f"{path}/qr", headers={"Accept": "image/png"})).content
        [code] = zxingcpp.read_barcodes(Image.open(io.BytesIO(png)))
        phone = await book.create("628110000101", name="Shop")
        friend = await book.create("628110000102", name="Friend")
        await phone.scan(code.text)
        assert (await views(client, f"{link}/events", "ready"))[-1] == "ready"
        await in_state(client, path, "online")

        # Sent once, although asked twice.
        headers = {"Idempotency-Key": "order 17 ✓".encode().hex()}
        answers = [
            await client.post(
                f"{path}/messages",
                json={"to": "0811-0000-102", "text": "ready"},
                params={"wait": "sent", "timeout_s": 15},
                headers=headers,
            )
            for _ in range(2)
        ]
        assert [a.status_code for a in answers] == [200, 200], [a.text for a in answers]
        assert answers[1].headers["idempotent-replayed"] == "true"
        up = await client.post("/v1/media", content=PNG, headers={"Content-Type": "image/png"})
        assert up.status_code == 201, up.text
        sent = await client.post(
            f"{path}/messages",
            json={"to": friend.wid, "media_id": up.json()["media_id"], "caption": "menu"},
            params={"wait": "sent", "timeout_s": 15},
        )
        assert (sent.status_code, sent.json()["state"]) == (200, "sent"), sent.text
        got = await friend.messages(phone.wid)
        assert len(got) == 2

        # Received: an event, a message in the list, its media byte for byte.
        await friend.send_media(phone.wid, PNG, "image/png")

        async def inbound() -> str | None:
            listed = (await client.get(f"{path}/messages")).json()["data"]
            return next((m["message_id"] for m in listed if m["direction"] == "inbound"), None)

        message = await eventually(inbound, timeout_s=10, what="the picture is in the list")
        media = await client.get(f"{path}/messages/{message}/media")
        assert media.content == PNG
        async with (
            client.stream("GET", f"{path}/events", headers={"Last-Event-ID": "0"}) as stream,
            asyncio.timeout(10),
        ):
            names = []
            async for line in stream.aiter_lines():
                if line.startswith("event: "):
                    names.append(line[7:])
                if line == "event: message.received":
                    break
        assert {"session.state", "session.qr", "session.linked", "message.sent"} <= set(names)

        assert (await client.delete(path)).status_code == 204
