"""Operator mode on a real server: what `blazz identity` makes works, ends and is taken back."""

import re
import stat
import time
from pathlib import Path

import pytest

from cli.identity.authority import Authority
from cli.identity.records import Kind
from control_plane.core.bus_jwt import JetStreamLimits
from schemas.bus_credentials import parse_credentials
from schemas.errors import BlazzError, ErrorCode
from schemas.keys import assignment_key, node_key, observed_key
from schemas.records import LeaseRecord
from schemas.resources import FLEET
from schemas.subjects import node_command, node_commands, node_media
from schemas.transport.connection import Bus
from schemas.transport.kv import Bucket, Conflict, Fence, Put
from schemas.transport.lease import LeaseSpec, hold
from tests.integration.nats_fixture import QUICK
from tests.integration.operator_nats import OperatorFleet
from tests.waiting import eventually

pytestmark = pytest.mark.nats

RECORD = LeaseRecord("n1", "one", 1.0)


async def test_a_node_in_its_own_account_does_all_that_a_node_does(
    operator_fleet: OperatorFleet,
) -> None:
    creds = await operator_fleet.issue(Kind.NODE, "n1")
    async with (
        operator_fleet.control_plane() as control,
        Bus.connect(operator_fleet.node_settings(creds, "n1")) as node,
    ):
        own, all_of_it = Bucket(node, FLEET), Bucket(control, FLEET)
        await own.put(node_key("n1"), RECORD)
        assert (await own.get(node_key("n1"), LeaseRecord)).value == RECORD
        async with hold(node, LeaseSpec("node", "n1", QUICK), RECORD) as lease:
            await lease.renew()
        revision = await all_of_it.put(assignment_key("s"), RECORD)
        put = Put(key=observed_key("n1", "s"), value=RECORD, fence=Fence("assignment.s", revision))
        await own.batch([put])
        await all_of_it.put(assignment_key("s"), RECORD)
        with pytest.raises(Conflict):
            await own.batch([put])
        async with (
            node.subscribe(node_commands("n1")) as commands,
            control.request_many(
                node_command("n1", "ping"), b"?", answers_max=1, timeout_s=15
            ) as answers,
        ):
            await node.reply(await commands.next(), b"pong")
            assert (await answers.next(15)).data == b"pong"
        async with (
            control.subscribe("blazz.node.*.media") as asked,
            node.request_many(node_media("n1"), b"?", answers_max=1, timeout_s=15) as answers,
        ):
            await control.reply(await asked.next(), b"chunk")
            assert (await answers.next(15)).data == b"chunk"


async def test_a_revoked_node_is_cut_off_at_once_and_stays_out(
    operator_fleet: OperatorFleet,
) -> None:
    creds = await operator_fleet.issue(Kind.NODE, "n1")
    other = await operator_fleet.issue(Kind.NODE, "n2")
    async with (
        Bus.connect(operator_fleet.node_settings(creds, "n1")) as bus,
        Bus.connect(operator_fleet.node_settings(other, "n2")) as unharmed,
    ):
        operator_fleet.authority.revoke("n1")
        assert await operator_fleet.push() == 1
        await eventually(lambda: bus.refused is not None, timeout_s=30)
        assert unharmed.connected
        assert unharmed.outages == 0
        # The server keeps what it was told, though its own file has the older account.
        await operator_fleet.stop()
        await operator_fleet.start()
        with pytest.raises(BlazzError) as refused:
            async with Bus.connect(operator_fleet.node_settings(creds, "n1")):
                pass
        assert refused.value.code is ErrorCode.CONFIG_INVALID
        # A new credential is not touched by the old one's revocation; the old one stays out.
        again = operator_fleet.authority.issue(
            Kind.NODE, "n1", ttl_s=600, out=operator_fleet.folder / "new.creds"
        )
        await operator_fleet.push()

        async def signs_in() -> bool:
            try:
                async with Bus.connect(operator_fleet.node_settings(Path(again.path), "n1")):
                    return True
            except BlazzError:
                return False

        await eventually(signs_in, timeout_s=30)
        assert bus.refused is not None


async def test_a_revoked_viewer_is_cut_off_and_the_control_plane_is_not(
    operator_fleet: OperatorFleet,
) -> None:
    creds = await operator_fleet.issue(Kind.VIEWER, "viewer")
    async with (
        operator_fleet.control_plane() as control,
        Bus.connect(operator_fleet.node_settings(creds, "viewer")) as viewer,
    ):
        operator_fleet.authority.revoke("viewer", Kind.VIEWER)
        await operator_fleet.push()
        await eventually(lambda: viewer.refused is not None, timeout_s=30)
        assert control.connected
        assert control.outages == 0


async def test_an_expired_credential_is_replaced_and_the_bus_comes_back(
    operator_fleet: OperatorFleet,
) -> None:
    creds = await operator_fleet.issue(Kind.NODE, "n1", ttl_s=3)
    async with Bus.connect(operator_fleet.node_settings(creds, "n1")) as bus:
        await eventually(lambda: bus.refused is not None, timeout_s=30)
        operator_fleet.authority.renew(creds, ttl_s=600)
        await bus.wait_connected(30)
        assert bus.refused is None


def test_issuing_again_changes_nothing_and_every_secret_is_the_owners_alone(
    tmp_path: Path,
) -> None:
    now = time.time()
    authority = Authority(tmp_path / "id", clock=lambda: now)
    made = {"resolver_dir": "/srv/accounts", "jetstream": JetStreamLimits()}
    assert authority.init("f", **made)  # type: ignore[arg-type]
    assert not authority.init("f", **made)  # type: ignore[arg-type]
    first = authority.issue(Kind.NODE, "n1", ttl_s=100)
    assert first.changed
    assert not authority.issue(Kind.NODE, "n1", ttl_s=100).changed
    before = authority.accounts()
    now += 60
    later = authority.issue(Kind.NODE, "n1", ttl_s=100)
    assert later.changed
    assert later.identity.public_key == first.identity.public_key
    assert later.identity.expires_at > first.identity.expires_at
    # So there is nothing to push.
    assert authority.accounts() == before
    authority.revoke("n1")
    with pytest.raises(BlazzError, match="revoked"):
        authority.renew(Path(first.path))
    for path in (tmp_path / "id").rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode in ((0o700,) if path.is_dir() else (0o600, 0o644))
        assert mode != 0o644 or not re.search("S[OAU][A-Z2-7]{56}", path.read_text())
    assert parse_credentials(Path(first.path).read_text()).seed not in repr(
        parse_credentials(Path(first.path).read_text())
    )


@pytest.mark.parametrize("name", ["Node", "-a", "a.b", "*", ">", "", "control-plane"])
def test_no_name_can_reach_another_subject(tmp_path: Path, name: str) -> None:
    authority = Authority(tmp_path)
    authority.init("f", resolver_dir="/srv/accounts", jetstream=JetStreamLimits())
    with pytest.raises(BlazzError) as refused:
        authority.issue(Kind.NODE, name, ttl_s=60)
    assert refused.value.code is ErrorCode.VALIDATION_FAILED
    assert not (tmp_path / "creds" / f"node.{name}.creds").exists()
