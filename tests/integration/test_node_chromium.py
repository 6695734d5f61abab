"""A node with real browsers: the same commands, the same states, and nothing left behind."""

# ruff: noqa: F811 - fixtures are imported and named again as arguments

from typing import Any

import psutil
import pytest

from schemas import commands as c
from schemas.keys import node_key
from schemas.records import NodeRecord
from schemas.resources import FLEET
from schemas.states import EngineKind, MessageState, SessionState
from schemas.transport.kv import Bucket
from swarm_node.engines.chromium.settings import ChromiumSettings
from tests.integration.node_fixture import (  # noqa: F401
    NODE,
    TENANT,
    World,
    bus,
    nats,
    new_session_id,
    world,
)

pytestmark = [pytest.mark.nats, pytest.mark.browser]


async def test_a_browser_session_links_sends_and_comes_back_without_a_code(world: World) -> None:
    session = new_session_id()
    mine, theirs = await world.phone("15550001"), await world.phone("15550002")
    chromium = ChromiumSettings(extra_args=tuple(world.sandbox.chromium_args()))
    changes: dict[str, Any] = {"engines": (EngineKind.CHROMIUM,), "chromium": chromium}
    start = c.StartSession(
        session_id=session, epoch=1, tenant_id=TENANT, engine=EngineKind.CHROMIUM
    )
    async with world.node(**changes):
        await world.ask("start", start)
        await world.reaches(session, SessionState.PAIRING, timeout_s=40)
        await mine.scan((await world.qr(session)).value)
        await world.reaches(session, SessionState.ONLINE, timeout_s=40)
        assert (await world.send(session, theirs.wid, "hello")).state is MessageState.SENT
        record = (await Bucket(world.bus, FLEET).get(node_key(NODE), NodeRecord)).value
        assert record is not None
        assert record.engines == (EngineKind.CHROMIUM,)
    assert not [p for p in psutil.Process().children(recursive=True) if "chrom" in p.name()]
    async with world.node(**changes):
        before = world.states(session).count(SessionState.PAIRING)
        await world.ask("start", start)
        await world.reaches(session, SessionState.ONLINE, timeout_s=40)
        assert world.states(session).count(SessionState.PAIRING) == before
