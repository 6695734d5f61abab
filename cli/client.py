"""A small client of our own HTTP API, for the CLI, the demo and the benches.

Owns requests, decoding and the turning of problems into `BlazzError`. Never a decision.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import aiohttp
import msgspec

from schemas.api import (
    LinkView,
    MessagePage,
    NewLink,
    NewSession,
    NodePage,
    PairingCodeRequest,
    PairingCodeView,
    QrView,
    SessionPage,
    SessionView,
)
from schemas.api_messages import MediaView, NewMessage
from schemas.errors import BlazzError, ErrorCode
from schemas.events import Event
from schemas.messages import ChatMessage
from schemas.states import SessionState

T = TypeVar("T")
TENANT_HEADER: Final = "Blazz-Tenant"


class Api:
    """One API key's view of a control plane. `async with Api(url, key) as api:`

    `refuse_acts`: the name of a read-only context; then it only reads. `tenant`: the one that an
    operator's key speaks for.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout_s: float = 30.0,
        refuse_acts: str | None = None,
        tenant: str | None = None,
    ) -> None:
        self._refuse_acts = refuse_acts
        self.url = url.rstrip("/")
        self._http = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {key}"}
            | ({} if tenant is None else {TENANT_HEADER: tenant}),
            timeout=aiohttp.ClientTimeout(total=timeout_s),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self._http.close()

    async def call(
        self,
        method: str,
        path: str,
        kind: type[T],
        *,
        body: Any = None,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> T:
        """One request. Raises the problem's code, or `timeout`/`node_unreachable`-like ones."""
        if self._refuse_acts is not None and method != "GET":
            raise BlazzError(ErrorCode.FORBIDDEN, f"context {self._refuse_acts} is read-only")
        sent = dict(headers or {})
        if body is not None:
            data = msgspec.json.encode(body)
            sent["Content-Type"] = "application/json"
        try:
            async with self._http.request(
                method, self.url + path, data=data, headers=sent, params=dict(query or {})
            ) as answer:
                raw = await answer.read()
        except TimeoutError as error:
            raise BlazzError(ErrorCode.TIMEOUT, f"{method} {path} took too long") from error
        except aiohttp.ClientError as error:
            raise BlazzError(
                ErrorCode.NATS_UNAVAILABLE, f"no answer from {self.url}: {type(error).__name__}"
            ) from error
        if answer.status >= 400:
            raise _problem(raw, answer.status)
        return msgspec.json.decode(raw or b"null", type=kind)

    async def create_session(self, new: NewSession) -> SessionView:
        """`POST /v1/sessions`"""
        return await self.call("POST", "/v1/sessions", SessionView, body=new)

    async def session(self, session_id: str) -> SessionView:
        """`GET /v1/sessions/{id}`"""
        return await self.call("GET", f"/v1/sessions/{session_id}", SessionView)

    async def sessions(self) -> list[SessionView]:
        """`GET /v1/sessions`, the first page."""
        return (await self.call("GET", "/v1/sessions", SessionPage)).data

    async def act(self, session_id: str, verb: str) -> SessionView:
        """`POST /v1/sessions/{id}/start|stop|restart|logout`"""
        return await self.call("POST", f"/v1/sessions/{session_id}/{verb}", SessionView)

    async def delete(self, session_id: str) -> None:
        """`DELETE /v1/sessions/{id}`"""
        await self.call("DELETE", f"/v1/sessions/{session_id}", msgspec.Raw)

    async def qr(self, session_id: str, *, renew: bool = False) -> QrView:
        """The code on show."""
        query = {"format": "json"} | ({"renew": "true"} if renew else {})
        return await self.call("GET", f"/v1/sessions/{session_id}/qr", QrView, query=query)

    async def pairing_code(self, session_id: str, phone: str) -> PairingCodeView:
        """A code to type on the phone."""
        return await self.call(
            "POST",
            f"/v1/sessions/{session_id}/pairing-code",
            PairingCodeView,
            body=PairingCodeRequest(phone=phone),
        )

    async def link(self, session_id: str, new: NewLink | None = None) -> LinkView:
        """A link page's address."""
        return await self.call(
            "POST", f"/v1/sessions/{session_id}/links", LinkView, body=new or NewLink()
        )

    async def upload(self, data: bytes, mimetype: str, filename: str) -> MediaView:
        """`POST /v1/media`"""
        return await self.call(
            "POST",
            "/v1/media",
            MediaView,
            data=data,
            headers={"Content-Type": mimetype},
            query={"filename": filename},
        )

    async def send(
        self, session_id: str, message: NewMessage, *, wait_s: float | None = None
    ) -> ChatMessage:
        """`POST …/messages`; with `wait_s` until it is final or the time is up."""
        query = {} if wait_s is None else {"wait": "sent", "timeout_s": f"{wait_s:g}"}
        return await self.call(
            "POST", f"/v1/sessions/{session_id}/messages", ChatMessage, body=message, query=query
        )

    async def message(self, session_id: str, message_id: str) -> ChatMessage:
        """`GET …/messages/{id}`"""
        return await self.call(
            "GET", f"/v1/sessions/{session_id}/messages/{message_id}", ChatMessage
        )

    async def messages(self, session_id: str) -> list[ChatMessage]:
        """`GET …/messages`, the newest page."""
        return (await self.call("GET", f"/v1/sessions/{session_id}/messages", MessagePage)).data

    async def nodes(self) -> NodePage:
        """`GET /v1/nodes` (scope `operator`)"""
        return await self.call("GET", "/v1/nodes", NodePage)

    @asynccontextmanager
    async def events(
        self,
        session_id: str | None = None,
        *,
        fleet: bool = False,
        types: Sequence[str] = (),
        after: int | None = None,
    ) -> AsyncIterator["EventStream"]:
        """For the block, follow a session's events, one's own, or (scope `operator`) the fleet's;
        from now on, or those after a sequence (not the fleet's)."""
        path = f"/v1/sessions/{session_id}/events" if session_id else "/v1/events"
        async with self._http.get(
            self.url + ("/v1/fleet/events" if fleet else path),
            params={"types": ",".join(types)} if types else {},
            headers={} if after is None else {"Last-Event-ID": str(after)},
            timeout=aiohttp.ClientTimeout(total=None, sock_read=60),
        ) as answer:
            if answer.status >= 400:
                raise _problem(await answer.read(), answer.status)
            yield EventStream(answer.content)

    async def wait_state(
        self, session_id: str, *states: SessionState, timeout_s: float, poll_s: float = 0.05
    ) -> SessionView:
        """Poll until the session is in one of the states. Raises `timeout` with where it is."""
        view = await self.session(session_id)
        try:
            async with asyncio.timeout(timeout_s):
                while view.state not in states:
                    await asyncio.sleep(poll_s)
                    view = await self.session(session_id)
        except TimeoutError as error:
            raise BlazzError(
                ErrorCode.TIMEOUT,
                f"the session is {view.state} ({view.reason or 'no reason'}), "
                f"not {' or '.join(states)}, after {timeout_s:g} s",
            ) from error
        return view


class Gap(msgspec.Struct, frozen=True):
    """Events between two sequences that are no longer kept."""

    from_sequence: int
    to_sequence: int


class EventStream:
    """A parsed SSE stream: `async for sequence, event in stream`."""

    def __init__(self, content: aiohttp.StreamReader) -> None:
        self._content = content

    async def __aiter__(self) -> AsyncIterator[tuple[int, Event]]:
        async for item in self.items():
            if not isinstance(item, Gap):
                yield item

    async def items(self) -> AsyncIterator["tuple[int, Event] | Gap"]:
        """Events with their sequences, and gaps."""
        sequence, name, data = 0, "", ""
        async for raw in self._content:
            line = raw.decode().rstrip("\r\n")
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if line:
                if field == "id":
                    sequence = int(value)
                elif field == "event":
                    name = value
                elif field == "data":
                    data += value
                continue
            if data and name == "gap":
                yield msgspec.json.decode(data, type=Gap)
            elif data:
                yield sequence, msgspec.json.decode(data, type=Event)
            name, data = "", ""


def _problem(raw: bytes, http: int) -> BlazzError:
    try:
        row: dict[str, Any] = msgspec.json.decode(raw)
        return BlazzError(ErrorCode(row["code"]), str(row.get("detail") or row.get("title", "")))
    except (msgspec.DecodeError, KeyError, ValueError, TypeError):
        return BlazzError(ErrorCode.INTERNAL, f"the API answered {http} without a problem body")
