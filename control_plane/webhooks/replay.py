"""A replay: past events sent to a webhook again.

Owns the second place in EVENTS that a webhook has meanwhile, and its end. The events go through the
webhook's lane as new ones do. Survives its replica: the place is the server's.
"""

import time
from contextlib import aclosing
from typing import Final

import msgspec
import structlog

from control_plane.webhooks.lane import Lane, LaneParts
from schemas.errors import BlazzError
from schemas.resources import EVENTS, webhook_replay_durable
from schemas.transport.background import Background
from schemas.transport.durable import Work, durable_config
from schemas.transport.jetstream import JetStream
from schemas.transport.streams import pause_unless_final
from schemas.webhooks import Replay, WebhookRecord

log = structlog.get_logger()

_PULL_S: Final = 1.0


async def run_replay(parts: LaneParts, lane: Lane, replay: Replay) -> None:
    """Send them and write down that it is done. Raises what no waiting mends."""
    jetstream = JetStream(parts.bus)
    while True:
        try:
            await _send(parts, lane, replay, jetstream)
            await _end(parts, lane.webhook, replay)
        except BlazzError as error:
            log.info("webhook.replay_interrupted", code=error.code)
            await pause_unless_final(jetstream, error)
        else:
            return


async def _send(parts: LaneParts, lane: Lane, replay: Replay, jetstream: JetStream) -> None:
    name = webhook_replay_durable(lane.webhook.webhook_id)
    config = durable_config(lane.spec(name, start_at=replay.since))
    await jetstream.create_consumer(EVENTS, name, config)
    begun, sent, passed = time.monotonic(), 0, False
    async with Background() as tasks:
        while True:
            info = await jetstream.consumer_info(EVENTS, name)
            if (passed or info.num_pending == 0) and not len(tasks) and not info.num_ack_pending:
                break
            pull = jetstream.fetch(EVENTS, name, batch=await lane.room(), expires_s=_PULL_S)
            async with aclosing(pull) as messages:
                async for raw in messages:
                    work = Work(jetstream, raw)
                    if work.seq > replay.until_seq:
                        # The webhook's own place brings it.
                        passed = True
                        await work.ack()
                        continue
                    sent += 1
                    tasks.start(lane.handle(work), name="webhook replay event")
                if passed:
                    await tasks.drain(_PULL_S)
    log.info(
        "webhook.replayed",
        webhook_id=lane.webhook.webhook_id,
        events=sent,
        duration_s=round(time.monotonic() - begun, 1),
    )


async def _end(parts: LaneParts, webhook: WebhookRecord, replay: Replay) -> None:
    await parts.store.forget_place(webhook_replay_durable(webhook.webhook_id))

    def done(held: WebhookRecord) -> WebhookRecord:
        return msgspec.structs.replace(held, replay=None) if held.replay == replay else held

    await parts.endpoints.change(webhook.tenant_id, webhook.webhook_id, done)
