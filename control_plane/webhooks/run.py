"""The webhooks' composition: the API's half on every replica, the delivering half where the role
says so.

Owns who is built from what, and the lifetimes. Never a decision.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from control_plane.outbound.client import Outbound
from control_plane.vault.data_keys import DataKeys
from control_plane.webhooks.endpoints import Endpoints
from control_plane.webhooks.lane import LaneParts
from control_plane.webhooks.losses import Losses
from control_plane.webhooks.queue import DeliveryStore
from control_plane.webhooks.secrets import WebhookSecrets
from control_plane.webhooks.sender import Sender
from control_plane.webhooks.service import CheckSession, TenantWebhooks
from control_plane.webhooks.settings import WebhookSettings
from control_plane.webhooks.shard import WebhookShard
from schemas.records import LeaseRecord
from schemas.subjects import WEBHOOK_SHARDS
from schemas.transport.background import Background
from schemas.transport.connection import Bus


class WebhookNeeds(msgspec.Struct, frozen=True):
    """What the rest of the control plane gives. `deliver_as`: the holder of the shards' leases,
    None on a replica that does not deliver; `keys`: None where there is no master key."""

    outbound: Outbound
    keys: DataKeys | None
    check_session: CheckSession
    deliver_as: LeaseRecord | None


@asynccontextmanager
async def open_webhooks(
    bus: Bus, needs: WebhookNeeds, settings: WebhookSettings
) -> AsyncIterator[TenantWebhooks]:
    """For the block, serve the API and, if told to, deliver."""
    endpoints, store = Endpoints(bus), DeliveryStore(bus)
    secrets = WebhookSecrets(needs.keys)
    sender = Sender(needs.outbound, secrets, settings)
    async with Background() as tasks:
        if needs.deliver_as is not None:
            parts = LaneParts(bus, endpoints, store, sender, Losses(endpoints, store), settings)
            tasks.start(endpoints.follow(), name="webhooks follow")
            tasks.start(endpoints.sweep(settings.records_sweep_s), name="webhooks sweep")
            for number in range(WEBHOOK_SHARDS):
                shard = WebhookShard(parts, number)
                tasks.start(shard.run(needs.deliver_as), name=f"webhooks {number}")
        yield TenantWebhooks(
            endpoints,
            store,
            secrets,
            sender,
            needs.outbound.guard,
            settings,
            needs.check_session,
        )
