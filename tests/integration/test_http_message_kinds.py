"""Every kind of message over HTTP: what is accepted becomes that content, all else is refused."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest

from control_plane.http.openapi_examples import BODIES, MESSAGES
from control_plane.media_ports import RemoteFile
from schemas.errors import ErrorCode
from schemas.messages import (
    ChatMessage,
    ContactCard,
    Contacts,
    Content,
    Delete,
    Edit,
    Forward,
    Location,
    Media,
    MessageRef,
    Poll,
    Reaction,
    Text,
)
from schemas.states import MessageDirection, MessageKind, MessageState, SessionState
from tests.integration.http_server import TENANT, Running, problem, running

TO = "+62 812 3456 789"
CHAT = "628123456789@c.us"
OTHER = "6281299999999@c.us"
GROUP = "120363000000000001@g.us"
OURS = "3EB0C767D26B8C4A4C2E1F"
THEIRS = "3EB0C767D26B8C4A4C2E20"
NO_MESSAGE = "3EB0" + "0" * 18
PDF = b"%PDF-1.7 " + b"x" * 50
URL = "https://example.com/menu.pdf"


@pytest.fixture
async def api() -> AsyncIterator[Running]:
    async with running() as served:
        yield served


async def online(api: Running) -> str:
    """A session's messages path; one message of ours and one of theirs are in its history."""
    session = await api.session(SessionState.ONLINE)
    mine = ChatMessage(
        message_id=OURS,
        session_id=session,
        direction=MessageDirection.OUTBOUND,
        kind=MessageKind.TEXT,
        state=MessageState.SENT,
        chat_id=CHAT,
        created_at=time.time(),
        text="old",
    )
    api.memory.messages.all[TENANT, session, OURS] = mine
    api.memory.messages.all[TENANT, session, THEIRS] = msgspec.structs.replace(
        mine,
        message_id=THEIRS,
        direction=MessageDirection.INBOUND,
        state=MessageState.RECEIVED,
        chat_id=GROUP,
        from_id=OTHER,
    )
    return f"/v1/sessions/{session}/messages"


def own(message_id: str = OURS) -> MessageRef:
    return MessageRef(message_id, CHAT, True)


def theirs() -> MessageRef:
    return MessageRef(THEIRS, GROUP, False, OTHER)


@pytest.mark.parametrize(
    ("body", "to", "content"),
    [
        (
            {"text": "@628123456789 hi", "mentions": [TO, CHAT], "link_preview": False},
            CHAT,
            Text("@628123456789 hi", mentions=(CHAT,), link_preview=False),
        ),
        ({"text": "yes", "reply_to": OURS}, CHAT, Text("yes", OURS)),
        (
            {"location": {"latitude": -6.2, "longitude": 106, "name": "Monas"}, "reply_to": OURS},
            CHAT,
            Location(-6.2, 106, "Monas", reply_to=OURS),
        ),
        (
            {"contacts": [{"name": "Budi", "phone": "0811-1111-1111"}]},
            CHAT,
            Contacts((ContactCard("Budi", "6281111111111"),)),
        ),
        (
            {"poll": {"question": "When?", "options": ["6", "7"], "choices_max": 0}},
            CHAT,
            Poll("When?", ("6", "7"), 0),
        ),
        ({"reaction": {"message_id": OURS, "emoji": "👍🏽"}}, CHAT, Reaction(own(), "👍🏽")),
        ({"reaction": {"message_id": OURS, "emoji": ""}}, CHAT, Reaction(own(), "")),
        (
            {"to": GROUP, "reaction": {"message_id": THEIRS, "emoji": "👍"}},
            GROUP,
            Reaction(theirs(), "👍"),
        ),
        (
            {"edit": {"message_id": OURS, "text": "new"}, "mentions": ["99@lid"]},
            CHAT,
            Edit(own(), "new", ("99@lid",)),
        ),
        # A person's other id: the ledger knows the chat better.
        ({"to": "99@lid", "delete": {"message_id": OURS}}, CHAT, Delete(own())),
        ({"to": OTHER, "forward": {"message_id": OURS}}, OTHER, Forward(own())),
        ({"forward": {"message_id": THEIRS}}, CHAT, Forward(theirs())),
    ],
)
async def test_a_message_of_each_kind_is_accepted(
    api: Running, body: dict[str, Any], to: str, content: Content
) -> None:
    api.memory.tenants.server_region = "ID"
    path = await online(api)
    made = await api.client.post(path, json={"to": TO, **body})
    assert made.status_code == 202, made.text
    assert api.memory.messages.sent == [(to, content)]


