"""Clocks: the only place where the terminal asks what time it is.

Owns the two readings. Never used by `model`, `health` or `rows`, which are told.
"""

import time
from typing import Protocol


class Clock(Protocol):
    """Monotonic seconds for judging silence, Unix seconds for showing dates."""

    def monotonic(self) -> float:
        """Seconds that never go back."""

    def unix(self) -> float:
        """Seconds since 1970."""


class SystemClock:
    """This machine's clocks."""

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    def unix(self) -> float:
        """Seconds since 1970."""
        return time.time()
