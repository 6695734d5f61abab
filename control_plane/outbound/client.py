"""The client for customers' addresses: posts webhooks, fetches media.

Owns the connections, the time and size limits of an exchange, and re-checking each redirect. Never
decides what an answer means, never keeps cookies and never uses a proxy from the environment.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import PurePosixPath
from types import TracebackType
from typing import Final, Self
from urllib.parse import unquote

import aiohttp
import msgspec
from yarl import URL

from control_plane.outbound.guard import Guard, GuardedResolver, refused
from control_plane.outbound.settings import OutboundSettings
from schemas.errors import BlazzError, ErrorCode

_READ_BYTES: Final = 64 * 1024
_HEADER_BYTES_MAX: Final = 8 * 1024
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_FILENAME_CHARS_MAX: Final = 120


class Answer(msgspec.Struct, frozen=True):
    """What came back: the HTTP code, the headers (lower-case names) and the body's beginning."""

    http_code: int
    headers: Mapping[str, str]
    body: bytes


class Fetched(msgspec.Struct, frozen=True):
    """A file from elsewhere. `mimetype` is what its server says; `filename` is from the URL."""

    data: bytes
    mimetype: str
    filename: str | None


class Outbound:
    """The client. `async with Outbound(settings) as outbound:`; its connections are not limited
    in number, for one slow host must hold up no other: callers bound what they have in flight."""

    def __init__(self, settings: OutboundSettings, *, user_agent: str = "blazz") -> None:
        self._settings = settings
        self._user_agent = user_agent
        self.guard = Guard(settings)
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(
            resolver=GuardedResolver(self.guard), use_dns_cache=False, limit=0
        )
        self._http = aiohttp.ClientSession(
            connector=connector,
            headers={"User-Agent": self._user_agent, "Accept-Encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
            # Packed answers could grow beyond every limit.
            auto_decompress=False,
            max_line_size=_HEADER_BYTES_MAX,
            max_field_size=_HEADER_BYTES_MAX,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if self._http is not None:
            await self._http.close()

    async def post(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        timeout_s: float,
        answer_bytes_max: int,
    ) -> Answer:
        """One request, whatever it is answered; redirects are answers. Of the answer's body the
        first `answer_bytes_max` bytes are read.

        Raises `url_not_allowed`, `url_unreachable`, `timeout`.
        """
        target = self.guard.check_url(url)
        async with self._exchange("POST", target, timeout_s, body, headers) as answer:
            head = await _head(answer.content, answer_bytes_max)
            return Answer(answer.status, _headers(answer), head)

    async def fetch(
        self, url: str, *, bytes_max: int, timeout_s: float, types: Sequence[str] = ()
    ) -> Fetched:
        """A whole file of at most `bytes_max` bytes within `timeout_s`, over at most
        `redirects_max` redirects, each checked as the first address was. `types`: mimetypes
        (`image/png`) or their beginnings (`image/`); none given means any.

        Raises `url_not_allowed`, `url_unreachable`, `timeout`, `media_too_large`,
        `media_unsupported`.
        """
        target = self.guard.check_url(url)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        for _ in range(self._settings.redirects_max + 1):
            left_s = max(0.001, deadline - loop.time())
            async with self._exchange("GET", target, left_s) as answer:
                location = answer.headers.get("Location")
                if answer.status not in _REDIRECTS or not location:
                    return await _file(answer, target, bytes_max, types)
                target = self._next(target, location)
        raise refused(f"More than {self._settings.redirects_max} redirects.")

    def _next(self, now: URL, location: str) -> URL:
        try:
            joined = now.join(URL(location))
        except ValueError:
            raise refused("It redirects to what is not a URL.") from None
        if now.scheme == "https" and joined.scheme != "https":
            raise refused("It redirects from https to http.")
        return self.guard.check_url(str(joined))

    @asynccontextmanager
    async def _exchange(
        self,
        method: str,
        url: URL,
        timeout_s: float,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        assert self._http is not None, "used outside its block"
        timeout = aiohttp.ClientTimeout(
            total=timeout_s, sock_connect=self._settings.connect_timeout_s
        )
        try:
            async with self._http.request(
                method,
                url,
                data=body,
                headers=dict(headers or {}),
                allow_redirects=False,
                timeout=timeout,
            ) as answer:
                yield answer
        except TimeoutError as error:
            raise BlazzError(ErrorCode.TIMEOUT, "no complete answer in time") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # Its text may hold the address's secret parts; its kind does not.
            raise BlazzError(ErrorCode.URL_UNREACHABLE, _words(error)) from error


async def _head(content: aiohttp.StreamReader, bytes_max: int) -> bytes:
    taken = b""
    while len(taken) < bytes_max and not content.at_eof():
        taken += await content.read(bytes_max - len(taken))
    return taken


async def _file(
    answer: aiohttp.ClientResponse, url: URL, bytes_max: int, types: Sequence[str]
) -> Fetched:
    if answer.status != 200:
        raise BlazzError(ErrorCode.URL_UNREACHABLE, f"It answered {answer.status}.")
    mimetype = answer.content_type.lower()
    wanted = (mimetype == t or (t.endswith("/") and mimetype.startswith(t)) for t in types)
    if types and not any(wanted):
        raise BlazzError(ErrorCode.MEDIA_UNSUPPORTED, "Its type is none of those accepted here.")
    if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise BlazzError(ErrorCode.MEDIA_UNSUPPORTED, "It came packed although we can't unpack.")
    if (answer.content_length or 0) > bytes_max:
        raise _too_large(bytes_max)
    data = bytearray()
    async for chunk in answer.content.iter_chunked(_READ_BYTES):
        data += chunk
        if len(data) > bytes_max:
            raise _too_large(bytes_max)
    return Fetched(bytes(data), mimetype, _filename(url))


def _too_large(bytes_max: int) -> BlazzError:
    return BlazzError(
        ErrorCode.MEDIA_TOO_LARGE, f"The limit is {bytes_max} bytes.", bytes_max=bytes_max
    )


def _filename(url: URL) -> str | None:
    name = PurePosixPath(unquote(url.raw_path)).name
    usable = name.isprintable() and PurePosixPath(name).suffix != ""
    return name[-_FILENAME_CHARS_MAX:] if usable else None


def _headers(answer: aiohttp.ClientResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in answer.headers.items()}


def _words(error: Exception) -> str:
    match error:
        case aiohttp.ClientConnectorDNSError():
            return "Its name can't be resolved."
        case aiohttp.ClientConnectorCertificateError():
            return "Its certificate is not valid."
        case aiohttp.ClientSSLError():
            return "TLS failed."
        case aiohttp.ClientConnectorError():
            return "It can't be connected to."
        case aiohttp.ServerDisconnectedError():
            return "It closed the connection without an answer."
        case _:
            return f"The exchange failed ({type(error).__name__})."
