"""Child processes: start, wait until ready, watch, respawn, stop. Bounded throughout.

Owns a child's life. A child says that it is ready by writing one JSON object to its ready file
(what it serves, on which port); it ends on SIGTERM; it dies with us even when we are killed
outright. Never knows what a child does.
"""

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from schemas.errors import BlazzError, ErrorCode

log = structlog.get_logger()

STOP_TIMEOUT_S: Final = 30.0
READY_POLL_S: Final = 0.02
_RESPAWN_DELAY_MIN_S: Final = 0.2
_RESPAWN_DELAY_MAX_S: Final = 10.0
_STEADY_AFTER_S: Final = 30.0
_PR_SET_PDEATHSIG: Final = 1
_LOG_TAIL_BYTES: Final = 4_000


class ChildSpec(msgspec.Struct, frozen=True):
    """What to run: a command that takes `--ready-file`. `name` is for people and for file names."""

    name: str
    argv: tuple[str, ...]
    run_dir: Path
    env: Mapping[str, str] = {}
    ready_timeout_s: float = 60.0

    @property
    def ready_file(self) -> Path:
        """Where the child says that it is ready."""
        return self.run_dir / f"{self.name}.ready.json"

    @property
    def log_file(self) -> Path:
        """Where its output goes."""
        return self.run_dir / f"{self.name}.log"


def blazz_argv(*args: str) -> tuple[str, ...]:
    """How to run a `blazz` command with this very interpreter."""
    return (sys.executable, "-m", "cli", *args)


def write_ready(path: Path | None, facts: Mapping[str, Any]) -> None:
    """The child's side: say that we are ready (atomically); nothing without a path."""
    if path is None:
        return
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(dict(facts)), encoding="utf-8")
    partial.replace(path)


def _die_with_parent() -> None:
    # Runs between fork and exec, from the main thread: the signal is tied to that thread's life.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Child:
    """A running child; made by `spawn`."""

    def __init__(self, spec: ChildSpec, process: asyncio.subprocess.Process) -> None:
        self.spec = spec
        self.process = process
        self.facts: dict[str, Any] = {}

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    async def wait_ready(self) -> dict[str, Any]:
        """Wait, bounded, for its ready file; answers what it says.

        Raises `timeout`, or the error that the child ended with when it wrote one.
        """
        deadline = time.monotonic() + self.spec.ready_timeout_s
        while time.monotonic() < deadline:
            if self.spec.ready_file.exists():
                self.facts = json.loads(self.spec.ready_file.read_text(encoding="utf-8"))
                return self.facts
            if self.process.returncode is not None:
                raise self._early_end()
            await asyncio.sleep(READY_POLL_S)
        raise BlazzError(
            ErrorCode.TIMEOUT,
            f"{self.spec.name} was not ready within {self.spec.ready_timeout_s:g} s; "
            f"its log: {self.spec.log_file}",
        )

    def _early_end(self) -> BlazzError:
        tail = _tail(self.spec.log_file)
        for line in reversed(tail.splitlines()):
            with contextlib.suppress(ValueError):
                row = json.loads(line)
                if isinstance(row, dict) and row.get("event") == "process.failed":
                    with contextlib.suppress(ValueError):
                        return BlazzError(ErrorCode(row["code"]), str(row.get("detail", "")))
        return BlazzError(
            ErrorCode.INTERNAL,
            f"{self.spec.name} ended with {self.process.returncode} before it was ready; "
            f"its log: {self.spec.log_file}",
        )

    async def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """SIGTERM, then SIGKILL after the time. Answers the exit code; idempotent."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.terminate()
            try:
                async with asyncio.timeout(timeout_s):
                    await self.process.wait()
            except TimeoutError:
                log.warning("process.killed", name=self.spec.name, waited_s=timeout_s)
                await self.kill()
        return await self.process.wait()

    async def kill(self) -> None:
        """SIGKILL, now."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()


