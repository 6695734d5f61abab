"""`blazz node self-test` on a node that runs on a real bus, and on what can be wrong with it."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from cli import settings_file
from cli.exit_codes import Exit
from cli.findings import Finding, Verdict, exit_for
from cli.identity.records import Kind
from cli.self_test import Expected, self_test
from schemas.states import EngineKind
from swarm_node.config import BusAccess, NodeSettings
from swarm_node.data_dir import DataDir
from tests.integration.node_fixture import NODE, World, world
from tests.integration.operator_nats import OperatorFleet
from tests.waiting import free_port

VERSION = version("blazz")

__all__ = ["world"]


async def config_of(world: World, **changes: Any) -> Path:
    settings = await world.settings(http_port=changes.pop("http_port"), **changes)
    return settings_file.write(world.folder / "node.json", settings)


async def findings_of(config: Path, expected: Expected | None = None) -> dict[str, Finding]:
    findings = await self_test(config, expected or Expected())
    assert all(finding.fix for finding in findings if finding.verdict is not Verdict.OK)
    failed = any(finding.verdict is Verdict.FAIL for finding in findings)
    assert exit_for(findings, "json") == (Exit.FAILED if failed else Exit.OK)
    return {finding.check: finding for finding in findings}


def failed(findings: dict[str, Finding]) -> set[str]:
    return {check for check, finding in findings.items() if finding.verdict is Verdict.FAIL}


async def test_a_node_that_is_well_passes(world: World) -> None:
    port = free_port()
    config = await config_of(world, http_port=port)
    async with world.node(http_port=port):
        found = await findings_of(config, Expected(version=VERSION))
        assert failed(found) == set(), found
        assert found["node"].detail == f"{NODE} runs {VERSION}"
        assert {"release", "ready", "bus", "clock (bus)"} <= found.keys()
        # Another sign-in, and the node goes on as it was.
        assert failed(await findings_of(config)) == set()


async def test_another_release_than_wanted_fails(world: World) -> None:
    port = free_port()
    config = await config_of(world, http_port=port)
    async with world.node(http_port=port):
        found = await findings_of(config, Expected(version="99.0.0"))
    assert failed(found) == {"release", "node"}
    assert "99.0.0" in found["node"].detail


async def test_a_node_that_does_not_run_fails(world: World) -> None:
    found = await findings_of(await config_of(world, http_port=free_port()))
    assert failed(found) == {"node"}
    assert "journalctl -u blazz-node" in found["node"].fix


async def test_another_node_in_its_place_fails(world: World) -> None:
    port = free_port()
    async with world.node("node-2", http_port=port):
        found = await findings_of(await config_of(world, http_port=port))
    assert failed(found) == {"node"}


async def test_a_bus_that_is_away_fails(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.self_test._CONNECT_S", 0.2)
    config = await config_of(world, http_port=0, bus=BusAccess(servers=("nats://127.0.0.1:9",)))
    assert failed(await findings_of(config)) == {"node", "bus"}


async def test_the_credential_that_the_node_renewed_is_used(
    operator_fleet: OperatorFleet, tmp_path: Path
) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    shutil.copy(await operator_fleet.issue(Kind.NODE, "n1"), DataDir(data_dir).credential)
    settings = NodeSettings(
        node_id="n1",
        data_dir=data_dir,
        engines=(EngineKind.LOOPBACK,),
        bus=BusAccess(servers=(operator_fleet.url,), creds_file=str(tmp_path / "node.creds")),
    )
    config = settings_file.write(tmp_path / "node.json", settings)
    async with operator_fleet.control_plane():
        found = await findings_of(config)
    assert failed(found) == {"node"}, found
    assert found["bus"].detail.startswith("answers n1")
    DataDir(data_dir).credential.unlink()
    assert "node.creds" in (await findings_of(config))["bus"].detail


async def test_settings_with_a_typo_are_the_only_finding(tmp_path: Path) -> None:
    config = tmp_path / "node.toml"
    config.write_text('node_id = "node-1"\ndata_dri = "/x"\n')
    found = await findings_of(config)
    assert failed(found) == found.keys() == {"settings"}
    assert "data_dri" in found["settings"].detail
