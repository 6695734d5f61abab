"""Signing secrets: made, sealed at rest, opened to sign.

Owns the sealing: AES-256-GCM by one data key of the fleet, which the master key wraps, with the
webhook's id as associated data. A fleet without a master key keeps them as they are, and says so
in the record. Never logs one.
"""

import secrets
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from control_plane.core.webhook_signature import SECRET_BYTES
from control_plane.vault.data_keys import DataKeys
from schemas.errors import BlazzError, ErrorCode
from schemas.webhooks import SIGNATURES_MAX, SealedSecret, WebhookRecord

_DATA_KEY: Final = "webhooks"
_NONCE_BYTES: Final = 12


class WebhookSecrets:
    """The secrets of all webhooks. `keys`: None where the fleet has no master key."""

    def __init__(self, keys: DataKeys | None) -> None:
        self._keys = keys

    async def make(self, webhook_id: str, now: float) -> tuple[SealedSecret, bytes]:
        """A new one, as it is kept and as it is. Raises `master_key_missing`."""
        secret = secrets.token_bytes(SECRET_BYTES)
        if self._keys is None:
            return SealedSecret(secret, now, plain=True), secret
        key = await self._keys.ensure(_DATA_KEY)
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = AESGCM(key).encrypt(nonce, secret, webhook_id.encode())
        return SealedSecret(nonce + sealed, now), secret

    async def open(self, webhook: WebhookRecord, now: float) -> list[bytes]:
        """Those that sign now, the newest first. Raises `master_key_missing`."""
        return [await self._open(each, webhook.webhook_id) for each in valid(webhook, now)]

    async def _open(self, secret: SealedSecret, webhook_id: str) -> bytes:
        if secret.plain:
            return secret.sealed
        key = None if self._keys is None else await self._keys.get(_DATA_KEY)
        if key is None:
            raise _missing()
        nonce, sealed = secret.sealed[:_NONCE_BYTES], secret.sealed[_NONCE_BYTES:]
        try:
            return AESGCM(key).decrypt(nonce, sealed, webhook_id.encode())
        except (InvalidTag, ValueError):
            raise _missing() from None


def valid(webhook: WebhookRecord, now: float) -> tuple[SealedSecret, ...]:
    """The secrets that sign at `now`, the newest first."""
    return tuple(s for s in webhook.secrets if s.ends_at is None or s.ends_at > now)


def rotated(
    webhook: WebhookRecord, new: SealedSecret, now: float, overlap_s: float
) -> tuple[SealedSecret, ...]:
    """The secrets once `new` has taken over; those before it sign for `overlap_s` more at most."""
    ends_at = now + overlap_s
    older = [
        SealedSecret(s.sealed, s.created_at, min(ends_at, s.ends_at or ends_at), s.plain)
        for s in valid(webhook, now)
    ]
    left = [s for s in older if s.ends_at is not None and s.ends_at > now]
    return (new, *left)[:SIGNATURES_MAX]


def _missing() -> BlazzError:
    return BlazzError(
        ErrorCode.MASTER_KEY_MISSING, "the fleet's keys do not open this webhook's secret"
    )
