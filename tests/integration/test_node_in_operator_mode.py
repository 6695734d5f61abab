"""A whole node and a whole control plane in operator mode: the node signs in, is seen, and renews
its credential through the services that run."""

import asyncio
from pathlib import Path

import pytest

from cli.identity.records import Kind
from control_plane.config import ControlPlaneSettings
from control_plane.services import open_services
from schemas.bus_credentials import parse_credentials
from schemas.keys import node_key
from schemas.records import NodeRecord
from schemas.resources import FLEET
from schemas.states import EngineKind
from schemas.transport.kv import Bucket
from swarm_node.app import run_node
from swarm_node.config import BusAccess, NodeSettings
from tests.integration.operator_nats import OperatorFleet
from tests.waiting import eventually

pytestmark = pytest.mark.nats


async def test_a_node_runs_and_renews_in_an_account_of_its_own(
    operator_fleet: OperatorFleet, tmp_path: Path
) -> None:
    issued = await operator_fleet.issue(Kind.NODE, "n1", ttl_s=20)
    first = parse_credentials(issued.read_text())
    node = NodeSettings(
        node_id="n1",
        data_dir=tmp_path / "node",
        engines=(EngineKind.LOOPBACK,),
        bus=BusAccess(servers=(operator_fleet.url,), creds_file=str(issued)),
    )
    services = ControlPlaneSettings(
        node_signer_file=operator_fleet.authority.node_signer, node_credential_s=600
    )
    kept = tmp_path / "node" / "bus.creds"
    ready, stop = asyncio.Event(), asyncio.Event()
    async with (
        operator_fleet.control_plane() as control,
        open_services(control, services) as served,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(run_node(node, stop=stop, on_ready=lambda _node: ready.set()))
        try:
            async with asyncio.timeout(30):
                await ready.wait()
            record = await Bucket(control, FLEET).get(node_key("n1"), NodeRecord)
            assert record.value is not None
            assert record.value.node_id == "n1"

            def renewed() -> bool:
                return parse_credentials(kept.read_text()).claims.exp > first.claims.exp

            await eventually(renewed, timeout_s=30)
            assert parse_credentials(kept.read_text()).seed == first.seed
            seen = await served.fleet.nodes()
            assert [each.node_id for each in seen] == ["n1"]
        finally:
            stop.set()
