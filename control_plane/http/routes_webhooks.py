"""Routes for webhooks.

Owns the HTTP shape of `ports.Webhooks`. Never delivers, signs or stores.
"""

from typing import Annotated, Any

from litestar import delete, get, patch, post
from litestar.params import FromPath, QueryParameter

from control_plane.http.auth import Scope, access
from control_plane.http.bodies import AnyRequest, json_body
from control_plane.http.dependencies import Caller, Cursor, Limit, Ports, Settings
from schemas.api import Page
from schemas.errors import ErrorCode as C
from schemas.ids import EventId, WebhookId
from schemas.webhooks import (
    DeliveryState,
    DeliveryView,
    NewWebhook,
    Recover,
    RecoverView,
    RotateSecret,
    WebhookChange,
    WebhookTestView,
    WebhookView,
)

TAGS = ["Webhooks"]
_BODY = (
    C.MALFORMED_REQUEST,
    C.VALIDATION_FAILED,
    C.UNSUPPORTED_MEDIA_TYPE,
    C.PAYLOAD_TOO_LARGE,
)
_CHANGED = (C.WEBHOOK_NOT_FOUND, C.CONFLICT)
State = Annotated[
    DeliveryState | None, QueryParameter(name="state", description="Only those in this state.")
]


@post(
    "/webhooks",
    operation_id="createWebhook",
    summary="Add a webhook",
    description="It gets the events from now on. `secret` is in this answer and nowhere else.",
    tags=TAGS,
    status_code=201,
    opt=access(Scope.WEBHOOKS, *_BODY, C.URL_NOT_ALLOWED, C.SESSION_NOT_FOUND, body=NewWebhook),
)
async def create_webhook(
    request: AnyRequest, services: Ports, settings: Settings, caller: Caller
) -> WebhookView:
    """`POST /v1/webhooks`"""
    new, _ = await json_body(request, NewWebhook, settings.json_bytes_max)
    return await services.webhooks.create(caller.tenant_id, new)


@get(
    "/webhooks",
    operation_id="listWebhooks",
    summary="List webhooks",
    tags=TAGS,
    opt=access(Scope.WEBHOOKS),
)
async def list_webhooks(services: Ports, caller: Caller) -> Page[WebhookView]:
    """`GET /v1/webhooks`"""
    return Page(await services.webhooks.list(caller.tenant_id))


@get(
    "/webhooks/{webhook_id:str}",
    operation_id="getWebhook",
    summary="Get a webhook",
    description="With what it has not got yet.",
    tags=TAGS,
    opt=access(Scope.WEBHOOKS, C.WEBHOOK_NOT_FOUND),
)
async def get_webhook(
    services: Ports, caller: Caller, webhook_id: FromPath[WebhookId]
) -> WebhookView:
    """`GET /v1/webhooks/{id}`"""
    return await services.webhooks.get(caller.tenant_id, webhook_id)


@patch(
    "/webhooks/{webhook_id:str}",
    operation_id="changeWebhook",
    summary="Change a webhook",
    description="What is left out stays. It counts for events that were not looked at yet.",
    tags=TAGS,
    opt=access(
        Scope.WEBHOOKS,
        *_BODY,
        *_CHANGED,
        C.URL_NOT_ALLOWED,
        C.SESSION_NOT_FOUND,
        body=WebhookChange,
    ),
)
async def change_webhook(
    request: AnyRequest,
    services: Ports,
    settings: Settings,
    caller: Caller,
    webhook_id: FromPath[WebhookId],
) -> WebhookView:
    """`PATCH /v1/webhooks/{id}`"""
    change, _ = await json_body(request, WebhookChange, settings.json_bytes_max)
    return await services.webhooks.change(caller.tenant_id, webhook_id, change)


@delete(
    "/webhooks/{webhook_id:str}",
    operation_id="deleteWebhook",
    summary="Remove a webhook",
    description="With its deliveries and its place among the events.",
    tags=TAGS,
    status_code=204,
    opt=access(Scope.WEBHOOKS, C.WEBHOOK_NOT_FOUND),
)
async def delete_webhook(services: Ports, caller: Caller, webhook_id: FromPath[WebhookId]) -> None:
    """`DELETE /v1/webhooks/{id}`"""
    await services.webhooks.delete(caller.tenant_id, webhook_id)


@post(
    "/webhooks/{webhook_id:str}/enable",
    operation_id="enableWebhook",
    summary="Enable a webhook",
    description="It goes on where it was, with the events that are still kept.",
    tags=TAGS,
    status_code=200,
    opt=access(Scope.WEBHOOKS, *_CHANGED),
)
async def enable_webhook(
    services: Ports, caller: Caller, webhook_id: FromPath[WebhookId]
) -> WebhookView:
    """`POST …/enable`"""
    return await services.webhooks.enable(caller.tenant_id, webhook_id)


