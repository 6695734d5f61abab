"""The Chromium engine: sessions in real browsers, driven through wa-js.

The only part of Blazz that imports Playwright. A node opens one host and makes an engine a
session::

    reap_profiles(profiles_dir)                      # once, before the first engine
    async with open_host(settings) as host:
        engine = ChromiumEngine(spec, settings, host)
        await engine.start()
"""

from swarm_node.engines.chromium.engine import ChromiumEngine
from swarm_node.engines.chromium.hosts import open_host, reap_profiles
from swarm_node.engines.chromium.settings import ChromiumSettings, settings_from_environment

__all__ = [
    "ChromiumEngine",
    "ChromiumSettings",
    "open_host",
    "reap_profiles",
    "settings_from_environment",
]
