"""Routes of the tenant's own settings.

Owns the HTTP shape of `ports.Tenants`.
"""

from litestar import get, patch

from control_plane.http.auth import Scope, access
from control_plane.http.bodies import AnyRequest, json_body
from control_plane.http.dependencies import Caller, Ports, Settings
from control_plane.http.problems import invalid
from control_plane.recipients import REGIONS
from schemas.api_accounts import TenantChange, TenantView
from schemas.errors import ErrorCode as C
from schemas.records import TenantRecord

TAGS = ["Tenant"]


@get(
    "/tenant",
    operation_id="getTenant",
    summary="Read your tenant's settings",
    tags=TAGS,
    opt=access(Scope.KEYS),
)
async def get_tenant(services: Ports, caller: Caller) -> TenantView:
    """`GET /v1/tenant`"""
    record = await services.tenants.get(caller.tenant_id)
    return _view(record, await services.tenants.region(caller.tenant_id))


@patch(
    "/tenant",
    operation_id="changeTenant",
    summary="Change your tenant's settings",
    description="`default_region` is the country in which phone numbers without a country code "
    "(`0812…`) are read, `message_retention_s` how long its messages are kept, `media_policy` "
    "whether media that arrives is downloaded at once (`auto`) or when it is read; null takes "
    "the server's again. All replicas know it a few seconds later.",
    tags=TAGS,
    opt=access(
        Scope.KEYS,
        C.MALFORMED_REQUEST,
        C.VALIDATION_FAILED,
        C.UNSUPPORTED_MEDIA_TYPE,
        C.PAYLOAD_TOO_LARGE,
        C.CONFLICT,
        body=TenantChange,
    ),
)
async def change_tenant(
    request: AnyRequest, services: Ports, settings: Settings, caller: Caller
) -> TenantView:
    """`PATCH /v1/tenant`"""
    change, _ = await json_body(request, TenantChange, settings.json_bytes_max)
    if isinstance(change.default_region, str) and change.default_region not in REGIONS:
        raise invalid("default_region", "No country has this code.")
    record = await services.tenants.change(caller.tenant_id, change)
    return _view(record, await services.tenants.region(caller.tenant_id))


def _view(record: TenantRecord, region: str | None) -> TenantView:
    return TenantView(
        record.tenant_id,
        record.name,
        region,
        record.sessions_max,
        record.message_retention_s,
        record.media_policy,
    )


ROUTES = [get_tenant, change_tenant]
