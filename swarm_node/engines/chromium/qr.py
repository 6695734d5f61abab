"""A run of QR codes: which one is on show, and for how long.

Owns the counting. Pure: the caller says what the page showed.
"""

from swarm_node.engines.chromium.settings import ChromiumSettings
from swarm_node.engines.contract import QrExpired, QrShown


class QrRun:
    """Counts the codes of a run. WhatsApp lets the first live longer than those after it."""

    def __init__(self, settings: ChromiumSettings) -> None:
        self._settings = settings
        self._value: str | None = None
        self._index = 0

    def shown(self, value: str) -> QrShown | None:
        """A code is on show; None when it is the one that was."""
        if value == self._value:
            return None
        if self._index >= self._settings.qr_count:
            # More than a run has: the page began another one by itself.
            self._index = 0
        self._value = value
        self._index += 1
        life_s = self._settings.qr_first_s if self._index == 1 else self._settings.qr_next_s
        return QrShown(
            value=value, index=self._index, count=self._settings.qr_count, expires_in_s=life_s
        )

    def expired(self) -> QrExpired | None:
        """The codes ran out; None when none was on show."""
        if self._value is None:
            return None
        self.reset()
        return QrExpired()

    def reset(self) -> None:
        """The next code is the first of a new run."""
        self._value = None
        self._index = 0
