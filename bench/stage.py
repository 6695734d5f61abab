"""Where benches run: a sandbox, a stack on it, an API client, in a directory that goes away.

Owns only the setting-up. Never measures.
"""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import msgspec

from cli.client import Api
from cli.stack import NodePlan, Stack, StackPlan, open_stack
from cli.steps import until
from sandbox.phone import Phone, PhoneBook
from sandbox.server import Sandbox
from schemas.api import NewSession, QrView, SessionPage, SessionView
from schemas.errors import BlazzError, ErrorCode
from schemas.keys import snapshot_head_key
from schemas.pacing import UNPACED
from schemas.resources import FLEET
from schemas.snapshots import SnapshotHead
from schemas.states import EngineKind, SessionState
from schemas.transport.connection import Bus, BusSettings
from schemas.transport.kv import Bucket
from swarm_node.engines.chromium.settings import ChromiumSettings
from swarm_node.engines.loopback.settings import LoopbackSettings

LINK_LIMIT_S = 120.0
LIST_EVERY_S = 0.1


_NO_CODE_YET = (
    ErrorCode.QR_NOT_AVAILABLE,
    ErrorCode.SESSION_NOT_RUNNING,
    ErrorCode.RATE_LIMITED,
)


class Stage(msgspec.Struct, frozen=True):
    """What a bench acts with."""

    sandbox: Sandbox
    stack: Stack
    api: Api
    book: PhoneBook
    temp_dir: Path
    """Where the children's temporary files go, theirs alone."""

    @property
    def bus(self) -> BusSettings:
        """To sign in to the bus as the control plane does."""
        return self.stack.nats.bus_settings(self.stack.nats.control_plane)


class Desk(Protocol):
    """Where sessions are linked, wherever the fleet runs."""

    @property
    def api(self) -> Api:
        """The control plane's client."""

    @property
    def book(self) -> PhoneBook:
        """The phones."""

    @property
    def bus(self) -> BusSettings:
        """To sign in to the bus as a control plane."""


@asynccontextmanager
async def open_stage(
    engine: str, nodes: tuple[NodePlan, ...], **changes: Any
) -> AsyncIterator[Stage]:
    """For the block: the sandbox, the stack, the client. `changes` are fields of `StackPlan`."""
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="blazz-bench-"))
    try:
        temp_dir = folder / "tmp"
        await asyncio.to_thread(temp_dir.mkdir)
        async with Sandbox() as sandbox:
            plan = StackPlan(
                data_dir=folder / "data",
                temp_dir=temp_dir,
                nodes=nodes,
                port=0,
                engine=EngineKind(engine),
                chromium=ChromiumSettings(extra_args=tuple(sandbox.chromium_args())),
                loopback=LoopbackSettings(
                    link_url=sandbox.link_url,
                    media_url=sandbox.media_base_url,
                    ca_pem=sandbox.ca_pem,
                ),
            )
            plan = msgspec.structs.replace(plan, **changes)
            services = msgspec.structs.replace(plan.services, pacing=UNPACED)
            plan = msgspec.structs.replace(plan, services=services)
            async with (
                open_stack(plan) as stack,
                PhoneBook(sandbox.api_url) as book,
                Api(stack.api_url, stack.api_key) as api,
            ):
                yield Stage(sandbox, stack, api, book, temp_dir)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


async def shown_code(api: Api, session_id: str) -> QrView:
    """The session's QR, waited for."""

    async def ask() -> QrView | None:
        try:
            return await api.qr(session_id)
        except BlazzError as error:
            if error.code in _NO_CODE_YET:
                return None
            raise

    return await until(ask)


class Linked(msgspec.Struct, frozen=True):
    """A session that was linked, and how long that took (seconds)."""

    session: SessionView
    phone: Phone
    to_qr_s: float
    to_online_s: float


async def link_session(stage: Desk, number: str, phone: Phone | None = None) -> Linked:
    """Create a session, scan its QR with a phone (a new one unless given), wait until online."""
    loop = asyncio.get_running_loop()
    phone = phone or await stage.book.create(number)
    async with asyncio.timeout(LINK_LIMIT_S):
        began = loop.time()
        created = await stage.api.create_session(NewSession(name=number))
        code = await shown_code(stage.api, created.session_id)
        shown = loop.time()
        await phone.scan(code.value)
        scanned = loop.time()
        online = await stage.api.wait_state(
            created.session_id, SessionState.ONLINE, timeout_s=LINK_LIMIT_S, poll_s=0.02
        )
    return Linked(online, phone, shown - began, loop.time() - scanned)


async def link_sessions(
    stage: Desk, numbers: Sequence[str], *, limit_s: float = LINK_LIMIT_S
) -> list[Linked]:
    """Create sessions, link each to a new phone, wait until all are online. All at once, with few
    requests: a key's rate is limited."""
    loop = asyncio.get_running_loop()
    began, scanned_at = {}, {}
    phones: dict[str, Phone] = {}
    async with asyncio.timeout(limit_s):
        for number in numbers:
            created = await stage.api.create_session(NewSession(name=number))
            began[created.session_id] = loop.time()
            phones[created.session_id] = await stage.book.create(number)
        online: dict[str, Linked] = {}
        while len(online) < len(phones):
            await asyncio.sleep(LIST_EVERY_S)
            for view in await all_sessions(stage.api):
                sid = view.session_id
                if view.state is SessionState.PAIRING and sid not in scanned_at:
                    code = await shown_code(stage.api, sid)
                    await phones[sid].scan(code.value)
                    scanned_at[sid] = loop.time()
                elif view.state is SessionState.ONLINE and sid in scanned_at:
                    to_qr_s = scanned_at[sid] - began[sid]
                    to_online_s = loop.time() - scanned_at[sid]
                    online.setdefault(sid, Linked(view, phones[sid], to_qr_s, to_online_s))
    return [online[sid] for sid in phones]


async def all_sessions(api: Api) -> list[SessionView]:
    """Every session of the key's tenant, up to one page's limit, by one request."""
    query = {"limit": "200"}
    return (await api.call("GET", "/v1/sessions", SessionPage, query=query)).data


async def wait_kept(stage: Desk, sessions: Sequence[Linked], *, limit_s: float = 60.0) -> None:
    """Wait until a snapshot of each has been committed: from then on it survives its node."""
    async with Bus.connect(stage.bus) as bus:
        fleet = Bucket(bus, FLEET)

        async def all_kept() -> bool | None:
            for linked in sessions:
                key = snapshot_head_key(linked.session.session_id)
                head = (await fleet.get(key, SnapshotHead)).value
                if head is None or head.objects == 0:
                    return None
            return True

        async with asyncio.timeout(limit_s):
            await until(all_kept)