async def spawn(spec: ChildSpec) -> Child:
    """Start it; its output is appended to its log file, its input is empty."""
    spec.run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    spec.ready_file.unlink(missing_ok=True)
    with spec.log_file.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *spec.argv,
            "--ready-file",
            str(spec.ready_file),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **spec.env},
            start_new_session=True,  # ctrl-C in our terminal is for us; we stop it in order
            preexec_fn=_die_with_parent,
        )
    return Child(spec, process)


class Supervised:
    """A child that is started again when it ends by itself; made by `supervise`."""

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.restarts = 0
        self._child: Child | None = None
        self._lock = asyncio.Lock()
        self._wanted = asyncio.Event()
        self._stopping = False

    @property
    def child(self) -> Child:
        """The one that runs now."""
        if self._child is None:
            raise BlazzError(ErrorCode.INTERNAL, f"{self.spec.name} is not running")
        return self._child

    async def start(self) -> dict[str, Any]:
        """Start it (again) and wait until it is ready."""
        async with self._lock:
            return await self._start()

    async def restart(self) -> dict[str, Any]:
        """Stop it cleanly and start it again; answers what the new one says."""
        async with self._lock:
            await self.child.stop()
            return await self._start()

    async def take_down(self) -> None:
        """SIGKILL it, as when its machine dies, and leave it dead until `start`."""
        self._wanted.clear()
        await self.child.kill()

    @contextlib.contextmanager
    def left_dead(self) -> Iterator[None]:
        """For the block, however it ends, it stays dead until `start` or the end of the block."""
        self._wanted.clear()
        try:
            yield
        finally:
            self._wanted.set()

    async def _start(self) -> dict[str, Any]:
        self._child = await spawn(self.spec)
        self._wanted.set()
        return await self._child.wait_ready()

    async def stop(self) -> None:
        """Stop it for good."""
        self._stopping = True
        async with self._lock:
            if self._child is not None:
                await self._child.stop()

    async def watch(self, on_respawn: Callable[[str], Awaitable[None]]) -> None:
        """Respawn it, with backoff, whenever it ends by itself. Runs until cancelled."""
        delay_s = _RESPAWN_DELAY_MIN_S
        while True:
            child = self.child
            began = time.monotonic()
            code = await child.process.wait()
            await self._wanted.wait()
            async with self._lock:
                if self._stopping:
                    return
                if self._child is not child:  # a restart that somebody asked for
                    continue
                delay_s = (
                    _RESPAWN_DELAY_MIN_S
                    if time.monotonic() - began > _STEADY_AFTER_S
                    else min(delay_s * 2, _RESPAWN_DELAY_MAX_S)
                )
                log.error("process.ended", name=self.spec.name, exit_code=code, delay_s=delay_s)
                await asyncio.sleep(delay_s)
                if not self._wanted.is_set():
                    continue
                self.restarts += 1
                self._child = await spawn(self.spec)
            await on_respawn(self.spec.name)


async def _nobody(_name: str) -> None:
    """Nobody wants to hear of a respawn."""


@asynccontextmanager
async def supervise(
    specs: list[ChildSpec], on_respawn: Callable[[str], Awaitable[None]] = _nobody
) -> AsyncIterator[dict[str, Supervised]]:
    """For the block, run the children in this order, each ready before the next begins; stop them
    in the opposite order, whatever happens."""
    children = {spec.name: Supervised(spec) for spec in specs}
    try:
        for child in children.values():
            await child.start()
        async with asyncio.TaskGroup() as watchers:
            tasks = [watchers.create_task(c.watch(on_respawn)) for c in children.values()]
            try:
                yield children
            finally:
                for child in reversed(children.values()):
                    await child.stop()
                for task in tasks:
                    task.cancel()
    finally:
        for child in reversed(children.values()):
            await child.stop()


def _tail(path: Path) -> str:
    with contextlib.suppress(OSError), path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - _LOG_TAIL_BYTES))
        return file.read().decode(errors="replace")
    return ""
