"""The doctor's look at a fleet: its API on a real socket, its bus on a real server."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from cli.doctor_bus import check_bus
from cli.doctor_fleet import check_fleet
from cli.embedded.server import EmbeddedNats
from cli.findings import Finding, Verdict
from cli.parts import BusAccess, ControlPlaneFile
from cli.target import Fleet
from control_plane.config import ControlPlaneSettings
from control_plane.ledger.settings import LedgerSettings, LedgerStoreKind
from schemas.transport.connection import Bus
from tests.integration.http_server import ALL_SCOPES, TENANT, running


def by_check(findings: list[Finding]) -> dict[str, Finding]:
    assert all(finding.fix for finding in findings if finding.verdict is not Verdict.OK)
    return {finding.check: finding for finding in findings}


def settings_of(nats: EmbeddedNats) -> ControlPlaneFile:
    me = nats.control_plane
    access = BusAccess(servers=(nats.url,), identity=me.name, nkey_seed_file=str(me.seed_file))
    return ControlPlaneFile(bus=access)


async def test_a_fleet_that_is_well_is_said_to_be() -> None:
    async with running() as app:
        key = app.memory.access.new_key(TENANT, *ALL_SCOPES)
        found = by_check(await check_fleet(Fleet("test", app.url, key)))
        assert {f.verdict for f in found.values()} == {Verdict.OK}, found
        assert found["nodes"].detail == "1 alive"
        assert {"api", "clock (api)", "webhooks"} <= found.keys()
        lesser = app.memory.access.new_key(TENANT, "messages")
        found = by_check(await check_fleet(Fleet("test", app.url, lesser)))
        assert "no scope operator" in found["nodes"].detail
        app.memory.fleet.checks["bus"] = False
        (only,) = await check_fleet(Fleet("test", app.url, key))
        assert only.verdict is Verdict.FAIL


async def test_an_api_that_is_away_is_one_finding() -> None:
    (only,) = await check_fleet(Fleet("test", "http://127.0.0.1:9", "k"))
    assert (only.check, only.verdict) == ("api", Verdict.FAIL)
    assert only.fix


async def test_the_bus_and_its_streams_are_looked_at(bus: Bus, nats: EmbeddedNats) -> None:
    del bus  # it makes the streams
    found = by_check(await check_bus(settings_of(nats)))
    assert {f.verdict for f in found.values()} == {Verdict.OK}, found
    assert found.keys() == {"bus", "clock (bus)", "jetstream room", "streams", "event lag"}
    assert found["clock (bus)"].value is not None
    assert abs(found["clock (bus)"].value) < 1.0


async def test_a_store_that_is_away_is_named_without_its_address(
    bus: Bus, nats: EmbeddedNats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del bus
    monkeypatch.setattr("control_plane.mongo._SELECT_MS", 200)
    uri_file = tmp_path / "uri"
    uri_file.write_text("mongodb://user:hunter2@127.0.0.1:9/")
    ledger = LedgerSettings(store=LedgerStoreKind.MONGO, mongo_uri_file=uri_file)
    services = ControlPlaneSettings(ledger=ledger)
    settings = msgspec.structs.replace(settings_of(nats), services=services)
    found = by_check(await check_bus(settings))
    assert found["mongodb (ledger)"].verdict is Verdict.FAIL
    assert "hunter2" not in str(found)


async def test_a_bus_that_is_away_is_said_to_be() -> None:
    settings = ControlPlaneFile(bus=BusAccess(servers=("nats://127.0.0.1:9",)))
    found = by_check(await check_bus(settings))
    assert found["bus"].verdict is Verdict.FAIL