@post(
    "/webhooks/{webhook_id:str}/disable",
    operation_id="disableWebhook",
    summary="Disable a webhook",
    description="Nothing is sent; its place among the events is kept.",
    tags=TAGS,
    status_code=200,
    opt=access(Scope.WEBHOOKS, *_CHANGED),
)
async def disable_webhook(
    services: Ports, caller: Caller, webhook_id: FromPath[WebhookId]
) -> WebhookView:
    """`POST …/disable`"""
    return await services.webhooks.disable(caller.tenant_id, webhook_id)


@post(
    "/webhooks/{webhook_id:str}/rotate-secret",
    operation_id="rotateWebhookSecret",
    summary="Give a webhook a new secret",
    description="`secret` is in this answer and nowhere else. For `overlap_s` every delivery "
    "bears both signatures.",
    tags=TAGS,
    status_code=200,
    opt=access(Scope.WEBHOOKS, *_BODY, *_CHANGED, body=RotateSecret),
)
async def rotate_webhook_secret(
    request: AnyRequest,
    services: Ports,
    settings: Settings,
    caller: Caller,
    webhook_id: FromPath[WebhookId],
) -> WebhookView:
    """`POST …/rotate-secret`"""
    wanted, _ = await json_body(request, RotateSecret, settings.json_bytes_max, optional=True)
    return await services.webhooks.rotate_secret(
        caller.tenant_id, webhook_id, overlap_s=wanted.overlap_s
    )


@post(
    "/webhooks/{webhook_id:str}/test",
    operation_id="testWebhook",
    summary="Send a test event",
    description="A signed `webhook.test`, once, now; the answer says what became of it.",
    tags=TAGS,
    status_code=200,
    opt=access(Scope.WEBHOOKS, C.WEBHOOK_NOT_FOUND),
)
async def check_webhook(
    services: Ports, caller: Caller, webhook_id: FromPath[WebhookId]
) -> WebhookTestView:
    """`POST …/test`"""
    return await services.webhooks.test(caller.tenant_id, webhook_id)


@get(
    "/webhooks/{webhook_id:str}/deliveries",
    operation_id="listDeliveries",
    summary="List deliveries",
    description="The last tried first: those that wait, those that were given up, and of those "
    "that were delivered the last 1000, for 7 days.",
    tags=TAGS,
    opt=access(Scope.WEBHOOKS, C.WEBHOOK_NOT_FOUND, C.VALIDATION_FAILED),
)
async def list_deliveries(
    services: Ports,
    caller: Caller,
    webhook_id: FromPath[WebhookId],
    wanted_state: State = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[DeliveryView]:
    """`GET …/deliveries`"""
    return await services.webhooks.deliveries(
        caller.tenant_id, webhook_id, state=wanted_state, limit=limit, cursor=cursor
    )


@post(
    "/webhooks/{webhook_id:str}/deliveries/{event_id:str}/resend",
    operation_id="resendDelivery",
    summary="Send one event again",
    description="Under the same `webhook-id`, with a whole new round of attempts.",
    tags=TAGS,
    status_code=202,
    opt=access(Scope.WEBHOOKS, *_CHANGED, C.DELIVERY_NOT_FOUND),
)
async def resend_delivery(
    services: Ports,
    caller: Caller,
    webhook_id: FromPath[WebhookId],
    event_id: FromPath[EventId],
) -> DeliveryView:
    """`POST …/deliveries/{event_id}/resend`"""
    return await services.webhooks.resend(caller.tenant_id, webhook_id, event_id)


@post(
    "/webhooks/{webhook_id:str}/recover",
    operation_id="recoverWebhook",
    summary="Send what was missed",
    description="Tries at once everything since a time that waits or was given up. With `all`, "
    "sends every event since then that is still kept, also those that were delivered.",
    tags=TAGS,
    status_code=202,
    opt=access(Scope.WEBHOOKS, *_BODY, *_CHANGED, body=Recover),
)
async def recover_webhook(
    request: AnyRequest,
    services: Ports,
    settings: Settings,
    caller: Caller,
    webhook_id: FromPath[WebhookId],
) -> RecoverView:
    """`POST …/recover`"""
    wanted, _ = await json_body(request, Recover, settings.json_bytes_max)
    return await services.webhooks.recover(caller.tenant_id, webhook_id, wanted)


ROUTES: list[Any] = [
    create_webhook,
    list_webhooks,
    get_webhook,
    change_webhook,
    delete_webhook,
    enable_webhook,
    disable_webhook,
    rotate_webhook_secret,
    check_webhook,
    list_deliveries,
    resend_delivery,
    recover_webhook,
]
