"""`blazz tui --browser`: the terminal in a browser tab of this machine, to watch.

Owns the guard in front of textual-serve, which has none: only this machine's own pages get in, with
the token that was printed, and what they get is read-only. Never listens but on 127.0.0.1.
"""

import asyncio
import hmac
import secrets
import shlex
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from aiohttp import web

from cli.exit_codes import Exit
from cli.processes import blazz_argv
from schemas.errors import BlazzError, ErrorCode

HOST: Final = "127.0.0.1"
TABS_MAX: Final = 4
"""Each is a process."""
COOKIE: Final = "blazz_tui"
_CSP: Final = (
    # textual-serve's page has its script inside, and asks for a font from elsewhere: it gets none.
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; connect-src 'self' {socket}; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Guard:
    """Lets in who has the token, from our own page alone: a browser lets any page of the web open
    a socket to 127.0.0.1, and every user of this machine can."""

    def __init__(self, port: int, token: str) -> None:
        self._host = f"{HOST}:{port}"
        self._tabs = 0
        self._token = token

    @property
    def url(self) -> str:
        """What the person opens; the token in it is exchanged for a cookie."""
        return f"http://{self._host}/?token={self._token}"

    @web.middleware
    async def admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse with 403, exchange the token, or go on."""
        own = f"http://{self._host}"
        # A name that was made to point here is not us.
        if request.headers.get("Host") != self._host:
            raise web.HTTPForbidden(text="wrong host")
        origin = request.headers.get("Origin")
        if origin not in (None, own) or (request.path == "/ws" and origin is None):
            raise web.HTTPForbidden(text="wrong origin")
        if request.path == "/" and self._is_token(request.query.get("token", "")):
            answer = web.HTTPSeeOther("/")
            answer.set_cookie(COOKIE, self._token, httponly=True, samesite="Strict")
            raise answer
        if not self._is_token(request.cookies.get(COOKIE, "")):
            raise web.HTTPForbidden(text="open the address that was printed")
        return await (self._tab(request, handler) if request.path == "/ws" else handler(request))

    async def _tab(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self._tabs >= TABS_MAX:
            raise web.HTTPServiceUnavailable(text=f"{TABS_MAX} tabs are open")
        self._tabs += 1
        try:
            return await handler(request)
        finally:
            self._tabs -= 1

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._token.encode())

    async def finish(self, request: web.Request, answer: web.StreamResponse) -> None:
        """Headers of every answer."""
        del request
        answer.headers["Content-Security-Policy"] = _CSP.format(socket=f"ws://{self._host}")
        answer.headers["Referrer-Policy"] = "no-referrer"
        answer.headers["Cache-Control"] = "no-store"


async def run_browser(words: Sequence[str], port: int, stop: asyncio.Event) -> Exit:
    """Serve `blazz tui <words>`, read-only, until `stop`.

    Raises `dependency_missing`, `port_in_use`.
    """
    guard = Guard(port, secrets.token_urlsafe(32))
    runner = web.AppRunner(await _app(words, port, guard), access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    try:
        await _listen(runner, port)
        print(f"Open {guard.url}\nOnly this machine can, and only to watch. Ctrl-C ends it.")
        await stop.wait()
    finally:
        await runner.cleanup()
    return Exit.OK


async def _listen(runner: web.AppRunner, port: int) -> None:
    try:
        await web.TCPSite(runner, HOST, port).start()
    except OSError as error:
        raise BlazzError(ErrorCode.PORT_IN_USE, f"{HOST}:{port}") from error


async def _app(words: Sequence[str], port: int, guard: Guard) -> web.Application:
    try:
        import aiohttp_jinja2
        import jinja2
        from textual_serve.server import Server
    except ImportError as error:
        raise BlazzError(
            ErrorCode.DEPENDENCY_MISSING, "textual-serve: pip install 'blazz[browser]'"
        ) from error
    served = Server(
        shlex.join(blazz_argv("tui", "--read-only", *words)), host=HOST, port=port, title="Blazz"
    )
    # Its own `serve` would take the signals and print an address that opens nothing.
    app = web.Application(middlewares=[guard.admit])
    loader = jinja2.FileSystemLoader(served.templates_path)
    aiohttp_jinja2.setup(app, loader=loader, autoescape=True)
    app.add_routes(
        [
            web.get("/", served.handle_index, name="index"),
            web.get("/ws", served.handle_websocket, name="websocket"),
            web.static("/static", served.statics_path, name="static"),
        ]
    )
    app.on_response_prepare.append(guard.finish)
    return app
