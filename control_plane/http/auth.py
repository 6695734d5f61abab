"""Who may call what: the guard in front of every route.

Owns the scopes, reading the key from the request, and the rule that a route without a declared
scope is closed. Never checks a key itself (`ports.Access` does) and never logs one.
"""

from enum import StrEnum
from typing import Any, Final

import msgspec
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from control_plane.http.rate_limiter import RateLimiter
from control_plane.ports import Principal, Services
from schemas.errors import BlazzError, ErrorCode
from schemas.ids import TenantId


class Scope(StrEnum):
    """What a key may do. `operator` sees all tenants and the nodes; none implies another."""

    SESSIONS = "sessions"
    MESSAGES = "messages"
    WEBHOOKS = "webhooks"
    KEYS = "keys"
    OPERATOR = "operator"


PUBLIC: Final = "public"
"""Instead of a scope: open to anybody (probes, docs, the link page with its own token)."""

TENANT_HEADER: Final = "Blazz-Tenant"
"""Scope `operator` may speak for any tenant, within its key's other scopes."""

Connection = ASGIConnection[Any, Any, Any, Any]


def access(
    scope: Scope,
    *problems: ErrorCode,
    instead: Scope | None = None,
    body: Any = None,
    media: tuple[str, ...] = (),
) -> dict[str, Any]:
    """A route's `opt`: its scope (or another that does instead), the errors its documentation
    names, its body's type, and the media types its answer may have besides JSON."""
    return {
        "access": scope,
        "instead": instead,
        "problems": problems,
        "body": body,
        "media": media,
    }


def presented_key(connection: Connection) -> str | None:
    """The key in `Authorization: Bearer …` or `X-Api-Key`, if any."""
    scheme, _, credentials = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and credentials.strip():
        return credentials.strip()
    return connection.headers.get("x-api-key") or None


async def guard(connection: Connection, handler: BaseRouteHandler) -> None:
    """Let a request through to a route, or raise `unauthenticated`, `rate_limited`, `forbidden`.

    Runs before the body is read. The principal is put into the request's state.
    """
    needed = handler.opt.get("access")
    if needed == PUBLIC:
        return
    services: Services = connection.app.state.services
    limiter: RateLimiter = connection.app.state.limiter
    key = presented_key(connection)
    if key is None:
        raise BlazzError(ErrorCode.UNAUTHENTICATED)
    principal = await services.access.authenticate(key)
    limiter.charge(connection.scope, principal.key_id)
    # Also for who is refused now: the audit log names them.
    connection.state["principal"] = principal
    if needed is None:
        raise BlazzError(ErrorCode.FORBIDDEN, "This route is closed.")
    if principal.scopes.isdisjoint((needed, handler.opt.get("instead"))):
        raise BlazzError(ErrorCode.FORBIDDEN, f"It needs the scope {needed!s}.")
    tenant_id = connection.headers.get(TENANT_HEADER)
    if tenant_id is not None:
        principal = _for_tenant(principal, tenant_id)
    connection.state["principal"] = principal


def _for_tenant(principal: Principal, tenant_id: str) -> Principal:
    if tenant_id == principal.tenant_id:
        return principal
    if Scope.OPERATOR not in principal.scopes:
        raise BlazzError(ErrorCode.FORBIDDEN, f"{TENANT_HEADER} needs the scope operator.")
    try:
        msgspec.convert(tenant_id, TenantId)
    except msgspec.ValidationError as error:
        raise BlazzError(
            ErrorCode.VALIDATION_FAILED, f"{TENANT_HEADER} is not a tenant's id."
        ) from error
    return msgspec.structs.replace(principal, tenant_id=tenant_id)


def principal_of(connection: Connection) -> Principal:
    """Who is asking, on a route behind the guard."""
    found = connection.state["principal"]
    assert isinstance(found, Principal)
    return found
