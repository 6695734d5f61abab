"""Headers on every answer: request id, rate limit, and what browsers must not do.

Owns the hook that runs before any message is sent, also for answers no route made (404, 405).
Never a route's own headers: those win.
"""

import math
import re
import secrets
from typing import Any, Final

import structlog

from control_plane.http.rate_limiter import RateNote
from schemas import log_keys

log = structlog.get_logger()

_SAFE_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_DEFAULTS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"cache-control", b"no-store"),
)

PAGE_CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""For our own pages: nothing from anywhere else, nothing inline."""


def request_id(scope: Any) -> str:
    """This request's id: the caller's `X-Request-Id` if it is harmless, else a new one."""
    state = scope.setdefault("state", {})
    known = state.get("request_id")
    if isinstance(known, str):
        return known
    given = next((v for k, v in scope.get("headers", ()) if k == b"x-request-id"), b"")
    text = given.decode("latin-1")
    chosen = text if _SAFE_REQUEST_ID.fullmatch(text) else f"req_{secrets.token_hex(12)}"
    state["request_id"] = chosen
    return chosen


async def complete_headers(message: Any, scope: Any) -> None:
    """Complete the headers of an answer that is about to start (Litestar's `before_send`)."""
    if message["type"] != "http.response.start":
        return
    present = {name.lower() for name, _ in message["headers"]}
    added = [(name, value) for name, value in _DEFAULTS if name not in present]
    added.append((b"x-request-id", request_id(scope).encode()))
    if scope.get("scheme") == "https":
        added.append((b"strict-transport-security", b"max-age=31536000"))
    note = scope["state"].get("rate")
    if isinstance(note, RateNote):
        added.extend(_rate_headers(note))
    message["headers"] = [*message["headers"], *added]
    handler = scope.get("route_handler")
    # The operation, never the path: a path may hold a link token.
    operation = handler.operation_id or handler.handler_name if handler is not None else ""
    log.debug(
        "http.request.answered",
        method=scope.get("method"),
        operation=operation,
        http=message["status"],
        **{log_keys.REQUEST: request_id(scope)},
    )


def _rate_headers(note: RateNote) -> list[tuple[bytes, bytes]]:
    policy, verdict = note.policy, note.verdict
    window_s = math.ceil(policy.window_s)
    return [
        (b"ratelimit-policy", f'"key";q={policy.burst};w={window_s}'.encode()),
        (b"ratelimit", f'"key";r={verdict.remaining};t={math.ceil(verdict.reset_s)}'.encode()),
    ]
