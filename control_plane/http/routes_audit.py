"""The route of the audit log.

Owns its HTTP shape, and who sees what: scope `operator` everything, another key owner the acts of
his own tenant's keys.
"""

import time
from typing import Annotated, Any, Final

from litestar import get
from litestar.params import QueryParameter

from control_plane.audit_ports import AuditQuery
from control_plane.http.auth import Scope, access
from control_plane.http.dependencies import Caller, Cursor, Limit, Ports
from schemas.api import Page
from schemas.audit import AuditRecord
from schemas.errors import ErrorCode as C

_LOOKED_BACK_S: Final = 7 * 86_400.0

Since = Annotated[
    float | None,
    QueryParameter(
        name="since", ge=0, description="Unix seconds; by default seven days before now."
    ),
]
Key = Annotated[
    str | None, QueryParameter(name="key", max_length=64, description="An API key's id.")
]
Operation = Annotated[
    str | None, QueryParameter(name="operation", max_length=64, description="Such as `drainNode`.")
]
Target = Annotated[
    str | None,
    QueryParameter(
        name="target", max_length=200, description="The id of a node, a session, a key, …"
    ),
]


@get(
    "/audit",
    operation_id="listAudit",
    summary="List acts",
    description="Who did what, from where, and how it ended; the newest first. With scope "
    "`operator` everybody's acts, else those of your tenant's keys. An act without `http` had not "
    "ended, or its process died before it could say how.",
    tags=["Audit"],
    opt=access(Scope.KEYS, C.VALIDATION_FAILED, C.AUDIT_UNAVAILABLE, instead=Scope.OPERATOR),
)
async def list_audit(
    services: Ports,
    caller: Caller,
    since: Since = None,
    key: Key = None,
    operation: Operation = None,
    target: Target = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[AuditRecord]:
    """`GET /v1/audit`"""
    tenant = None if Scope.OPERATOR in caller.scopes else caller.tenant_id
    query = AuditQuery(
        since=time.time() - _LOOKED_BACK_S if since is None else since,
        key_id=key,
        operation=operation,
        target=target,
        limit=limit,
        cursor=cursor,
    )
    return await services.audit.list(tenant, query)


ROUTES: list[Any] = [list_audit]
