"""A tenant's webhooks, as the API has them.

Owns making, changing and removing them, their secrets, test events, and asking for deliveries
again. Never delivers an event by itself: it writes down what is wanted, and the replica that owns
the webhook does it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

import msgspec
import structlog
import uuid_utils

from control_plane.core import paging
from control_plane.core.webhook_delivery import Verdict, asked_again
from control_plane.core.webhook_events import body_of
from control_plane.core.webhook_signature import secret_text
from control_plane.outbound.guard import Guard
from control_plane.webhooks.endpoints import Endpoints
from control_plane.webhooks.lane import new_delivery
from control_plane.webhooks.queue import Conflict, DeliveryStore, Listed
from control_plane.webhooks.secrets import WebhookSecrets, rotated, valid
from control_plane.webhooks.sender import Sender
from control_plane.webhooks.settings import WebhookSettings
from schemas import log_keys
from schemas.api import Page
from schemas.errors import BlazzError, ErrorCode
from schemas.ids import EventId, SessionId, TenantId, event_id, session_id, webhook_id
from schemas.resources import webhook_durable, webhook_replay_durable
from schemas.subjects import CONTROL_PLANE
from schemas.webhooks import (
    TEST_EVENT,
    AnyEvent,
    Delivery,
    DeliveryState,
    DeliveryView,
    NewWebhook,
    Recover,
    RecoverView,
    Replay,
    WebhookBacklog,
    WebhookChange,
    WebhookRecord,
    WebhookTestView,
    WebhookView,
)

log = structlog.get_logger()

CheckSession = Callable[[TenantId, SessionId], Awaitable[object]]
"""Raises `session_not_found` unless the session is the tenant's."""
_READS_AT_ONCE = 16
_TRIES_MAX = 8
NO_SESSION = session_id(bytes(16))
"""Stands in a test event where a session's id would."""


