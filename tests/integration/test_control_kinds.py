"""Every kind of message from acceptance to the ledger, over a real control plane and node."""

from __future__ import annotations

from pathlib import Path

from cli.embedded.server import EmbeddedNats
from sandbox.phone import PhoneBook
from sandbox.server import Sandbox
from schemas.messages import (
    ChatMessage,
    Content,
    Delete,
    Edit,
    Forward,
    Location,
    MessageRef,
    Poll,
    Reaction,
    Text,
)
from schemas.states import MessageState, NodeState
from schemas.transport.connection import Bus
from swarm_node.engines.loopback.settings import LoopbackFaults
from tests.integration.control_fixture import (
    book,  # noqa: F401
    control_plane,
    linked,
    nats,  # noqa: F401
    node,
    node_is,
    sandbox,  # noqa: F401
)
from tests.integration.nats_fixture import bus  # noqa: F401
from tests.waiting import eventually


async def test_a_target_shows_in_the_ledger_what_was_done_to_it(
    nats: EmbeddedNats,  # noqa: F811
    bus: Bus,  # noqa: F811
    sandbox: Sandbox,  # noqa: F811
    book: PhoneBook,  # noqa: F811
    tmp_path: Path,
) -> None:
    async with (
        control_plane(nats) as services,
        node(nats, sandbox, tmp_path, faults=LoopbackFaults(replies_lost=3)),
    ):
        await node_is(services, NodeState.ALIVE)
        view, phone = await linked(services, book, "628110000001")
        friend = await book.create("628110000002")

        async def send(content: Content) -> ChatMessage:
            sent = await services.messages.accept(
                view.tenant_id, view.session_id, friend.wid, content
            )
            found = await services.messages.wait_final(
                view.tenant_id, view.session_id, sent.message_id, timeout_s=15
            )
            assert found.state is MessageState.SENT, found
            return found

        async def kept(message_id: str) -> ChatMessage:
            return await services.messages.get(view.tenant_id, view.session_id, message_id)

        text = await send(Text("hello"))
        target = MessageRef(text.message_id, friend.wid, from_me=True)
        reaction = await send(Reaction(target, "👍"))
        assert (reaction.target_id, reaction.text) == (text.message_id, "👍")
        forward = await send(Forward(target))
        assert (forward.target_id, forward.forwarded) == (text.message_id, True)
        await send(Edit(target, "hello!"))

        async def changed() -> bool:
            now = await kept(text.message_id)
            return (now.text, now.edited, now.reactions) == ("hello!", True, {phone.wid: "👍"})

        await eventually(changed, timeout_s=5, what="the target shows it")

        place = await send(Location(1.0, 2.0, "here"))
        assert place.location == Location(1.0, 2.0, "here")
        poll = await send(Poll("When?", ("now", "later")))
        await friend.vote(phone.wid, poll.message_id, "later")

        async def voted() -> bool:
            return (await kept(poll.message_id)).poll_votes == {"later": (friend.wid,)}

        await eventually(voted, timeout_s=5, what="the vote shows")

        await send(Delete(target))

        async def gone() -> bool:
            now = await kept(text.message_id)
            return (now.deleted, now.text, now.reactions) == (True, None, {})

        await eventually(gone, timeout_s=5, what="the target is deleted")
        got = [m.message for m in await friend.messages(phone.wid)]
        assert [(m.type, m.forwarded, m.deleted) for m in got] == [
            ("chat", False, True),
            ("chat", True, False),
            ("location", False, False),
            ("poll_creation", False, False),
        ]
        entries = await book.log(0, "message.accepted")
        own = [e.id for e in entries if e.account == phone.number]
        assert len(own) == len(set(own)) == 7
