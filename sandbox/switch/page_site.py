"""The HTTPS origin: the page's files, its configuration, media, and the link's WebSocket.

Owns the routes of `https://web.whatsapp.com` in the sandbox. Never serves the phone.
"""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
from aiohttp import web

from sandbox.switch.connection import Connection
from sandbox.switch.switch import Switch
from schemas import switch_wire as wire

_PAGE = Path(__file__).resolve().parent.parent / "page"
_HEARTBEAT_S = 10.0
# As strict about scripts as the real page: a driver has to inject before the page's own code.
_POLICY = (
    "default-src 'self'; script-src 'self'; connect-src 'self' blob: data:; "
    "img-src 'self' blob: data:; media-src 'self' blob: data:; style-src 'self'"
)


def page_app(switch: Switch) -> web.Application:
    """The origin's application."""
    site = _PageSite(switch)
    app = web.Application(client_max_size=wire.MEDIA_BYTES_MAX)
    app.router.add_get("/", site.index)
    app.router.add_get("/sw.js", site.service_worker)
    app.router.add_get("/sandbox/config.js", site.config)
    app.router.add_get("/sandbox/page/{name}", site.file)
    app.router.add_get(wire.LINK_PATH, site.link)
    app.router.add_put(wire.MEDIA_PATH, site.put_media)
    app.router.add_get(wire.MEDIA_PATH + "/{media_id}", site.get_media)
    app.on_response_prepare.append(_no_store)
    app.on_shutdown.append(site.close)
    return app


async def _no_store(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Cache-Control"] = "no-store"


class _PageSite:
    def __init__(self, switch: Switch) -> None:
        self._switch = switch
        self._sockets: set[web.WebSocketResponse] = set()

    async def index(self, _request: web.Request) -> web.StreamResponse:
        headers = {"Content-Security-Policy": _POLICY}
        return web.FileResponse(_PAGE / "index.html", headers=headers)

    async def service_worker(self, _request: web.Request) -> web.StreamResponse:
        # At the root: a worker answers only for what is below its own path.
        return web.FileResponse(_PAGE / "sw.js")

    async def file(self, request: web.Request) -> web.StreamResponse:
        path = _PAGE / Path(request.match_info["name"]).name
        if path.suffix not in {".js", ".css"} or not path.is_file():
            raise web.HTTPNotFound
        return web.FileResponse(path)

    async def config(self, _request: web.Request) -> web.Response:
        faults = self._switch.faults.of()
        config = {
            "version": self._switch.app_version,
            "linkPath": wire.LINK_PATH,
            "mediaPath": wire.MEDIA_PATH,
            "lateModules": list(faults.late_modules),
            "lateMs": faults.late_ms,
        }
        return web.Response(
            text=f"window.sandboxConfig = {json.dumps(config)};\n",
            content_type="text/javascript",
        )

    async def link(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(
            heartbeat=_HEARTBEAT_S, max_msg_size=wire.FRAME_BYTES_MAX, timeout=1.0
        )
        await socket.prepare(request)
        self._sockets.add(socket)
        try:
            await Connection(self._switch, socket).run()
        finally:
            self._sockets.discard(socket)
        return socket

    async def put_media(self, request: web.Request) -> web.Response:
        stored = self._switch.media.put(await request.read(), request.content_type)
        return web.Response(body=msgspec.json.encode(stored), content_type="application/json")

    async def get_media(self, request: web.Request) -> web.Response:
        found = self._switch.media.get(request.match_info["media_id"])
        if found is None:
            raise web.HTTPNotFound
        return web.Response(body=found[1], content_type=found[0])

    async def close(self, _app: web.Application) -> None:
        for socket in list(self._sockets):
            await socket.close()
