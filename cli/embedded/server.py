"""The embedded nats-server: kept running for the life of an `async with` block.

Owns the data directory, its lock, the configuration file, respawning, and the identities. Never
connects to the bus itself.

    async with EmbeddedNats(Path("data/nats"), EmbeddedSettings()) as nats:
        async with Bus.connect(nats.bus_settings(nats.control_plane)) as bus: ...
"""

import asyncio
import contextlib
import random
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import structlog

from cli.embedded.identities import Identity, IdentityStore, Role
from cli.embedded.process import Ports, ServerProcess, find_binary
from cli.embedded.server_config import EmbeddedSettings, server_config
from cli.embedded.store_lock import store_lock
from schemas.errors import BlazzError
from schemas.timing import FAST, TimingProfile
from schemas.transport.background import Background
from schemas.transport.connection import BusSettings, redial_delay

__all__ = ["EmbeddedNats", "EmbeddedSettings"]

log = structlog.get_logger()

_RELOAD_TIMEOUT_S: Final = 5.0
_STABLE_AFTER_S: Final = 30.0
"""A run this long forgives the crashes before it."""
CONTROL_PLANE_NAME: Final = "control-plane"
VIEWER_NAME: Final = "viewer"
BACKUP_NAME: Final = "backup"


class EmbeddedNats:
    """A nats-server in `directory` (made if needed, for us alone).

    `restarts` counts respawns after crashes; the port stays, so clients come back by themselves.
    Entering raises `data_dir_locked`, `port_in_use`, `dependency_missing`, `nats_unavailable`.
    """

    def __init__(self, directory: Path, settings: EmbeddedSettings | None = None) -> None:
        self.settings = settings or EmbeddedSettings()
        self.restarts = 0
        self._directory = directory.absolute()
        self._identities = IdentityStore(self._directory / "identities")
        self._ports = Ports(self.settings.port, self.settings.monitor_port)
        self._process: ServerProcess | None = None
        self._running = asyncio.Event()
        self._changing = asyncio.Lock()
        self._stack = contextlib.AsyncExitStack()
        self._tasks = Background()
        self._binary = ""
        self._lock = -1

    async def __aenter__(self) -> Self:
        self._binary = find_binary(self.settings.binary)
        for part in ("", "run", "log", "store"):
            (self._directory / part).mkdir(mode=0o700, parents=True, exist_ok=True)
        async with self._stack as stack:
            self._lock = await stack.enter_async_context(
                store_lock(self._directory, wait_s=self.settings.lock_wait_s)
            )
            self._identities.ensure(Role.CONTROL_PLANE, CONTROL_PLANE_NAME)
            self._identities.ensure(Role.VIEWER, VIEWER_NAME)
            self._identities.ensure(Role.BACKUP, BACKUP_NAME)
            stack.push_async_callback(self._stop)
            await self._start()
            await stack.enter_async_context(self._tasks)
            self._tasks.start(self._supervise(), name="nats-server supervisor")
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    # What it offers ------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://127.0.0.1:{self._ports.client}"

    @property
    def monitor_url(self) -> str:
        """Its monitoring pages; unless set, the port is new after a respawn."""
        return f"http://127.0.0.1:{self._ports.monitor}"

    @property
    def pid(self) -> int:
        """The present server's process id; 0 between two."""
        return self._process.pid if self._process and self._running.is_set() else 0

    @property
    def control_plane(self) -> Identity:
        """The identity for control planes."""
        return self._identities.ensure(Role.CONTROL_PLANE, CONTROL_PLANE_NAME)

    @property
    def viewer(self) -> Identity:
        """The identity for terminals."""
        return self._identities.ensure(Role.VIEWER, VIEWER_NAME)

    @property
    def backup(self) -> Identity:
        """The identity that takes backups."""
        return self._identities.ensure(Role.BACKUP, BACKUP_NAME)

    async def add_node(self, node_id: str) -> Identity:
        """The identity of a node, made and known to the server when this returns.

        Raises `config_invalid` for a bad id, `nats_unavailable` if the server does not take it.
        """
        async with self._changing:
            known = {identity.public_key for identity in self._identities.all()}
            identity = self._identities.ensure(Role.NODE, node_id)
            if identity.public_key not in known:
                self._write_config()
                if self._process is not None and self._running.is_set():
                    # One that is just being respawned reads the new file anyway.
                    await self._process.reload(_RELOAD_TIMEOUT_S)
        return identity

    def bus_settings(
        self, identity: Identity, *, name: str | None = None, profile: TimingProfile = FAST
    ) -> BusSettings:
        """Settings to connect as `identity`."""
        return BusSettings(
            servers=(self.url,),
            name=name or identity.name,
            inbox_prefix=identity.inbox_prefix,
            nkey_seed_file=identity.seed_file,
            profile=profile,
        )

    # Running -------------------------------------------------------------------------------------

    async def _start(self) -> None:
        self._write_config()
        process = await ServerProcess.spawn(self._binary, self._directory, lock=self._lock)
        self._process = process
        await process.wait_ready(self.settings.start_timeout_s)
        self._ports = process.ports
        # With the ports it chose: a reload must not seem to change them, a respawn keeps them.
        self._write_config()
        self._running.set()
        log.info("nats_server.started", pid=process.pid, port=self._ports.client)

    async def _stop(self) -> None:
        self._running.clear()
        if self._process is not None:
            await self._process.stop(self.settings.stop_timeout_s)
            log.info("nats_server.stopped", pid=self._process.pid)

    async def _supervise(self) -> None:
        attempt = 0
        began_at = time.monotonic()
        while True:
            if self._process is not None:
                code = await self._process.wait_exit()
                self._running.clear()
                if time.monotonic() - began_at > _STABLE_AFTER_S:
                    attempt = 0
                log.error("nats_server.crashed", exit_code=code, attempt=attempt)
            await asyncio.sleep(
                redial_delay(
                    attempt,
                    random.random(),
                    min_s=self.settings.respawn_delay_min_s,
                    max_s=self.settings.respawn_delay_max_s,
                )
            )
            attempt += 1
            self.restarts += 1
            began_at = time.monotonic()
            try:
                async with self._changing:
                    await self._start()
            except BlazzError as error:
                log.error("nats_server.respawn_failed", code=error.code, detail=error.detail)
                await self._stop()

    def _write_config(self) -> None:
        text = server_config(
            self.settings,
            self._directory,
            self._identities.all(),
            port=self._ports.client,
            # Unlike the clients' port, a reload refuses to see this one go from -1 to a number.
            monitor_port=self.settings.monitor_port,
        )
        path = self._directory / "nats-server.conf"
        draft = path.with_suffix(".draft")
        draft.write_text(text, encoding="utf-8")
        draft.chmod(0o600)
        draft.replace(path)
