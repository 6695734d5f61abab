"""Routes for key owners: API keys.

Owns the HTTP shape of the keys in `ports.Access`, and the rule that nobody grants a scope he lacks.
"""

from typing import Annotated, Any

from litestar import delete, get, post
from litestar.params import PathParameter

from control_plane.http.auth import Scope, access
from control_plane.http.bodies import AnyRequest, json_body
from control_plane.http.dependencies import Caller, Ports, Settings
from control_plane.http.problems import invalid
from schemas.api import ApiKeyView, NewApiKey, Page
from schemas.errors import BlazzError
from schemas.errors import ErrorCode as C
from schemas.records import ApiKeyRecord

KEYS = ["API keys"]


@post(
    "/keys",
    operation_id="createKey",
    summary="Create an API key",
    description="Its text is in this answer and nowhere else. It gets only scopes that your own "
    "key has; only scope `operator` makes keys for another tenant.",
    tags=KEYS,
    status_code=201,
    opt=access(
        Scope.KEYS,
        C.MALFORMED_REQUEST,
        C.VALIDATION_FAILED,
        C.UNSUPPORTED_MEDIA_TYPE,
        C.PAYLOAD_TOO_LARGE,
        body=NewApiKey,
    ),
)
async def create_key(
    request: AnyRequest, services: Ports, settings: Settings, caller: Caller
) -> ApiKeyView:
    """`POST /v1/keys`"""
    new, _ = await json_body(request, NewApiKey, settings.json_bytes_max)
    scopes = tuple(dict.fromkeys(new.scopes))
    known = {scope.value for scope in Scope}
    if not scopes or not known.issuperset(scopes):
        raise invalid("scopes", f"One or more of: {', '.join(sorted(known))}.")
    lacking = set(scopes) - caller.scopes
    if lacking:
        raise BlazzError(C.FORBIDDEN, f"Your own key lacks: {', '.join(sorted(lacking))}.")
    tenant = new.tenant_id or caller.tenant_id
    if tenant != caller.tenant_id and Scope.OPERATOR not in caller.scopes:
        raise BlazzError(C.FORBIDDEN, "Keys for another tenant need the scope operator.")
    record, key = await services.access.create_key(
        tenant, name=new.name, scopes=scopes, expires_in_s=new.expires_in_s
    )
    return _view(record, key)


@get(
    "/keys",
    operation_id="listKeys",
    summary="List API keys",
    tags=KEYS,
    opt=access(Scope.KEYS),
)
async def list_keys(services: Ports, caller: Caller) -> Page[ApiKeyView]:
    """`GET /v1/keys`"""
    return Page([_view(record) for record in await services.access.list_keys(caller.tenant_id)])


@delete(
    "/keys/{key_id:str}",
    operation_id="revokeKey",
    summary="Revoke an API key",
    tags=KEYS,
    status_code=204,
    opt=access(Scope.KEYS, C.NOT_FOUND),
)
async def revoke_key(
    services: Ports, caller: Caller, key_id: Annotated[str, PathParameter(max_length=64)]
) -> None:
    """`DELETE /v1/keys/{id}`"""
    await services.access.revoke_key(caller.tenant_id, key_id)


def _view(record: ApiKeyRecord, key: str | None = None) -> ApiKeyView:
    return ApiKeyView(
        key_id=record.key_id,
        tenant_id=record.tenant_id,
        scopes=record.scopes,
        created_at=record.created_at,
        name=record.name,
        expires_at=record.expires_at,
        revoked=record.revoked,
        key=key,
    )


ROUTES: list[Any] = [create_key, list_keys, revoke_key]
