"""A customer's webhook receiver, in this very process: it counts what it is sent, by event id.

Owns the server and the counts. Refuses some first attempts, so that later ones are seen too. Never
looks into a body and never checks a signature: the tests of webhooks do.
"""

from collections import Counter
from types import TracebackType
from typing import Final, Self

from aiohttp import web

WEBHOOK_ID: Final = "webhook-id"
PATH: Final = "/events"
_REFUSE_EVERY: Final = 50
_BYTES_MAX: Final = 1024 * 1024


class Receiver:
    """`async with Receiver() as receiver:`, then give its `url` to a webhook."""

    def __init__(self) -> None:
        self.taken: Counter[str] = Counter()
        """How often each event id was answered with 200."""
        self.refused: set[str] = set()
        """Event ids whose first attempt was refused."""
        self._app = web.Application(client_max_size=_BYTES_MAX)
        self._app.router.add_post(PATH, self._take)
        self._runner = web.AppRunner(self._app, access_log=None)
        self._port = 0

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """Where it takes events."""
        return f"http://127.0.0.1:{self._port}{PATH}"

    async def _take(self, request: web.Request) -> web.Response:
        await request.read()
        event_id = request.headers.get(WEBHOOK_ID, "")
        new = event_id not in self.taken and event_id not in self.refused
        if new and (len(self.taken) + len(self.refused)) % _REFUSE_EVERY == 0:
            self.refused.add(event_id)
            return web.Response(status=503)
        self.taken[event_id] += 1
        return web.Response()
