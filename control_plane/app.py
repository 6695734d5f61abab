"""The HTTP app: assembled, and served.

Owns how the routes, the guard, the error answers and the link page come together, and the
server's life. Never a route or a decision.
"""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from litestar import Litestar, Router
from litestar.datastructures import State

from control_plane.http import (
    audit,
    docs_pages,
    openapi,
    routes_accounts,
    routes_audit,
    routes_dead_letters,
    routes_erasure,
    routes_events,
    routes_fleet,
    routes_keys,
    routes_media,
    routes_message_acts,
    routes_messages,
    routes_pacing,
    routes_probes,
    routes_sessions,
    routes_snapshots,
    routes_tenant,
    routes_webhooks,
)
from control_plane.http.auth import guard
from control_plane.http.bounded_protocol import BoundedHttpProtocol
from control_plane.http.dependencies import provided
from control_plane.http.event_stream import Streams
from control_plane.http.headers import complete_headers
from control_plane.http.problems import answer
from control_plane.http.rate_limiter import RateLimiter
from control_plane.http.settings import HttpSettings
from control_plane.link import routes as link_routes
from control_plane.ports import Services
from schemas.errors import BlazzError, ErrorCode

__all__ = ["HttpSettings", "create_app", "serve"]

_PENDING_CONNECTIONS = 2_048
_SOCKET_WORD_BYTES_MAX = 4 * 1024


def create_app(services: Services, settings: HttpSettings) -> Litestar:
    """Assemble the app. One app serves once: its event streams end for good when it stops."""
    streams = Streams(settings)
    v1 = Router(
        "/v1",
        route_handlers=[
            *routes_sessions.ROUTES,
            *routes_snapshots.ROUTES,
            *routes_messages.ROUTES,
            *routes_message_acts.ROUTES,
            *routes_accounts.ROUTES,
            *routes_dead_letters.ROUTES,
            *routes_pacing.ROUTES,
            *routes_media.ROUTES,
            *routes_events.ROUTES,
            *routes_webhooks.ROUTES,
            *routes_fleet.ROUTES,
            *routes_keys.ROUTES,
            *routes_tenant.ROUTES,
            *routes_erasure.ROUTES,
            *routes_audit.ROUTES,
        ],
    )
    return Litestar(
        [v1, *routes_probes.ROUTES, *docs_pages.ROUTES, *link_routes.ROUTES],
        guards=[guard, audit.begin],
        middleware=[audit.Ending()],
        dependencies=provided(services, settings, streams),
        exception_handlers={Exception: answer},
        before_send=[complete_headers],
        openapi_config=openapi.config(settings.version),
        # Handlers read bodies themselves, each within its own limit; this one is for the rest.
        request_max_body_size=settings.json_bytes_max,
        multipart_form_part_limit=16,
        logging_config=None,
        state=State(
            {
                "services": services,
                "settings": settings,
                "streams": streams,
                "limiter": RateLimiter(settings.rate, settings.clock),
                "link_limiter": RateLimiter(settings.link_rate, settings.clock),
            }
        ),
    )


async def serve(
    app: Litestar,
    host: str,
    port: int,
    stop: asyncio.Event,
    started: Callable[[int], None],
) -> None:
    """Serve until `stop` is set, then end: event streams at once, requests within the grace.

    `started` is told the port (port 0 takes a free one). Raises `port_in_use`.
    """
    settings: HttpSettings = app.state.settings
    streams: Streams = app.state.streams
    listener = _bind(host, port)
    with contextlib.closing(listener):
        bound_port: int = listener.getsockname()[1]
        config = uvicorn.Config(
            app,
            loop="none",
            http=BoundedHttpProtocol,
            ws="websockets-sansio",
            ws_max_size=_SOCKET_WORD_BYTES_MAX,
            ws_ping_interval=settings.heartbeat_s,
            ws_ping_timeout=settings.socket_send_s_max,
            ws_per_message_deflate=False,
            lifespan="on",
            log_config=None,
            access_log=False,  # its lines would hold link tokens
            server_header=False,
            backlog=_PENDING_CONNECTIONS,
            timeout_graceful_shutdown=max(1, round(settings.stop_grace_s)),
        )
        server = _Server(config, lambda: started(bound_port))
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(_until(stop, server, streams))
            try:
                await server.serve(sockets=[listener])
            finally:
                streams.close()
                watch.cancel()


async def _until(stop: asyncio.Event, server: uvicorn.Server, streams: Streams) -> None:
    await stop.wait()
    streams.close()
    server.should_exit = True


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=_PENDING_CONNECTIONS)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise BlazzError(
                ErrorCode.CONFIG_INVALID, f"Can't listen on {host}:{port}: {error.strerror}."
            ) from error
        raise BlazzError(
            ErrorCode.PORT_IN_USE, f"Something else listens on {host}:{port}.", port=port
        ) from error
    listener.setblocking(False)
    return listener


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers (the process's owner has them), telling when it is up."""

    def __init__(self, config: uvicorn.Config, up: Callable[[], None]) -> None:
        super().__init__(config)
        self._up = up

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._up()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[Any]:
        yield
