"""Webhooks on a real nats-server, delivered to real servers, checked by the reference package."""

from __future__ import annotations

import asyncio
import base64
import socket
import time
from pathlib import Path

import msgspec
import pytest
from aiohttp import web

from control_plane.webhooks.service import TenantWebhooks
from schemas.errors import BlazzError, ErrorCode
from schemas.keys import webhook_key
from schemas.resources import EVENTS, WEBHOOK_QUEUE, WEBHOOKS, bucket_stream, webhook_durable
from schemas.transport.connection import Bus
from schemas.transport.jetstream import JetStream, JetStreamError
from schemas.webhooks import DeliveryState, DeliveryView, Recover, WebhookChange, WebhookView
from tests.integration.webhook_rig import (
    DELETED,
    NODE,
    OTHER_SESSION,
    QUICK_HOOKS,
    SESSION,
    TENANT,
    Got,
    Receiver,
    add,
    happen,
    master_keys,
    receiver,
    status,
    webhooks,
)
from tests.waiting import eventually


async def deliveries(
    hooks: TenantWebhooks, hook: WebhookView, state: DeliveryState | None = None
) -> list[DeliveryView]:
    page = await hooks.deliveries(TENANT, hook.webhook_id, state=state, limit=200, cursor=None)
    return page.data


async def wait_state(
    hooks: TenantWebhooks, hook: WebhookView, event: str, state: DeliveryState
) -> DeliveryView:
    async def look() -> DeliveryView | None:
        found = [d for d in await deliveries(hooks, hook) if d.event_id == event]
        return found[0] if found and found[0].state is state else None

    return await eventually(look, what=f"{event} is {state}")


async def has_taken(to: Receiver, ids: list[str], *, timeout_s: float = 8.0) -> None:
    await eventually(lambda: set(ids) <= set(to.taken), timeout_s=timeout_s, what="all taken")


async def raises(code: ErrorCode, awaitable: object) -> None:
    with pytest.raises(BlazzError) as raised:
        await awaitable  # type: ignore[misc]
    assert raised.value.code is code


async def test_every_event_arrives_signed_once_and_in_order(bus: Bus, tmp_path: Path) -> None:
    keys = await master_keys(bus, tmp_path)
    async with receiver() as to, webhooks(bus, keys=keys) as hooks:
        await happen(bus)  # before there was a webhook
        hook = await add(hooks, to)
        under_way, most = 0, 0

        async def slowly(_got: Got) -> web.StreamResponse:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0.005)
            under_way -= 1
            return web.Response()

        to.answer = slowly
        ids = await happen(bus, 40)
        await has_taken(to, ids)
        assert to.ids() == ids
        assert most == 1, "those of one session go one after the other"
        await eventually(lambda: _all_read(hooks, hook), what="all are acknowledged")
        for got in to.got:
            assert got.signed_by == (to.secrets[0],)
            assert got.headers["content-type"] == "application/json"
            assert set(got.payload) == {"type", "timestamp", "data"}
        first = to.got[0].payload
        assert first["type"] == "message.ack"
        assert first["timestamp"].endswith("Z")
        assert first["data"]["event_id"] == ids[0]
        assert first["data"]["tenant_id"] == TENANT
        assert first["data"]["session_id"] == SESSION
        assert first["data"]["ack"] == "delivered"
        assert [g.payload["data"]["sequence"] for g in to.got] == list(range(2, 42))


async def _all_read(hooks: TenantWebhooks, hook: WebhookView) -> bool:
    backlog = (await hooks.get(TENANT, hook.webhook_id)).backlog
    return backlog is not None and backlog.unread == 0


async def test_types_and_sessions_choose_and_tenants_are_apart(bus: Bus) -> None:
    async with receiver() as some, receiver() as one, receiver() as rival, webhooks(bus) as hooks:
        await add(hooks, some, events=["message.deleted", "session.*"])
        await add(hooks, one, sessions=[OTHER_SESSION])
        await add(hooks, rival, tenant="rival")
        await happen(bus)
        deleted = await happen(bus, data=DELETED)
        other = await happen(bus, session=OTHER_SESSION)
        foreign = await happen(bus, tenant="rival")
        await has_taken(some, deleted)
        await has_taken(one, other)
        await has_taken(rival, foreign)
        assert (some.ids(), one.ids(), rival.ids()) == (deleted, other, foreign)


