"""Where browsers come from: one seam, so far one host behind it (`isolated`)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from swarm_node.engines.chromium.hosts.contract import BrowserHost, OpenProfile
from swarm_node.engines.chromium.hosts.isolated import IsolatedHost
from swarm_node.engines.chromium.hosts.processes import reap_profiles
from swarm_node.engines.chromium.hosts.session_groups import SessionGroups
from swarm_node.engines.chromium.settings import ChromiumSettings

__all__ = ["BrowserHost", "OpenProfile", "open_host", "reap_profiles"]


@asynccontextmanager
async def open_host(
    settings: ChromiumSettings, groups: SessionGroups | None = None
) -> AsyncIterator[BrowserHost]:
    """The node's browser host, until the block ends; every browser in it is closed then.

    `groups`: where each browser gets a cgroup of its own."""
    async with IsolatedHost(settings, groups) as host:
        yield host
