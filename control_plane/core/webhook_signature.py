"""Signatures: the headers of Standard Webhooks, and the text of a secret.

Owns what is signed and how it is written. Never makes randomness and never keeps a secret.
See https://www.standardwebhooks.com; the package `standardwebhooks` checks this in the tests.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

SECRET_BYTES: Final = 32
_PREFIX: Final = "whsec_"


def secret_text(secret: bytes) -> str:
    """A secret as customers get it: `whsec_` and base64."""
    return _PREFIX + base64.b64encode(secret).decode()


def headers(secrets: Sequence[bytes], *, event_id: str, at: float, body: bytes) -> dict[str, str]:
    """The headers of one attempt, made at `at` (Unix seconds): a receiver refuses one that is
    older than some minutes. Every secret signs, the newest first."""
    timestamp = str(int(at))
    signed = b".".join((event_id.encode(), timestamp.encode(), body))
    return {
        "content-type": "application/json",
        "webhook-id": event_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(_sign(secret, signed) for secret in secrets),
    }


def _sign(secret: bytes, signed: bytes) -> str:
    digest = hmac.new(secret, signed, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()
