"""The registry of engines: which kinds this node offers and how one is made.

Owns the mapping from kind to factory, the browser host the Chromium engines of a node share, and
clearing up after a killed predecessor. Imports an engine's package only when it is offered: a
node without Chromium never loads Playwright.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from schemas.errors import BlazzError, ErrorCode
from schemas.states import EngineKind
from swarm_node.config import NodeSettings
from swarm_node.core.cgroups import SessionLimits
from swarm_node.data_dir import DataDir
from swarm_node.engines.contract import Engine, EngineSpec

Factory = Callable[[EngineSpec], Engine]


class EngineRegistry:
    """The engines of one node; made by `open_registry`."""

    def __init__(
        self,
        factories: dict[EngineKind, Factory],
        *,
        chromium_sandbox: bool,
        chromium_build: str | None = None,
        session_groups: bool = False,
    ) -> None:
        self.session_groups = session_groups
        self.chromium_sandbox = chromium_sandbox
        self.chromium_build = chromium_build
        self._factories = factories

    @property
    def kinds(self) -> tuple[EngineKind, ...]:
        """What is offered."""
        return tuple(self._factories)

    def factory(self, kind: EngineKind) -> Factory:
        """How to make one. Raises `unsupported_by_engine`."""
        factory = self._factories.get(kind)
        if factory is None:
            raise BlazzError(ErrorCode.UNSUPPORTED_BY_ENGINE, f"this node runs no {kind} engine")
        return factory


@asynccontextmanager
async def open_registry(settings: NodeSettings, data: DataDir) -> AsyncIterator[EngineRegistry]:
    """The engines that the settings name, for the block.

    Raises `browser_missing`, `wa_js_missing` here rather than at the first session: a node that
    can't run what it offers must not be given any.
    """
    factories: dict[EngineKind, Factory] = {}
    sandboxed, build, grouped = True, None, False
    async with AsyncExitStack() as stack:
        if EngineKind.LOOPBACK in settings.engines:
            factories[EngineKind.LOOPBACK] = _loopback(settings)
        if EngineKind.CHROMIUM in settings.engines:
            factory, sandboxed, build, grouped = await _chromium(settings, data, stack)
            factories[EngineKind.CHROMIUM] = factory
        yield EngineRegistry(
            factories, chromium_sandbox=sandboxed, chromium_build=build, session_groups=grouped
        )


def _loopback(settings: NodeSettings) -> Factory:
    from swarm_node.engines.loopback.engine import LoopbackEngine

    def make(spec: EngineSpec) -> Engine:
        return LoopbackEngine(spec, settings.loopback)

    return make


async def _chromium(
    settings: NodeSettings, data: DataDir, stack: AsyncExitStack
) -> tuple[Factory, bool, str, bool]:
    from swarm_node.engines.chromium.bundle import find_bundle
    from swarm_node.engines.chromium.engine import ChromiumEngine
    from swarm_node.engines.chromium.hosts import open_host, reap_profiles
    from swarm_node.engines.chromium.hosts.session_groups import take_subtree

    await asyncio.to_thread(find_bundle, settings.chromium)
    await asyncio.to_thread(reap_profiles, data.profiles)
    chromium = settings.chromium
    limits = SessionLimits(
        chromium.session_memory_high_bytes,
        chromium.session_memory_max_bytes,
        chromium.session_tasks_max,
    )
    # Before the first child, which would be born outside.
    groups = await asyncio.to_thread(take_subtree, limits)
    host = await stack.enter_async_context(open_host(chromium, groups))
    build = await host.build()

    def make(spec: EngineSpec) -> Engine:
        return ChromiumEngine(spec, chromium, host)

    return make, host.sandboxed, build, groups is not None
