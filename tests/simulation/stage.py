"""The stage: opens a world for a run, with the product's edges replaced, and clears it away.

Owns what stands in for sockets, files' measurements and the log, and the end of every task. Never
what happens in between.
"""

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping
from contextlib import asynccontextmanager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final

import structlog

import control_plane.vault.vault
import schemas.transport.link
import swarm_node.app
import swarm_node.memory
from control_plane.vault.master_keys import ensure_key_file
from control_plane.vault.store import SnapshotStore
from swarm_node.memory import MemoryUse
from tests.simulation.virtual_time import PROCESS, VirtualLoop, swapped, virtual_world
from tests.simulation.wire import SimClient
from tests.simulation.world import World

_MEMORY_DISK: Final = Path("/dev/shm")  # noqa: S108 - a directory of our own is made in it


class _NoMetrics:
    """Takes every count and keeps none."""

    timed = nullcontext
    registry = None

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return _ignore


def _ignore(*_: object, **__: object) -> None:
    pass


_METRICS: Final = _NoMetrics()


@contextmanager
def open_world(seed: int, *, vault: bool = False, tell: bool = False) -> Iterator[World]:
    """A world for the block; nothing of it is left after it. `vault`: sessions live in profiles
    on disk and are kept in the vault."""
    loop = VirtualLoop()
    where = _MEMORY_DISK if _MEMORY_DISK.is_dir() else None
    with (
        tempfile.TemporaryDirectory(dir=where) as folder,
        virtual_world(loop, seed),
    ):
        world = World(loop, seed, Path(folder), tell=tell)
        world.switch.keeps_profiles = vault
        SimClient.network = world.network
        structlog.configure(
            processors=[_collector(world)],
            wrapper_class=structlog.make_filtering_bound_logger("info" if tell else "error"),
            logger_factory=structlog.ReturnLoggerFactory(),
            cache_logger_on_first_use=False,
        )
        if vault:
            ensure_key_file(world.master_key_file)
        asyncio.set_event_loop(loop)
        try:
            with _parts_replaced(world):
                yield world
                loop.run_until_complete(_end(world))
        finally:
            asyncio.set_event_loop(None)
            loop.close()
            del SimClient.network


async def _end(world: World) -> None:
    """End every task, in the world where nobody hears them any more."""
    world.network.server_up = False
    for process in [service.process for service in world.services()]:
        if process is not None and process.alive:
            world.bury(process)
    for _ in range(50):
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if not left:
            return
        for service in world.services():
            service.finish()
        for task in sorted(left, key=hash):
            task.cancel()
        await asyncio.sleep(1.0)
    raise AssertionError(f"tasks that cannot be ended: {left}")


_ERRORS: Final = ("error", "exception", "critical")
_EXPECTED_ERRORS: Final = frozenset(
    {
        # Bounded waits that ran out: what a fault does.
        "event.left_unpublished",
        "observed.left_unwritten",
        "engine.kill_timed_out",
        "bus.identity_refused",
    }
)


def _collector(world: World) -> structlog.typing.Processor:
    def collect(_logger: Any, level: str, event: MutableMapping[str, Any]) -> str:
        process = PROCESS.get()
        name = process.name if process else "world"
        what = str(event.pop("event"))
        living = process is None or process.alive
        if living and level in _ERRORS and what not in _EXPECTED_ERRORS:
            world.breach(f"{name} logged {what} {sys.exc_info()[1]!r}")
        elif world.tell:
            words = " ".join(f"{key}={value}" for key, value in event.items())
            world.note(name, f"{what} {words}")
        return ""

    return collect


@contextmanager
def _parts_replaced(world: World) -> Iterator[None]:
    """The product's edges that a simulation cannot have: sockets, files and measurements."""

    @asynccontextmanager
    async def listening(*_: Any, **__: Any) -> AsyncIterator[str]:
        yield "http://127.0.0.1:1"

    @asynccontextmanager
    async def open_store(*_: Any) -> AsyncIterator[SnapshotStore]:
        yield world.vault

    free = MemoryUse(used_bytes=0, free_bytes=0)
    with swapped(
        (schemas.transport.link, "Client", SimClient),
        (swarm_node.app, "listening", listening),
        (swarm_node.app, "NodeMetrics", lambda *_: _METRICS),
        (swarm_node.app, "VaultMetrics", lambda *_: _METRICS),
        (control_plane.vault.vault, "open_store", open_store),
        (swarm_node.app, "_version", lambda: "0"),
        (swarm_node.memory, "measure", lambda: free),
    ):
        yield
