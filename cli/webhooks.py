"""`blazz webhook …`: a tenant's webhooks, through the API.

Owns calling and printing. A secret goes to stdout, in the
answer that made it, and nowhere else.
"""

import sys
from typing import Any, Final

import msgspec

from cli.acting import Step, confirm, perform
from cli.exit_codes import Exit
from cli.options import Acting, Form, Target
from cli.render import Column, Shape, moment, show_one
from cli.render import show as show_rows
from cli.target import open_api
from cli.times import moment_of, seconds
from schemas.errors import BlazzError, ErrorCode
from schemas.webhooks import (
    DeliveryPage,
    DeliveryView,
    NewWebhook,
    Recover,
    RecoverView,
    RotateSecret,
    WebhookChange,
    WebhookPage,
    WebhookTestView,
    WebhookView,
)


def _last(each: DeliveryView) -> str:
    last = each.attempts[-1] if each.attempts else None
    return "-" if last is None else str(last.http_code or last.error or "-")


def _state(view: WebhookView) -> str:
    if not view.enabled:
        return f"disabled ({view.disabled_reason})"
    return "replaying" if view.replaying else "enabled"


HOOKS: Final = Shape[WebhookView](
    (
        Column("WEBHOOK", lambda h: h.webhook_id),
        Column("STATE", _state),
        Column("EVENTS", lambda h: h.events),
        Column("URL", lambda h: h.url),
        Column("SESSIONS", lambda h: h.sessions or "all", wide=True),
        Column("CREATED", lambda h: moment(h.created_at), wide=True),
    ),
    lambda h: h.webhook_id,
)
DELIVERIES: Final = Shape[DeliveryView](
    (
        Column("EVENT", lambda d: d.event_id),
        Column("TYPE", lambda d: d.type),
        Column("STATE", lambda d: d.state.value),
        Column("ATTEMPTS", lambda d: len(d.attempts)),
        Column("LAST", _last),
        Column("NEXT", lambda d: moment(d.due_at)),
        Column("SESSION", lambda d: d.session_id, wide=True),
        Column("AT", lambda d: moment(d.event_at), wide=True),
    ),
    lambda d: d.event_id,
)


def new_webhook(
    url: str, events: list[str] | None, sessions: list[str] | None, description: str
) -> NewWebhook:
    """What to add; the API checks it."""
    return NewWebhook(
        url=url,
        events=tuple(events or ("*",)),
        sessions=tuple(sessions or ()),
        description=description,
    )


def webhook_change(
    url: str | None,
    events: list[str] | None,
    sessions: list[str] | None,
    description: str | None,
    *,
    all_sessions: bool,
) -> WebhookChange:
    """What to change; None stays. The API checks it."""
    fields: dict[str, Any] = {
        "url": url,
        "events": None if events is None else tuple(events),
        "sessions": () if all_sessions else sessions and tuple(sessions),
        "description": description,
    }
    return WebhookChange(**{name: value for name, value in fields.items() if value is not None})


async def list_webhooks(where: Target) -> Exit:
    """Print them."""
    async with open_api(where) as api:
        page = await api.call("GET", "/v1/webhooks", WebhookPage)
    return show_rows(page.data, HOOKS, where.form)


async def show(where: Target, webhook_id: str) -> Exit:
    """Print one."""
    async with open_api(where) as api:
        view = await api.call("GET", f"/v1/webhooks/{webhook_id}", WebhookView)
    return _print_one(where, view)


async def add(where: Target, acting: Acting, wanted: NewWebhook) -> Exit:
    """Add one and print its secret."""
    async with open_api(where) as api:
        step = Step("new", "POST", "/v1/webhooks", wanted)
        view = await perform(api, acting, step, WebhookView)
    if view is None:
        return Exit.OK
    return _print_one(where, view, hint=f"Try it: blazz webhook test {view.webhook_id}")


async def change(where: Target, acting: Acting, webhook_id: str, wanted: WebhookChange) -> Exit:
    """Change one. Raises `config_invalid` for no change."""
    if wanted == WebhookChange():
        raise BlazzError(ErrorCode.CONFIG_INVALID, "name what to change: --url, --event, …")
    async with open_api(where) as api:
        step = Step(webhook_id, "PATCH", f"/v1/webhooks/{webhook_id}", wanted)
        view = await perform(api, acting, step, WebhookView)
    return Exit.OK if view is None else _print_one(where, view)