class TenantWebhooks:
    """Implements `ports.Webhooks`."""

    def __init__(
        self,
        endpoints: Endpoints,
        store: DeliveryStore,
        secrets: WebhookSecrets,
        sender: Sender,
        guard: Guard,
        settings: WebhookSettings,
        check_session: CheckSession,
    ) -> None:
        self._endpoints = endpoints
        self._store = store
        self._secrets = secrets
        self._sender = sender
        self._guard = guard
        self._settings = settings
        self._check_session = check_session

    # The webhooks themselves ---------------------------------------------------------------------

    async def create(self, tenant: TenantId, new: NewWebhook) -> WebhookView:
        """See `ports.Webhooks.create`. Raises `url_not_allowed`, `session_not_found`,
        `validation_failed` when there are too many."""
        self._guard.check_url(new.url)
        await self._check_sessions(tenant, new.sessions)
        everybody = await self._endpoints.list(None)
        mine = sum(record.tenant_id == tenant for record in everybody)
        if mine >= self._settings.webhooks_max_per_tenant:
            raise _too_many(self._settings.webhooks_max_per_tenant)
        if len(everybody) >= self._settings.webhooks_max:
            raise _too_many(self._settings.webhooks_max)
        now = time.time()
        made = webhook_id(uuid_utils.uuid7().bytes)
        sealed, secret = await self._secrets.make(made, now)
        record = WebhookRecord(
            webhook_id=made,
            tenant_id=tenant,
            url=new.url,
            created_at=now,
            start_seq=await self._store.events_end() + 1,
            secrets=(sealed,),
            events=tuple(dict.fromkeys(new.events)),
            sessions=tuple(dict.fromkeys(new.sessions)),
            description=new.description,
        )
        await self._endpoints.create(record)
        log.info("webhook.created", webhook_id=made, **{log_keys.TENANT: tenant})
        return _view(record, now, secret=secret)

    async def list(self, tenant: TenantId) -> list[WebhookView]:
        """Oldest first."""
        now = time.time()
        return [_view(record, now) for record in await self._endpoints.list(tenant)]

    async def get(self, tenant: TenantId, webhook: str) -> WebhookView:
        """With its backlog. Raises `webhook_not_found`."""
        record = await self._endpoints.get(tenant, webhook)
        queue = await self._store.list_queue(record)
        dead = sum(listed.state is DeliveryState.DEAD for listed in queue)
        unread = await self._store.unread(webhook_durable(webhook))
        backlog = WebhookBacklog(len(queue) - dead, dead, unread)
        return msgspec.structs.replace(_view(record, time.time()), backlog=backlog)

    async def change(self, tenant: TenantId, webhook: str, change: WebhookChange) -> WebhookView:
        """Raises `webhook_not_found`, `url_not_allowed`, `session_not_found`, `conflict`."""
        fields = {
            name: value
            for name in change.__struct_fields__
            if (value := getattr(change, name)) is not msgspec.UNSET
        }
        if "url" in fields:
            self._guard.check_url(fields["url"])
        await self._check_sessions(tenant, fields.get("sessions", ()))
        record = await self._endpoints.change(
            tenant, webhook, lambda held: msgspec.structs.replace(held, **fields)
        )
        return _view(record, time.time())

    async def enable(self, tenant: TenantId, webhook: str) -> WebhookView:
        """It goes on where it was. Raises `webhook_not_found`, `conflict`."""

        def on(held: WebhookRecord) -> WebhookRecord:
            return msgspec.structs.replace(
                held, enabled=True, disabled_reason=None, disabled_at=None
            )

        return _view(await self._endpoints.change(tenant, webhook, on), time.time())

    async def disable(self, tenant: TenantId, webhook: str) -> WebhookView:
        """Nothing is sent; its place is kept. Raises `webhook_not_found`, `conflict`."""
        now = time.time()

        def off(held: WebhookRecord) -> WebhookRecord:
            if not held.enabled:
                return held
            return msgspec.structs.replace(
                held, enabled=False, disabled_reason="by request", disabled_at=now
            )

        return _view(await self._endpoints.change(tenant, webhook, off), now)

    async def delete(self, tenant: TenantId, webhook: str) -> None:
        """With its deliveries and its place. Raises `webhook_not_found`."""
        record = await self._endpoints.get(tenant, webhook)
        await self._endpoints.delete(tenant, webhook)
        # Its owner does this, too; there may be none now.
        await self._store.purge(record)
        await self._store.forget_place(webhook_durable(webhook))
        await self._store.forget_place(webhook_replay_durable(webhook))
        log.info("webhook.deleted", webhook_id=webhook, **{log_keys.TENANT: tenant})

    async def rotate_secret(
        self, tenant: TenantId, webhook: str, *, overlap_s: float
    ) -> WebhookView:
        """Raises `webhook_not_found`, `conflict`, `master_key_missing`."""
        await self._endpoints.get(tenant, webhook)
        now = time.time()
        sealed, secret = await self._secrets.make(webhook, now)
        record = await self._endpoints.change(
            tenant,
            webhook,
            lambda held: msgspec.structs.replace(
                held, secrets=rotated(held, sealed, now, overlap_s)
            ),
        )
        log.info("webhook.secret_rotated", webhook_id=webhook, **{log_keys.TENANT: tenant})
        return _view(record, now, secret=secret)

    async def test(self, tenant: TenantId, webhook: str) -> WebhookTestView:
        """Sends now, once, also to a disabled one. Raises `webhook_not_found`,
        `master_key_missing`."""
        record = await self._endpoints.get(tenant, webhook)
        made = event_id(uuid_utils.uuid7().bytes)
        event = AnyEvent(
            event_id=made,
            at=time.time(),
            tenant_id=tenant,
            session_id=NO_SESSION,
            node_id=CONTROL_PLANE,
            epoch=0,
            data={"type": TEST_EVENT, "message": "It works."},
        )
        outcome = await self._sender.send(record, made, body_of(event, 0))
        return WebhookTestView(outcome.verdict is Verdict.DELIVERED, made, outcome.attempt)

    # Deliveries ----------------------------------------------------------------------------------

    async def deliveries(
        self,
        tenant: TenantId,
        webhook: str,
        *,
        state: DeliveryState | None,
        limit: int,
        cursor: str | None,
    ) -> Page[DeliveryView]:
        """The last tried first. Raises `webhook_not_found`, `validation_failed`."""
        record = await self._endpoints.get(tenant, webhook)
        listed: list[Listed] = []
        if state is not DeliveryState.DELIVERED:
            listed += await self._store.list_queue(record)
        if state in (None, DeliveryState.DELIVERED):
            listed += await self._store.list_log(record)
        wanted = [each for each in listed if state in (None, each.state)]
        page, after = paging.take(
            wanted, lambda e: (e.tried_at, f"{e.event_id}-{e.seq}"), limit=limit, cursor=cursor
        )
        places = asyncio.Semaphore(_READS_AT_ONCE)

        async def read(one: Listed) -> Delivery | None:
            async with places:
                return await self._store.read(one)

        async with asyncio.TaskGroup() as reads:
            tasks = [reads.create_task(read(each)) for each in page]
        found = [_delivery_view(d) for task in tasks if (d := task.result()) is not None]
        return Page(found, after is not None, after)

    async def deliveries_of(
        self, tenant: TenantId, events: frozenset[EventId]
    ) -> tuple[tuple[str, DeliveryView], ...]:
        """See `ports.Webhooks.deliveries_of`."""
        found: list[tuple[str, DeliveryView]] = []
        for record in await self._endpoints.list(tenant):
            listed = await self._store.list_queue(record) + await self._store.list_log(record)
            for each in listed:
                delivery = await self._store.read(each) if each.event_id in events else None
                if delivery is not None:
                    found.append((record.webhook_id, _delivery_view(delivery)))
        return tuple(found)

    async def resend(self, tenant: TenantId, webhook: str, event: EventId) -> DeliveryView:
        """Raises `webhook_not_found`, `delivery_not_found`, `conflict`."""
        record = await self._endpoints.get(tenant, webhook)
        for _ in range(_TRIES_MAX):
            queued = await self._store.queued(record, event)
            delivery, seq = queued or (await self._delivered(record, event), 0)
            wanted = asked_again(delivery, time.time())
            try:
                await self._store.write(wanted, seq)
            except Conflict:
                continue
            return _delivery_view(wanted)
        raise BlazzError(ErrorCode.CONFLICT)

    async def recover(self, tenant: TenantId, webhook: str, wanted: Recover) -> RecoverView:
        """Raises `webhook_not_found`, and `conflict` while past events are read already."""
        record = await self._endpoints.get(tenant, webhook)
        if wanted.all:
            replay = Replay(wanted.since, await self._store.events_end())
            await self._endpoints.change(tenant, webhook, lambda held: _replaying(held, replay))
        requeued = 0
        for listed in await self._store.list_queue(record):
            if listed.event_at >= wanted.since:
                requeued += await self._requeue(record, listed)
        log.info(
            "webhook.recovery_begun",
            webhook_id=webhook,
            requeued=requeued,
            replaying=wanted.all,
            **{log_keys.TENANT: tenant},
        )
        return RecoverView(requeued, wanted.all)

    async def _requeue(self, record: WebhookRecord, listed: Listed) -> bool:
        found = await self._store.queued(record, listed.event_id)
        if found is None:
            return False
        try:
            await self._store.write(asked_again(found[0], time.time()), found[1])
        except Conflict:
            # It is being tried this moment.
            return False
        return True

    async def _delivered(self, record: WebhookRecord, event: EventId) -> Delivery:
        """A delivery of the log, with its body made anew from the event."""
        log_of = await self._store.list_log(record)
        for listed in reversed(log_of):
            if listed.event_id != event:
                continue
            delivery = await self._store.read(listed)
            kept = await self._store.event(delivery.sequence) if delivery is not None else None
            if delivery is None or kept is None or kept.event_id != event:
                break
            again = new_delivery(record, kept, delivery.sequence)
            return msgspec.structs.replace(again, attempts=delivery.attempts)
        raise BlazzError(ErrorCode.DELIVERY_NOT_FOUND)

    async def _check_sessions(self, tenant: TenantId, sessions: tuple[SessionId, ...]) -> None:
        for session in sessions:
            await self._check_session(tenant, session)


