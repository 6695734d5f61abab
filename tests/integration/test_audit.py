"""The audit log on a real bus: what an act leaves, and that nobody takes it away."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest

from cli.audit import recorded
from cli.embedded.server import EmbeddedNats
from control_plane.audit import StreamAudit
from control_plane.audit_ports import AuditQuery
from sandbox.phone import PhoneBook
from sandbox.server import Sandbox
from schemas.audit import AuditRecord, AuditSource
from schemas.errors import BlazzError, ErrorCode
from schemas.ids import audit_id
from schemas.resources import AUDIT
from schemas.states import NodeState
from schemas.subjects import audit_of_tenant
from schemas.transport.connection import Bus
from schemas.transport.jetstream import JetStream, JetStreamError
from tests.integration.control_fixture import (
    TENANT,
    book,  # noqa: F401
    control_plane,
    node,
    node_is,
    sandbox,  # noqa: F401
)
from tests.integration.test_http_real_stack import api_on

NOW = time.time()


def record(number: int, tenant: str = "acme") -> AuditRecord:
    return AuditRecord(
        audit_id=audit_id(number.to_bytes(16, "big")),
        at=NOW + number,
        operation="drainNode",
        tenant_id=tenant,
        key_id="k",
    )


async def test_an_end_takes_its_beginnings_place_and_nothing_is_removed(bus: Bus) -> None:
    audit, jetstream = StreamAudit(bus), JetStream(bus)
    await audit.write(record(1))
    await audit.write(record(2, "other"))
    await audit.write(msgspec.structs.replace(record(1), http=202))
    everything = await audit.list(None, AuditQuery(since=NOW - 60))
    assert [(r.tenant_id, r.http) for r in everything.data] == [("other", None), ("acme", 202)]
    mine = await audit.list("acme", AuditQuery(since=NOW - 60))
    assert [r.http for r in mine.data] == [202]
    assert (await audit.list(None, AuditQuery(since=NOW + 3_600))).data == []
    with pytest.raises(JetStreamError):
        await jetstream.purge(AUDIT, audit_of_tenant("acme"))
    last = (await jetstream.stream_info(AUDIT)).state.last_seq
    await jetstream.delete_message(AUDIT, last)
    assert await jetstream.by_sequence(AUDIT, last) is not None


async def test_without_its_stream_it_says_so(bus: Bus) -> None:
    audit = StreamAudit(bus)
    await JetStream(bus).api(f"STREAM.DELETE.{AUDIT}", None, msgspec.Raw)
    with pytest.raises(BlazzError) as caught:
        await audit.write(record(1))
    assert caught.value.code is ErrorCode.AUDIT_UNAVAILABLE


async def test_a_command_names_its_user_and_how_it_ended(bus: Bus) -> None:
    async with recorded(bus, "rotateMasterKey", {"retire": True}):
        pass
    with pytest.raises(BlazzError):
        async with recorded(bus, "rotateMasterKey", {"retire": False}):
            raise BlazzError(ErrorCode.CONFLICT)
    failed, done = (await StreamAudit(bus).list(None, AuditQuery(since=NOW - 60))).data
    assert (done.http, failed.http, failed.error_code) == (200, 409, "conflict")
    assert done.source is AuditSource.COMMAND
    assert done.key_name is not None
    assert "@" in done.key_name


async def test_a_drain_over_the_api_is_in_the_stream(
    nats: EmbeddedNats,
    bus: Bus,
    sandbox: Sandbox,  # noqa: F811
    book: PhoneBook,  # noqa: F811
    tmp_path: Path,
) -> None:
    async with control_plane(nats) as services, node(nats, sandbox, tmp_path):
        await node_is(services, NodeState.ALIVE)
        async with api_on(services) as client:
            (machine,) = (await client.get("/v1/nodes")).json()["data"]
            await client.post(f"/v1/nodes/{machine['node_id']}/cordon", json={"reason": "disk"})
            (act,) = (await client.get("/v1/audit", params={"operation": "cordonNode"})).json()[
                "data"
            ]
    assert act["tenant_id"] == TENANT
    assert act["target"] == [machine["node_id"]]
    assert (act["http"], act["parameters"]) == (200, {"reason": "disk"})
