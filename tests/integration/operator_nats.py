"""A real nats-server in operator mode, set up by `cli.identity` as a fleet's would be.

Owns the server process and an authority beside it. The fixture `operator_fleet` is in reach of
every integration test.
"""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from cli.embedded.process import ServerProcess, find_binary
from cli.identity.authority import Authority
from cli.identity.push import push
from cli.identity.records import TTL_S, Kind
from control_plane.core.bus_jwt import JetStreamLimits
from schemas.permissions import control_plane_inbox_prefix, inbox_prefix
from schemas.subjects import NODE_API
from schemas.transport.connection import Bus, BusSettings
from schemas.transport.ensure import ensure_all
from tests.integration.nats_fixture import QUICK, SCALE

__all__ = ["OperatorFleet", "operator_fleet"]

CONTROL_PLANE = "control-plane-1"


class OperatorFleet:
    """The server, its authority, and who connects how."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority(folder / "identity")
        self.url = ""
        self._server: ServerProcess | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator["OperatorFleet"]:
        for part in ("run", "log", "store"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        self.authority.init(
            "test", resolver_dir=str(self.folder / "accounts"), jetstream=JetStreamLimits()
        )
        await self.start()
        try:
            yield self
        finally:
            await self.stop()

    async def start(self) -> None:
        config = {
            "listen": f"127.0.0.1:{self.url.rpartition(':')[2] or -1}",
            "http": "127.0.0.1:-1",
            "ports_file_dir": str(self.folder / "run"),
            "max_payload": 2**20,
            "jetstream": {"store_dir": str(self.folder / "store"), "max_file_store": 2**32},
        }
        settings = "".join(f"{key}: {json.dumps(value)}\n" for key, value in config.items())
        (self.folder / "nats-server.conf").write_text(
            f"{settings}include identity/{self.authority.server_include.name}\n"
        )
        lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT)
        try:
            self._server = await ServerProcess.spawn(find_binary(None), self.folder, lock=lock)
            await self._server.wait_ready(30.0)
        finally:
            os.close(lock)
        self.url = f"nats://127.0.0.1:{self._server.ports.client}"

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(10.0)

    async def push(self) -> int:
        return (await push(self.authority, self.url)).changed

    async def issue(self, kind: Kind, name: str, ttl_s: float | None = None) -> Path:
        """A credential that the server knows."""
        done = self.authority.issue(
            kind, name, ttl_s=TTL_S[kind] if ttl_s is None else ttl_s, force=True
        )
        await self.push()
        return Path(done.path)

    def node_settings(self, creds: Path, node_id: str) -> BusSettings:
        settings = BusSettings(servers=(self.url,), name=node_id, creds_file=str(creds))
        return msgspec.structs.replace(
            settings,
            inbox_prefix=inbox_prefix(node_id),
            jetstream_api=NODE_API,
            profile=QUICK,
            first_connect_timeout_s=15.0,
        )

    async def control_plane_settings(self, name: str = CONTROL_PLANE) -> BusSettings:
        creds = await self.issue(Kind.CONTROL_PLANE, name)
        return BusSettings(
            servers=(self.url,),
            name=name,
            creds_file=str(creds),
            inbox_prefix=control_plane_inbox_prefix(name),
            profile=QUICK,
            first_connect_timeout_s=15.0,
        )

    @asynccontextmanager
    async def control_plane(self) -> AsyncIterator[Bus]:
        """Connected, with every stream and bucket made."""
        async with Bus.connect(await self.control_plane_settings()) as bus:
            await ensure_all(bus, scale=SCALE)
            yield bus


@pytest.fixture
async def operator_fleet(tmp_path: Path) -> AsyncIterator[OperatorFleet]:
    async with OperatorFleet(tmp_path).running() as running:
        yield running