def _replaying(held: WebhookRecord, replay: Replay) -> WebhookRecord:
    if held.replay is not None:
        raise BlazzError(ErrorCode.CONFLICT, "past events are being sent again already")
    return msgspec.structs.replace(held, replay=replay)


def _too_many(limit: int) -> BlazzError:
    return BlazzError(ErrorCode.VALIDATION_FAILED, f"at most {limit} webhooks; remove one")


def _view(record: WebhookRecord, now: float, *, secret: bytes | None = None) -> WebhookView:
    return WebhookView(
        webhook_id=record.webhook_id,
        url=record.url,
        events=record.events,
        sessions=record.sessions,
        description=record.description,
        enabled=record.enabled,
        disabled_reason=record.disabled_reason,
        disabled_at=record.disabled_at,
        created_at=record.created_at,
        secrets_valid=len(valid(record, now)),
        replaying=record.replay is not None,
        secret=None if secret is None else secret_text(secret),
        losses=record.losses,
    )


def _delivery_view(delivery: Delivery) -> DeliveryView:
    return DeliveryView(
        event_id=delivery.event_id,
        type=delivery.type,
        session_id=delivery.session_id,
        sequence=delivery.sequence,
        event_at=delivery.event_at,
        state=delivery.state,
        attempts=delivery.attempts,
        due_at=delivery.due_at,
    )
