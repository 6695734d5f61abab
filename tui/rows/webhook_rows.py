"""Webhook rows: endpoints and their deliveries.

Pure. An address is shown without its query, which may hold a secret.
"""

from typing import Final
from urllib.parse import urlsplit

from schemas.webhooks import DeliveryState, DeliveryView, WebhookView
from tui.rows import words
from tui.rows.cells import Cell, Column, Row, Severity

COLUMNS: Final = (
    Column("webhook", "WEBHOOK", 13),
    Column("tenant", "TENANT", 10, rank=1, grow=True, width_max=20),
    Column("state", "STATE", 11),
    Column("url", "URL", 34, grow=True, width_max=70),
    Column("waiting", "WAITING", 7, align="right"),
    Column("dead", "DEAD", 5, align="right"),
    Column("unread", "UNREAD", 6, rank=2, align="right"),
    Column("events", "EVENTS", 10, rank=3),
    Column("why", "WHY", 12, rank=4, grow=True, width_max=40),
)
SORTS: Final = ("tenant", "state", "url", "waiting", "dead", "unread")
DELIVERY_COLUMNS: Final = (
    Column("event", "EVENT", 13),
    Column("type", "TYPE", 17),
    Column("state", "STATE", 12),
    Column("tries", "TRIES", 5, align="right"),
    Column("tried", "TRIED", 6, align="right"),
    Column("due", "NEXT", 6, align="right"),
    Column("http", "HTTP", 5, rank=1, align="right"),
    Column("took", "TOOK", 7, rank=3, align="right"),
    Column("session", "SESSION", 13, rank=4),
    Column("error", "ERROR", 16, rank=2, grow=True, width_max=60),
)
DELIVERY_SORTS: Final = ("", "state", "type", "tries", "tried", "error")
_DELIVERY_WORDS: Final = {
    DeliveryState.WAITING: ("◔ waiting", Severity.WARN),
    DeliveryState.DELIVERED: ("● delivered", Severity.GOOD),
    DeliveryState.DEAD: ("✗ dead", Severity.BAD),
}


def webhook_row(webhook: WebhookView, tenant_id: str) -> Row:
    """One endpoint's line."""
    state = Cell("● enabled", Severity.GOOD)
    if not webhook.enabled:
        state = Cell("■ disabled", Severity.WARN)
    elif webhook.replaying:
        state = Cell("↻ replaying", Severity.BUSY)
    backlog = webhook.backlog
    cells = (
        Cell(words.short_id(webhook.webhook_id)),
        Cell(tenant_id),
        state,
        Cell(shown_url(webhook.url)),
        _count(backlog.waiting if backlog else None, Severity.WARN),
        _count(backlog.dead if backlog else None, Severity.BAD),
        _count(backlog.unread if backlog else None, Severity.PLAIN),
        Cell(", ".join(webhook.events)),
        Cell(webhook.disabled_reason or "", Severity.MUTED),
    )
    return Row(webhook.webhook_id, cells)


def delivery_row(delivery: DeliveryView, unix_now: float) -> Row:
    """One delivery's line."""
    last = delivery.attempts[-1] if delivery.attempts else None
    word, severity = _DELIVERY_WORDS[delivery.state]
    due = delivery.due_at
    error = f"{last.error} {last.detail}".strip() if last and last.error else ""
    cells = (
        Cell(words.short_id(delivery.event_id)),
        Cell(delivery.type),
        Cell(word, severity),
        Cell(str(len(delivery.attempts))),
        Cell(words.age(unix_now - last.at) if last else words.NONE),
        Cell(words.age(due - unix_now) if due is not None else words.NONE),
        Cell(str(last.http_code) if last and last.http_code else words.NONE),
        Cell(words.round_trip(last.duration_s) if last else words.NONE),
        Cell(words.short_id(delivery.session_id)),
        Cell(words.mask_numbers(error), Severity.MUTED),
    )
    return Row(delivery.event_id, cells)


def shown_url(url: str) -> str:
    """Scheme, host and path."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}" + ("?…" if parts.query else "")


def _count(count: int | None, severity: Severity) -> Cell:
    if count is None:
        return Cell(words.NONE, Severity.MUTED)
    return Cell(str(count), severity if count else Severity.MUTED)
