"""Probes and metrics: is it alive, is it ready, how is it doing.

Owns `/livez`, `/readyz` and `/metrics`. `/livez` asks nobody, so that a slow bus never gets a
healthy process killed.
"""

import asyncio

from litestar import Response, get

from control_plane.http.auth import PUBLIC, Scope, access
from control_plane.http.dependencies import OpenStreams, Ports, Settings
from schemas.errors import BlazzError

TAGS = ["Probes"]
_METRICS_TYPE = "text/plain; version=0.0.4"


@get(
    "/livez",
    operation_id="live",
    summary="Is the process alive?",
    tags=TAGS,
    opt={"access": PUBLIC},
)
async def live() -> dict[str, bool]:
    """`GET /livez`"""
    return {"live": True}


@get(
    "/readyz",
    operation_id="ready",
    summary="Can it serve?",
    description="200 when all checks pass, else 503 with the same body.",
    tags=TAGS,
    opt={"access": PUBLIC},
)
async def ready(
    services: Ports, settings: Settings, streams: OpenStreams
) -> Response[dict[str, dict[str, bool]]]:
    """`GET /readyz`"""
    try:
        async with asyncio.timeout(settings.ready_timeout_s):
            checks = dict(await services.fleet.ready())
    except (TimeoutError, BlazzError):
        checks = {"control_plane": False}
    checks["serving"] = not streams.closing.is_set()
    return Response({"checks": checks}, status_code=200 if all(checks.values()) else 503)


@get(
    "/metrics",
    operation_id="metrics",
    summary="Prometheus metrics",
    description="Needs a key with scope `operator` (Prometheus: `authorization.credentials_file`).",
    tags=TAGS,
    media_type=_METRICS_TYPE,
    opt=access(Scope.OPERATOR, media=("text/plain",)),
)
async def metrics(settings: Settings) -> Response[bytes]:
    """`GET /metrics`"""
    return Response(settings.metrics(), media_type=_METRICS_TYPE)


ROUTES = [live, ready, metrics]
