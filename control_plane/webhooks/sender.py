"""One attempt: an event's body, signed and posted.

Owns the request and what is kept of its answer. Never decides what follows, and logs neither the
address nor the body.
"""

import time
from typing import Final

import structlog

from control_plane.core.webhook_delivery import Outcome, Verdict, retry_after_s, verdict_of
from control_plane.core.webhook_signature import headers
from control_plane.outbound.client import Outbound
from control_plane.webhooks.secrets import WebhookSecrets
from control_plane.webhooks.settings import WebhookSettings
from schemas import log_keys
from schemas.errors import BlazzError
from schemas.webhooks import Attempt, WebhookRecord

log = structlog.get_logger()

HTTP_ERROR: Final = "http_error"
_SHOWN_CHARS_MAX: Final = 300


class Sender:
    """Posts to webhooks."""

    def __init__(
        self, outbound: Outbound, secrets: WebhookSecrets, settings: WebhookSettings
    ) -> None:
        self._outbound = outbound
        self._secrets = secrets
        self._settings = settings

    async def send(self, webhook: WebhookRecord, event_id: str, body: str) -> Outcome:
        """Try once; every failure of the webhook's is an outcome. Raises `master_key_missing`,
        `nats_unavailable` where it is ours."""
        raw, at = body.encode(), time.time()
        signed = headers(await self._secrets.open(webhook, at), event_id=event_id, at=at, body=raw)
        begun = time.monotonic()
        try:
            answer = await self._outbound.post(
                webhook.url,
                raw,
                signed,
                timeout_s=self._settings.timeout_s,
                answer_bytes_max=self._settings.answer_bytes_max,
            )
        except BlazzError as error:
            attempt = Attempt(at, _since(begun), None, error.code, error.detail)
            outcome = Outcome(attempt, Verdict.FAILED)
        else:
            verdict = verdict_of(answer.http_code)
            attempt = Attempt(
                at=at,
                duration_s=_since(begun),
                http_code=answer.http_code,
                error=None if verdict is Verdict.DELIVERED else HTTP_ERROR,
                answer=_shown(answer.body),
            )
            asked = retry_after_s(answer.http_code, answer.headers, time.time())
            outcome = Outcome(attempt, verdict, asked)
        log.debug(
            "webhook.attempted",
            webhook_id=webhook.webhook_id,
            event_id=event_id,
            verdict=outcome.verdict,
            **{log_keys.DURATION: attempt.duration_s},
        )
        return outcome


def _since(begun: float) -> float:
    return round(time.monotonic() - begun, 4)


def _shown(body: bytes) -> str:
    """The beginning of an answer, as far as it can be shown."""
    text = body.decode("utf-8", errors="replace")[:_SHOWN_CHARS_MAX]
    return "".join(c if c.isprintable() else " " for c in text).strip()