async def test_an_event_of_a_type_only_newer_processes_know_arrives(bus: Bus) -> None:
    async with receiver() as to, webhooks(bus) as hooks:
        await add(hooks, to)
        made = "evt_" + "0" * 26
        raw = {
            "event_id": made,
            "at": 1_700_000_000.25,
            "tenant_id": TENANT,
            "session_id": SESSION,
            "node_id": NODE,
            "epoch": 3,
            "data": {"type": "moon.phase", "phase": 0.5},
        }
        subject = f"blazz.event.{NODE}.{TENANT}.{SESSION}.moon.phase"
        await JetStream(bus).publish(subject, msgspec.json.encode(raw))
        await has_taken(to, [made])
        payload = to.got[0].payload
        assert payload["type"] == "moon.phase"
        assert payload["timestamp"] == "2023-11-14T22:13:20.250Z"
        assert payload["data"]["phase"] == 0.5


async def test_what_is_no_event_or_lies_about_its_tenant_stops_nobody(bus: Bus) -> None:
    async with receiver() as to, webhooks(bus) as hooks:
        await add(hooks, to)
        jetstream = JetStream(bus)
        at = f"blazz.event.{NODE}.{TENANT}.{SESSION}.message.ack"
        await jetstream.publish(at, b"not json")
        stolen = (await happen(bus, tenant="rival"))[0]
        stored = await jetstream.next_by_subject(EVENTS, "blazz.event.*.rival.>")
        assert stored is not None
        await jetstream.publish(at, stored.data)
        ids = await happen(bus)
        await has_taken(to, ids)
        assert stolen not in to.ids()


async def test_a_failing_event_is_tried_again_under_one_id_and_holds_nothing_up(bus: Bus) -> None:
    async with receiver() as to, webhooks(bus) as hooks:
        hook = await add(hooks, to)
        ids = await happen(bus, 3)
        await has_taken(to, ids)
        bad: list[str] = []

        async def answer(got: Got) -> web.StreamResponse:
            # The first that comes now: an attempt may be here before its publisher knows its id.
            bad.extend([got.id] if not bad else [])
            refuse = got.id == bad[0] and to.ids().count(got.id) < 4
            return web.Response(status=500 if refuse else 200, text="why\x00not")

        to.answer = answer
        more = await happen(bus, 10)
        await has_taken(to, ids + more)
        assert to.ids().count(bad[0]) == 4
        same = [got for got in to.got if got.id == bad[0]]
        assert len({got.body for got in same}) == 1
        assert all(got.signed_by for got in same)
        assert same[1].at - same[0].at >= QUICK_HOOKS.schedule_s[1]
        done = await wait_state(hooks, hook, bad[0], DeliveryState.DELIVERED)
        assert [a.http_code for a in done.attempts] == [500, 500, 500, 200]
        assert [a.error for a in done.attempts] == ["http_error"] * 3 + [None]
        assert done.attempts[0].answer == "why not"
        assert all(a.duration_s >= 0 for a in done.attempts)
        assert (await JetStream(bus).stream_info(WEBHOOK_QUEUE)).state.messages == 0


async def test_a_dead_or_slow_webhook_delays_no_other(bus: Bus) -> None:
    stuck = asyncio.Event()

    async def never(_got: Got) -> web.StreamResponse:
        await stuck.wait()
        return web.Response()

    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        async with receiver() as good, receiver() as slow, webhooks(bus) as hooks:
            slow.answer = never
            dead = Receiver()
            dead.url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
            for each in (slow, dead, good):
                await add(hooks, each)
            begun = time.monotonic()
            ids = await happen(bus, 150)
            await has_taken(good, ids)
            # The slow one would need minutes for as many.
            assert time.monotonic() - begun < 6
            assert 0 < len(slow.got) < 20
            stuck.set()


