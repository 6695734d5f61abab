"""systemd's notify socket: what a service tells the one that runs it.

Owns the datagrams (`READY=1`, `WATCHDOG=1`, `STATUS=` and so on) and what the environment says of
them. Silent where there is no such socket. Never decides what to say.
"""

import os
import socket
from collections.abc import Mapping
from typing import Final, Self

import structlog

log = structlog.get_logger()

SOCKET_ENV: Final = "NOTIFY_SOCKET"
WATCHDOG_ENV: Final = "WATCHDOG_USEC"
WATCHDOG_PID_ENV: Final = "WATCHDOG_PID"
_MICROSECONDS: Final = 1_000_000
_SEND_MAX_S: Final = 1.0
"""systemd reads at once; a word that is lost because it was busy could end the service."""


class Notifier:
    """The way to systemd. `watchdog_s`: within so long `alive` must be said, None: nobody waits."""

    def __init__(self, address: str | None, watchdog_s: float | None = None) -> None:
        self.watchdog_s = watchdog_s
        self._address = "\0" + address[1:] if address and address.startswith("@") else address
        self._failed = False

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Self:
        """As systemd set it for this very process."""
        environ = os.environ if environ is None else environ
        address = environ.get(SOCKET_ENV)
        if address is not None and not address.startswith(("/", "@")):
            address = None
        asked, whose = environ.get(WATCHDOG_ENV, ""), environ.get(WATCHDOG_PID_ENV)
        ours = asked.isdigit() and int(asked) > 0 and whose in (None, str(os.getpid()))
        return cls(address, int(asked) / _MICROSECONDS if ours else None)

    @property
    def heard(self) -> bool:
        """Whether anybody listens."""
        return self._address is not None

    def ready(self) -> None:
        """The service is up."""
        self._say("READY=1")

    def stopping(self) -> None:
        """The service has begun to end."""
        self._say("STOPPING=1")

    def alive(self) -> None:
        """The watchdog's food."""
        self._say("WATCHDOG=1")

    def words(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._say("STATUS=" + " ".join(text.split()))

    def more_time(self, seconds: float) -> None:
        """Starting or stopping goes on: don't end it for so long, from now."""
        self._say(f"EXTEND_TIMEOUT_USEC={round(seconds * _MICROSECONDS)}")

    def _say(self, line: str) -> None:
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.settimeout(_SEND_MAX_S)
                out.sendto(line.encode(), self._address)
        except OSError as error:
            if not self._failed:
                log.warning("service.notify_failed", detail=type(error).__name__)
            self._failed = True
        else:
            self._failed = False
