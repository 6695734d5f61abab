"""Message identity: the id that an idempotency key makes, the same on every replica and for ever.

Owns the derivation. Never stores or makes the secret: it is handed in. A message's id is seen by
its recipient, and idempotency keys are often guessable (`order-17`): hence a keyed hash.
"""

import hashlib
from typing import Final

import msgspec

from schemas import ids
from schemas.ids import MessageId

_BYTES: Final = 9
_SECRET_BYTES_MAX: Final = 64


class OnceKey(msgspec.Struct, frozen=True):
    """An idempotency key under which a message is sent.

    - `scope`: whose it is (an API key's id): two keys of one tenant must not meet.
    - `seen_before`: an earlier request under it began and did not end, as far as is known.
    """

    scope: str
    key: str
    body_sha256: str
    seen_before: bool = False


def derived_id(secret: bytes, tenant_id: str, session_id: str, once: OnceKey) -> MessageId:
    """The id of the one message that this key and body make in this session."""
    digest = hashlib.blake2b(
        key=secret[:_SECRET_BYTES_MAX], digest_size=_BYTES, person=b"blazz-message"
    )
    for part in (tenant_id, session_id, once.scope, once.key, once.body_sha256):
        raw = part.encode()
        digest.update(len(raw).to_bytes(8, "big"))
        digest.update(raw)
    return ids.message_id(digest.digest())
