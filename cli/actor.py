"""The operator's hand, for the terminal: every act is a request to the admin API.

Owns which request an act is. Implements `tui.acts.Actor`.
"""

from typing import Final, TypeVar

import msgspec

from cli.client import TENANT_HEADER, Api
from schemas.api import CordonNode, DrainNode, MoveRequest, NodeDetail, NodeView, SessionView
from schemas.errors import BlazzError, ErrorCode
from schemas.messages import ChatMessage
from schemas.webhooks import DeliveryView, WebhookTestView, WebhookView
from tui.acts import DeliveryRef, LetterRef, SessionRef, WebhookRef

_BY: Final = "by the terminal"
T = TypeVar("T")


def of_tenant(tenant_id: str) -> dict[str, str]:
    """The header by which an operator's key speaks for a tenant."""
    return {TENANT_HEADER: tenant_id}


class HttpActor:
    """`api` is used, never closed."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def cordon(self, node_id: str) -> None:
        """`POST /v1/nodes/{id}/cordon`"""
        body = CordonNode(reason=_BY)
        await self._api.call("POST", f"/v1/nodes/{node_id}/cordon", NodeView, body=body)

    async def uncordon(self, node_id: str) -> None:
        """`POST /v1/nodes/{id}/uncordon`"""
        await self._api.call("POST", f"/v1/nodes/{node_id}/uncordon", NodeView)

    async def drain(self, node_id: str) -> None:
        """`POST /v1/nodes/{id}/drain`, with the API's own deadline."""
        body = DrainNode(reason=_BY)
        await self._api.call("POST", f"/v1/nodes/{node_id}/drain", NodeDetail, body=body)

    async def move(self, session: SessionRef) -> None:
        """`POST /v1/sessions/{id}/move`"""
        path = f"/v1/sessions/{session.session_id}/move"
        await self._api.call("POST", path, SessionView, body=MoveRequest())

    async def start(self, session: SessionRef) -> None:
        """`POST …/start`"""
        await self._life(session, "start")

    async def stop(self, session: SessionRef) -> None:
        """`POST …/stop`"""
        await self._life(session, "stop")

    async def restart(self, session: SessionRef) -> None:
        """`POST …/restart`"""
        await self._life(session, "restart")

    async def log_out(self, session: SessionRef) -> None:
        """`POST …/logout`"""
        await self._life(session, "logout")

    async def delete(self, session: SessionRef) -> None:
        """`DELETE /v1/sessions/{id}`"""
        headers = of_tenant(session.tenant_id)
        path = f"/v1/sessions/{session.session_id}"
        await self._api.call("DELETE", path, msgspec.Raw, headers=headers)

    async def redrive(self, letter: LetterRef, *, force: bool) -> None:
        """`POST …/dead-letters/{id}/redrive`"""
        await self._api.call(
            "POST",
            f"{_letter_path(letter)}/redrive",
            ChatMessage,
            headers=of_tenant(letter.session.tenant_id),
            query={"force": "true"} if force else None,
        )

    async def drop(self, letter: LetterRef) -> None:
        """`DELETE …/dead-letters/{id}`"""
        headers = of_tenant(letter.session.tenant_id)
        await self._api.call("DELETE", _letter_path(letter), msgspec.Raw, headers=headers)

    async def enable_webhook(self, webhook: WebhookRef) -> None:
        """`POST …/enable`"""
        await self._hook(webhook, "enable", WebhookView)

    async def disable_webhook(self, webhook: WebhookRef) -> None:
        """`POST …/disable`"""
        await self._hook(webhook, "disable", WebhookView)

    async def check_webhook(self, webhook: WebhookRef) -> None:
        """`POST …/test`"""
        answer = await self._hook(webhook, "test", WebhookTestView)
        if not answer.delivered:
            attempt = answer.attempt
            said = f"it answered {attempt.http_code}" if attempt.http_code else attempt.detail
            raise BlazzError(ErrorCode.URL_UNREACHABLE, said)

    async def resend(self, delivery: DeliveryRef) -> None:
        """`POST …/deliveries/{event_id}/resend`"""
        await self._hook(delivery.webhook, f"deliveries/{delivery.event_id}/resend", DeliveryView)

    async def _life(self, session: SessionRef, verb: str) -> None:
        headers = of_tenant(session.tenant_id)
        path = f"/v1/sessions/{session.session_id}/{verb}"
        await self._api.call("POST", path, SessionView, headers=headers)

    async def _hook(self, webhook: WebhookRef, verb: str, kind: type[T]) -> T:
        headers = of_tenant(webhook.tenant_id)
        path = f"/v1/webhooks/{webhook.webhook_id}/{verb}"
        return await self._api.call("POST", path, kind, headers=headers)


def _letter_path(letter: LetterRef) -> str:
    return f"/v1/sessions/{letter.session.session_id}/dead-letters/{letter.message_id}"
