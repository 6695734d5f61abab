"""Losses: events that the stream dropped before a webhook got them.

Owns noticing that and noting it in the webhook's record, where the API shows it. A webhook whose
lane stands still (disabled, or down with a full queue) is looked at from time to time: which event
it has to get next is written down, and when the stream no longer keeps that one, it is lost. Never
sends anything.
"""

import time
from typing import Final

import msgspec
import structlog

from control_plane.webhooks.endpoints import Endpoints
from control_plane.webhooks.queue import DeliveryStore
from schemas import log_keys
from schemas.errors import BlazzError
from schemas.webhooks import Loss, WebhookRecord

log = structlog.get_logger()

LOSSES_MAX: Final = 10
"""Of a webhook; the oldest are forgotten."""


class Losses:
    """Of all webhooks; holds nothing."""

    def __init__(self, endpoints: Endpoints, store: DeliveryStore) -> None:
        self._endpoints = endpoints
        self._store = store

    async def look(self, webhook: WebhookRecord, *, stands_still: bool) -> None:
        """Note what was lost, and (if its lane stands still) what it has to get next. Never
        raises what passes: it is looked again."""
        if not stands_still and webhook.next_unread is None:
            return
        try:
            first_kept = await self._store.events_begin()
            found = await self._store.next_unread(webhook) if stands_still else None
            await self._endpoints.change(
                webhook.tenant_id,
                webhook.webhook_id,
                lambda held: noted(held, first_kept, found, time.time()),
            )
        except BlazzError as error:
            log.info(
                "webhook.losses_not_looked_at",
                webhook_id=webhook.webhook_id,
                **{log_keys.CODE: error.code},
            )


def noted(held: WebhookRecord, first_kept: int, found: int | None, now: float) -> WebhookRecord:
    """The record after a look: the stream begins at `first_kept`, and `found` is the next event
    that the webhook has to get (None: none, or its lane reads)."""
    losses = held.losses
    if held.next_unread is not None and held.next_unread < first_kept:
        losses = (*losses, Loss(held.next_unread, first_kept - 1, now))[-LOSSES_MAX:]
    return msgspec.structs.replace(held, next_unread=found, losses=losses)
