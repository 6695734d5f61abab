"""Routes of a session's account: what is read and done at once, over a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from schemas.chats import ChatPresence
from schemas.errors import ErrorCode
from schemas.states import SessionState
from tests.integration.http_server import TENANT, Running, problem, running
from tests.integration.memory_accounts import FRIEND, GROUP

PHONE = "+62 812 3456 789"
NO_MEDIA = "med_00000000000000000000000000"


@pytest.fixture
async def api() -> AsyncIterator[Running]:
    async with running() as served:
        yield served


async def online(api: Running) -> str:
    return f"/v1/sessions/{await api.session(SessionState.ONLINE)}"


async def test_presence_and_seen_reach_the_chat_that_is_meant(api: Running) -> None:
    path = await online(api)
    for answer in (
        await api.client.post(f"{path}/chats/{PHONE}/presence", json={"state": "typing"}),
        await api.client.post(f"{path}/chats/{GROUP}/presence", json={"state": "paused"}),
        await api.client.post(f"{path}/chats/{FRIEND}/presence/subscribe"),
        await api.client.post(f"{path}/chats/99@lid/seen"),
    ):
        assert (answer.status_code, answer.content) == (204, b"")
    assert api.memory.accounts.done == [
        ("presence", FRIEND, ChatPresence.TYPING),
        ("presence", GROUP, ChatPresence.PAUSED),
        ("subscribe", FRIEND),
        ("seen", "99@lid"),
    ]
    seen_only = await api.client.post(f"{path}/chats/{PHONE}/presence", json={"state": "available"})
    problem(seen_only, ErrorCode.VALIDATION_FAILED)
    nobody = await api.client.post(f"{path}/chats/nobody/seen")
    assert problem(nobody, ErrorCode.RECIPIENT_INVALID)["errors"][0]["path"] == "chat_id"


async def test_chats_groups_and_contacts_are_read_in_pages(api: Running) -> None:
    path = await online(api)
    first = (await api.client.get(f"{path}/chats", params={"limit": 1})).json()
    assert ([c["chat_id"] for c in first["data"]], first["has_more"]) == ([GROUP], True)
    query = {"limit": 1, "cursor": first["next_cursor"]}
    rest = (await api.client.get(f"{path}/chats", params=query)).json()
    assert ([c["chat_id"] for c in rest["data"]], rest["has_more"]) == ([FRIEND], False)
    groups = (await api.client.get(f"{path}/groups")).json()["data"]
    assert [g["chat_id"] for g in groups] == [GROUP]
    group = (await api.client.get(f"{path}/groups/{GROUP}")).json()
    assert group["members"] == [{"member_id": FRIEND, "admin": True, "phone": None}]
    contacts = (await api.client.get(f"{path}/contacts")).json()["data"]
    assert contacts[0]["contact_id"] == FRIEND
    picture = await api.client.get(f"{path}/contacts/{PHONE}/picture")
    assert picture.json() == {"url": "https://pps.example/p.jpg"}
    assert (await api.client.get(f"{path}/contacts/{GROUP}/picture")).json() == {"url": None}
    problem(await api.client.get(f"{path}/groups/1203@g.us"), ErrorCode.CHAT_NOT_FOUND)
    problem(await api.client.get(f"{path}/groups/{FRIEND}"), ErrorCode.RECIPIENT_INVALID)


async def test_numbers_are_checked_in_the_order_asked(api: Running) -> None:
    path = await online(api)
    body = {"phones": ["+62 811 1111 111", PHONE]}
    found = (await api.client.post(f"{path}/numbers/check", json=body)).json()["data"]
    assert [(n["phone"], n["exists"]) for n in found] == [
        ("628111111111", False),
        ("628123456789", True),
    ]
    one = (await api.client.get(f"{path}/numbers/{PHONE}")).json()
    assert (one["exists"], one["chat_id"]) == (True, FRIEND)
    wrong = await api.client.post(f"{path}/numbers/check", json={"phones": [PHONE, "0812345"]})
    assert problem(wrong, ErrorCode.RECIPIENT_INVALID)["errors"][0]["path"] == "phones[1]"
    for phones in ([], [PHONE] * 51):
        refused = await api.client.post(f"{path}/numbers/check", json={"phones": phones})
        problem(refused, ErrorCode.VALIDATION_FAILED)


async def test_the_profile_is_read_and_changed(api: Running) -> None:
    path = f"{await online(api)}/profile"
    changed = await api.client.patch(path, json={"name": "Warung"})
    assert changed.json() == (await api.client.get(path)).json()
    assert changed.json()["name"] == "Warung"
    picture = api.memory.media.keep(TENANT, b"\xff\xd8\xff", "image/jpeg", None).ref
    shown = await api.client.put(f"{path}/picture", json={"media_id": picture.media_id})
    assert picture.sha256 in shown.json()["picture_url"]
    gone = await api.client.delete(f"{path}/picture")
    assert (gone.status_code, gone.json()["picture_url"]) == (200, None)
    pdf = api.memory.media.keep(TENANT, b"%PDF-", "application/pdf", None).ref
    for body, code in (
        ({"media_id": pdf.media_id}, ErrorCode.MEDIA_UNSUPPORTED),
        ({"media_id": NO_MEDIA}, ErrorCode.MEDIA_NOT_FOUND),
    ):
        problem(await api.client.put(f"{path}/picture", json=body), code)
    for change in ({}, {"name": ""}, {"name": "x" * 26}, {"about": "x" * 140}):
        problem(await api.client.patch(path, json=change), ErrorCode.VALIDATION_FAILED)


ACTS: list[tuple[str, str, dict[str, Any] | None]] = [
    ("POST", f"chats/{FRIEND}/presence", {"state": "typing"}),
    ("POST", f"chats/{FRIEND}/presence/subscribe", None),
    ("POST", f"chats/{FRIEND}/seen", None),
    ("GET", "chats", None),
    ("GET", "groups", None),
    ("GET", f"groups/{GROUP}", None),
    ("GET", "contacts", None),
    ("GET", f"contacts/{FRIEND}/picture", None),
    ("POST", "numbers/check", {"phones": [PHONE]}),
    ("GET", f"numbers/{PHONE}", None),
    ("GET", "profile", None),
    ("PATCH", "profile", {"name": "x"}),
    ("DELETE", "profile/picture", None),
]


async def test_all_of_it_needs_an_online_session_of_ones_own(api: Running) -> None:
    session = await api.session(SessionState.DEGRADED)
    async with api.client_for("rival", "messages", "sessions") as rival:
        for method, route, body in ACTS:
            path = f"/v1/sessions/{session}/{route}"
            offline = await api.client.request(method, path, json=body)
            problem(offline, ErrorCode.SESSION_NOT_ONLINE)
            stranger = await rival.request(method, path, json=body)
            problem(stranger, ErrorCode.SESSION_NOT_FOUND)
    assert api.memory.accounts.done == []
