"""The wire: nats-py's client, played on virtual connections that can be cut, slow and one-way.

Owns the connections and what happens to bytes on their way: TCP's order is kept, nothing is lost
while a connection lives, a cut holds bytes back and a dead connection drops them. Our own `Link`,
`Bus` and all above run on it unchanged. Never knows a subject's meaning; the broker does.
"""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from tests.simulation.virtual_time import PROCESS, Process, VirtualLoop

_CLOSE_SEEN_S: Final = 0.01
_SERVER_GIVES_UP_S: Final = 20.0
"""A server notices that a client has gone silent by its own pings, much later than the client."""
_LATE_WRITES_CHANCE: Final = 0.5


class Weather(msgspec.Struct):
    """What the network is like for one process, now.

    `cut_out`, `cut_in`: what the process sends, and what is sent to it, does not arrive.
    `drop_share` of core messages is lost, `twice_share` comes twice.
    """

    delay_min_s: float = 0.0003
    delay_max_s: float = 0.003
    cut_out: bool = False
    cut_in: bool = False
    drop_share: float = 0.0
    twice_share: float = 0.0

    @property
    def cut(self) -> bool:
        """Whether no dialogue is possible."""
        return self.cut_out or self.cut_in


class SimMsg:
    """What a callback gets: the part of nats-py's message that `message_of` reads."""

    __slots__ = ("data", "headers", "reply", "subject")

    def __init__(self, subject: str, data: bytes, headers: dict[str, str], reply: str) -> None:
        self.subject = subject
        self.data = data
        self.headers = headers
        self.reply = reply


OnMessage = Callable[[Any], Awaitable[None]]


class Server:
    """What a connection needs of the broker (see `broker.Broker`)."""

    def accept(self, connection: "Connection") -> None:
        """A client has signed in."""
        raise NotImplementedError

    def forget(self, connection: "Connection") -> None:
        """The connection has ended."""
        raise NotImplementedError

    def receive(self, connection: "Connection", message: SimMsg) -> None:
        """A published message has arrived."""
        raise NotImplementedError

    def subscribe(
        self, connection: "Connection", sid: int, subject: str, queue: str | None
    ) -> None:
        """A subscription has arrived; None as `queue` ends it."""
        raise NotImplementedError


class Network:
    """All connections to the one server."""

    def __init__(self, loop: VirtualLoop, chance: random.Random) -> None:
        self.loop = loop
        self.chance = chance
        self.server_up = True
        self.server: Server = Server()
        self.weather: dict[str, Weather] = {}
        self.connections: set[Connection] = set()

    def weather_of(self, process: Process) -> Weather:
        """What it is like for a process."""
        return self.weather.setdefault(process.name, Weather())

    def delay_s(self, process: Process) -> float:
        """How long one message takes."""
        weather = self.weather_of(process)
        return self.chance.uniform(weather.delay_min_s, weather.delay_max_s)

    def set_weather(self, process: Process, **changes: Any) -> None:
        """Change what it is like; bytes held back by a cut that ends come through in a burst."""
        weather = self.weather_of(process)
        for name, value in changes.items():
            setattr(weather, name, value)
        for connection in self.ordered():
            if connection.process is process:
                connection.flow()

    def accepts(self) -> bool:
        """Whether a dial can succeed now."""
        return self.server_up

    def ordered(self) -> "list[Connection]":
        """The connections in the order they were made."""
        return sorted(self.connections, key=lambda connection: connection.number)

    def crash_server(self) -> None:
        """The server dies: every connection breaks, what was on the way is lost."""
        self.server_up = False
        for connection in self.ordered():
            connection.break_off(client_sees=True)

    def end_process(self, process: Process) -> None:
        """The process is killed: its kernel closes the sockets."""
        for connection in self.ordered():
            if connection.process is process:
                connection.client_closed()


