"""`blazz webhook …`: a tenant's webhooks, through the API.

Owns calling, printing and reading times as people write them. A secret goes to stdout, in the
answer that made it, and nowhere else.
"""

import re
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from cli.exit_codes import Exit
from cli.operate import Target, open_api, print_json, print_table
from schemas.errors import BlazzError, ErrorCode
from schemas.webhooks import (
    DeliveryPage,
    DeliveryView,
    NewWebhook,
    Recover,
    RecoverView,
    RotateSecret,
    WebhookPage,
    WebhookTestView,
    WebhookView,
)

_UNITS_S: Final = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_SPAN: Final = re.compile(r"(\d+(?:\.\d+)?)([smhd])")


def target(data_dir: Path | None, output: str = "table") -> Target:
    """Where the API is, and how to print."""
    return Target(data_dir, output == "json")


def seconds(text: str) -> float:
    """`90s`, `5m`, `2h`, `1d` in seconds. Raises `validation_failed`."""
    found = _SPAN.fullmatch(text)
    if found is None:
        raise _unreadable(text, "a span such as 90s, 5m, 2h or 1d")
    return float(found[1]) * _UNITS_S[found[2]]


def recovery(since: str, everything: bool) -> Recover:
    """A span before now, or a moment. Raises `validation_failed`."""
    if _SPAN.fullmatch(since):
        return Recover(since=time.time() - seconds(since), all=everything)
    try:
        moment = datetime.fromisoformat(since)
    except ValueError:
        raise _unreadable(since, "`2h` or 2026-11-23T10:00:00Z") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return Recover(since=moment.timestamp(), all=everything)


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


async def list_webhooks(where: Target) -> Exit:
    """Print them."""
    async with open_api(where.data_dir) as api:
        page = await api.call("GET", "/v1/webhooks", WebhookPage)
    if where.json:
        return print_json(page.data)
    rows = [(h.webhook_id, _state(h), ",".join(h.events), h.url) for h in page.data]
    print_table(("WEBHOOK", "STATE", "EVENTS", "URL"), rows)
    return Exit.OK


async def show(where: Target, webhook_id: str) -> Exit:
    """Print one."""
    async with open_api(where.data_dir) as api:
        view = await api.call("GET", f"/v1/webhooks/{webhook_id}", WebhookView)
    return _print_one(where, view)


async def add(where: Target, wanted: NewWebhook) -> Exit:
    """Add one and print its secret."""
    async with open_api(where.data_dir) as api:
        view = await api.call("POST", "/v1/webhooks", WebhookView, body=wanted)
    return _print_one(where, view, hint=f"Try it: blazz webhook test {view.webhook_id}")


async def remove(where: Target, webhook_id: str) -> Exit:
    """Remove one."""
    async with open_api(where.data_dir) as api:
        await api.call("DELETE", f"/v1/webhooks/{webhook_id}", type(None))
    print(f"{webhook_id} is removed")
    return Exit.OK


async def switch(where: Target, webhook_id: str, verb: str) -> Exit:
    """Enable or disable one."""
    view = await _post(where, webhook_id, verb, WebhookView)
    print(f"{view.webhook_id}: {_state(view)}")
    return Exit.OK


async def rotate(where: Target, webhook_id: str, overlap: str) -> Exit:
    """Rotate its secret and print the new one. Raises `validation_failed` for an odd span."""
    wanted = RotateSecret(overlap_s=seconds(overlap))
    view = await _post(where, webhook_id, "rotate-secret", WebhookView, wanted)
    return _print_one(where, view)


async def test(where: Target, webhook_id: str) -> Exit:
    """Send a test event; exit 1 unless it was taken."""
    told = await _post(where, webhook_id, "test", WebhookTestView)
    if where.json:
        print_json(told)
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
    async with open_api(where.data_dir) as api:
        path = f"/v1/webhooks/{webhook_id}/deliveries"
        page = await api.call("GET", path, DeliveryPage, query=query)
    if where.json:
        return print_json(page.data)
    rows = [_delivery_row(each) for each in page.data]
    print_table(("EVENT", "TYPE", "STATE", "ATTEMPTS", "LAST", "NEXT"), rows)
    return Exit.OK


async def resend(where: Target, webhook_id: str, event_id: str) -> Exit:
    """Ask for one event again."""
    await _post(where, webhook_id, f"deliveries/{event_id}/resend", DeliveryView)
    print(f"{event_id} is sent again")
    return Exit.OK


async def recover(where: Target, webhook_id: str, since: str, everything: bool) -> Exit:
    """Ask for what was missed. Raises `validation_failed` for an odd time."""
    wanted = recovery(since, everything)
    begun = await _post(where, webhook_id, "recover", RecoverView, wanted)
    print(f"{begun.requeued} deliveries are tried again now")
    if begun.replaying:
        print("Past events are being sent again, under the ids they had.")
    return Exit.OK


async def _post(
    where: Target, webhook_id: str, verb: str, kind: type[Any], body: msgspec.Struct | None = None
) -> Any:
    async with open_api(where.data_dir) as api:
        return await api.call("POST", f"/v1/webhooks/{webhook_id}/{verb}", kind, body=body)


def _print_one(where: Target, view: WebhookView, *, hint: str = "") -> Exit:
    if where.json:
        return print_json(view)
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
    if view.secret is not None:
        rows.append(("secret", view.secret))
    for name, value in rows:
        print(f"{name:<12} {value}")
    if view.secret is not None:
        print("Keep the secret: it is not shown again.", file=sys.stderr)
    if hint:
        print(hint, file=sys.stderr)
    return Exit.OK


def _delivery_row(each: DeliveryView) -> tuple[str, ...]:
    last = each.attempts[-1] if each.attempts else None
    said = "-" if last is None else str(last.http_code or last.error or "-")
    return (
        each.event_id,
        each.type,
        each.state.value,
        str(len(each.attempts)),
        said,
        "-" if each.due_at is None else _moment(each.due_at),
    )


def _state(view: WebhookView) -> str:
    if not view.enabled:
        return f"disabled ({view.disabled_reason})"
    return "replaying" if view.replaying else "enabled"


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _unreadable(text: str, wanted: str) -> BlazzError:
    return BlazzError(ErrorCode.VALIDATION_FAILED, f"{text!r} is not {wanted}")
