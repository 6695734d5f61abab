"""Routes for operators: the erasure of a tenant.

Owns the HTTP shape of `ports.Erasures`. What is begun goes on whoever hangs up.
"""

from typing import Any

from litestar import get, post
from litestar.params import FromPath

from control_plane.http.auth import Scope, access
from control_plane.http.bodies import AnyRequest, json_body
from control_plane.http.dependencies import Caller, Ports, Settings
from control_plane.http.problems import invalid
from schemas.api import EraseTenant, ErasureView
from schemas.errors import BlazzError
from schemas.errors import ErrorCode as C
from schemas.ids import TenantId

TAGS = ["Tenants"]


@post(
    "/tenants/{tenant_id:str}/erasure",
    operation_id="eraseTenant",
    summary="Erase all of a tenant, for good",
    description="Its keys stop working at once; its sessions are unlinked; its messages, media, "
    "events, snapshots and their keys are removed. It cannot be undone, nor stopped. Not your own "
    "tenant: somebody must be able to see that it ends.",
    tags=TAGS,
    status_code=202,
    opt=access(
        Scope.OPERATOR,
        C.NOT_FOUND,
        C.CONFLICT,
        C.MALFORMED_REQUEST,
        C.VALIDATION_FAILED,
        C.UNSUPPORTED_MEDIA_TYPE,
        C.PAYLOAD_TOO_LARGE,
        body=EraseTenant,
    ),
)
async def erase_tenant(
    request: AnyRequest,
    services: Ports,
    settings: Settings,
    caller: Caller,
    tenant_id: FromPath[TenantId],
) -> ErasureView:
    """`POST /v1/tenants/{id}/erasure`"""
    asked, _ = await json_body(request, EraseTenant, settings.json_bytes_max)
    if asked.confirm != tenant_id:
        raise invalid("confirm", "It must be the id of the tenant that is to be erased.")
    if tenant_id == caller.tenant_id:
        raise BlazzError(C.CONFLICT, "Ask with a key of another tenant.")
    return await services.erasures.begin(tenant_id, caller.key_id)


@get(
    "/tenants/{tenant_id:str}/erasure",
    operation_id="getErasure",
    summary="How far a tenant's erasure is",
    tags=TAGS,
    opt=access(Scope.OPERATOR, C.NOT_FOUND),
)
async def get_erasure(services: Ports, tenant_id: FromPath[TenantId]) -> ErasureView:
    """`GET /v1/tenants/{id}/erasure`"""
    return await services.erasures.get(tenant_id)


ROUTES: list[Any] = [erase_tenant, get_erasure]
