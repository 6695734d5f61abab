"""A real node beside a real nats-server and a real switch: what the node tests stand on.

Owns the world's setup and the control plane's side of the bus (commands out, events in). Import
the fixtures you use: `from tests.integration.node_fixture import world  # noqa: F401`.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from cli.embedded.identities import IdentityStore, Role
from cli.embedded.server import EmbeddedNats
from control_plane.feed.told import serve_told
from sandbox.phone import Phone, PhoneBook
from sandbox.server import Sandbox
from sandbox.settings import SandboxSettings
from schemas import commands as c
from schemas.events import Event, SessionStateChanged
from schemas.ids import message_id, session_id
from schemas.keys import observed_key
from schemas.messages import Text
from schemas.permissions import inbox_prefix
from schemas.records import SessionObserved
from schemas.resources import EVENTS, FLEET
from schemas.states import EngineKind, SessionState
from schemas.subjects import EVENTS_ALL, node_command
from schemas.transport.background import Background
from schemas.transport.connection import Bus
from schemas.transport.jetstream import JetStream, StoredMessage
from schemas.transport.kv import Bucket
from schemas.transport.streams import read_ordered
from schemas.transport.typed import request
from swarm_node.app import run_node
from swarm_node.config import BusAccess, NodeSettings
from swarm_node.core.backoff import BackoffPolicy
from swarm_node.engines.loopback.settings import LoopbackSettings
from swarm_node.session.timings import SessionTimings
from tests.integration.nats_fixture import SETTINGS, bus
from tests.waiting import eventually

__all__ = ["World", "bus", "nats", "new_session_id", "world"]

T = TypeVar("T")
D = TypeVar("D")

NODE = "node-1"
OTHER_NODE = "node-2"
TENANT = "acme"
QUICK_SESSIONS = SessionTimings(
    probe_period_s=0.3,
    probe_unsettled_s=0.1,
    probe_gap_s=0.02,
    backoff=BackoffPolicy(first_s=0.05, longest_s=0.2, failures_max=2),
)


def new_session_id() -> str:
    return session_id(secrets.token_bytes(16))


class World:
    """One nats-server, one switch, and the control plane's seat."""

    def __init__(
        self, nats: EmbeddedNats, bus: Bus, sandbox: Sandbox, book: PhoneBook, folder: Path
    ) -> None:
        self.nats = nats
        self.bus = bus
        self.sandbox = sandbox
        self.book = book
        self.folder = folder
        self.events: list[Event] = []

    # Nodes -------------------------------------------------------------------------------------

    async def settings(self, node_id: str = NODE, **changes: Any) -> NodeSettings:
        identity = await self.nats.add_node(node_id)
        assert identity.inbox_prefix == inbox_prefix(node_id)
        loopback = changes.pop("loopback", {})
        fields: dict[str, Any] = {
            "node_id": node_id,
            "data_dir": self.folder / node_id,
            "engines": (EngineKind.LOOPBACK,),
            "bus": BusAccess(servers=(self.nats.url,), nkey_seed_file=identity.seed_file),
            "heartbeat_s": 0.2,
            "start_spacing_s": 0.0,
            "session": QUICK_SESSIONS,
            "loopback": LoopbackSettings(
                link_url=self.sandbox.link_url,
                media_url=self.sandbox.media_base_url,
                ca_pem=self.sandbox.ca_pem,
                redial_longest_s=0.3,
                **loopback,
            ),
        }
        return NodeSettings(**{**fields, **changes})

    @asynccontextmanager
    async def node(self, node_id: str = NODE, **changes: Any) -> AsyncIterator[asyncio.Task[None]]:
        """A running node; stopped cleanly at the end unless its task was cancelled."""
        ready, stop = asyncio.Event(), asyncio.Event()
        settings = await self.settings(node_id, **changes)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(run_node(settings, on_ready=lambda _: ready.set(), stop=stop))
            waiter = group.create_task(ready.wait())
            await asyncio.wait({task, waiter}, return_when=asyncio.FIRST_COMPLETED)
            waiter.cancel()
            try:
                yield task
            finally:
                stop.set()

    # Commands ------------------------------------------------------------------------------------

    async def ask(self, name: str, command: msgspec.Struct, *, node_id: str = NODE) -> Any:
        spec = c.COMMANDS[name]
        return await request(
            self.bus,
            node_command(node_id, name),
            command,
            spec.reply,
            timeout_s=spec.timeout_s,
        )

    async def start(self, session: str, *, epoch: int = 1, node_id: str = NODE) -> c.SessionAnswer:
        command = c.StartSession(
            session_id=session, epoch=epoch, tenant_id=TENANT, engine=EngineKind.LOOPBACK
        )
        answer: c.SessionAnswer = await self.ask("start", command, node_id=node_id)
        return answer

    async def stop(self, session: str, *, epoch: int = 1) -> c.SessionAnswer:
        command = c.StopSession(session_id=session, epoch=epoch)
        answer: c.SessionAnswer = await self.ask("stop", command)
        return answer

    async def send(
        self,
        session: str,
        to: str,
        text: str,
        *,
        key: str | None = None,
        epoch: int = 1,
        dispatcher_epoch: int = 0,
    ) -> c.SendAnswer:
        command = c.SendMessage(
            session_id=session,
            epoch=epoch,
            message_id=key or new_message_id(),
            to=to,
            content=Text(text),
            dispatcher_epoch=dispatcher_epoch,
        )
        answer: c.SendAnswer = await self.ask("send_message", command)
        return answer

    async def qr(
        self, session: str, *, renew: bool = False, node_id: str = NODE, epoch: int = 1
    ) -> c.QrAnswer:
        command = c.GetQr(session_id=session, epoch=epoch, renew=renew)
        answer: c.QrAnswer = await self.ask("get_qr", command, node_id=node_id)
        return answer

    # What is seen ------------------------------------------------------------------------------

    async def observed(self, session: str, *, node_id: str = NODE) -> SessionObserved | None:
        bucket = Bucket(self.bus, FLEET)
        return (await bucket.get(observed_key(node_id, session), SessionObserved)).value

    async def reaches(
        self, session: str, state: SessionState, *, node_id: str = NODE, timeout_s: float = 10.0
    ) -> SessionObserved:
        async def there() -> SessionObserved | None:
            seen = await self.observed(session, node_id=node_id)
            assert seen is not None
            assert seen.state is state, f"{seen.state} ({seen.reason})"
            return seen

        found = await eventually(there, timeout_s=timeout_s, what=f"session {state}")
        assert found is not None
        return found

    async def sees(
        self, kind: type[D], check: Callable[[D], object] = bool, *, timeout_s: float = 10.0
    ) -> D:
        """The first event of a kind that passes the check."""

        def there() -> D | None:
            return next((d for d in self.data(kind) if check(d)), None)

        found = await eventually(there, timeout_s=timeout_s, what=f"event {kind.__name__}")
        assert found is not None
        return found

    def data(self, kind: type[D]) -> list[D]:
        return [event.data for event in self.events if isinstance(event.data, kind)]

    def states(self, session: str) -> list[SessionState]:
        """The states a session went through, as its events tell."""
        return [
            event.data.state
            for event in self.events
            if event.session_id == session and isinstance(event.data, SessionStateChanged)
        ]

    # Shortcuts -----------------------------------------------------------------------------------

    async def phone(self, number: str = "15550001", **fields: Any) -> Phone:
        return await self.book.create(number, f"Phone {number}", **fields)

    async def online(self, session: str, phone: Phone) -> None:
        """Start a session and link it by QR."""
        await self.start(session)
        await self.reaches(session, SessionState.PAIRING)
        await phone.scan((await self.qr(session)).value)
        await self.reaches(session, SessionState.ONLINE)

    async def collect(self) -> None:
        async for item in read_ordered(JetStream(self.bus), EVENTS, EVENTS_ALL, start_seq=1):
            assert isinstance(item, StoredMessage), "events were pruned"
            self.events.append(msgspec.json.decode(item.data, type=Event))


def new_message_id() -> str:
    return message_id(secrets.token_bytes(9))


@pytest.fixture
async def nats(tmp_path: Path) -> AsyncIterator[EmbeddedNats]:
    """A server that knows the nodes from the start."""
    for node_id in (NODE, OTHER_NODE):
        IdentityStore(tmp_path / "nats" / "identities").ensure(Role.NODE, node_id)
    async with EmbeddedNats(tmp_path / "nats", SETTINGS) as server:
        yield server


@pytest.fixture
async def world(nats: EmbeddedNats, bus: Bus, tmp_path: Path) -> AsyncIterator[World]:
    async with (
        Sandbox(SandboxSettings()) as sandbox,
        PhoneBook(sandbox.api_url) as book,
        serve_told(bus),
        Background() as tasks,
    ):
        made = World(nats, bus, sandbox, book, tmp_path)
        tasks.start(made.collect(), name="collect events")
        yield made
