"""A link: one dialled connection to a NATS server, from its sign-in to its loss.

Owns the nats-py client, its callbacks and the answers awaited on it. Never redials: a link that
is lost stays lost, and `connection.Bus` makes the next one. nats-py's own reconnect is off on
purpose: it has no jitter, waits out the whole time-out of requests that died with the socket,
gives up for good on an expired JWT, and closing drops its subscriptions, so a second path that
subscribes anew is needed anyway. With one path, every outage takes the tested one.

nats-py's `flush()`, `rtt()` and `drain()` are never called here: a timed-out one leaves a
cancelled future whose PONG kills the read loop while `is_connected` stays true. That is why
`_process_pong` needs no patch; the self-ping finds a dead read loop whatever its cause.
"""

import asyncio
import re
import secrets
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Self
from urllib.parse import urlsplit

import msgspec
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from schemas.errors import BlazzError, ErrorCode
from schemas.permissions import JETSTREAM_API
from schemas.timing import FAST, TimingProfile

log = structlog.get_logger()

_CLOSE_TIMEOUT_S: Final = 2.0
_VIOLATION: Final = re.compile(
    r'permissions violation for (publish|subscription) to "([^"]+)"', re.IGNORECASE
)
_NO_RESPONDERS: Final = "503"
_AUTH_WORDS: Final = ("authorization", "authentication", "permission", "nkey", "jwt")


class TlsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Files for (mutual) TLS. Without `ca_file`, the system's authorities."""

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    def context(self) -> ssl.SSLContext:
        """Read the files. Raises `config_invalid` when one of them is not there or no good."""
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:
            raise _bad_file("bus.tls.ca_file", self.ca_file, error) from error
        try:
            if self.cert_file is not None:
                context.load_cert_chain(self.cert_file, self.key_file)
        except OSError as error:
            raise _bad_file("bus.tls.cert_file or key_file", self.cert_file, error) from error
        return context


class BusSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach the bus and as whom: at most one of the three credentials.

    Files are read again when they change and at each dial, so a renewed JWT or key is taken up
    by itself.
    `inbox_prefix` must be the identity's own: the server lets it read no other inbox.
    """

    servers: tuple[str, ...]
    name: str
    inbox_prefix: str = "_INBOX"
    nkey_seed: str | None = None
    nkey_seed_file: str | None = None
    creds_file: str | None = None
    tls: TlsSettings | None = None
    jetstream_api: str = JETSTREAM_API
    """Elsewhere for a node in an account of its own: `subjects.NODE_API`."""
    profile: TimingProfile = FAST
    first_connect_timeout_s: float = 10.0
    pending_bytes_max: int = 8 * 1024 * 1024
    identity_look_s: float = 5.0
    """How often the file of the credential is looked at."""

    @property
    def identity_file(self) -> str | None:
        """Where the credential is, if it is in a file."""
        return self.creds_file or self.nkey_seed_file

    def __repr__(self) -> str:
        """Hide the seed: settings end up in logs."""
        return f"BusSettings(name={self.name!r}, profile={self.profile.name!r})"


class BusMessage(msgspec.Struct, frozen=True):
    """A message as it came in. `reply` is empty if no answer is wanted."""

    subject: str
    data: bytes
    headers: Mapping[str, str] = {}
    reply: str = ""
    via: Any = None
    """The link it came by: only there may a node answer it."""

    @property
    def nats_state(self) -> str:
        """The server's own code on a control message (`404`, `408`, `409`, `503`), else empty."""
        return self.headers.get("Status", "")


def message_of(msg: Msg, via: "Link | None" = None) -> BusMessage:
    """Take what is ours out of nats-py's message."""
    return BusMessage(msg.subject, msg.data, msg.headers or {}, msg.reply or "", via)


def unavailable(detail: str) -> BlazzError:
    """The error for a bus that is away."""
    return BlazzError(ErrorCode.NATS_UNAVAILABLE, detail)


