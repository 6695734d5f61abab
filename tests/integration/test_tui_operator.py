"""The terminal's hand and source against the API itself: every request is one that it takes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cli.actor import HttpActor
from cli.client import Api
from cli.source import HttpSource
from schemas.errors import BlazzError, ErrorCode
from schemas.states import SessionState
from tests.integration.http_server import ALL_SCOPES, Running, running
from tui.acts import LetterRef, SessionRef

OTHER = "globex"


@pytest.fixture
async def api() -> AsyncIterator[Running]:
    async with running() as served:
        yield served


@pytest.fixture
async def operator(api: Running) -> AsyncIterator[Api]:
    async with Api(api.url, api.memory.access.new_key("ops", *ALL_SCOPES)) as client:
        yield client


async def _session(api: Running) -> SessionRef:
    async with api.client_for(OTHER, "sessions") as theirs:
        made = await theirs.post("/v1/sessions", json={"name": "shop"})
    return SessionRef(OTHER, made.json()["session_id"])


async def test_an_operator_acts_on_another_tenants_session(api: Running, operator: Api) -> None:
    ref, hand = await _session(api), HttpActor(operator)

    async def state() -> SessionState:
        view = await operator.call("GET", "/v1/fleet/sessions", dict, query={})
        [found] = [each for each in view["data"] if each["session_id"] == ref.session_id]
        return SessionState(found["state"])

    await hand.stop(ref)
    assert await state() is SessionState.STOPPED
    await hand.start(ref)
    await hand.restart(ref)
    assert await state() is SessionState.STARTING
    await hand.log_out(ref)
    assert await state() is SessionState.LOGGED_OUT
    await hand.delete(ref)
    with pytest.raises(BlazzError) as refused:
        await hand.start(ref)
    assert refused.value.code is ErrorCode.SESSION_NOT_FOUND


async def test_what_is_refused_keeps_its_code(api: Running, operator: Api) -> None:
    ref, hand, source = await _session(api), HttpActor(operator), HttpSource(operator)
    for act in (hand.cordon, hand.uncordon, hand.drain, source.node):
        with pytest.raises(BlazzError) as refused:
            await act("no-such-node")
        assert refused.value.code is ErrorCode.NODE_NOT_FOUND
    letter = LetterRef(ref, "3EB0AABBCCDDEEFF001122")
    for going in (hand.redrive(letter, force=True), hand.drop(letter)):
        with pytest.raises(BlazzError) as refused:
            await going
        assert refused.value.code is ErrorCode.DEAD_LETTER_NOT_FOUND


async def test_the_source_reads_what_the_api_says(api: Running, operator: Api) -> None:
    ref, source = await _session(api), HttpSource(operator)
    assert await source.dead_letters(ref) == []
    assert await source.dead_letter_counts() == []
    assert (await source.outbox(ref)).session_id == ref.session_id
    assert await source.webhooks(OTHER) == []
    assert await source.snapshots(ref) == []
    assert isinstance(await source.audit(), list)
    with pytest.raises(BlazzError) as refused:
        await source.qr(ref, renew=True)
    assert refused.value.code in (ErrorCode.QR_NOT_AVAILABLE, ErrorCode.SESSION_NOT_PAIRING)
