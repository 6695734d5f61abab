"""A stolen node credential: what it can publish, read, overwrite and destroy, tried on a real
server, in operator mode and on the embedded one.

The subjects and keys to try are taken from the declarations, so a new one is tried by itself.
"""

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import product
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client

from cli.embedded.server import EmbeddedNats
from cli.identity.records import Kind
from schemas import keys, permissions, subjects
from schemas.events import SessionQrIdle
from schemas.resources import ACCESS, BUCKETS, FLEET, all_streams, bucket_stream, bucket_subject
from schemas.transport.connection import Bus
from schemas.transport.ensure import ensure_all
from schemas.transport.jetstream import JetStream
from tests.integration.nats_fixture import SCALE, SETTINGS
from tests.integration.operator_nats import OperatorFleet
from tests.waiting import eventually

pytestmark = pytest.mark.nats

THIEF, VICTIM = "thief", "victim"
SESSION = "ses_" + "0" * 25 + "1"
SAMPLES: dict[str, Any] = {
    "tenant_id": "acme",
    "session_id": SESSION,
    "message_id": "msg_1",
    "media_id": "med_1",
    "webhook_id": "hook_1",
    "event_id": "evt_1",
    "audit_id": "aud_1",
    "index": 0,
    "shard": 1,
    "size_bytes": 9,
    "command": "start",
    "name": f"{SESSION}/1-1",
    "kind": "node",
    "digest": "d1",
    "chat_digest": "d2",
    "scope": "s",
    "content_sha256": "c0",
    "name_sha256": "c1",
    "token_sha256": "c2",
    "key_sha256": "c3",
    "ticket_sha256": "c4",
    "key_id": "k1",
    "data": SessionQrIdle(),
}
"""For each parameter of a declaration. A new one must be added here."""

MAY_PUBLISH = {
    "blazz.node.thief.announce",
    "blazz.node.thief.heartbeat",
    "blazz.node.thief.media",
    "blazz.node.thief.told",
    "blazz.node.thief.renew",
    "blazz.node.thief.vault.put",
    "blazz.node.thief.vault.commit",
    "blazz.node.thief.vault.get",
    "blazz.event.thief.x",
    f"blazz.event.thief.acme.{SESSION}.session.qr_idle",
    f"blazz.event.thief.acme.{SESSION}.{SESSION}/1-1",
    "$kv.blazz_fleet.node.thief",
    "$kv.blazz_fleet.lease.node.thief",
    "$kv.blazz_fleet.epoch.node.thief",
    f"$kv.blazz_fleet.observed.thief.{SESSION}",
    "_inbox_thief.x",
}
"""All of it, in lower case, as the server's refusals come. Besides: reading the fleet bucket."""
MAY_CALL_SHARED = {
    "$js.api.stream.info.kv_blazz_fleet",
    "$js.api.stream.msg.get.kv_blazz_fleet",
}
MAY_CALL_ALONE = {call.replace("$js.api", "blazz.api") for call in MAY_CALL_SHARED}
MAY_SUBSCRIBE = {"blazz.node.thief.cmd.>", "blazz.node.thief.cmd.start", "blazz.node.thief.cmd.x"}

VERBS_OF_STREAM = (
    *(f"STREAM.{verb}" for verb in ("CREATE", "UPDATE", "DELETE", "PURGE", "INFO", "SNAPSHOT")),
    *(f"STREAM.{verb}" for verb in ("RESTORE", "MSG.GET", "MSG.DELETE", "LEADER.STEPDOWN")),
    *("STREAM.PEER.REMOVE", "CONSUMER.NAMES", "CONSUMER.LIST", "CONSUMER.CREATE", "DIRECT.GET"),
)
VERBS_OF_CONSUMER = (
    *(f"CONSUMER.{verb}" for verb in ("CREATE", "DURABLE.CREATE", "DELETE", "INFO", "MSG.NEXT")),
    *(f"CONSUMER.{verb}" for verb in ("PAUSE", "RESET", "UNPIN", "LEADER.STEPDOWN")),
)
VERBS = (
    *("INFO", "STREAM.NAMES", "STREAM.LIST", "ACCOUNT.PURGE.A", "SERVER.REMOVE"),
    *("META.LEADER.STEPDOWN", "ACCOUNT.STREAM.MOVE.A.S"),
)


