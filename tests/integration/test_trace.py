"""A message's whole way: over a real node to a webhook, and back out of the API and the command."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import msgspec

from cli.embedded.server import EmbeddedNats
from control_plane.outbound.settings import LOOPBACK_TOO
from control_plane.vault.master_keys import ensure_key_file
from control_plane.vault.settings import VaultSettings
from sandbox.phone import PhoneBook
from sandbox.server import Sandbox
from schemas.api_sending import TraceView
from schemas.messages import Text
from schemas.transport.connection import Bus
from schemas.transport.ensure import ensure_all
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
from tests.integration.test_http_real_stack import api_on
from tests.integration.webhook_rig import QUICK_HOOKS, receiver
from tests.waiting import eventually

__all__ = ["book", "nats", "sandbox"]


async def test_a_message_is_traced_from_accepted_to_the_webhook(
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
            api_on(services) as client,
        ):
            hook = await services.webhooks.create(TENANT, NewWebhook(url=to.url))
            assert hook.secret is not None
            to.secrets.append(hook.secret)
            view, _phone = await linked(services, book, "628111111111")
            await book.create("628222222222", name="Friend")
            other = await services.messages.accept(
                TENANT, view.session_id, "628222222222@c.us", Text("another")
            )
            sent = await services.messages.accept(
                TENANT, view.session_id, "628222222222@c.us", Text("secret words")
            )
            path = f"/v1/sessions/{view.session_id}/messages/{sent.message_id}/trace"

            async def whole() -> TraceView | None:
                answer = await client.get(path)
                assert answer.status_code == 200, answer.text
                assert "secret words" not in answer.text
                traced = msgspec.json.decode(answer.content, type=TraceView)
                told = {step.what for step in traced.steps}
                acks = {step.detail for step in traced.steps if step.what == "message.ack"}
                wanted = {"accepted", "message.sent", "webhook.attempt"}
                return traced if wanted <= told and "delivered" in acks else None

            traced = await eventually(whole, timeout_s=15, what="the whole way is known")
            assert traced is not None
            assert traced.steps[0].what == "accepted"
            assert [s.at for s in traced.steps] == sorted(s.at for s in traced.steps)
            by_what = {step.what: step for step in traced.steps}
            assert by_what["message.sent"].epoch == view.epoch
            assert by_what["webhook.attempt"].http_code in (200, 204)
            assert by_what["webhook.attempt"].webhook_id == hook.webhook_id
            assert traced.waits is None
            assert any("log only" in unknown for unknown in traced.unknown)
            events = {step.event_id for step in traced.steps if step.event_id}
            others = (await client.get(path.replace(sent.message_id, other.message_id))).json()
            assert events.isdisjoint(step.get("event_id") for step in others["steps"])

            missing = await client.get(path.replace(sent.message_id, "3EB0" + "0" * 18))
            assert missing.json()["code"] == "message_not_found"

            # By the command, which finds the session by itself.
            code, out, err = await blazz(client, "trace", sent.message_id)
            assert code == 0, err
            assert "accepted" in out
            assert "Not known: the single attempts" in err
            code, out, _ = await blazz(client, "trace", sent.message_id, "-o", "json")
            assert json.loads(out)["message_id"] == sent.message_id


async def blazz(client: object, *words: str) -> tuple[int, str, str]:
    """Run the command with the client's own key."""
    base, headers = client.base_url, client.headers  # type: ignore[attr-defined]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "cli",
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={
            "BLAZZ_API_URL": str(base),
            "BLAZZ_API_KEY": headers["authorization"].removeprefix("Bearer "),
            "PATH": "",
        },
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()
