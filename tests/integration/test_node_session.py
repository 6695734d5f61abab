"""A session's whole life on a real node: linked by a phone, sends, receives, survives a stop."""

# ruff: noqa: F811 - fixtures are imported and named again as arguments

import pytest

from schemas import commands as c
from schemas.errors import BlazzError, ErrorCode
from schemas.events import MessageAck, MessageReceived, MessageSent, SessionLinked, SessionQr
from schemas.states import Ack, MessageState, SessionState
from tests.integration.node_fixture import (  # noqa: F401
    World,
    bus,
    nats,
    new_message_id,
    new_session_id,
    world,
)

pytestmark = pytest.mark.nats


async def test_link_send_receive_stop_start_logout(world: World) -> None:
    session = new_session_id()
    mine, theirs = await world.phone("15550001"), await world.phone("15550002", auto_read=True)
    async with world.node():
        answer = await world.start(session)
        assert (answer.state, answer.epoch) == (SessionState.STARTING, 1)
        await world.reaches(session, SessionState.PAIRING)
        code = await world.qr(session)
        assert (code.index, code.count) == (1, 6)
        assert await mine.scan(code.value) == "linked"
        seen = await world.reaches(session, SessionState.ONLINE)
        assert (seen.phone, seen.epoch, seen.node_id) == ("15550001", 1, "node-1")
        assert (await world.sees(SessionLinked)).phone == "15550001"

        key = new_message_id()
        sent = await world.send(session, theirs.wid, "hello", key=key)
        assert (sent.state, sent.found_before) == (MessageState.SENT, False)
        again = await world.send(session, theirs.wid, "hello", key=key)
        assert (again.state, again.found_before) == (MessageState.SENT, True)
        # Once a newer dispatcher has sent, a late word of the one before sends nothing.
        await world.send(session, theirs.wid, "hello", key=key, dispatcher_epoch=7)
        with pytest.raises(BlazzError) as caught:
            await world.send(session, theirs.wid, "late", dispatcher_epoch=6)
        assert caught.value.code is ErrorCode.STALE_EPOCH
        assert [m.message.body for m in await theirs.messages(mine.wid)] == ["hello"]
        assert (await world.sees(MessageSent)).message_id == key
        await world.sees(MessageAck, lambda a: a.message_id == key and a.ack is Ack.READ)

        arrived = await theirs.send_text(mine.wid, "hi there")
        message = (await world.sees(MessageReceived)).message
        assert (message.message_id, message.text) == (arrived, "hi there")
        assert message.chat_id == theirs.wid

        assert (await world.stop(session)).state is SessionState.STOPPED
        while_away = await theirs.send_text(mine.wid, "are you there?")
        codes_before = len(world.data(SessionQr))
        await world.start(session)
        await world.reaches(session, SessionState.ONLINE)
        await world.sees(MessageReceived, lambda m: m.message.message_id == while_away)
        assert len(world.data(SessionQr)) == codes_before

        logout = await world.ask("logout", c.LogoutSession(session_id=session, epoch=1))
        assert logout.state is SessionState.LOGGED_OUT
        assert await mine.devices() == []
        await world.reaches(session, SessionState.LOGGED_OUT)
        await world.start(session)
        await world.reaches(session, SessionState.PAIRING)
    # Two answers said "sent"; the stream took the event once.
    assert [sent.message_id for sent in world.data(MessageSent)] == [key]
    assert world.states(session)[:4] == [
        SessionState.STARTING,
        SessionState.PAIRING,
        SessionState.SYNCING,
        SessionState.ONLINE,
    ]
    final = await world.reaches(session, SessionState.STOPPED)
    assert final.reason == "node_stopping"