class Connection:
    """One TCP connection: two ordered directions, each with what is held back."""

    _made = 0

    def __init__(self, network: Network, process: Process, client: "SimClient") -> None:
        Connection._made += 1
        self.number = Connection._made
        self.network = network
        self.process = process
        self.client = client
        self.server_open = True
        self.client_open = True
        self._held_out: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._held_in: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._last_out = 0.0
        self._last_in = 0.0

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other

    def to_server(self, act: Callable[..., None], *args: Any) -> None:
        """Have the server do something when these bytes arrive."""
        if self.network.weather_of(self.process).cut_out:
            self._held_out.append((act, args))
            return
        due = max(self._last_out, self.network.loop.now + self.network.delay_s(self.process))
        self._last_out = due
        self.network.loop.call_at_true(due, self._at_server, act, args)

    def _at_server(self, act: Callable[..., None], args: tuple[Any, ...]) -> None:
        if self.server_open and self.network.server_up:
            act(*args)

    def to_client(self, act: Callable[..., None], *args: Any) -> None:
        """Have the client do something when these bytes arrive."""
        if self.network.weather_of(self.process).cut_in:
            self._held_in.append((act, args))
            return
        due = max(self._last_in, self.network.loop.now + self.network.delay_s(self.process))
        self._last_in = due
        context = self.process.context
        self.network.loop.call_at_true(due, self._at_client, act, args, context=context)

    def _at_client(self, act: Callable[..., None], args: tuple[Any, ...]) -> None:
        if self.client_open and self.process.alive:
            act(*args)

    def flow(self) -> None:
        """Send what was held back, if it may go now."""
        weather = self.network.weather_of(self.process)
        held_out, held_in = self._held_out, self._held_in
        if not weather.cut_out and held_out:
            self._held_out = deque()
            # TCP sends again after a while, not the moment the cable is back.
            self._last_out = max(self._last_out, self.network.loop.now) + self._resend_s()
            for act, args in held_out:
                self.to_server(act, *args)
        if not weather.cut_in and held_in:
            self._held_in = deque()
            self._last_in = max(self._last_in, self.network.loop.now) + self._resend_s()
            for act, args in held_in:
                self.to_client(act, *args)

    def _resend_s(self) -> float:
        # What a closed socket left behind is sent ever more seldom.
        return self.network.chance.uniform(0.0, 1.5 if self.client_open else 8.0)

    def client_closed(self) -> None:
        """The client's side has closed; the server learns it behind what was sent before."""
        if not self.client_open:
            return
        self.client_open = False
        if self._held_out and self.network.chance.random() > _LATE_WRITES_CHANCE:
            self._held_out.clear()  # thrown away by the kernel; else it comes late
        self.to_server(self._ended_at_server)
        self.network.loop.call_at_true(
            self.network.loop.now + _SERVER_GIVES_UP_S, self._ended_at_server
        )

    def _ended_at_server(self) -> None:
        if self.server_open:
            self.server_open = False
            self.network.connections.discard(self)
            self.network.server.forget(self)

    def break_off(self, *, client_sees: bool) -> None:
        """The server's side has gone."""
        self._held_in.clear()
        self._held_out.clear()
        if self.server_open:
            self.server_open = False
            self.network.connections.discard(self)
            self.network.server.forget(self)
        if client_sees and self.client_open:
            self.to_client(self.client.connection_lost)


class _Transport:
    """Where `Link` looks for a socket to cut."""

    _io_writer = None


class SimSubscription:
    """A subscription on a connection."""

    def __init__(self, client: "SimClient", sid: int) -> None:
        self._client = client
        self._sid = sid

    async def unsubscribe(self) -> None:
        """End it."""
        self._client.unsubscribe(self._sid)


class SimClient:
    """In nats-py's `Client`'s place: what `schemas.transport.link` calls of it, no more."""

    network: Network
    """Set by the world for the time of one run."""
    max_payload = 1024 * 1024

    def __init__(self) -> None:
        self._transport = _Transport()
        self._connection: Connection | None = None
        self._callbacks: dict[int, OnMessage] = {}
        self._sids = 0
        self._closed_cb: Callable[[], Awaitable[None]] | None = None

    async def connect(self, *, closed_cb: Callable[[], Awaitable[None]], **_: Any) -> None:
        """Dial: refused at once by a server that is down, never answered through a cut."""
        network, process = self.network, PROCESS.get()
        assert process is not None
        loop = network.loop
        weather = network.weather_of(process)
        await asyncio.sleep(network.delay_s(process) * 2)
        if weather.cut:
            await asyncio.sleep(3600.0)
        if not process.alive or not network.accepts():
            raise ConnectionRefusedError("nobody listens")
        await asyncio.sleep(network.delay_s(process) * 2)
        if weather.cut or not network.accepts():
            raise ConnectionResetError("the connection broke while signing in")
        self._closed_cb = closed_cb
        self._connection = connection = Connection(network, process, self)
        connection._last_out = connection._last_in = loop.now
        network.connections.add(connection)
        network.server.accept(connection)

    async def subscribe(
        self, subject: str, queue: str = "", cb: OnMessage | None = None
    ) -> SimSubscription:
        """Subscribe; takes effect when it reaches the server."""
        assert cb is not None
        connection = self._alive()
        self._sids += 1
        self._callbacks[self._sids] = cb
        connection.to_server(self.network.server.subscribe, connection, self._sids, subject, queue)
        return SimSubscription(self, self._sids)

    def unsubscribe(self, sid: int) -> None:
        """End a subscription."""
        self._callbacks.pop(sid, None)
        connection = self._connection
        if connection is not None and connection.client_open:
            connection.to_server(self.network.server.subscribe, connection, sid, "", None)

    async def publish(
        self,
        subject: str,
        payload: bytes,
        reply: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        """Hand a message to the socket."""
        connection = self._alive()
        message = SimMsg(subject, payload, headers or {}, reply)
        connection.to_server(self.network.server.receive, connection, message)

    async def close(self) -> None:
        """Close our side."""
        if self._connection is not None:
            self._connection.client_closed()

    def _alive(self) -> Connection:
        connection = self._connection
        if connection is None or not connection.client_open:
            raise ConnectionResetError("closed")
        return connection

    # Called in the process's own context ---------------------------------------------------------

    def hand_over(self, sid: int, message: SimMsg) -> None:
        """A message has come for a subscription."""
        callback = self._callbacks.get(sid)
        if callback is not None:
            _run_through(callback(message))

    def connection_lost(self) -> None:
        """The server's side has closed."""
        if self._connection is not None:
            self._connection.client_open = False
        if self._closed_cb is not None:
            _run_through(self._closed_cb())


def _run_through(work: Awaitable[None]) -> None:
    """Our callbacks for nats-py never wait: so they run to their end in one step."""
    steps = work.__await__()
    try:
        next(steps)
    except StopIteration:
        return
    raise AssertionError("a bus callback waited")