async def remove(where: Target, acting: Acting, webhook_id: str) -> Exit:
    """Remove one."""
    confirm(where, acting, "removes a webhook and its deliveries for good", [webhook_id])
    async with open_api(where) as api:
        step = Step(webhook_id, "DELETE", f"/v1/webhooks/{webhook_id}")
        await perform(api, acting, step, msgspec.Raw)
    if not acting.dry_run:
        print(f"{webhook_id} is removed")
    return Exit.OK


async def switch(where: Target, acting: Acting, webhook_id: str, verb: str) -> Exit:
    """Enable or disable one."""
    view = await _post(where, acting, webhook_id, verb, WebhookView)
    if view is not None:
        print(f"{view.webhook_id}: {_state(view)}")
    return Exit.OK


async def rotate(where: Target, acting: Acting, webhook_id: str, overlap: str) -> Exit:
    """Rotate its secret and print the new one. Raises `validation_failed` for an odd span."""
    wanted = RotateSecret(overlap_s=seconds(overlap))
    view = await _post(where, acting, webhook_id, "rotate-secret", WebhookView, wanted)
    return Exit.OK if view is None else _print_one(where, view)


async def test(where: Target, acting: Acting, webhook_id: str) -> Exit:
    """Send a test event; exit 1 unless it was taken."""
    told = await _post(where, acting, webhook_id, "test", WebhookTestView)
    if told is None:
        return Exit.OK
    if where.form is not Form.TABLE:
        show_one(told, Shape[WebhookTestView]((), lambda t: t.event_id), where.form)
    else:
        tried = told.attempt
        answered = tried.detail if tried.http_code is None else f"answered {tried.http_code}"
        word = "delivered" if told.delivered else "not delivered"
        print(f"{word}: {answered or tried.error} after {tried.duration_s:.3f} s")
        if tried.answer:
            print(f"  {tried.answer}")
    return Exit.OK if told.delivered else Exit.FAILED


async def deliveries(where: Target, webhook_id: str, state: str | None, limit: int) -> Exit:
    """Print the last deliveries."""
    query = {"limit": str(limit)} | ({"state": state} if state else {})
    async with open_api(where) as api:
        path = f"/v1/webhooks/{webhook_id}/deliveries"
        page = await api.call("GET", path, DeliveryPage, query=query)
    return show_rows(page.data, DELIVERIES, where.form)


async def resend(where: Target, acting: Acting, webhook_id: str, event_id: str) -> Exit:
    """Ask for one event again."""
    verb = f"deliveries/{event_id}/resend"
    if await _post(where, acting, webhook_id, verb, DeliveryView) is not None:
        print(f"{event_id} is sent again")
    return Exit.OK


async def recover(
    where: Target, acting: Acting, webhook_id: str, since: str, everything: bool
) -> Exit:
    """Ask for what was missed. Raises `validation_failed` for an odd time."""
    wanted = Recover(since=moment_of(since), all=everything)
    begun = await _post(where, acting, webhook_id, "recover", RecoverView, wanted)
    if begun is None:
        return Exit.OK
    print(f"{begun.requeued} deliveries are tried again now")
    if begun.replaying:
        print("Past events are being sent again, under the ids they had.")
    return Exit.OK


async def _post(
    where: Target,
    acting: Acting,
    webhook_id: str,
    verb: str,
    kind: type[Any],
    body: msgspec.Struct | None = None,
) -> Any:
    async with open_api(where) as api:
        step = Step(webhook_id, "POST", f"/v1/webhooks/{webhook_id}/{verb}", body)
        return await perform(api, acting, step, kind)


def _print_one(where: Target, view: WebhookView, *, hint: str = "") -> Exit:
    if where.form not in (Form.TABLE, Form.WIDE):
        return show_one(view, HOOKS, where.form)
    rows = [
        ("webhook", view.webhook_id),
        ("url", view.url),
        ("state", _state(view)),
        ("events", ", ".join(view.events)),
        ("sessions", ", ".join(view.sessions) or "all"),
        ("secrets", str(view.secrets_valid)),
    ]
    if view.description:
        rows.append(("description", view.description))
    if view.backlog is not None:
        left = view.backlog
        rows.append(("waiting", str(left.waiting)))
        rows.append(("dead", str(left.dead)))
        rows.append(("unread", str(left.unread)))
    rows += [
        ("lost", f"events {loss.from_sequence} to {loss.to_sequence} of the stream")
        for loss in view.losses
    ]
    if view.secret is not None:
        rows.append(("secret", view.secret))
    for name, value in rows:
        print(f"{name:<12} {value}")
    if view.secret is not None:
        print("Keep the secret: it is not shown again.", file=sys.stderr)
    if hint:
        print(hint, file=sys.stderr)
    return Exit.OK
