"""A message's way from the API over a real node to a customer's webhook, and a tenant's erasure."""

from __future__ import annotations

from pathlib import Path

import msgspec

from cli.embedded.server import EmbeddedNats
from control_plane.outbound.settings import LOOPBACK_TOO
from control_plane.vault.master_keys import ensure_key_file
from control_plane.vault.settings import VaultSettings
from sandbox.phone import PhoneBook
from sandbox.server import Sandbox
from schemas.messages import Text
from schemas.resources import EVENTS
from schemas.tenant_data import tenant_subjects
from schemas.transport.connection import Bus
from schemas.transport.ensure import ensure_all
from schemas.transport.jetstream import JetStream
from schemas.webhooks import NewWebhook
from tests.integration.control_fixture import (
    SETTINGS,
    TENANT,
    book,
    control_plane,
    linked,
    nats,
    node,
    sandbox,
)
from tests.integration.nats_fixture import QUICK, SCALE
from tests.integration.webhook_rig import QUICK_HOOKS, receiver
from tests.waiting import eventually

__all__ = ["book", "nats", "sandbox"]


async def test_what_happens_to_a_message_arrives_and_ends_with_the_tenant(
    nats: EmbeddedNats, sandbox: Sandbox, book: PhoneBook, tmp_path: Path
) -> None:
    master_key = tmp_path / "master-key"
    ensure_key_file(master_key)
    settings = msgspec.structs.replace(
        SETTINGS,
        outbound=LOOPBACK_TOO,
        vault=VaultSettings(master_key_file=master_key),
        webhooks=msgspec.structs.replace(QUICK_HOOKS, records_sweep_s=0.3),
    )
    async with Bus.connect(nats.bus_settings(nats.control_plane, profile=QUICK)) as bus:
        await ensure_all(bus, scale=SCALE)
        async with (
            receiver() as to,
            control_plane(nats, settings) as services,
            node(nats, sandbox, tmp_path),
        ):
            made = await services.webhooks.create(TENANT, NewWebhook(url=to.url))
            assert made.secret is not None
            to.secrets.append(made.secret)
            view, _phone = await linked(services, book, "628111111111")
            await book.create("628222222222", name="Friend")
            sent = await services.messages.accept(
                TENANT, view.session_id, "628222222222@c.us", Text("hello")
            )

            def told() -> set[str]:
                return {
                    got.payload["type"]
                    for got in to.got
                    if got.payload["data"].get("message_id") == sent.message_id
                }

            await eventually(lambda: "message.sent" in told(), timeout_s=15)
            assert all(got.signed_by == (made.secret,) for got in to.got)
            assert {"session.state", "session.linked"} <= {got.payload["type"] for got in to.got}
            jetstream = JetStream(bus)

            for stream, subject in tenant_subjects(TENANT):
                await jetstream.purge(stream, subject)

            async def forgotten() -> bool:
                names = (await jetstream.api(f"CONSUMER.NAMES.{EVENTS}", None, dict))["consumers"]
                return not [name for name in names if name.startswith("hook-")]

            await eventually(forgotten, what="its place among the events is gone")
            assert await services.webhooks.list(TENANT) == []
