"""The snapshot store in memory: what JetStream or MongoDB is to the vault.

Owns the objects, and being away for a while. One for all replicas, and it survives them.
"""

import asyncio
import hashlib
import random
from typing import Final

from control_plane.vault.store import StoredObject, not_found, other_bytes
from schemas.errors import BlazzError, ErrorCode

_AWAY_AFTER_S: Final = 2.0


class MemorySnapshotStore:
    """A `control_plane.vault.store.SnapshotStore`."""

    def __init__(self, chance: random.Random) -> None:
        self.away = False
        self._chance = chance
        self._parts: dict[str, dict[int, bytes]] = {}
        self._sealed: dict[str, StoredObject] = {}

    async def _reach(self) -> None:
        await asyncio.sleep(self._chance.uniform(0.001, 0.01))
        if self.away:
            await asyncio.sleep(_AWAY_AFTER_S)
            raise BlazzError(ErrorCode.VAULT_UNAVAILABLE)

    async def write_part(self, name: str, index: int, data: bytes) -> None:
        """See the port."""
        await self._reach()
        parts = self._parts.setdefault(name, {})
        if parts.setdefault(index, data) != data:
            raise other_bytes(name)

    async def seal(self, wanted: StoredObject) -> None:
        """See the port."""
        await self._reach()
        if self._sealed.setdefault(wanted.name, wanted) != wanted:
            raise other_bytes(wanted.name)

    async def write_whole(self, name: str, data: bytes) -> None:
        """See the port."""
        await self.write_part(name, 0, data)
        await self.seal(StoredObject(name, len(data), hashlib.sha256(data).hexdigest()))

    async def stat(self, name: str) -> StoredObject | None:
        """See the port."""
        await self._reach()
        return self._sealed.get(name)

    async def read_part(self, name: str, index: int) -> bytes:
        """See the port."""
        await self._reach()
        part = self._parts.get(name, {}).get(index)
        if part is None:
            raise not_found(name)
        return part

    async def delete(self, name: str) -> None:
        """See the port."""
        await self._reach()
        self._parts.pop(name, None)
        self._sealed.pop(name, None)

    async def names(self, session_id: str) -> set[str]:
        """See the port."""
        await self._reach()
        return {name for name in self._parts if name.startswith(f"{session_id}/")}

    async def sessions(self) -> set[str]:
        """See the port."""
        await self._reach()
        return {name.partition("/")[0] for name in self._parts}
