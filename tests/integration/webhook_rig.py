"""Webhooks on a real bus with real receivers, for tests.

Owns the receiver (it checks every request with the package `standardwebhooks`), the events and the
composition. Must never be imported outside tests.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import uuid_utils
from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from control_plane.outbound.client import Outbound
from control_plane.outbound.settings import LOOPBACK_TOO
from control_plane.vault.data_keys import DataKeys
from control_plane.vault.master_keys import MasterKeyRing, ensure_key_file
from control_plane.webhooks.run import WebhookNeeds, open_webhooks
from control_plane.webhooks.service import TenantWebhooks
from control_plane.webhooks.settings import WebhookSettings
from schemas.events import Event, EventData, MessageAck, MessageDeleted
from schemas.ids import event_id, session_id
from schemas.records import LeaseRecord
from schemas.states import Ack
from schemas.subjects import event
from schemas.transport import typed
from schemas.transport.connection import Bus
from schemas.webhooks import NewWebhook, WebhookView

TENANT: Final = "acme"
SESSION: Final = session_id(b"\x01" * 16)
OTHER_SESSION: Final = session_id(b"\x02" * 16)
NODE: Final = "node-a"
QUICK_HOOKS: Final = WebhookSettings(
    timeout_s=2.0,
    schedule_s=(0.0, 0.1, 0.1, 0.2, 60.0),
    ack_wait_s=1.0,
    sweep_s=0.5,
)

Answer = Callable[["Got"], Awaitable[web.StreamResponse]]


class Got(msgspec.Struct, frozen=True):
    """A request that a receiver got, and which of its secrets signed it."""

    id: str
    headers: dict[str, str]
    body: bytes
    payload: dict[str, Any]
    signed_by: tuple[str, ...]
    at: float


class Receiver:
    """A customer's server. `answer` decides; every request is kept in `got`."""

    def __init__(self) -> None:
        self.url = ""
        self.got: list[Got] = []
        self.secrets: list[str] = []
        self.taken: list[str] = []
        """The ids of those that were answered with 2xx."""
        self.answer: Answer = self._ok

    @staticmethod
    async def _ok(_got: Got) -> web.StreamResponse:
        return web.Response(status=204)

    def ids(self) -> list[str]:
        return [got.id for got in self.got]

    async def take(self, request: web.Request) -> web.StreamResponse:
        body, headers = await request.read(), dict(request.headers)
        got = Got(
            id=request.headers["webhook-id"],
            headers={name.lower(): value for name, value in headers.items()},
            body=body,
            payload=msgspec.json.decode(body),
            signed_by=tuple(s for s in self.secrets if verifies(s, body, headers)),
            at=time.time(),
        )
        self.got.append(got)
        answer = await self.answer(got)
        if 200 <= answer.status < 300:
            self.taken.append(got.id)
        return answer


def verifies(secret: str, body: bytes, headers: dict[str, str]) -> bool:
    """What the reference implementation says."""
    try:
        Webhook(secret).verify(body, headers)
    except WebhookVerificationError:
        return False
    return True


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver on a free port."""
    made = Receiver()
    app = web.Application()
    app.router.add_post("/{path:.*}", made.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        made.url = f"http://{host}:{port}/hooks"
        yield made
    finally:
        await runner.cleanup()


def status(code: int, **headers: str) -> Answer:
    """Always answer this."""

    async def answer(_got: Got) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=code, text="no\nwonder", headers=named)

    return answer


async def _any_session(_tenant: str, _session: str) -> object:
    return None


async def master_keys(bus: Bus, folder: Path) -> DataKeys:
    """Data keys under a master key of their own."""
    path = folder / "master-key"
    await asyncio.to_thread(ensure_key_file, path)
    return DataKeys(bus, MasterKeyRing(path))


@asynccontextmanager
async def webhooks(
    bus: Bus,
    settings: WebhookSettings = QUICK_HOOKS,
    *,
    keys: DataKeys | None = None,
    replica: str = "cp-1",
    deliver: bool = True,
) -> AsyncIterator[TenantWebhooks]:
    """A replica's webhooks."""
    me = LeaseRecord(replica, uuid.uuid4().hex, time.time())
    async with Outbound(LOOPBACK_TOO) as outbound:
        needs = WebhookNeeds(outbound, keys, _any_session, me if deliver else None)
        async with open_webhooks(bus, needs, settings) as opened:
            yield opened


async def add(
    hooks: TenantWebhooks, to: Receiver, tenant: str = TENANT, **fields: Any
) -> WebhookView:
    """A webhook to a receiver, which learns its secret."""
    made = await hooks.create(
        tenant, msgspec.convert({"url": to.url, **fields}, NewWebhook, strict=False)
    )
    assert made.secret is not None
    to.secrets.append(made.secret)
    return made


async def happen(
    bus: Bus,
    count: int = 1,
    *,
    tenant: str = TENANT,
    session: str = SESSION,
    data: EventData | None = None,
) -> list[str]:
    """Events on the bus, as a node publishes them; their ids."""
    ids = []
    for number in range(count):
        made = Event(
            event_id=event_id(uuid_utils.uuid7().bytes),
            at=time.time(),
            tenant_id=tenant,
            session_id=session,
            node_id=NODE,
            epoch=1,
            data=data or MessageAck(f"3EB0{number:018X}", "628123@c.us", Ack.DELIVERED),
        )
        subject = event(NODE, tenant, session, made.data)
        await typed.publish_durable(bus, subject, made, made.event_id)
        ids.append(made.event_id)
    return ids


DELETED: Final = MessageDeleted("3EB0000000000000000001", "628123@c.us")