async def test_given_up_after_the_last_attempt_listed_and_sent_again_on_request(bus: Bus) -> None:
    quick = msgspec.structs.replace(QUICK_HOOKS, schedule_s=(0.0, 0.05, 0.05))
    async with receiver() as to, webhooks(bus, quick) as hooks:
        hook = await add(hooks, to)
        to.answer = status(503)
        (event,) = await happen(bus)
        dead = await wait_state(hooks, hook, event, DeliveryState.DEAD)
        assert (len(dead.attempts), dead.due_at) == (3, None)
        assert to.ids() == [event] * 3
        seen = (await hooks.get(TENANT, hook.webhook_id)).backlog
        assert seen is not None
        assert (seen.waiting, seen.dead) == (0, 1)
        to.answer = status(200)
        await hooks.resend(TENANT, hook.webhook_id, event)
        done = await wait_state(hooks, hook, event, DeliveryState.DELIVERED)
        assert len(done.attempts) == 4
        # And once more, although it was delivered: the same id, the same bytes.
        await hooks.resend(TENANT, hook.webhook_id, event)
        await eventually(lambda: len(to.got) == 5)
        assert len({(got.id, got.body) for got in to.got}) == 1
        await raises(
            ErrorCode.DELIVERY_NOT_FOUND,
            hooks.resend(TENANT, hook.webhook_id, "evt_" + "0" * 26),
        )


@pytest.mark.parametrize("code", [301, 302, 307, 404, 429, 500])
async def test_any_answer_but_2xx_fails_and_no_redirect_is_followed(bus: Bus, code: int) -> None:
    async with receiver() as to, receiver() as trap, webhooks(bus) as hooks:
        hook = await add(hooks, to)
        to.answer = status(code, Location=trap.url)
        (event,) = await happen(bus)
        await eventually(lambda: len(to.got) == 2, what="a second attempt")
        assert not trap.got
        waiting = await wait_state(hooks, hook, event, DeliveryState.WAITING)
        assert waiting.attempts[0].http_code == code
        assert waiting.attempts[0].answer == "no wonder"


async def test_410_disables_and_nothing_is_forgotten(bus: Bus) -> None:
    async with receiver() as to, webhooks(bus) as hooks:
        hook = await add(hooks, to)
        to.answer = status(410)
        ids = await happen(bus)

        async def disabled() -> WebhookView | None:
            seen = await hooks.get(TENANT, hook.webhook_id)
            return None if seen.enabled else seen

        seen = await eventually(disabled)
        assert (seen.disabled_reason, seen.disabled_at is not None) == ("gone", True)
        ids += await happen(bus, 3)
        quiet = len(to.got)
        await asyncio.sleep(0.5)  # longer than the next attempt would wait
        assert len(to.got) == quiet
        to.answer = status(200)
        assert (await hooks.enable(TENANT, hook.webhook_id)).disabled_reason is None
        await has_taken(to, ids)


async def test_a_disabled_webhook_keeps_its_place(bus: Bus) -> None:
    async with receiver() as to, webhooks(bus) as hooks:
        hook = await add(hooks, to)
        before = await happen(bus, 2)
        await has_taken(to, before)
        off = await hooks.disable(TENANT, hook.webhook_id)
        assert (off.enabled, off.disabled_reason) == (False, "by request")
        await eventually(lambda: _lanes_idle(hooks, hook))
        ids = await happen(bus, 5)

        async def unread() -> bool:
            seen = await hooks.get(TENANT, hook.webhook_id)
            return seen.backlog is not None and seen.backlog.unread >= 5

        await eventually(unread)
        assert len(to.got) == 2
        await hooks.enable(TENANT, hook.webhook_id)
        await has_taken(to, ids)
        assert sorted(to.taken) == sorted(before + ids)


async def _lanes_idle(hooks: TenantWebhooks, hook: WebhookView) -> bool:
    """The lane's last pull has run out, so that nothing is handed to a reader that is gone."""
    await asyncio.sleep(1.2)
    return True


async def test_retry_after_is_honoured_for_the_whole_webhook(bus: Bus) -> None:
    async with receiver() as to, webhooks(bus) as hooks:
        hook = await add(hooks, to)
        to.answer = status(429, Retry_After="1")
        first = await happen(bus)
        await eventually(lambda: len(to.got) == 1)
        to.answer = status(200)
        later = await happen(bus, 5)
        await has_taken(to, first + later)
        assert to.got[1].at - to.got[0].at >= 0.95
        done = await wait_state(hooks, hook, first[0], DeliveryState.DELIVERED)
        assert [a.http_code for a in done.attempts] == [429, 200]


