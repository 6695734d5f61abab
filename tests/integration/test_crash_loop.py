"""A session whose engine crashes wherever it is: tried on a few nodes, then left for people."""

# ruff: noqa: F811 - fixtures are imported and named again as arguments

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import msgspec
import pytest

from cli.embedded.server import EmbeddedNats
from control_plane.core.needs import NeedRules
from control_plane.core.reconcile import PlanRules
from sandbox.phone import PhoneBook
from sandbox.server import Sandbox
from schemas.api import NewSession
from schemas.keys import assignment_key
from schemas.records import Assignment
from schemas.resources import FLEET
from schemas.states import EngineKind, NodeState, SessionState
from schemas.transport.connection import Bus
from schemas.transport.kv import Bucket
from swarm_node.core.backoff import BackoffPolicy
from swarm_node.engines.loopback.settings import LoopbackFaults
from tests.integration.control_fixture import (
    SETTINGS,
    TENANT,
    book,  # noqa: F401
    control_plane,
    in_state,
    nats,  # noqa: F401
    node,
    node_is,
    sandbox,  # noqa: F401
)
from tests.integration.nats_fixture import bus  # noqa: F401
from tests.waiting import eventually

pytestmark = [pytest.mark.nats, pytest.mark.timeout(120)]
CRASHES = LoopbackFaults(crash_after_s=0.02)
IMPATIENT = BackoffPolicy(first_s=0.05, longest_s=0.1, failures_max=2)
PAUSE_S = 0.5
QUIET_S = 3.0
"""Longer than any pause left, had there been another try to come."""


async def test_it_rests_before_another_node_and_after_so_many_stays_failed(
    nats: EmbeddedNats, bus: Bus, sandbox: Sandbox, book: PhoneBook, tmp_path: Path
) -> None:
    needs = NeedRules(failed_nodes_max=2, failed_pause_s=PAUSE_S)
    reconciler = msgspec.structs.replace(SETTINGS.reconciler, rules=PlanRules(needs=needs))
    settings = msgspec.structs.replace(SETTINGS, reconciler=reconciler)
    placed: list[Assignment] = []
    async with (
        node(nats, sandbox, tmp_path, faults=CRASHES, backoff=IMPATIENT),
        node(nats, sandbox, tmp_path, node_id="node-b", faults=CRASHES, backoff=IMPATIENT),
        node(nats, sandbox, tmp_path, node_id="node-c", faults=CRASHES, backoff=IMPATIENT),
        control_plane(nats, settings) as services,
    ):
        for node_id in ("node-a", "node-b", "node-c"):
            await node_is(services, NodeState.ALIVE, node_id)
        began = time.monotonic()
        view = await services.sessions.create(TENANT, NewSession(engine=EngineKind.LOOPBACK))

        async def place() -> Assignment:
            held = await Bucket(bus, FLEET).get(assignment_key(view.session_id), Assignment)
            assert held.value is not None
            if held.value not in placed:
                placed.append(held.value)
            return held.value

        async def second() -> bool:
            return (await place()).epoch == 2

        await eventually(second, timeout_s=20, what="another node has it")
        assert time.monotonic() - began >= PAUSE_S
        ended = await in_state(services, view, SessionState.FAILED)
        assert ended.reason == "browser_crashed"
        await asyncio.sleep(QUIET_S)
        first, last = placed
        assert await place() == last, "there is a third node, and it is spared"
        assert last.node_id != first.node_id
        assert [failure.node_id for failure in last.failures] == [first.node_id]
        assert (await services.sessions.get(TENANT, view.session_id)).state is SessionState.FAILED
