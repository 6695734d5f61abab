"""The audit log's hook: an act is written down before it begins, and its end before the answer.

Owns when a record is written. What is recorded of which operation stands in `audited`; no handler
knows of it. An act that cannot be written down is not begun (`audit_unavailable`). Its end is
added before the answer is sent; if that fails, the act was done all the same, and its record says
only that it began.

Whoever gave no valid key, or asks too often, is not recorded: that is for the log, and would let
anybody fill the stream. Who has a key but may not is.
"""

import time
from typing import Any, Final

import msgspec
import structlog
import uuid_utils
from litestar.connection import ASGIConnection
from litestar.enums import ScopeType
from litestar.handlers import BaseRouteHandler
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from control_plane.http.audited import AUDITED, Audited
from control_plane.http.bodies import BODY_NOTE
from control_plane.http.headers import request_id
from control_plane.http.problems import PROBLEM_NOTE
from control_plane.ports import Principal, Services
from schemas import log_keys
from schemas.audit import AuditRecord, AuditValue
from schemas.errors import BlazzError, ErrorCode
from schemas.ids import audit_id

log = structlog.get_logger()

_NOTE: Final = "audit"
_VALUE_CHARS_MAX: Final = 200
_LIST_MAX: Final = 50


async def begin(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Write down that an act begins; a guard, after the one that lets it through. A route that
    finds out by itself who asks (the link page's) calls it then. Raises `audit_unavailable`."""
    operation = _operation(connection.scope)
    principal = connection.scope["state"].get("principal")
    if operation not in AUDITED or principal is None:
        return
    record = _begun(connection.scope, operation, principal)
    services: Services = connection.app.state.services
    await services.audit.write(record)
    connection.scope["state"][_NOTE] = record


class Ending(ASGIMiddleware):
    """Writes down how an act ended, before its answer goes out."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Hold the answer's beginning until its body names what was made."""
        operation = _operation(scope)
        if operation not in AUDITED:
            await next_app(scope, receive, send)
            return
        start: Message | None = None

        async def hold(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            if start is not None:
                head, start = start, None
                body = message["body"] if message["type"] == "http.response.body" else b""
                await _write_end(scope, operation, head["status"], body)  # type: ignore[typeddict-item]
                await send(head)
            await send(message)

        await next_app(scope, receive, hold)


async def _write_end(scope: Scope, operation: str, http: int, body: bytes) -> None:
    wanted = AUDITED[operation]
    notes: dict[str, Any] = scope["state"]
    record = notes.get(_NOTE)
    problem = notes.get(PROBLEM_NOTE)
    if record is None:
        principal = notes.get("principal")
        # One who was refused by the first guard, for want of a scope.
        if principal is None or problem != ErrorCode.FORBIDDEN:
            return
        record = _begun(scope, operation, principal)
    made = _made(wanted, body) if http < 400 else None
    ended = msgspec.structs.replace(
        record,
        target=record.target if made is None else (*record.target, made),
        parameters=record.parameters | _of_body(wanted, notes.get(BODY_NOTE)),
        http=http,
        error_code=problem,
        ended_at=time.time(),
    )
    services: Services = scope["litestar_app"].state.services
    try:
        await services.audit.write(ended)
    except BlazzError as error:
        log.error(
            "audit.end_not_written",
            operation=record.operation,
            audit_id=record.audit_id,
            **{log_keys.CODE: error.code, log_keys.REQUEST: record.request_id},
        )


def _begun(scope: Scope, operation: str, principal: Principal) -> AuditRecord:
    wanted = AUDITED[operation]
    ids: dict[str, Any] = scope.get("path_params") or {}
    client = scope.get("client")
    query = ASGIConnection[Any, Any, Any, Any](scope).query_params
    return AuditRecord(
        audit_id=audit_id(uuid_utils.uuid7().bytes),
        at=time.time(),
        operation=operation,
        tenant_id=principal.tenant_id,
        key_id=principal.key_id,
        key_name=principal.key_name,
        address=client[0] if client else "",
        target=(
            (principal.session_id,)
            if principal.session_id is not None
            else tuple(str(ids[name])[:_VALUE_CHARS_MAX] for name in wanted.target if name in ids)
        ),
        parameters={name: _short(query[name]) for name in wanted.parameters if name in query},
        request_id=request_id(scope),
    )


def _operation(scope: Scope) -> str:
    return str(getattr(scope.get("route_handler"), "operation_id", ""))


def _of_body(wanted: Audited, body: object) -> dict[str, AuditValue]:
    """The named fields of a body, but for a null that stands for nothing."""
    if not isinstance(body, msgspec.Struct):
        return {}
    unset = {field.name for field in msgspec.structs.fields(body) if field.default is None}
    return {
        name: _short(value)
        for name, value in msgspec.to_builtins(body).items()
        if name in wanted.parameters and not (value is None and name in unset)
    }


def _short(value: object) -> AuditValue:
    if isinstance(value, bool | int | float) or value is None:
        return value
    if isinstance(value, list):
        return [str(item)[:_VALUE_CHARS_MAX] for item in value[:_LIST_MAX]]
    return str(value)[:_VALUE_CHARS_MAX]


def _made(wanted: Audited, body: bytes) -> str | None:
    if wanted.made is None:
        return None
    try:
        answer = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return None
    found = answer.get(wanted.made) if isinstance(answer, dict) else None
    return found if isinstance(found, str) else None