async def test_a_crash_between_delivery_and_acknowledgement_brings_the_same_id(bus: Bus) -> None:
    async with receiver() as to:
        async with webhooks(bus, deliver=False) as api:
            hook = await add(api, to)
            (event,) = await happen(bus)
        reached, hang = asyncio.Event(), asyncio.Event()

        async def take_and_hang(got: Got) -> web.StreamResponse:
            reached.set()
            await hang.wait()
            return web.Response()

        to.answer = take_and_hang
        async with webhooks(bus, replica="cp-1"):
            await reached.wait()
            # It is cut off here: the receiver has the event, nobody has acknowledged it.
        hang.set()
        to.answer = status(200)
        async with webhooks(bus, replica="cp-2") as other:
            await eventually(lambda: len(to.got) >= 2, timeout_s=10, what="it comes again")
            await wait_state(other, hook, event, DeliveryState.DELIVERED)
        assert set(to.ids()) == {event}
        assert len({got.body for got in to.got}) == 1


async def test_a_retry_survives_the_replica_that_planned_it(bus: Bus) -> None:
    slow = msgspec.structs.replace(QUICK_HOOKS, schedule_s=(0.0, 1.5, 1.5))
    async with receiver() as to:
        to.answer = status(500)
        async with webhooks(bus, slow, replica="cp-1") as hooks:
            hook = await add(hooks, to)
            (event,) = await happen(bus)
            planned = await wait_state(hooks, hook, event, DeliveryState.WAITING)
            assert planned.due_at is not None
        to.answer = status(200)
        async with webhooks(bus, slow, replica="cp-2") as hooks:
            await has_taken(to, [event])
            assert to.got[-1].at >= planned.due_at
            done = await wait_state(hooks, hook, event, DeliveryState.DELIVERED)
            assert len(done.attempts) == 2


async def test_replicas_share_the_webhooks_and_none_delivers_twice(bus: Bus) -> None:
    async with (
        receiver() as to,
        receiver() as two,
        webhooks(bus, replica="cp-1") as hooks,
        webhooks(bus, replica="cp-2"),
    ):
        await add(hooks, to)
        await add(hooks, two)
        ids = await happen(bus, 60)
        await has_taken(to, ids)
        await has_taken(two, ids)
        assert (to.ids(), two.ids()) == (ids, ids)


async def test_recover_sends_what_was_given_up_or_waits(bus: Bus) -> None:
    quick = msgspec.structs.replace(QUICK_HOOKS, schedule_s=(0.0, 0.05))
    async with receiver() as to, webhooks(bus, quick) as hooks:
        hook = await add(hooks, to)
        good = await happen(bus)
        await has_taken(to, good)
        to.answer = status(500)
        old = await happen(bus)
        await wait_state(hooks, hook, old[0], DeliveryState.DEAD)
        since = time.time()
        lost = await happen(bus, 3)
        for event in lost:
            await wait_state(hooks, hook, event, DeliveryState.DEAD)
        to.answer = status(200)
        to.got.clear()
        done = await hooks.recover(TENANT, hook.webhook_id, Recover(since=since))
        assert (done.requeued, done.replaying) == (3, False)
        await has_taken(to, lost)
        assert sorted(to.ids()) == sorted(lost)
        dead = await deliveries(hooks, hook, DeliveryState.DEAD)
        assert [d.event_id for d in dead] == old


async def test_recover_all_replays_under_the_same_ids_and_delays_nothing_new(bus: Bus) -> None:
    async with receiver() as to, webhooks(bus) as hooks:
        early = await happen(bus, 2)
        await asyncio.sleep(0.05)
        since = time.time()
        before = await happen(bus, 3)  # before there was a webhook
        hook = await add(hooks, to)
        seen = await happen(bus, 3)
        await has_taken(to, seen)
        done = await hooks.recover(TENANT, hook.webhook_id, Recover(since=since, all=True))
        assert done.replaying
        new = await happen(bus, 2)
        await has_taken(to, before + new)

        async def over() -> bool:
            return not (await hooks.get(TENANT, hook.webhook_id)).replaying

        await eventually(over, timeout_s=10)
        counts = {event: to.ids().count(event) for event in early + before + seen + new}
        assert counts == (
            dict.fromkeys(early, 0)
            | dict.fromkeys(before, 1)
            | dict.fromkeys(seen, 2)
            | dict.fromkeys(new, 1)
        )
        bodies = {got.id: got.body for got in to.got}
        assert all(bodies[got.id] == got.body for got in to.got)
        consumers = (await JetStream(bus).api(f"CONSUMER.NAMES.{EVENTS}", None, dict))["consumers"]
        assert [c for c in consumers if c.startswith("hook-")] == [webhook_durable(hook.webhook_id)]


