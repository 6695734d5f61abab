"""Media bytes, kept in memory by the id the switch gave them.

Owns storing and finding them, within a bound. Never looks inside.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

from schemas import switch_wire as wire

SHELF_BYTES_MAX: Final = 512 * 1024 * 1024


class MediaShelf:
    """Media by id; the oldest leave when the shelf is full."""

    def __init__(self) -> None:
        self._items: dict[str, tuple[str, bytes]] = {}
        self._bytes = 0

    def put(self, data: bytes, mimetype: str) -> wire.MediaStored:
        """Keep some bytes."""
        media_id = secrets.token_hex(12)
        self._items[media_id] = (mimetype, data)
        self._bytes += len(data)
        while self._bytes > SHELF_BYTES_MAX and len(self._items) > 1:
            oldest = next(iter(self._items))
            self._bytes -= len(self._items.pop(oldest)[1])
        return wire.MediaStored(
            media_id=media_id, size=len(data), sha256=hashlib.sha256(data).hexdigest()
        )

    def get(self, media_id: str) -> tuple[str, bytes] | None:
        """`(mimetype, bytes)`."""
        return self._items.get(media_id)