ROUTES: list[tuple[str, str, dict[str, Any] | None, str, Content]] = [
    ("POST", f"{THEIRS}/reactions", {"emoji": "👍"}, GROUP, Reaction(theirs(), "👍")),
    ("PATCH", OURS, {"text": "new", "mentions": [TO]}, CHAT, Edit(own(), "new", (CHAT,))),
    ("DELETE", OURS, None, CHAT, Delete(own())),
    ("POST", f"{THEIRS}/forward", {"to": OTHER}, OTHER, Forward(theirs())),
]


@pytest.mark.parametrize(("method", "route", "body", "to", "content"), ROUTES)
async def test_a_message_can_be_named_in_the_path_and_a_key_does_it_once(
    api: Running,
    method: str,
    route: str,
    body: dict[str, Any] | None,
    to: str,
    content: Content,
) -> None:
    path = await online(api)

    async def ask(key: str, query: dict[str, Any] | None = None) -> httpx.Response:
        return await api.client.request(
            method, f"{path}/{route}", json=body, params=query, headers={"Idempotency-Key": key}
        )

    first, again = await ask("one"), await ask("one")
    assert (first.status_code, again.status_code) == (202, 202), first.text
    assert first.json() == again.json()
    assert api.memory.messages.sent == [(to, content)]
    api.memory.messages.final.set()
    done = await ask("two", {"wait": "sent"})
    assert (done.status_code, done.json()["state"]) == (200, "sent")


async def test_one_key_does_not_answer_for_another_act(api: Running) -> None:
    path = await online(api)
    headers = {"Idempotency-Key": "same"}
    body = {"text": "new"}
    await api.client.patch(f"{path}/{OURS}", json=body, headers=headers)
    other = await api.client.request("DELETE", f"{path}/{OURS}", headers=headers)
    problem(other, ErrorCode.IDEMPOTENCY_MISMATCH)


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"text": "x", "poll": BODIES["NewMessage"]}, ErrorCode.VALIDATION_FAILED, "poll.to"),
        (
            {"text": "x", "location": {"latitude": 1, "longitude": 2}},
            ErrorCode.VALIDATION_FAILED,
            "",
        ),
        (
            {"location": {"latitude": 91, "longitude": 0}},
            ErrorCode.VALIDATION_FAILED,
            "location.latitude",
        ),
        (
            {"poll": {"question": "?", "options": ["a", "a"]}},
            ErrorCode.VALIDATION_FAILED,
            "poll.options",
        ),
        (
            {"poll": {"question": "?", "options": ["a", "b"], "choices_max": 3}},
            ErrorCode.VALIDATION_FAILED,
            "poll.choices_max",
        ),
        (
            {"poll": {"question": "?", "options": ["a", "b"]}, "mentions": [TO]},
            ErrorCode.VALIDATION_FAILED,
            "mentions",
        ),
        ({"text": "x", "kind": "image"}, ErrorCode.VALIDATION_FAILED, "kind"),
        ({"text": "x", "filename": "a.pdf"}, ErrorCode.VALIDATION_FAILED, "filename"),
        (
            {"delete": {"message_id": OURS}, "reply_to": OURS},
            ErrorCode.VALIDATION_FAILED,
            "reply_to",
        ),
        ({"text": "x", "mentions": [TO, "nobody"]}, ErrorCode.RECIPIENT_INVALID, "mentions[1]"),
        ({"text": "x", "mentions": [GROUP]}, ErrorCode.RECIPIENT_INVALID, "mentions[0]"),
        (
            {"contacts": [{"name": "B", "phone": "0812 3456 789"}]},
            ErrorCode.RECIPIENT_INVALID,
            "contacts[0].phone",
        ),
        ({"to": "0812@c.us", "text": "x"}, ErrorCode.RECIPIENT_INVALID, "to"),
        (
            {"reaction": {"message_id": OURS, "emoji": "ok"}},
            ErrorCode.VALIDATION_FAILED,
            "reaction.emoji",
        ),
        (
            {"forward": {"message_id": NO_MESSAGE}},
            ErrorCode.MESSAGE_NOT_FOUND,
            "forward.message_id",
        ),
        (
            {"to": GROUP, "edit": {"message_id": THEIRS, "text": "x"}},
            ErrorCode.MESSAGE_NOT_CHANGEABLE,
            "edit.message_id",
        ),
        (
            {"to": OTHER, "reaction": {"message_id": OURS, "emoji": "👍"}},
            ErrorCode.VALIDATION_FAILED,
            "to",
        ),
        ({"media_url": "https://example.com/no"}, ErrorCode.MEDIA_NOT_FETCHED, "media_url"),
        ({"media_url": URL, "kind": "image"}, ErrorCode.MEDIA_UNSUPPORTED, "media_url"),
    ],
)
async def test_a_wrong_message_names_the_field_and_nothing_is_accepted(
    api: Running, body: dict[str, Any], code: ErrorCode, field: str
) -> None:
    api.memory.remote_media.files[URL] = RemoteFile(PDF, "application/pdf", "menu.pdf")
    path = await online(api)
    answer = await api.client.post(path, json={"to": TO, **body})
    found = problem(answer, code)
    assert [e["path"] for e in found["errors"]] == [field], found
    assert found["detail"]
    assert "8123456" not in answer.text
    assert api.memory.messages.sent == []
    assert api.memory.media.all == {}


