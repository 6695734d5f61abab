"""The code board: the QR code on show for one session, for those who ask for it.

Owns the code and its end. A code opens an account, so it is never in an event or a log.
"""

import asyncio
import time

from schemas.commands import QrAnswer
from swarm_node.engines.contract import QrShown


class CodeBoard:
    """At most one code."""

    def __init__(self) -> None:
        self._shown: QrShown | None = None
        self._ends_at_s = 0.0
        self._changed = asyncio.Event()

    def show(self, code: QrShown) -> None:
        """A new code takes the place of the one before."""
        self._shown = code
        self._ends_at_s = time.monotonic() + code.expires_in_s
        self._changed.set()

    def clear(self) -> None:
        """There is no code any more."""
        self._shown = None

    def on_show(self) -> QrAnswer | None:
        """The code that can be scanned now."""
        left_s = self._ends_at_s - time.monotonic()
        if self._shown is None or left_s <= 0:
            return None
        return QrAnswer(
            value=self._shown.value,
            index=self._shown.index,
            count=self._shown.count,
            expires_in_s=round(left_s, 3),
        )

    async def next(self, timeout_s: float) -> QrAnswer | None:
        """The next code shown within `timeout_s`; None if none is."""
        self._changed.clear()
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            return None
        return self.on_show()
