"""The other end of systemd's notify socket, for tests.

Owns a real datagram socket and what came through it.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path

_WAIT_S = 0.1
_FLUSH = b"\0flush"
_FLUSH_MAX_S = 30.0


class Systemd:
    """The other end of the notify socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(_WAIT_S)
        self._heard: list[str] = []
        # Ten datagrams fill such a socket, and then the sender waits: it is read all the time.
        self._closed, self._flushed = threading.Event(), threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def heard(self) -> list[str]:
        """All that was said so far: datagrams come in order, and ours comes last."""
        self._flushed.clear()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.sendto(_FLUSH, str(self.path))
        assert self._flushed.wait(_FLUSH_MAX_S)
        return list(self._heard)

    def _read(self) -> None:
        while not self._closed.is_set():
            with contextlib.suppress(TimeoutError):
                said = self._socket.recv(4096)
                if said == _FLUSH:
                    self._flushed.set()
                else:
                    self._heard.append(said.decode())

    def environ(self, **more: str) -> dict[str, str]:
        return {"NOTIFY_SOCKET": str(self.path), **more}

    def close(self) -> None:
        self._closed.set()
        self._reader.join()
        self._socket.close()