class Link:
    """One connection. `lost` is set once, by whoever notices first; then all waits fail."""

    def __init__(self, settings: BusSettings, server: str) -> None:
        self.settings = settings
        self.server = server
        self.lost = asyncio.Event()
        self.lost_reason = ""
        self.last_error: str = ""
        self.on_subscription_refused: Callable[[str], None] = lambda _subject: None
        self.on_lost: Callable[[], None] = lambda: None
        self._client = Client()
        self._inbox = f"{settings.inbox_prefix}.{secrets.token_hex(8)}"
        self._waiting: dict[str, Answers] = {}

    async def open(self) -> None:
        """Dial and sign in. Raises `nats_unavailable`, or `config_invalid` if we are refused."""
        settings, profile = self.settings, self.settings.profile
        seed = settings.nkey_seed
        try:
            if settings.nkey_seed_file is not None:
                seed = await asyncio.to_thread(_read_seed, settings.nkey_seed_file)
            async with asyncio.timeout(profile.connect_timeout_s * 2):
                await self._client.connect(
                    servers=[self.server],
                    name=settings.name,
                    allow_reconnect=False,
                    # Not for ever: the supervisor redials for ever, with jitter.
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=profile.connect_timeout_s,  # type: ignore[arg-type]
                    ping_interval=profile.ping_interval_s,  # type: ignore[arg-type]
                    max_outstanding_pings=2,
                    inbox_prefix=settings.inbox_prefix,
                    pending_size=settings.pending_bytes_max,
                    flush_timeout=profile.connect_timeout_s,
                    nkeys_seed_str=seed,
                    user_credentials=settings.creds_file,
                    tls=settings.tls.context() if settings.tls else None,
                    error_cb=self._on_error,
                    closed_cb=self._on_closed,
                )
                await self._client.subscribe(f"{self._inbox}.*", cb=self._on_answer)
        except (NatsError, OSError, TimeoutError, ValueError) as error:
            await self.close()
            raise self._dial_error(error) from error
        except BaseException:
            await self.close()
            raise

    def _dial_error(self, error: Exception) -> BlazzError:
        place = urlsplit(self.server)
        where = f"{place.hostname}:{place.port or 4222}"
        words = f"{error} {self.last_error}".lower()
        if any(word in words for word in _AUTH_WORDS):
            return BlazzError(
                ErrorCode.CONFIG_INVALID,
                f"the bus at {where} refused the identity of {self.settings.name}",
            )
        return unavailable(f"no bus at {where}")

    def declare_lost(self, reason: str) -> None:
        """Nothing more is expected of this link: wake everybody who waits on it."""
        if self.lost.is_set():
            return
        self.lost_reason = reason
        self.lost.set()
        self.on_lost()
        for answers in self._waiting.values():
            answers.fail(unavailable("the connection was lost while waiting; outcome unknown"))

    async def close(self) -> None:
        """Close, flushing what was published; a stuck socket is cut after a moment."""
        self.declare_lost("closed")
        if getattr(self._client, "_flush_queue", None) is None:
            return  # It never began to dial; nats-py's own closing would trip over that.
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await self._client.close()
        except (NatsError, OSError, TimeoutError) as error:
            log.debug("bus.close_forced", detail=type(error).__name__)
        # nats-py offers no way to cut a socket whose peer has gone silent: closing waits for the
        # buffer to be taken, which never happens.
        writer = getattr(self._client._transport, "_io_writer", None)  # noqa: SLF001
        if writer is not None:
            writer.transport.abort()

    # Sending ---------------------------------------------------------------------------------

    async def publish(
        self, subject: str, payload: bytes, headers: dict[str, str] | None, reply: str = ""
    ) -> None:
        """Hand a message to the socket's buffer. Raises `nats_unavailable`, `payload_too_large`."""
        if self.lost.is_set():
            raise unavailable(f"the bus is away ({self.lost_reason})")
        if len(payload) > self._client.max_payload:
            raise BlazzError(
                ErrorCode.PAYLOAD_TOO_LARGE,
                "too large for one bus message",
                size_bytes=len(payload),
                size_bytes_max=self._client.max_payload,
            )
        task = asyncio.current_task()
        cancels = task.cancelling() if task else 0
        try:
            await self._client.publish(subject, payload, reply=reply, headers=headers)
        except (NatsError, OSError) as error:
            raise unavailable(f"not published: {error}") from error
        # nats-py swallows a cancellation that arrives while its flush queue is full.
        if task is not None and task.cancelling() > cancels:
            raise asyncio.CancelledError

    def expect(self, subject: str) -> "Answers":
        """Make a place for the one answer to a message to `subject`, for a `with` block."""
        return Answers(self._waiting, self._inbox, subject, 1)

    @asynccontextmanager
    async def expect_many(self, subject: str, answers_max: int) -> AsyncIterator["Answers"]:
        """A place for several answers. They need a subscription of their own: what a stream
        delivers keeps the subject it was stored with, so it cannot be told by subject."""
        with Answers(self._waiting, f"{self._inbox}.many", subject, answers_max) as answers:
            subscribed = await self.subscribe(answers.reply_subject, "", answers.accept)
            try:
                yield answers
            finally:
                await subscribed.unsubscribe()

    async def subscribe(
        self, subject: str, queue: str, callback: Callable[[Msg], Awaitable[None]]
    ) -> "Subscribed":
        """Subscribe on this link. Raises `nats_unavailable`."""
        try:
            subscription = await self._client.subscribe(subject, queue=queue, cb=callback)
        except (NatsError, OSError) as error:
            raise unavailable(f"not subscribed: {error}") from error
        return Subscribed(self, self._client, subscription)

    # nats-py's callbacks: none may raise, for an exception here kills its read loop -----------

    async def _on_answer(self, msg: Msg) -> None:
        answers = self._waiting.get(msg.subject.rpartition(".")[2])
        if answers is not None:
            await answers.accept(msg)

    async def _on_error(self, error: Exception) -> None:
        self.last_error = str(error)
        violation = _VIOLATION.search(self.last_error)
        if violation is None:
            log.debug("bus.client_error", detail=type(error).__name__)
            return
        what, refused = violation.groups()
        log.warning("bus.permission_refused", action=what.lower(), subject=refused)
        if what.lower() == "subscription":
            self.on_subscription_refused(refused)
            return
        for answers in list(self._waiting.values()):
            # nats-py lower-cases the server's text.
            if answers.subject.lower() == refused.lower():
                answers.fail(_forbidden(answers.subject))

    async def _on_closed(self) -> None:
        self.declare_lost(self.last_error or "closed by the server")


