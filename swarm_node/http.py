"""The node's own HTTP listener: liveness, readiness, metrics.

Owns three routes. Nothing of a session is ever shown here.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from errno import EADDRINUSE

import msgspec
from aiohttp import web

from schemas.errors import BlazzError, ErrorCode
from swarm_node.metrics import NodeMetrics


class About(msgspec.Struct, frozen=True):
    """Which node answers. `chromium_sandbox`: whether its browsers have Chromium's own sandbox,
    `session_groups`: a cgroup each."""

    node_id: str
    version: str
    chromium_build: str | None
    chromium_sandbox: bool
    session_groups: bool


class Readiness(msgspec.Struct, frozen=True):
    """Why the node is ready, or not."""

    bus_connected: bool
    lease_held: bool

    @property
    def ready(self) -> bool:
        """Whether commands can be carried out."""
        return self.bus_connected and self.lease_held


@asynccontextmanager
async def listening(
    host: str,
    port: int,
    *,
    about: About,
    metrics: NodeMetrics,
    readiness: Callable[[], Readiness],
) -> AsyncIterator[str]:
    """Serve for the block; gives the base URL (port 0: a free one). Raises `port_in_use`."""

    async def livez(_request: web.Request) -> web.Response:
        return web.json_response({"live": True, **msgspec.structs.asdict(about)})

    async def readyz(_request: web.Request) -> web.Response:
        now = readiness()
        body = {"ready": now.ready, **msgspec.structs.asdict(now)}
        return web.json_response(body, status=200 if now.ready else 503)

    async def metrics_page(_request: web.Request) -> web.Response:
        return web.Response(
            body=metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4"}
        )

    app = web.Application()
    app.add_routes(
        [
            web.get("/livez", livez),
            web.get("/readyz", readyz),
            web.get("/metrics", metrics_page),
        ]
    )
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            if error.errno != EADDRINUSE:
                raise
            raise BlazzError(ErrorCode.PORT_IN_USE, f"port {port} is taken", port=port) from error
        yield f"http://{host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
