"""The embedded server: its lock, its identities, its life and end."""

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path

import msgspec
import psutil
import pytest

from cli.embedded.identities import Identity
from cli.embedded.server import EmbeddedNats, EmbeddedSettings
from schemas import keys, subjects
from schemas.errors import BlazzError, ErrorCode
from schemas.records import EpochRecord
from schemas.resources import EVENTS, FLEET
from schemas.transport import typed
from schemas.transport.connection import Bus, BusMessage
from schemas.transport.jetstream import JetStream
from schemas.transport.kv import Bucket
from schemas.transport.streams import read_ordered
from schemas.transport.watch import ChangeKind, watch
from tests.integration.nats_fixture import QUICK, SETTINGS
from tests.waiting import eventually

pytestmark = pytest.mark.nats

VALUE = EpochRecord(1)


@pytest.fixture
async def node(nats: EmbeddedNats, bus: Bus) -> AsyncIterator[Bus]:
    profile = msgspec.structs.replace(QUICK, jetstream_timeout_s=1.0)
    identity = await nats.add_node("node-1")
    async with Bus.connect(nats.bus_settings(identity, profile=profile)) as connected:
        yield connected


async def forbidden(work: object) -> None:
    with pytest.raises(BlazzError) as raised:
        await work  # type: ignore[misc]
    assert raised.value.code is ErrorCode.FORBIDDEN


async def test_a_second_start_on_one_directory_is_refused(
    nats: EmbeddedNats, tmp_path: Path
) -> None:
    with pytest.raises(BlazzError) as raised:
        async with EmbeddedNats(tmp_path / "nats", SETTINGS):
            pytest.fail("two servers on one store")
    assert raised.value.code is ErrorCode.DATA_DIR_LOCKED
    assert str(os.getpid()) in raised.value.detail
    assert nats.pid


async def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = msgspec.structs.replace(SETTINGS, port=taken.getsockname()[1])
        with pytest.raises(BlazzError) as raised:
            async with EmbeddedNats(tmp_path / "nats", settings):
                pytest.fail("it started")
    assert raised.value.code is ErrorCode.PORT_IN_USE


async def test_a_missing_server_is_named(tmp_path: Path) -> None:
    with pytest.raises(BlazzError) as raised:
        async with EmbeddedNats(tmp_path, EmbeddedSettings(binary=str(tmp_path / "none"))):
            pytest.fail("it started")
    assert raised.value.code is ErrorCode.DEPENDENCY_MISSING


