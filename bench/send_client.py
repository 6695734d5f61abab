"""Clients that do nothing but send, in a process of their own: `python -m bench.send_client`.

Owns the two things that are compared, measured alike: a POST until its 202, and a JetStream publish
of the same size until its ack. Reads one `Plan` from stdin, writes one `Took` to stdout. HTTP is
written by hand, one connection a client: a client library would cost more than what is measured.
"""

import asyncio
import itertools
import secrets
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import msgspec
import uvloop

from schemas.api_messages import NewMessage
from schemas.errors import BlazzError
from schemas.transport.connection import Bus, BusSettings
from schemas.transport.jetstream import JetStream

_ANSWER_MAX_S: Final = 30.0

Once = Callable[[], Awaitable[str]]
"""One operation: what came of it, `accepted` if all went well."""
ACCEPTED: Final = "accepted"


class PostPlan(msgspec.Struct, frozen=True, kw_only=True, tag="post"):
    """POST messages to these sessions, one after the other; connections go round the ports."""

    clients: int
    seconds: float
    ports: tuple[int, ...]
    api_key: str
    session_ids: tuple[str, ...]
    to: str
    text: str
    with_key: bool
    """Whether each has an idempotency key."""


class PublishPlan(msgspec.Struct, frozen=True, kw_only=True, tag="publish"):
    """Publish so many bytes with a message id to a stream."""

    clients: int
    seconds: float
    server: str
    seed_file: str
    inbox_prefix: str
    subject: str
    size_bytes: int


class Took(msgspec.Struct, frozen=True):
    """What came of it: seconds each, what else was answered, and over how long."""

    seconds: list[float]
    refused: dict[str, int]
    over_s: float

    @property
    def per_s(self) -> float:
        """Good ones a second."""
        return len(self.seconds) / self.over_s


async def run_plan(plan: PostPlan | PublishPlan) -> Took:
    """Let all clients go at once; each does one operation after the other until the time is up."""
    match plan:
        case PostPlan():
            async with _posters(plan) as clients:
                return await _drive(clients, plan.seconds)
        case PublishPlan():
            async with _publishers(plan) as clients:
                return await _drive(clients, plan.seconds)


async def _drive(clients: list[Once], seconds: float) -> Took:
    taken: list[float] = []
    refused: dict[str, int] = {}
    began = time.perf_counter()
    until = began + seconds

    async def repeat(once: Once) -> None:
        while (at := time.perf_counter()) < until:
            outcome = await once()
            if outcome == ACCEPTED:
                taken.append(time.perf_counter() - at)
            else:
                refused[outcome] = refused.get(outcome, 0) + 1

    async with asyncio.TaskGroup() as group:
        for once in clients:
            group.create_task(repeat(once))
    return Took(taken, refused, time.perf_counter() - began)


@asynccontextmanager
async def _posters(plan: PostPlan) -> AsyncIterator[list[Once]]:
    body = msgspec.json.encode(NewMessage(to=plan.to, text=plan.text))
    numbers = itertools.count()
    run = secrets.token_hex(4)
    heads = [
        (
            f"POST /v1/sessions/{session_id}/messages HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {plan.api_key}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n"
        )
        for session_id in plan.session_ids
    ]

    def request() -> bytes:
        number = next(numbers)
        head = heads[number % len(heads)]
        key = f"Idempotency-Key: {run}-{number}\r\n" if plan.with_key else ""
        return f"{head}{key}\r\n".encode() + body

    opened: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    try:
        for client in range(plan.clients):
            port = plan.ports[client % len(plan.ports)]
            opened.append(await asyncio.open_connection("127.0.0.1", port))
        yield [_poster(request, *one) for one in opened]
    finally:
        for _, writer in opened:
            writer.close()


def _poster(
    request: Callable[[], bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> Once:
    async def once() -> str:
        writer.write(request())
        async with asyncio.timeout(_ANSWER_MAX_S):
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.decode("latin-1").lower().split("\r\n")
            length = next(line for line in lines if line.startswith("content-length:"))
            await reader.readexactly(int(length.partition(":")[2]))
        answered = lines[0].split(" ")[1]
        return ACCEPTED if answered == "202" else answered

    return once


@asynccontextmanager
async def _publishers(plan: PublishPlan) -> AsyncIterator[list[Once]]:
    settings = BusSettings(
        servers=(plan.server,),
        name="bench",
        nkey_seed_file=plan.seed_file,
        inbox_prefix=plan.inbox_prefix,
    )
    payload = b"x" * plan.size_bytes
    async with Bus.connect(settings) as bus:
        jetstream = JetStream(bus)

        async def once() -> str:
            # As an accepted message is stored: with an id that the server remembers.
            headers = {"Nats-Msg-Id": secrets.token_hex(11).upper()}
            try:
                await jetstream.publish(plan.subject, payload, headers=headers)
            except BlazzError as error:
                return error.code
            return ACCEPTED

        yield [once] * plan.clients


def main() -> None:
    """Read the plan, run it, write what it took."""
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=PostPlan | PublishPlan)
    sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(run_plan(plan))))


if __name__ == "__main__":
    main()