def declared(module: Any) -> Iterator[str]:
    """Every string that a module of declarations makes, for the thief and for another."""
    for name, thing in vars(module).items():
        if isinstance(thing, str) and not name.startswith("_") and "." in thing:
            yield thing
        if not inspect.isfunction(thing) or thing.__module__ != module.__name__:
            continue
        names = list(inspect.signature(thing).parameters)
        if {"subject", "key"} & set(names):
            continue
        for node_id, act in product((THIEF, VICTIM), subjects.VAULT_ACTS):
            made = thing(**_arguments(thing, names, node_id, act))
            for one in made if isinstance(made, tuple) else (made,):
                if isinstance(one, str):
                    yield one


def _arguments(
    thing: Callable[..., Any], names: list[str], node_id: str, act: str
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in names:
        if name == "node_id" or (name == "name" and thing.__name__.startswith("lease")):
            found[name] = node_id
        elif name == "act":
            found[name] = act
        else:
            found[name] = SAMPLES[name]
    return found


def concrete(subject: str) -> str:
    return subject.replace("*", "x").replace(">", "x")


def every_subject() -> set[str]:
    """All that might be published to."""
    found = {concrete(one) for one in _declared_subjects()}
    for bucket in BUCKETS:
        for key in {concrete(one.rstrip(".")) for one in declared(keys)}:
            found.add(bucket_subject(bucket.name, key))
    for api in (permissions.JETSTREAM_API, subjects.NODE_API):
        for spec in all_streams():
            found |= {f"{api}.{verb}.{spec.name}" for verb in VERBS_OF_STREAM}
            found |= {f"{api}.{verb}.{spec.name}.c" for verb in VERBS_OF_CONSUMER}
            found.add(f"$JS.ACK.{spec.name}.c.1.1.1.1.0")
            found.add(f"{api}.DIRECT.GET.{spec.name}.{concrete(spec.subjects[0])}")
        found |= {f"{api}.{verb}" for verb in VERBS}
    for inbox in (THIEF, VICTIM, "control-plane", "viewer", "backup"):
        found.add(f"{permissions.inbox_prefix(inbox)}.x")
    found |= {
        f"{permissions.control_plane_inbox_prefix('control-plane')}.a.b",
        "_INBOX.x",
        "$JS.SNAPSHOT.RESTORE.VAULT.x",
        "$JS.SNAPSHOT.ACK.VAULT.x",
        "$JS.FC.VAULT.c.x",
        "$SYS.REQ.CLAIMS.UPDATE",
        "$SYS.REQ.CLAIMS.DELETE",
        "$SYS.REQ.SERVER.PING",
        "$SYS.ACCOUNT.A.DISCONNECT",
        "$O.bucket.C.x",
        "$O.bucket.M.x",
        "blazz.x",
        "x",
    }
    return found


def _declared_subjects() -> set[str]:
    return {
        one
        for one in declared(subjects)
        if one.startswith(f"{subjects.ROOT}.") and not one.endswith(".")
    }


class Thief:
    """A connection with a stolen credential, and what the server refused it."""

    def __init__(self, client: Client, refused: set[str]) -> None:
        self.client = client
        self.refused = refused
        self._asked = 0

    async def settled(self) -> None:
        """All that was sent has been judged."""
        self._asked += 1
        last = f"refused.{self._asked}"
        await self.client.publish(last)
        await eventually(lambda: last in self.refused, timeout_s=30)

    async def publish(self, subject: str, data: bytes = b"stolen", **more: Any) -> None:
        await self.client.publish(subject, data, **more)


@asynccontextmanager
async def stolen(url: str, **identity: Any) -> AsyncIterator[Thief]:
    refused: set[str] = set()

    async def on_error(error: Exception) -> None:
        text = str(error).lower()
        if "permissions violation" in text:
            refused.add(text.partition(' to "')[2].partition('"')[0])

    client = await nats.connect(
        url,
        error_cb=on_error,
        inbox_prefix=permissions.inbox_prefix(THIEF),
        allow_reconnect=False,
        **identity,
    )
    try:
        yield Thief(client, refused)
    finally:
        await client.close()


@asynccontextmanager
async def in_operator_mode(folder: Path) -> AsyncIterator[tuple[Bus, Thief]]:
    async with OperatorFleet(folder).running() as fleet, fleet.control_plane() as control:
        await fleet.issue(Kind.NODE, VICTIM)
        creds = await fleet.issue(Kind.NODE, THIEF)
        async with stolen(fleet.url, user_credentials=str(creds)) as thief:
            yield control, thief


@asynccontextmanager
async def on_the_embedded_server(nats: EmbeddedNats) -> AsyncIterator[tuple[Bus, Thief]]:
    await nats.add_node(VICTIM)
    identity = await nats.add_node(THIEF)
    async with Bus.connect(nats.bus_settings(nats.control_plane)) as control:
        await ensure_all(control, scale=SCALE)
        async with stolen(nats.url, nkeys_seed=identity.seed_file) as thief:
            yield control, thief


@pytest.fixture(params=["operator", "embedded"])
async def robbed(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[tuple[str, Bus, Thief]]:
    mode: str = request.param
    if mode == "operator":
        async with in_operator_mode(tmp_path) as (control, thief):
            yield mode, control, thief
    else:
        async with (
            EmbeddedNats(tmp_path, SETTINGS) as server,
            on_the_embedded_server(server) as (control, thief),
        ):
            yield mode, control, thief


def test_the_walk_sees_every_declaration() -> None:
    found = every_subject()
    for spec in all_streams():
        lies = spec.subjects[0].removesuffix(">")
        assert any(one.startswith(lies) for one in found), spec.name
    assert len(found) > 500
    assert {one.lower() for one in found} >= MAY_PUBLISH


async def test_only_its_own_subjects_can_be_published(robbed: tuple[str, Bus, Thief]) -> None:
    mode, control, thief = robbed
    before = await messages_of(control)
    tried = every_subject()
    for subject in sorted(tried):
        await thief.publish(subject, b"")
    await thief.settled()
    let_through = {one.lower() for one in tried} - thief.refused
    calls = MAY_CALL_ALONE if mode == "operator" else MAY_CALL_SHARED
    assert let_through == MAY_PUBLISH | calls
    # And nothing came anywhere else: what is stored is what the list says.
    after = await messages_of(control)
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"EVENTS", bucket_stream(FLEET)}


async def test_nothing_of_others_can_be_read(robbed: tuple[str, Bus, Thief]) -> None:
    _mode, _control, thief = robbed
    wanted = (
        every_subject() | _declared_subjects() | {">", "*", "*.>", "$KV.>", "_INBOX.>", "$SYS.>"}
    )
    wanted |= {f"{permissions.inbox_prefix(THIEF)}.>", "blazz.node.thief.cmd.>", "$JS.>"}
    for subject in sorted(wanted):
        await thief.client.subscribe(subject)
        await thief.client.subscribe(subject, queue="vault")
    await thief.settled()
    let_through = {one.lower() for one in wanted} - thief.refused
    assert let_through == MAY_SUBSCRIBE | {"_inbox_thief.x", "_inbox_thief.>"}


def baits() -> dict[str, list[str]]:
    """By stream: subjects of others, with something on each that must stay as it is."""
    found: dict[str, list[str]] = {}
    for spec in all_streams():
        lies = spec.subjects[0].removesuffix(">")
        of_others = {one for one in every_subject() if one.startswith(lies)}
        own = MAY_PUBLISH
        found[spec.name] = sorted(one for one in of_others if one.lower() not in own)[:40]
    return found


HEADERS: tuple[dict[str, str], ...] = (
    {"Nats-Rollup": "all"},
    {"Nats-Rollup": "sub"},
    {"KV-Operation": "PURGE", "Nats-Rollup": "all"},
    {"Nats-TTL": "1s"},
    {"Nats-Marker-Reason": "Purge"},
    {"Nats-Msg-Id": "bait"},
    {"Nats-Expected-Last-Sequence": "0"},
    {"Nats-Schedule": "@every 1s", "Nats-Schedule-Target": f"$KV.{FLEET}.snapshot.{SESSION}"},
    {"Nats-Incr": "+1"},
    {"Nats-Trace-Dest": f"$KV.{FLEET}.snapshot.{SESSION}"},
)


async def messages_of(control: Bus) -> dict[str, tuple[int, int]]:
    found = {}
    for spec in all_streams():
        state = (await JetStream(control).stream_info(spec.name)).state
        found[spec.name] = (state.messages, state.last_seq)
    return found


async def lay(control: Bus) -> dict[str, tuple[str, int]]:
    """Put the baits out; where each lies: stream and sequence."""
    laid = {}
    for stream, of_stream in baits().items():
        for subject in of_stream:
            ack = await JetStream(control).publish(subject, b"bait")
            laid[subject] = (stream, ack.seq)
    return laid


async def behind(control: Bus) -> None:
    """Return when the streams have done all that was asked of them, and what that led to."""
    for _ in range(3):
        for subject in (
            bucket_subject(FLEET, "last"),
            bucket_subject(ACCESS, "last"),
            "blazz.event.x.x.x.x",
            "blazz.vault.x.1-1.0",
        ):
            await JetStream(control).publish(subject, b"")


async def eaten(control: Bus, laid: dict[str, tuple[str, int]]) -> set[str]:
    """The baits that are no longer there, or no longer the last word on their subject."""
    found = set()
    for subject, (stream, seq) in laid.items():
        last = await JetStream(control).last_by_subject(stream, subject)
        if last is None or (last.seq, last.data) != (seq, b"bait"):
            found.add(subject)
    return found


OWN = (
    f"$KV.{FLEET}.node.{THIEF}",
    f"$KV.{FLEET}.observed.{THIEF}.{SESSION}",
    f"$KV.{FLEET}.lease.node.{THIEF}",
    f"blazz.event.{THIEF}.acme.{SESSION}.x",
    f"blazz.node.{THIEF}.announce",
)


async def test_no_header_on_its_own_subjects_destroys_anything_of_others(
    robbed: tuple[str, Bus, Thief],
) -> None:
    _mode, control, thief = robbed
    laid = await lay(control)
    assert len(laid) > 200
    for subject in OWN:
        for headers in HEADERS:
            await thief.publish(subject, headers=headers)
            batch = {"Nats-Batch-Id": "b", "Nats-Batch-Sequence": "1", "Nats-Batch-Commit": "1"}
            await thief.publish(subject, headers={**headers, **batch})
    await thief.settled()
    await behind(control)
    assert await eaten(control, laid) == set()


REPLIES = (
    f"$KV.{FLEET}.snapshot.{SESSION}",
    f"$KV.{FLEET}.assignment.{SESSION}",
    f"$KV.{FLEET}.node.{VICTIM}",
    f"$KV.{ACCESS}.data_key.{SESSION}",
    f"blazz.vault.{SESSION}.1-1.seal",
    f"blazz.event.{VICTIM}.acme.{SESSION}.x",
    "$JS.API.STREAM.PURGE.VAULT",
    "$JS.API.STREAM.DELETE.VAULT",
    "$JS.API.STREAM.MSG.DELETE.VAULT",
)


async def _misdirect(control: Bus, thief: Thief, calls: set[str]) -> set[str]:
    """Have the server's own answers written elsewhere; what was hit."""
    laid = {}
    for subject in REPLIES:
        if subject.startswith("$JS"):
            continue
        ack = await JetStream(control).publish(subject, b"bait")
        laid[subject] = (ack.stream, ack.seq)
    for subject in (*OWN, *sorted(calls)):
        for reply in REPLIES:
            await thief.publish(subject, b'{"seq":1}', reply=reply)
    await thief.settled()
    await behind(control)
    return await eaten(control, laid)


async def test_the_servers_own_answers_cannot_be_turned_against_others(tmp_path: Path) -> None:
    """Who publishes names the subject of the acknowledgement, and the server does not look whether
    that one is allowed. In an account of its own it leads nowhere."""
    calls = {
        f"{subjects.NODE_API}.STREAM.MSG.GET.{bucket_stream(FLEET)}",
        f"{subjects.NODE_API}.STREAM.INFO.{bucket_stream(FLEET)}",
    }
    async with in_operator_mode(tmp_path) as (control, thief):
        assert await _misdirect(control, thief, calls) == set()


async def test_in_one_account_they_can(nats: EmbeddedNats) -> None:
    """Why every node of a fleet has its own account. On the embedded server they share one: all of
    its processes are of one user on one machine anyway. Once this fails, the server has learnt."""
    calls = {f"$JS.API.STREAM.INFO.{bucket_stream(FLEET)}"}
    async with on_the_embedded_server(nats) as (control, thief):
        assert f"$KV.{FLEET}.snapshot.{SESSION}" in await _misdirect(control, thief, calls)
