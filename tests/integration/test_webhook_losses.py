"""Events that the stream drops before a webhook got them: on a real nats-server."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from schemas.keys import webhook_key
from schemas.resources import EVENTS, WEBHOOKS
from schemas.transport.connection import Bus
from schemas.transport.jetstream import JetStream
from schemas.transport.kv import Bucket
from schemas.webhooks import Loss, WebhookRecord
from tests.integration.webhook_rig import (
    QUICK_HOOKS,
    TENANT,
    Receiver,
    add,
    happen,
    receiver,
    webhooks,
)
from tests.waiting import eventually


async def has_taken(to: Receiver, ids: list[str]) -> None:
    await eventually(lambda: set(ids) <= set(to.taken), timeout_s=8, what="all taken")


async def test_what_was_dropped_while_a_webhook_was_disabled_is_told(bus: Bus) -> None:
    quick = msgspec.structs.replace(QUICK_HOOKS, records_sweep_s=0.1)
    async with receiver() as to, webhooks(bus, quick) as hooks:
        hook = await add(hooks, to)
        await has_taken(to, await happen(bus, 2))
        await hooks.disable(TENANT, hook.webhook_id)
        await asyncio.sleep(
            1.2
        )  # the last pull runs out: nothing is handed to a reader that is gone
        await happen(bus, tenant="rival")
        lost = await happen(bus, 3)

        async def noted() -> bool:
            """The webhook's next event is written down before the stream drops it."""
            kept = await Bucket(bus, WEBHOOKS).get(
                webhook_key(TENANT, hook.webhook_id), WebhookRecord
            )
            return kept.value is not None and kept.value.next_unread is not None

        await eventually(noted)
        assert (await hooks.get(TENANT, hook.webhook_id)).losses == ()
        end = (await JetStream(bus).stream_info(EVENTS)).state.last_seq
        await JetStream(bus).api(f"STREAM.PURGE.{EVENTS}", {"seq": end}, dict[str, Any])

        async def losses() -> tuple[Loss, ...]:
            return (await hooks.get(TENANT, hook.webhook_id)).losses

        (loss,) = await eventually(losses)
        # The rival's event before them was none of this webhook's.
        assert (loss.from_sequence, loss.to_sequence) == (end - 2, end - 1)
        await hooks.enable(TENANT, hook.webhook_id)
        await has_taken(to, lost[2:])
        later = await happen(bus, 2)
        await has_taken(to, later)
        await asyncio.sleep(0.5)  # some more looks
        assert await losses() == (loss,)
        assert not set(lost[:2]) & set(to.taken)