async def test_a_rotated_secret_signs_beside_the_old_one_for_a_while(
    bus: Bus, tmp_path: Path
) -> None:
    keys = await master_keys(bus, tmp_path)
    async with receiver() as to, webhooks(bus, keys=keys) as hooks:
        hook = await add(hooks, to)
        rotated = await hooks.rotate_secret(TENANT, hook.webhook_id, overlap_s=1.5)
        assert rotated.secret is not None
        assert rotated.secrets_valid == 2
        to.secrets.append(rotated.secret)
        assert await _signers(bus, to) == tuple(to.secrets)
        assert to.got[-1].headers["webhook-signature"].count("v1,") == 2
        await asyncio.sleep(1.5)  # the overlap itself
        assert await _signers(bus, to) == (rotated.secret,)
        assert (await hooks.get(TENANT, hook.webhook_id)).secrets_valid == 1
        at_once = await hooks.rotate_secret(TENANT, hook.webhook_id, overlap_s=0)
        assert at_once.secrets_valid == 1


async def _signers(bus: Bus, to: Receiver) -> tuple[str, ...]:
    ids = await happen(bus)
    await has_taken(to, ids)
    return next(got.signed_by for got in to.got if got.id == ids[0])


async def test_secrets_are_sealed_at_rest_and_shown_once(bus: Bus, tmp_path: Path) -> None:
    keys = await master_keys(bus, tmp_path)
    async with receiver() as to, webhooks(bus, keys=keys, deliver=False) as hooks:
        hook = await add(hooks, to)
        secret = base64.b64decode(to.secrets[0].removeprefix("whsec_"))
        assert len(secret) == 32
        stored = await JetStream(bus).last_by_subject(
            bucket_stream(WEBHOOKS), f"$KV.{WEBHOOKS}.{webhook_key(TENANT, hook.webhook_id)}"
        )
        assert stored is not None
        for form in (secret, base64.b64encode(secret), secret.hex().encode()):
            assert form not in stored.data
        assert (await hooks.get(TENANT, hook.webhook_id)).secret is None
        assert [each.secret for each in await hooks.list(TENANT)] == [None]
        # Another fleet's key can't open it, and says so.
        async with webhooks(bus, deliver=False) as keyless:
            await raises(ErrorCode.MASTER_KEY_MISSING, keyless.test(TENANT, hook.webhook_id))


async def test_a_test_event_is_delivered_now_and_its_end_is_told(bus: Bus) -> None:
    async with receiver() as to, webhooks(bus) as hooks:
        hook = await add(hooks, to, events=["message.received"])
        await hooks.disable(TENANT, hook.webhook_id)
        told = await hooks.test(TENANT, hook.webhook_id)
        assert (told.delivered, told.attempt.http_code) == (True, 204)
        assert to.got[0].payload["type"] == "webhook.test"
        assert to.got[0].signed_by == (to.secrets[0],)
        assert to.ids() == [told.event_id]
        to.answer = status(500)
        told = await hooks.test(TENANT, hook.webhook_id)
        assert (told.delivered, told.attempt.http_code) == (False, 500)
        await hooks.change(TENANT, hook.webhook_id, WebhookChange(url="https://no-host.invalid/"))
        told = await hooks.test(TENANT, hook.webhook_id)
        assert (told.delivered, told.attempt.error) == (False, "url_unreachable")


async def test_a_removed_webhook_leaves_nothing_behind(bus: Bus) -> None:
    async with receiver() as to, webhooks(bus) as hooks:
        hook = await add(hooks, to)
        to.answer = status(500)
        ids = await happen(bus, 3)
        for event in ids:
            await wait_state(hooks, hook, event, DeliveryState.WAITING)
        await hooks.delete(TENANT, hook.webhook_id)

        async def gone() -> bool:
            try:
                await JetStream(bus).consumer_info(EVENTS, webhook_durable(hook.webhook_id))
            except JetStreamError as error:
                return error.code is ErrorCode.NOT_FOUND
            return False

        await eventually(gone)
        await raises(ErrorCode.WEBHOOK_NOT_FOUND, hooks.get(TENANT, hook.webhook_id))
        assert (await JetStream(bus).stream_info(WEBHOOK_QUEUE)).state.messages == 0
        seen = len(to.got)
        await happen(bus)
        await asyncio.sleep(0.3)  # an attempt would have come
        assert len(to.got) == seen


