"""A renewed credential is taken up without a gap, and only its own node gets it."""

import asyncio
import shutil
from pathlib import Path

import msgspec
import pytest

from cli.identity.key_files import ACCOUNT, issuer_of, new_seed, read_secret
from cli.identity.records import Kind
from control_plane.renewals import serve_renewals
from schemas.bus_credentials import base64url, claims_of, from_base64url, parse_credentials
from schemas.commands import RenewCredential, Renewed
from schemas.errors import BlazzError, ErrorCode
from schemas.subjects import node_announce, node_command, node_commands, node_renew
from schemas.transport import typed
from schemas.transport.connection import Bus, BusSettings
from swarm_node.credentials import NodeCredential
from tests.integration.operator_nats import OperatorFleet
from tests.waiting import eventually

pytestmark = pytest.mark.nats


def ask(bus: Bus, node_id: str, jwt: str, *, named: str | None = None) -> "asyncio.Future[Renewed]":
    question = RenewCredential(named or node_id, jwt)
    return asyncio.ensure_future(
        typed.request(bus, node_renew(node_id), question, Renewed, timeout_s=15)
    )


async def test_a_node_renews_itself_before_the_end_and_no_command_is_lost(
    operator_fleet: OperatorFleet, tmp_path: Path
) -> None:
    """Commands go to a node all the time while its credential ends and is renewed several times:
    each is received once and answered."""
    issued = await operator_fleet.issue(Kind.NODE, "n1", ttl_s=8)
    credential = NodeCredential("n1", issued, tmp_path / "bus.creds")
    first = credential.choose()
    settings = quick_look(operator_fleet.node_settings(credential.kept, "n1"))
    received: list[bytes] = []
    ends: list[int] = []
    async with (
        operator_fleet.control_plane() as control,
        serve_renewals(control, operator_fleet.authority.node_signer, ttl_s=8),
        Bus.connect(settings) as node,
        node.subscribe(node_commands("n1")) as commands,
        asyncio.TaskGroup() as tasks,
    ):

        async def serve() -> None:
            async for message in commands:
                received.append(message.data)
                await node.reply(message, b"done")

        async def renew(question: RenewCredential) -> Renewed:
            return await typed.request(node, node_renew("n1"), question, Renewed, timeout_s=15)

        running = [
            tasks.create_task(serve()),
            tasks.create_task(credential.keep_renewed(renew, ends.append)),
        ]
        sent = 0
        while node.generation < 4:
            sent += 1
            body = b"%d" % sent
            answer = await control.request(node_command("n1", "ping"), body, timeout_s=15)
            assert answer.data == b"done"
            await node.publish(node_announce("n1"), b"{}")
        for task in running:
            task.cancel()
    assert node.outages == 0
    assert received == [b"%d" % number for number in range(1, sent + 1)]
    kept = parse_credentials(credential.kept.read_text())
    assert kept.seed == first.seed
    assert kept.claims.exp > first.claims.exp
    assert credential.kept.stat().st_mode & 0o777 == 0o600


async def test_a_question_that_is_open_while_links_change_is_answered(
    operator_fleet: OperatorFleet,
) -> None:
    creds = await operator_fleet.issue(Kind.NODE, "n1")
    async with (
        operator_fleet.control_plane() as control,
        Bus.connect(quick_look(operator_fleet.node_settings(creds, "n1"))) as node,
        node.subscribe(node_commands("n1")) as commands,
        control.request_many(
            node_command("n1", "send"), b"?", answers_max=2, timeout_s=15
        ) as answers,
    ):
        message = await commands.next()
        operator_fleet.authority.renew(creds)
        await eventually(lambda: node.generation == 2, timeout_s=30)
        await node.reply(message, b"sent")
        assert (await answers.next(15)).data == b"sent"
        assert node.outages == 0


async def test_a_bad_file_changes_nothing(operator_fleet: OperatorFleet, tmp_path: Path) -> None:
    creds = await operator_fleet.issue(Kind.NODE, "n1")
    good = tmp_path / "good"
    shutil.copy(creds, good)
    async with Bus.connect(quick_look(operator_fleet.node_settings(creds, "n1"))) as node:
        creds.write_text("nothing of use")
        stranger = Kind.NODE, "n2"
        await operator_fleet.issue(*stranger)
        assert (await node.round_trip(15)) >= 0
        shutil.copy(good, creds)
        await eventually(lambda: node.generation == 2, timeout_s=30)
        assert node.outages == 0


async def test_a_node_gets_a_credential_for_itself_alone(operator_fleet: OperatorFleet) -> None:
    creds = await operator_fleet.issue(Kind.NODE, "n1")
    other = parse_credentials((await operator_fleet.issue(Kind.NODE, "n2")).read_text())
    own = parse_credentials(creds.read_text())
    signer = issuer_of(read_secret(operator_fleet.authority.node_signer))
    head, body, _signature = own.jwt.split(".")
    claims = msgspec.json.decode(from_base64url(body))
    # As if n1 were in n2's account, and by a signer of its own.
    claims["nats"]["issuer_account"] = other.claims.account
    forged_body = f"{head}.{base64url(msgspec.json.encode(claims))}"
    thief = issuer_of(new_seed(ACCOUNT))
    forged = f"{forged_body}.{base64url(thief.sign(forged_body.encode()))}"
    async with (
        operator_fleet.control_plane() as control,
        serve_renewals(control, operator_fleet.authority.node_signer, ttl_s=100),
        Bus.connect(operator_fleet.node_settings(creds, "n1")) as node,
    ):
        good = claims_of((await ask(node, "n1", own.jwt)).jwt)
        assert (good.sub, good.account, good.iss) == (
            own.claims.sub,
            own.claims.account,
            signer.public_key,
        )
        for jwt, named in (
            (other.jwt, "n1"),
            (own.jwt, "n2"),
            (forged, "n1"),
            (own.jwt[:-4] + "AAAA", "n1"),
            ("", "n1"),
        ):
            with pytest.raises(BlazzError) as refused:
                await ask(node, "n1", jwt, named=named)
            assert refused.value.code is ErrorCode.FORBIDDEN
        with pytest.raises(BlazzError) as not_let:
            await ask(node, "n2", other.jwt)
        assert not_let.value.code is ErrorCode.FORBIDDEN


async def test_the_newest_of_two_files_is_used(
    operator_fleet: OperatorFleet, tmp_path: Path
) -> None:
    issued = await operator_fleet.issue(Kind.NODE, "n1")
    kept = tmp_path / "bus.creds"
    credential = NodeCredential("n1", issued, kept)
    first = credential.choose()
    assert kept.exists()
    issued.unlink()
    assert credential.choose() == first
    kept.write_text("torn")
    with pytest.raises(BlazzError) as neither:
        credential.choose()
    assert neither.value.code is ErrorCode.CONFIG_INVALID
    operator_fleet.authority.revoke("n1")
    again = await operator_fleet.issue(Kind.NODE, "n1")
    kept.write_text(first.text())
    assert NodeCredential("n1", again, kept).choose().seed != first.seed


def quick_look(settings: BusSettings) -> BusSettings:
    return msgspec.structs.replace(settings, identity_look_s=0.1)
