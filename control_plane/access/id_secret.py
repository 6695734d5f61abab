"""The secret behind derived message ids: made once an installation, read once a process.

Owns that all replicas use the same one. Never logs or answers it.
"""

import secrets
from typing import Final

from schemas.keys import MESSAGE_ID_SECRET_KEY
from schemas.records import MessageIdSecret
from schemas.resources import ACCESS
from schemas.transport.connection import Bus
from schemas.transport.kv import Bucket, Conflict

_BYTES: Final = 32


class IdSecret:
    """The installation's secret; `get` reads or makes it at the first call."""

    def __init__(self, bus: Bus) -> None:
        self._bucket = Bucket(bus, ACCESS)
        self._known: bytes | None = None

    async def get(self) -> bytes:
        """Raises `nats_unavailable`, `timeout`."""
        if self._known is None:
            self._known = await self._read_or_make()
        return self._known

    async def _read_or_make(self) -> bytes:
        found = await self._bucket.get(MESSAGE_ID_SECRET_KEY, MessageIdSecret)
        if found.value is not None:
            return found.value.secret
        made = MessageIdSecret(secrets.token_bytes(_BYTES))
        try:
            await self._bucket.update(MESSAGE_ID_SECRET_KEY, made, found.revision)
        except Conflict:
            # Another replica was quicker: its secret is everybody's.
            return await self._read_or_make()
        return made.secret