async def test_it_is_bound_to_loopback_private_and_bounded(
    nats: EmbeddedNats, bus: Bus, tmp_path: Path
) -> None:
    del bus
    listening = [
        connection
        for connection in psutil.Process(nats.pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert {connection.laddr.ip for connection in listening} == {"127.0.0.1"}
    home = tmp_path / "nats"
    secret = [home, home / "identities", *home.glob("identities/*"), home / "nats-server.conf"]
    for path in secret:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path.name
    config = (home / "nats-server.conf").read_text()
    assert '"sync_interval": "always"' in config
    for seed in home.glob("identities/*.seed"):
        assert seed.read_text() not in config


async def test_its_data_and_identities_outlive_a_stop(tmp_path: Path) -> None:
    seeds = []
    for _ in range(2):
        async with EmbeddedNats(tmp_path / "nats", SETTINGS) as server:
            seeds.append(server.control_plane.public_key)
            pid = server.pid
        assert not psutil.pid_exists(pid)
    assert seeds[0] == seeds[1]


async def test_the_server_ends_with_a_killed_parent_and_frees_the_directory(
    tmp_path: Path,
) -> None:
    code = (
        "import asyncio, sys; from pathlib import Path\n"
        "from cli.embedded.server import EmbeddedNats, EmbeddedSettings\n"
        "async def main():\n"
        "    async with EmbeddedNats(Path(sys.argv[1]), EmbeddedSettings()) as n:\n"
        "        print(n.pid, file=sys.stderr, flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        str(tmp_path / "nats"),
        cwd=Path(__file__).parents[2],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        assert parent.stderr is not None
        child = int(await asyncio.wait_for(parent.stderr.readline(), 20.0))
        # It cannot obey the signal of its parent's death yet.
        os.kill(child, signal.SIGSTOP)
    finally:
        parent.kill()
        await parent.wait()
    with pytest.raises(BlazzError) as raised:
        async with EmbeddedNats(tmp_path / "nats", SETTINGS):
            pytest.fail("two servers on one store")
    assert raised.value.code is ErrorCode.DATA_DIR_LOCKED
    os.kill(child, signal.SIGCONT)
    async with EmbeddedNats(
        tmp_path / "nats", msgspec.structs.replace(SETTINGS, lock_wait_s=10.0)
    ) as server:
        assert server.pid != child
    await eventually(lambda: not psutil.pid_exists(child), timeout_s=5.0)


async def test_a_node_may_do_what_a_node_does(node: Bus, bus: Bus) -> None:
    fleet = Bucket(node, FLEET)
    revision = await fleet.put(keys.node_key("node-1"), VALUE)
    assert (await fleet.get(keys.node_key("node-1"), EpochRecord)).revision == revision
    await fleet.put(keys.observed_key("node-1", "ses_1"), VALUE)
    await typed.publish_durable(node, "blazz.event.node-1.t.s.session.state", VALUE, "e1")
    async with bus.subscribe(subjects.ALL_HEARTBEATS) as pulses:
        await typed.publish(node, subjects.node_heartbeat("node-1"), VALUE)
        assert (await asyncio.wait_for(pulses.next(), 2.0)).subject.endswith("heartbeat")

    async def pong(_value: EpochRecord, _message: BusMessage) -> EpochRecord:
        return EpochRecord(7)

    async with typed.serve(node, subjects.node_commands("node-1"), EpochRecord, pong):
        answer = await typed.request(
            bus, subjects.node_command("node-1", "ping"), VALUE, EpochRecord, timeout_s=2.0
        )
    assert answer.epoch == 7


async def test_a_node_is_refused_everything_that_is_not_its_own(node: Bus, bus: Bus) -> None:
    fleet = Bucket(node, FLEET)
    for key in (
        keys.node_key("node-2"),
        keys.lease_key("node", "node-2"),
        keys.lease_key("leader", "reconciler"),
        keys.observed_key("node-2", "ses_1"),
        keys.assignment_key("ses_1"),
        keys.capacity_key("node-1"),
        keys.session_key("t", "ses_1"),
    ):
        await forbidden(fleet.put(key, VALUE))
    await forbidden(Bucket(node, "blazz_access").get_raw("key.a"))
    await forbidden(typed.publish_durable(node, "blazz.event.node-2.t.s.x", VALUE, "e"))
    await forbidden(typed.publish_durable(node, "blazz.out.1.t.s", VALUE, "e"))
    await forbidden(
        typed.request(
            node, subjects.node_command("node-2", "stop"), VALUE, EpochRecord, timeout_s=1.0
        )
    )
    await forbidden(JetStream(node).stream_info(EVENTS))
    await forbidden(JetStream(node).purge("KV_blazz_fleet", "$KV.blazz_fleet.>"))
    for subject in (
        "blazz.>",
        subjects.node_commands("node-2"),
        "$KV.blazz_fleet.>",
        "_INBOX_control-plane.>",
        ">",
    ):
        async with aclosing(_subscription(node, subject)) as opening:
            await forbidden(anext(opening))
    assert node.outages == 0, "a refusal does not cost the connection"
    assert (await Bucket(bus, FLEET).read_prefix("", EpochRecord)) == []


async def _subscription(node: Bus, subject: str) -> AsyncGenerator[None, None]:
    async with node.subscribe(subject):
        yield


async def test_a_viewer_sees_the_fleet_and_changes_nothing(nats: EmbeddedNats, bus: Bus) -> None:
    profile = msgspec.structs.replace(QUICK, jetstream_timeout_s=1.0)
    await Bucket(bus, FLEET).put(keys.node_key("node-1"), VALUE)
    await typed.publish_durable(bus, "blazz.event.n.t.s.x", VALUE, "e1")
    async with Bus.connect(nats.bus_settings(nats.viewer, profile=profile)) as viewer:
        async with aclosing(watch(Bucket(viewer, FLEET), "node.")) as changes:
            assert (await anext(changes)).kind is ChangeKind.PUT
        events = read_ordered(JetStream(viewer), EVENTS, subjects.EVENTS_ALL, start_seq=1)
        async with aclosing(events) as messages:
            await anext(messages)
        await forbidden(Bucket(viewer, FLEET).put("node.x", VALUE))
        await forbidden(
            typed.request(viewer, "blazz.node.n.cmd.stop", VALUE, EpochRecord, timeout_s=1.0)
        )
        await forbidden(JetStream(viewer).delete_message(EVENTS, 1))


async def test_nodes_are_added_while_others_stay_connected(nats: EmbeddedNats, bus: Bus) -> None:
    identities: list[Identity] = [await nats.add_node(f"n{number}") for number in range(3)]
    assert len({identity.public_key for identity in identities}) == 3
    assert await nats.add_node("n1") == identities[1]
    for identity in identities:
        async with Bus.connect(nats.bus_settings(identity)):
            pass
    assert bus.outages == 0
    os.kill(nats.pid, signal.SIGKILL)
    await eventually(lambda: nats.restarts == 1 and nats.pid, timeout_s=5.0)
    async with Bus.connect(nats.bus_settings(identities[2])):
        pass
    with pytest.raises(BlazzError):
        await nats.add_node("../n")
