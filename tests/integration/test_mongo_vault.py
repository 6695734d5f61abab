"""A whole fleet whose snapshots are in MongoDB: the file that `blazz up --mongo-uri-file` names."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from motor.motor_asyncio import AsyncIOMotorClient

from bench.stage import Stage, all_sessions, link_sessions, open_stage, wait_kept
from cli.stack import NodePlan
from schemas.resources import VAULT
from schemas.states import SessionState
from schemas.transport.connection import Bus
from schemas.transport.jetstream import JetStream
from tests.integration.test_failover import blazz
from tests.mongo_server import MongoServer, why_not
from tests.waiting import eventually

pytestmark = [
    pytest.mark.nats,
    pytest.mark.timeout(120),
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]
NODES = (NodePlan("node-a", "sgp", 2), NodePlan("node-b", "fra", 2))


@pytest.fixture
async def uri_file(tmp_path: Path) -> AsyncIterator[Path]:
    server = await asyncio.to_thread(MongoServer().__enter__)
    try:
        path = tmp_path / "mongo-uri"
        path.write_text(server.uri + "\n", encoding="utf-8")
        path.chmod(0o600)
        yield path
    finally:
        await asyncio.to_thread(server.__exit__)


async def test_a_session_comes_back_from_mongodb(uri_file: Path) -> None:
    async with open_stage("loopback", NODES, mongo_uri_file=uri_file) as stage:
        sessions = await link_sessions(stage, ["15550001"], limit_s=30)
        await wait_kept(stage, sessions)
        view = sessions[0].session
        assert view.node_id is not None
        await stage.stack.node(view.node_id).take_down()

        async def back() -> bool:
            (now,) = await all_sessions(stage.api)
            return now.state is SessionState.ONLINE and now.node_id not in (None, view.node_id)

        await eventually(back, timeout_s=40, what="it is online on the other node")
        assert await stage.book.log(0, "hold.started") == []
        await _lies_in_mongodb_alone(stage, uri_file, view.session_id)
        code, out, err = await blazz(stage, "session", "drill", view.session_id, "--json")
        assert code == 0, err
        assert json.loads(out)["ok"] is True


async def _lies_in_mongodb_alone(stage: Stage, uri_file: Path, session_id: str) -> None:
    uri = (await asyncio.to_thread(uri_file.read_text, encoding="utf-8")).strip()
    client: Any = AsyncIOMotorClient(uri)
    try:
        names = await client["blazz"]["snapshots.files"].distinct("filename")
    finally:
        client.close()
    assert any(name.startswith(session_id) for name in names)
    nats = stage.stack.nats
    async with Bus.connect(nats.bus_settings(nats.control_plane)) as bus:
        assert (await JetStream(bus).stream_info(VAULT)).state.messages == 0
