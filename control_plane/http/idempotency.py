"""Idempotency keys: the same key and body make one session or message, and one answer.

Owns when a first answer is kept and when its key is given back. Never stores one itself:
`ports.Idempotency` does.
"""

import hashlib
from collections.abc import Awaitable, Callable
from typing import Annotated, Generic, TypeVar

import msgspec
from litestar.params import HeaderParameter

from control_plane.ports import Idempotency, Principal
from schemas.errors import BlazzError, ErrorCode

T = TypeVar("T", bound=msgspec.Struct)

IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="Any unique text. Repeating the request with it repeats the answer, not the "
        "work; kept for a day.",
    ),
]

_NOTHING_WAS_DONE = frozenset(
    {
        ErrorCode.NO_NODE_AVAILABLE,
        ErrorCode.NODE_AT_CAPACITY,
        ErrorCode.RATE_LIMITED,
        ErrorCode.SHUTTING_DOWN,
    }
)


class Once(msgspec.Struct, Generic[T], frozen=True):
    """What came of it, and whether it was done before."""

    result: T
    replayed: bool


async def once(
    store: Idempotency,
    principal: Principal,
    operation: str,
    key: str | None,
    body_sha256: str,
    kind: type[T],
    work: Callable[[], Awaitable[T]],
    work_again: Callable[[], Awaitable[T]] | None = None,
) -> Once[T]:
    """Do `work`, unless this key did it before: then its first result again.

    A refusal gives the key back. A failure that leaves the outcome open keeps it in flight (the
    store frees it in the end): doing the work again at once could do it twice. With `work_again`
    it cannot, and that is what a request does that finds an earlier one which did not end.
    """
    if key is None:
        return Once(await work(), False)
    # Two keys of one tenant must not read each other's answers.
    scope = f"{principal.key_id}-{operation}"
    known = await store.begin(
        principal.tenant_id, scope, key, body_sha256, resume=work_again is not None
    )
    if known is not None and known.done:
        return Once(msgspec.json.decode(known.body, type=kind), True)
    do = work_again if known is not None and work_again is not None else work
    try:
        result = await do()
    except BlazzError as error:
        if error.spec.http < 500 or error.code in _NOTHING_WAS_DONE:
            await store.abandon(principal.tenant_id, scope, key)
        raise
    body = msgspec.json.encode(result).decode()
    await store.finish(principal.tenant_id, scope, key, body_sha256, 200, body)
    return Once(result, False)


def sha256_of(*parts: bytes) -> str:
    """A digest of parts, each told apart by its length."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()
