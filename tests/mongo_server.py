"""A MongoDB wire server for tests: SecantusDB as a process of its own, from its own environment.

Owns finding that environment (`.venv-mongo`, made by `just _mongo`) and the process's life. It is
development only and never imported by the product or by the tests themselves: this file runs as a
script in that environment. With `BLAZZ_TEST_MONGO_URI` set, a real server is used instead.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parents[1]
PYTHON = ROOT / ".venv-mongo" / "bin" / "python"
URI_VARIABLE = "BLAZZ_TEST_MONGO_URI"
_START_WITHIN_S = 30.0
_STOP_WITHIN_S = 10.0


def why_not() -> str | None:
    """Why no MongoDB can be had here; None if one can."""
    if os.environ.get(URI_VARIABLE) or PYTHON.exists():
        return None
    return f"no MongoDB: run `just _mongo`, or set {URI_VARIABLE}"


class MongoServer:
    """`with MongoServer() as server: server.uri`. Its data goes with it."""

    def __init__(self) -> None:
        self.uri = ""
        self._folder = ""
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._folder = tempfile.mkdtemp(prefix="blazz-mongo-")
        try:
            self._start(0)
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        return self

    def _start(self, port: int) -> None:
        self._process = subprocess.Popen(
            [PYTHON, __file__, self._folder, str(port)], stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], _START_WITHIN_S)
        line = self._process.stdout.readline() if ready else b""
        if not line:
            self.kill()
            raise RuntimeError("the MongoDB stand-in did not start")
        self.uri = json.loads(line)["uri"]

    def kill(self) -> None:
        """`kill -9`; the data stays for `restart`."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Again at the same address, after `kill`."""
        self._start(int(self.uri.rpartition(":")[2].rstrip("/")))

    def _end(self, number: int) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(number)
            try:
                process.wait(_STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def __exit__(self, *_error: object) -> None:
        self._end(signal.SIGTERM)
        shutil.rmtree(self._folder, ignore_errors=True)


def _serve(folder: str, port: int) -> None:
    """Inside the other environment: serve until SIGTERM."""
    stop = threading.Event()
    # Before the port opens: an early SIGTERM would otherwise be lost.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    from secantus import SecantusDBServer  # type: ignore[import-not-found]

    with SecantusDBServer(
        host="127.0.0.1", port=port, storage_path=folder, cache_size="128M"
    ) as server:
        sys.stdout.write(json.dumps({"uri": server.uri}) + "\n")
        sys.stdout.flush()
        stop.wait()


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]))
