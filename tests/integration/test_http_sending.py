"""Routes of dead letters, pacing, opt-outs and the outbox: good answers and refusals."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest

from cli import messages
from cli.options import ACT, Acting, Target
from schemas.api_sending import DeadLetterView
from schemas.errors import BlazzError, ErrorCode
from schemas.states import MessageKind, MessageState, SessionState
from tests.integration.http_server import TENANT, Running, problem, running

FAILED, UNKNOWN = "3EB0" + "0" * 18, "3EB0" + "1" * 18


@pytest.fixture
async def api() -> AsyncIterator[Running]:
    async with running() as served:
        yield served


async def test_dead_letters_are_read_redriven_and_dropped(api: Running) -> None:
    session = await api.session(SessionState.ONLINE)
    path = f"/v1/sessions/{session}/dead-letters"
    for message_id, state in ((FAILED, MessageState.FAILED), (UNKNOWN, MessageState.UNKNOWN)):
        api.memory.dead_letters.all[TENANT, session, message_id] = DeadLetterView(
            message_id=message_id,
            session_id=session,
            state=state,
            chat_id="6281@c.us",
            kind=MessageKind.TEXT,
            accepted_at=1.0,
            died_at=2.0,
            attempts=3,
            redrives=0,
            error_code="page_timeout",
        )
    listed = (await api.client.get(path)).json()["data"]
    assert [letter["message_id"] for letter in listed] == [FAILED, UNKNOWN]
    assert (await api.client.get(f"{path}/{UNKNOWN}")).json() == listed[1]
    problem(await api.client.get(f"{path}/3EB0{'2' * 18}"), ErrorCode.DEAD_LETTER_NOT_FOUND)
    risen = await api.client.post(f"{path}/{FAILED}/redrive")
    assert (risen.status_code, risen.json()["state"], risen.json()["redrives"]) == (
        202,
        "accepted",
        1,
    )
    assert risen.headers["location"] == f"/v1/sessions/{session}/messages/{FAILED}"
    problem(await api.client.post(f"{path}/{UNKNOWN}/redrive"), ErrorCode.REDRIVE_UNSAFE)
    forced = await api.client.post(f"{path}/{UNKNOWN}/redrive", params={"force": "true"})
    assert forced.status_code == 202
    assert api.memory.dead_letters.redriven == [(FAILED, False), (UNKNOWN, True)]
    assert (await api.client.post(f"{path}/redrive")).json() == {
        "redriven": 1,
        "left": 0,
        "unsafe": 1,
    }
    assert (await api.client.delete(f"{path}/{FAILED}")).status_code == 204
    problem(await api.client.delete(f"{path}/{FAILED}"), ErrorCode.DEAD_LETTER_NOT_FOUND)
    api.memory.dead_letters.all["other", "ses_x", FAILED] = letter = msgspec.convert(
        listed[1], DeadLetterView
    )
    mine = {"tenant_id": TENANT, "session_id": session, "count": 1}
    assert letter.message_id == UNKNOWN
    assert (await api.client.get("/v1/dead-letters")).json()["data"] == [mine]
    everybodys = (await api.client.get("/v1/fleet/dead-letters")).json()["data"]
    assert [each["tenant_id"] for each in everybodys] == [TENANT, "other"]
    async with api.client_for("other", "messages") as stranger:
        problem(await stranger.get(path), ErrorCode.SESSION_NOT_FOUND)
        problem(await stranger.get("/v1/fleet/dead-letters"), ErrorCode.FORBIDDEN)


async def test_the_command_line_shows_redrives_and_drops(
    api: Running, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    session = await api.session(SessionState.ONLINE)
    monkeypatch.setenv("BLAZZ_API_URL", api.url)
    monkeypatch.setenv("BLAZZ_API_KEY", api.memory.access.new_key(TENANT, "messages"))
    api.memory.dead_letters.all[TENANT, session, UNKNOWN] = DeadLetterView(
        message_id=UNKNOWN,
        session_id=session,
        state=MessageState.UNKNOWN,
        chat_id="6281@c.us",
        kind=MessageKind.TEXT,
        accepted_at=1.0,
        died_at=2.0,
        attempts=3,
        redrives=0,
        error_code="page_timeout",
    )
    target = Target(None)
    await messages.show_queue(target, session)
    await messages.list_dead(target, session)
    await messages.redrive(target, ACT, session, None, everything=True, force=False)
    await messages.redrive(target, ACT, session, UNKNOWN, everything=False, force=True)
    with pytest.raises(BlazzError):
        await messages.redrive(target, ACT, session, UNKNOWN, everything=True, force=True)
    await messages.drop(target, Acting(yes=True), session, UNKNOWN)
    said = capsys.readouterr()
    assert "0 of at most 10 wait: empty" in said.out
    assert f"{UNKNOWN}  unknown  text  3         page_timeout" in said.out
    assert "--force" in said.err
    assert f"{UNKNOWN} is accepted again" in said.out
    assert "6281" not in said.out + said.err
    assert api.memory.dead_letters.all == {}


async def test_pacing_is_set_at_two_levels(api: Running) -> None:
    session = await api.session(SessionState.ONLINE)
    path = f"/v1/sessions/{session}/pacing"
    tenant = await api.client.put("/v1/pacing", json={"time_zone": "Asia/Jakarta", "burst": 3})
    assert tenant.json()["rules"]["time_zone"] == "Asia/Jakarta"
    own = await api.client.put(path, json={"burst": 7})
    assert (own.json()["rules"]["burst"], own.json()["settings"]["burst"]) == (7, 7)
    assert own.json() == (await api.client.get(path)).json()
    assert own.json()["rules"]["time_zone"] == "Asia/Jakarta"
    assert (await api.client.get("/v1/pacing")).json()["rules"]["burst"] == 3
    for wrong in (
        {"time_zone": "Mars/Phobos"},
        {"time_zone": "../etc/passwd"},
        {"quiet_from": "25:00"},
        {"burst": 0},
        {"bursts": 1},
    ):
        problem(await api.client.put(path, json=wrong), ErrorCode.VALIDATION_FAILED)
    async with api.client_for(TENANT, "messages") as sender:
        assert (await sender.get(path)).status_code == 200
        problem(await sender.put(path, json={"enabled": False}), ErrorCode.FORBIDDEN)


async def test_opt_outs_take_numbers_as_people_write_them(api: Running) -> None:
    made = await api.client.post("/v1/opt-outs", json={"to": "+62 812 3456 789"})
    assert (made.status_code, made.json()["chat_id"]) == (201, "628123456789@c.us")
    assert (await api.client.get("/v1/opt-outs")).json()["data"] == [made.json()]
    async with api.client_for("other", "messages") as stranger:
        assert (await stranger.get("/v1/opt-outs")).json()["data"] == []
        problem(await stranger.delete("/v1/opt-outs/+628123456789"), ErrorCode.NOT_FOUND)
    assert (await api.client.delete("/v1/opt-outs/%2B628123456789")).status_code == 204
    problem(await api.client.delete("/v1/opt-outs/628123456789@c.us"), ErrorCode.NOT_FOUND)
    problem(
        await api.client.post("/v1/opt-outs", json={"to": "nobody"}), ErrorCode.RECIPIENT_INVALID
    )


async def test_the_outbox_is_shown_and_a_full_one_says_when_to_come_back(
    api: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await api.session(SessionState.ONLINE)
    shown = (await api.client.get(f"/v1/sessions/{session}/outbox")).json()
    assert (shown["depth"], shown["state"], shown["until"]) == (0, "empty", None)

    async def full(*_: object) -> None:
        raise BlazzError(ErrorCode.QUEUE_FULL, "full", depth=5, depth_max=5, retry_after_s=30)

    monkeypatch.setattr(api.memory.messages, "accept", full)
    body = {"to": "+628123456789", "text": "x"}
    answer = await api.client.post(f"/v1/sessions/{session}/messages", json=body)
    assert problem(answer, ErrorCode.QUEUE_FULL)["fields"]["depth"] == 5
    assert answer.headers["retry-after"] == "30"
