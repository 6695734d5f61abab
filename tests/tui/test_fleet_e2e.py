"""The whole way: a real nats-server, the real bus, a real terminal, a person's keys."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator

import msgspec
import pytest

from cli.embedded.server import EmbeddedNats
from schemas import keys, subjects
from schemas.resources import FLEET
from schemas.transport import typed
from schemas.transport.connection import Bus
from schemas.transport.kv import Bucket
from tests.integration.nats_fixture import bus, nats  # noqa: F401 - fixtures
from tests.tui.fleet_sample import NODES, PHONE, SECRET_TEXT, events, heartbeat, records
from tests.tui.pty_terminal import Terminal
from tests.waiting import eventually

BYTES_PER_SECOND_MAX = 11_000
PROGRAM = """
import sys
from tui.app import run_tui
from tui.settings import TuiSettings
run_tui(TuiSettings(servers=(sys.argv[1],), nkey_seed_file=sys.argv[2], context="e2e"))
"""

pytestmark = [pytest.mark.nats, pytest.mark.timeout(90)]


@pytest.fixture
def terminal(nats: EmbeddedNats) -> Iterator[Terminal]:  # noqa: F811
    started = Terminal(sys.executable, "-c", PROGRAM, nats.url, nats.viewer.seed_file)
    yield started
    started.process.close(force=True)


@pytest.fixture
async def fleet(bus: Bus) -> Bus:  # noqa: F811
    """The sample fleet in the bucket, its events in the stream."""
    bucket = Bucket(bus, FLEET)
    for key, record in records():
        await bucket.put(key, record)
    for event in events():
        subject = subjects.event(event.node_id, event.tenant_id, event.session_id, event.data)
        await typed.publish_durable(bus, subject, event, event.event_id)
    return bus


async def beat(bus: Bus, sequence: int) -> None:  # noqa: F811
    for node in NODES:
        pulse = heartbeat(node, sequence)
        await typed.publish(bus, subjects.node_heartbeat(node.node_id), pulse)


async def test_the_fleet_is_seen_live_and_a_dead_bus_is_told(
    fleet: Bus,
    nats: EmbeddedNats,  # noqa: F811
    terminal: Terminal,
) -> None:
    await eventually(lambda: terminal.shows("SESSIONS 10"), timeout_s=20)
    # Records alone are not life: nothing is healthy before its node has been heard.
    assert not any("● alive" in line or "● online" in line for line in terminal.lines())
    await beat(fleet, 1)
    await eventually(lambda: terminal.shows("hetzner-fsn-1", "● alive"))
    await eventually(lambda: terminal.shows("sales-sg", "● online"))
    await eventually(lambda: terminal.shows("message.failed", "message_refused"))
    shown = "\n".join(terminal.lines())
    assert "e2e  read-only  ● bus" in shown
    assert PHONE not in shown
    assert SECRET_TEXT not in shown

    # Idle, the screen costs little: only ages change.
    before = terminal.bytes_read
    idle_s = await eventually(lambda: silence_s(terminal, "hetzner-fsn-1", 3), timeout_s=10)
    assert terminal.bytes_read - before < idle_s * BYTES_PER_SECOND_MAX

    os.kill(nats.pid, signal.SIGSTOP)
    stopped = nats.pid
    try:
        await eventually(lambda: terminal.shows("BUS AWAY"), timeout_s=15)
        await eventually(lambda: terminal.shows("sales-sg", "? was online"))
    finally:
        os.kill(stopped, signal.SIGCONT)
    await eventually(lambda: terminal.shows("● bus"), timeout_s=15)
    await fleet.wait_connected(10)

    bucket = Bucket(fleet, FLEET)
    moved = msgspec.structs.replace(heartbeat(NODES[0], 3), sessions_max=77)
    await bucket.delete(keys.session_key("acme", _ids()[0]))
    await bucket.delete(keys.assignment_key(_ids()[0]))
    await bucket.delete(keys.observed_key("hetzner-fsn-1", _ids()[0]))
    await beat(fleet, 2)
    await typed.publish(fleet, subjects.node_heartbeat("hetzner-fsn-1"), moved)
    await eventually(lambda: terminal.shows("SESSIONS 9"), timeout_s=10)
    await eventually(lambda: terminal.shows("sales-sg", "● online"), timeout_s=10)

    terminal.press("q")
    await eventually(lambda: terminal.lines() and not terminal.process.isalive(), timeout_s=10)
    assert terminal.process.exitstatus == 0


def silence_s(terminal: Terminal, node_id: str, at_least_s: int) -> int:
    """The age shown for a node, 0 while it is smaller."""
    row = next(line for line in terminal.lines() if line.startswith(f"  {node_id}"))
    ages = [int(age) for age in re.findall(r"\b(\d+)s\b", row)]
    return ages[0] if ages and ages[0] >= at_least_s else 0


def _ids() -> list[str]:
    return [key.rpartition(".")[2] for key, _ in records() if key.startswith("session.")]
