"""Every kind of message and the account's routes through the real services: a bus, a node with the
loopback engine, and the sandbox's phones, which show what arrived."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from cli.embedded.server import EmbeddedNats
from sandbox.phone import Phone, PhoneBook
from sandbox.server import Sandbox
from schemas.errors import ErrorCode
from schemas.states import NodeState
from schemas.transport.connection import Bus
from tests.integration.control_fixture import (
    book,  # noqa: F401
    control_plane,
    linked,
    nats,  # noqa: F401
    node,
    node_is,
    sandbox,  # noqa: F401
)
from tests.integration.http_server import problem
from tests.integration.nats_fixture import bus  # noqa: F401
from tests.integration.test_http_real_stack import api_on
from tests.waiting import eventually

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 3_000


class Sender:
    """Sends in one session to one friend, and waits for the end."""

    def __init__(self, client: httpx.AsyncClient, path: str, friend: Phone) -> None:
        self.client, self.path, self.friend = client, path, friend

    async def __call__(self, **body: Any) -> dict[str, Any]:
        answer = await self.client.post(
            f"{self.path}/messages",
            json={"to": f"+{self.friend.number}", **body},
            params={"wait": "sent", "timeout_s": 20},
        )
        ended: dict[str, Any] = answer.json()
        assert (answer.status_code, ended["state"]) == (200, "sent"), answer.text
        return ended


async def test_all_kinds_arrive_and_the_account_is_read(
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
        friend = await book.create("628110000102", name="Friend")
        await book.create("628110000103", name="Another")
        view, phone = await linked(services, book, "628110000101")
        path = f"/v1/sessions/{view.session_id}"
        send = Sender(client, path, friend)

        text = await send(text="hello", link_preview=False)
        await send(text="and", reply_to=text["message_id"])
        media_id = await _uploaded_in_two_goes(client)
        await send(media_id=media_id, caption="menu")
        await send(media_id=media_id, kind="document")
        await send(location={"latitude": -6.2, "longitude": 106.8, "name": "Monas"})
        await send(contacts=[{"name": "Budi", "phone": "0811-1111-1111"}])
        poll = await send(poll={"question": "When?", "options": ["6", "7"]})
        await send(forward={"message_id": text["message_id"]})
        await send(edit={"message_id": text["message_id"], "text": "hello again"})
        await send(reaction={"message_id": poll["message_id"], "emoji": "👍"})
        reply = await friend.send_text(phone.wid, "thanks")

        arrived = [m.message for m in await friend.messages(phone.wid)]
        assert [m.type for m in arrived if m.sender == phone.wid] == [
            "chat",
            "chat",
            "image",
            "document",
            "location",
            "vcard",
            "poll_creation",
            "chat",
        ]
        assert (arrived[0].body, arrived[0].edited) == ("hello again", True)
        assert arrived[1].quoted_id == text["message_id"]
        assert arrived[7].forwarded

        async def known() -> bool:
            got = await client.get(f"{path}/messages/{reply}")
            return got.status_code == 200

        await eventually(known, timeout_s=10, what="the friend's answer is in the ledger")
        # By the path, on a message that somebody else wrote.
        liked = await client.post(
            f"{path}/messages/{reply}/reactions", json={"emoji": "❤️"}, params={"wait": "sent"}
        )
        assert (liked.status_code, liked.json()["target_id"]) == (200, reply)
        gone = await client.delete(f"{path}/messages/{poll['message_id']}", params={"wait": "sent"})
        assert gone.json()["state"] == "sent", gone.text
        arrived = [m.message for m in await friend.messages(phone.wid)]
        assert next(m for m in arrived if m.id == poll["message_id"]).deleted
        changed = (await client.get(f"{path}/messages/{text['message_id']}")).json()
        assert (changed["text"], changed["edited"]) == ("hello again", True)
        for method, message, code in (
            ("DELETE", reply, ErrorCode.MESSAGE_NOT_CHANGEABLE),
            ("DELETE", poll["message_id"], ErrorCode.MESSAGE_NOT_CHANGEABLE),
            ("DELETE", "3EB0" + "0" * 18, ErrorCode.MESSAGE_NOT_FOUND),
        ):
            problem(await client.request(method, f"{path}/messages/{message}"), code)

        await _account(client, path, friend, media_id)


async def _uploaded_in_two_goes(client: httpx.AsyncClient) -> str:
    """The connection breaks in the middle of a body; what had arrived stays."""
    announced = {
        "sha256": hashlib.sha256(PNG).hexdigest(),
        "size_bytes": len(PNG),
        "mimetype": "image/png",
    }
    begun = await client.post("/v1/media/uploads", json=announced)
    assert begun.status_code == 201, begun.text
    location = begun.headers["location"]
    where = urlsplit(str(client.base_url))
    _, writer = await asyncio.open_connection(where.hostname, where.port)
    head = (
        f"PATCH {location} HTTP/1.1\r\nHost: {where.netloc}\r\nUpload-Offset: 0\r\n"
        f"Authorization: {client.headers['authorization']}\r\nContent-Length: {len(PNG)}\r\n\r\n"
    )
    writer.write(head.encode() + PNG[:600_000])
    await writer.drain()
    writer.close()

    async def kept() -> int:
        return int((await client.get(location)).json()["offset"])

    offset = await eventually(kept, timeout_s=10, what="what arrived is stored")
    rest = await client.patch(
        location, content=PNG[offset:], headers={"Upload-Offset": str(offset)}
    )
    assert rest.status_code == 200, rest.text
    return str(rest.json()["media"]["media_id"])


async def _account(client: httpx.AsyncClient, path: str, friend: Phone, media_id: str) -> None:
    for route, body in (
        (f"chats/{friend.wid}/presence", {"state": "typing"}),
        (f"chats/{friend.wid}/presence/subscribe", None),
        (f"chats/{friend.wid}/seen", None),
    ):
        done = await client.post(f"{path}/{route}", json=body)
        assert done.status_code == 204, (route, done.text)
    chats = (await client.get(f"{path}/chats")).json()["data"]
    assert friend.wid in [chat["chat_id"] for chat in chats]
    pages: list[str] = []
    query: dict[str, Any] = {"limit": 1}
    while query.get("cursor", "") is not None and len(pages) < 10:
        page = (await client.get(f"{path}/contacts", params=query)).json()
        pages += [contact["contact_id"] for contact in page["data"]]
        query["cursor"] = page["next_cursor"]
    assert friend.wid in pages
    assert len(pages) == len(set(pages)) > 1
    numbers = {"phones": ["0811-0000-102", "+62 811 9999 9999"]}
    checked = (await client.post(f"{path}/numbers/check", json=numbers)).json()["data"]
    assert [number["exists"] for number in checked] == [True, False]
    problem(await client.get(f"{path}/groups/1203630@g.us"), ErrorCode.CHAT_NOT_FOUND)
    named = await client.patch(f"{path}/profile", json={"name": "Warung"})
    assert named.json()["name"] == "Warung", named.text
    shown = await client.put(f"{path}/profile/picture", json={"media_id": media_id})
    assert shown.json()["picture_url"], shown.text
    hidden = await client.delete(f"{path}/profile/picture")
    assert hidden.json()["picture_url"] is None
    # Nothing of it waits for a session that is not there.
    assert (await client.post(f"{path}/stop")).status_code == 202
    refused = await client.post(f"{path}/chats/{friend.wid}/seen")
    problem(refused, ErrorCode.SESSION_NOT_RUNNING)
