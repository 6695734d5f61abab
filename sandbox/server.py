"""A running sandbox: the page's HTTPS origin and the phone's plain HTTP listener.

Owns both listeners' lifetime. Everything is in memory and on 127.0.0.1, but for the page
where a lab asks for another address; it ends with the block.
"""

from __future__ import annotations

import datetime
import ssl
from types import TracebackType
from typing import Self

from aiohttp import web

from sandbox.settings import LOCAL, SandboxSettings
from sandbox.switch.certificate import ORIGIN_HOST, make_certificate
from sandbox.switch.page_site import page_app
from sandbox.switch.phone_api import phone_app
from sandbox.switch.switch import Switch
from schemas.switch_wire import LINK_PATH

ORIGIN = f"https://{ORIGIN_HOST}"


class Sandbox:
    """`async with Sandbox(SandboxSettings()) as sandbox: ...`"""

    def __init__(self, settings: SandboxSettings | None = None) -> None:
        self.settings = settings or SandboxSettings()
        self.switch = Switch(self.settings)
        self._certificate = make_certificate(
            datetime.datetime.now(datetime.UTC), self.settings.page_host
        )
        self._runners: list[web.AppRunner] = []
        self.page_port = 0
        self.api_port = 0

    @property
    def api_url(self) -> str:
        """Base of the phone's API and page, `http://127.0.0.1:PORT`."""
        return f"http://{LOCAL}:{self.api_port}"

    @property
    def link_url(self) -> str:
        """The link's WebSocket for a client that isn't a browser; verify with `client_context`."""
        return f"wss://{self.settings.page_host}:{self.page_port}{LINK_PATH}"

    @property
    def media_base_url(self) -> str:
        """The page's origin by address, for media without a browser."""
        return f"https://{self.settings.page_host}:{self.page_port}"

    @property
    def spki(self) -> str:
        """Base64 SHA-256 of the origin's public key."""
        return self._certificate.spki

    @property
    def ca_pem(self) -> str:
        """The origin's certificate, which is its own CA."""
        return self._certificate.pem

    def client_context(self) -> ssl.SSLContext:
        """A TLS context that trusts this sandbox alone."""
        return ssl.create_default_context(cadata=self._certificate.pem)

    def chromium_args(self) -> list[str]:
        """What makes a Chromium find the sandbox at the true origin."""
        return [
            f"--host-resolver-rules=MAP {ORIGIN_HOST} {self.settings.page_host}:{self.page_port}",
            f"--ignore-certificate-errors-spki-list={self._certificate.spki}",
        ]

    async def __aenter__(self) -> Self:
        self.page_port = await self._listen(
            page_app(self.switch),
            (self.settings.page_host, self.settings.page_port),
            self._certificate.server_context(),
        )
        self.api_port = await self._listen(
            phone_app(self.switch, self.chromium_args), (LOCAL, self.settings.api_port), None
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()
        self.switch.log.close()

    async def _listen(
        self, app: web.Application, address: tuple[str, int], tls: ssl.SSLContext | None
    ) -> int:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, *address, ssl_context=tls).start()
        bound: int = runner.addresses[0][1]
        return bound