async def test_another_tenant_can_do_nothing_with_a_webhook(bus: Bus) -> None:
    async with receiver() as to, webhooks(bus) as hooks:
        hook = (await add(hooks, to)).webhook_id
        (event,) = await happen(bus)
        await has_taken(to, [event])
        assert await hooks.list("rival") == []
        for call in (
            hooks.get("rival", hook),
            hooks.change("rival", hook, WebhookChange(description="mine")),
            hooks.enable("rival", hook),
            hooks.disable("rival", hook),
            hooks.delete("rival", hook),
            hooks.rotate_secret("rival", hook, overlap_s=0),
            hooks.test("rival", hook),
            hooks.deliveries("rival", hook, state=None, limit=10, cursor=None),
            hooks.resend("rival", hook, event),
            hooks.recover("rival", hook, Recover(since=0)),
            hooks.get(TENANT, f"*.{hook}"),
        ):
            await raises(ErrorCode.WEBHOOK_NOT_FOUND, call)


async def test_limits_and_addresses_are_checked_when_one_is_added(bus: Bus) -> None:
    few = msgspec.structs.replace(QUICK_HOOKS, webhooks_max_per_tenant=2, webhooks_max=3)
    async with receiver() as to, webhooks(bus, few, deliver=False) as hooks:
        inside = Receiver()
        inside.url = "https://10.0.0.1/hooks"
        await raises(ErrorCode.URL_NOT_ALLOWED, add(hooks, inside))
        hook = await add(hooks, to)
        await raises(
            ErrorCode.URL_NOT_ALLOWED,
            hooks.change(TENANT, hook.webhook_id, WebhookChange(url=inside.url)),
        )
        await add(hooks, to)
        await raises(ErrorCode.VALIDATION_FAILED, add(hooks, to))
        await add(hooks, to, tenant="rival")
        await raises(ErrorCode.VALIDATION_FAILED, add(hooks, to, tenant="third"))


async def test_deliveries_are_listed_page_by_page_the_last_tried_first(bus: Bus) -> None:
    async with receiver() as to, webhooks(bus) as hooks:
        hook = await add(hooks, to)
        ids = await happen(bus, 7)
        await has_taken(to, ids)
        await eventually(lambda: _count(hooks, hook, 7))
        seen: list[str] = []
        cursor = None
        while True:
            page = await hooks.deliveries(
                TENANT, hook.webhook_id, state=DeliveryState.DELIVERED, limit=3, cursor=cursor
            )
            seen += [d.event_id for d in page.data]
            cursor = page.next_cursor
            if cursor is None:
                break
        assert seen == ids[::-1]
        assert await deliveries(hooks, hook, DeliveryState.DEAD) == []


async def _count(hooks: TenantWebhooks, hook: WebhookView, count: int) -> bool:
    return len(await deliveries(hooks, hook)) == count


async def test_when_a_dead_webhook_is_back_what_waits_comes_at_once(bus: Bus) -> None:
    patient = msgspec.structs.replace(
        QUICK_HOOKS, schedule_s=(0.0, 600.0, 600.0), waiting_max=8, hand_max=16
    )
    async with receiver() as to, webhooks(bus, patient) as hooks:
        hook = await add(hooks, to)
        to.answer = status(503)
        ids = await happen(bus, 120)

        async def paused() -> bool:
            seen = (await hooks.get(TENANT, hook.webhook_id)).backlog
            return seen is not None and seen.waiting >= 8 and seen.unread > 0

        await eventually(paused, what="new events stay in the stream")
        await asyncio.sleep(0.5)  # a lane that went on would try them all
        assert len(to.got) < 60
        to.answer = status(200)
        await hooks.resend(TENANT, hook.webhook_id, to.ids()[0])
        await has_taken(to, ids)