async def test_a_message_of_another_tenant_or_session_cannot_be_named(api: Running) -> None:
    path = await online(api)
    elsewhere = await api.session(SessionState.ONLINE)
    stranger = f"/v1/sessions/{elsewhere}/messages/{OURS}/reactions"
    problem(await api.client.post(stranger, json={"emoji": "👍"}), ErrorCode.MESSAGE_NOT_FOUND)
    async with api.client_for("rival", "messages") as rival:
        refused = await rival.post(f"{path}/{OURS}/reactions", json={"emoji": "👍"})
        problem(refused, ErrorCode.SESSION_NOT_FOUND)


async def test_media_at_an_address_is_fetched_once_and_kept(api: Running) -> None:
    api.memory.remote_media.files[URL] = RemoteFile(PDF, "application/pdf", "menu.pdf")
    path = await online(api)
    body = {"to": TO, "media_url": URL, "caption": "The menu"}
    for _ in range(2):
        made = await api.client.post(path, json=body, headers={"Idempotency-Key": "once"})
        assert made.status_code == 202, made.text
    [(_, content)] = api.memory.messages.sent
    assert isinstance(content, Media)
    assert content.kind is MessageKind.DOCUMENT
    assert (content.media.filename, content.media.size_bytes) == ("menu.pdf", len(PDF))
    assert api.memory.remote_media.fetched == [(TENANT, URL)]
    named = await api.client.post(path, json={**body, "filename": "Menü.pdf"})
    assert named.status_code == 202
    assert api.memory.messages.sent[-1][1].media.filename == "Menü.pdf"  # type: ignore[union-attr]


async def test_a_caption_goes_only_where_one_is_shown(api: Running) -> None:
    path = await online(api)
    held = api.memory.media.keep(TENANT, b"OggS", "audio/ogg", None)
    body = {"to": TO, "media_id": held.ref.media_id, "kind": "voice"}
    refused = await api.client.post(path, json={**body, "caption": "listen"})
    assert problem(refused, ErrorCode.VALIDATION_FAILED)["errors"][0]["path"] == "caption"
    assert (await api.client.post(path, json=body)).status_code == 202


@pytest.mark.parametrize("name", MESSAGES)
async def test_the_documented_examples_are_true(api: Running, name: str) -> None:
    path = await online(api)
    example = MESSAGES[name]
    mimetype = "audio/ogg" if name == "voice note" else "application/pdf"
    held = api.memory.media.keep(TENANT, PDF, mimetype, "menu.pdf")
    if "media_id" in example:
        example = {**example, "media_id": held.ref.media_id}
    if "media_url" in example:
        file = RemoteFile(PDF, "application/pdf", "menu.pdf")
        api.memory.remote_media.files[example["media_url"]] = file
    session = path.split("/")[3]
    # The example's own recipient is where the history's message is.
    known = api.memory.messages.all[TENANT, session, OURS]
    chat = msgspec.structs.replace(known, chat_id="6281234567890@c.us")
    api.memory.messages.all[TENANT, session, OURS] = chat
    made = await api.client.post(path, json=example)
    assert made.status_code == 202, made.text


async def test_a_tenant_reads_numbers_in_its_own_region(api: Running) -> None:
    path = await online(api)
    body = {"to": "0812 3456 789", "text": "x"}
    problem(await api.client.post(path, json=body), ErrorCode.RECIPIENT_INVALID)
    changed = await api.client.patch("/v1/tenant", json={"default_region": "ID"})
    assert changed.json()["default_region"] == "ID"
    assert (await api.client.post(path, json=body)).status_code == 202
    assert api.memory.messages.sent[-1][0] == CHAT
    listed = await api.client.get(path, params={"chat": "0812 3456 789"})
    assert len(listed.json()["data"]) == 2
    api.memory.tenants.server_region = "SG"
    back = await api.client.patch("/v1/tenant", json={"default_region": None})
    assert back.json()["default_region"] == "SG"
    for wrong in ({"default_region": "XX"}, {"default_region": "id"}, {"sessions_max": 5}):
        problem(await api.client.patch("/v1/tenant", json=wrong), ErrorCode.VALIDATION_FAILED)