class Subscribed:
    """A subscription on one link."""

    def __init__(self, link: Link, client: Client, subscription: Subscription) -> None:
        self._link = link
        self._client = client
        self._subscription = subscription

    async def unsubscribe(self) -> None:
        """End it; what came and was not yet handed on is dropped. Quiet on a link that is lost."""
        await self._quietly(self._subscription.unsubscribe)

    async def stop_deliveries(self) -> None:
        """Have the server send nothing more; what is under way is still handed on."""
        # nats-py would drop it, or wait for a PONG.
        await self._quietly(
            lambda: self._client._send_unsubscribe(self._subscription._id)  # noqa: SLF001
        )

    async def _quietly(self, do: Callable[[], Awaitable[None]]) -> None:
        if self._link.lost.is_set():
            return
        try:
            await do()
        except (NatsError, OSError) as error:
            log.debug("bus.unsubscribe_failed", detail=type(error).__name__)


class Answers:
    """A place for the answers to one request, closed by `with`."""

    def __init__(
        self, waiting: dict[str, "Answers"], inbox: str, subject: str, answers_max: int
    ) -> None:
        self.subject = subject
        self._waiting = waiting
        self._token = secrets.token_hex(8)
        self._queue: asyncio.Queue[BusMessage | BlazzError] = asyncio.Queue(answers_max + 1)
        self.reply_subject = f"{inbox}.{self._token}"

    async def accept(self, msg: Msg) -> None:
        """nats-py's callback: never raises, drops what nobody asked for."""
        message = message_of(msg)
        if message.nats_state == _NO_RESPONDERS:
            self.fail(NoResponders(self.subject))
        elif not self._queue.full():
            self._queue.put_nowait(message)

    def fail(self, error: BlazzError) -> None:
        """No more answers come. It takes the place of one if there is no room."""
        if self._queue.full():
            self._queue.get_nowait()
        self._queue.put_nowait(error)

    async def next(self, timeout_s: float) -> BusMessage:
        """The next answer. Raises `timeout`, `nats_unavailable` or what the server refused."""
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._queue.get()
        except TimeoutError:
            raise BlazzError(ErrorCode.TIMEOUT, "no answer in time over the bus") from None
        if isinstance(answer, BlazzError):
            raise answer
        return answer

    def __enter__(self) -> Self:
        self._waiting[self._token] = self
        return self

    def __exit__(self, *_error: object) -> None:
        self._waiting.pop(self._token, None)


class NoResponders(BlazzError):
    """The bus works, but nobody serves `subject`: surely not received (a node that is away?)."""

    def __init__(self, subject: str) -> None:
        super().__init__(
            ErrorCode.NATS_UNAVAILABLE, "nobody answers on this subject", subject=subject
        )


def _forbidden(subject: str) -> BlazzError:
    return BlazzError(ErrorCode.FORBIDDEN, "the bus refuses this subject to us", subject=subject)


def _bad_file(setting: str, path: str | None, error: OSError) -> BlazzError:
    why = error.strerror or type(error).__name__
    return BlazzError(ErrorCode.CONFIG_INVALID, f"{setting} ({path}): {why}")


def _read_seed(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:  # noqa: PTH123 - a path from settings
            return file.read().strip()
    except OSError as error:
        raise _bad_file("bus.nkey_seed_file", path, error) from error
