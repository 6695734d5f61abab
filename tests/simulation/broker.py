"""The broker: a nats-server in memory: subjects, request/reply and the streams behind buckets.

Owns what the server does with a message: routing, no-responders, storing with expectations,
fences, atomic batches and TTLs, expiry markers, ordered pull consumers. What it has stored
survives its crash, as with `sync_interval: always`; connections, subscriptions, consumers and
half-sent batches do not. Never a fault: those come from outside.
"""

import base64
import random
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import msgspec

from schemas.resources import all_streams
from schemas.transport.jetstream import EXPECT_SUBJECT, EXPECT_SUBJECT_SEQ, TTL
from tests.simulation.wire import Connection, Network, Server, SimMsg

_API: Final = "$JS.API."
_EXPIRY_LATE_MAX_S: Final = 1.0
"""The server looks for expired messages now and then, not at the very moment."""
_WRONG_SEQUENCE: Final = {"code": 400, "err_code": 10071, "description": "wrong last sequence"}
_NO_MESSAGE: Final = {"code": 404, "err_code": 10037, "description": "no message found"}
_NO_STREAM: Final = {"code": 404, "err_code": 10059, "description": "stream not found"}
_NO_CONSUMER: Final = {"code": 404, "err_code": 10014, "description": "consumer not found"}


class Stored:
    """A message in a stream."""

    __slots__ = ("data", "expires_at", "gone", "headers", "seq", "subject")

    def __init__(self, subject: str, seq: int, data: bytes, headers: dict[str, str]) -> None:
        self.subject = subject
        self.seq = seq
        self.data = data
        self.headers = headers
        self.gone = False
        self.expires_at: float | None = None


class Pull:
    """A reader's request for the next messages."""

    __slots__ = ("connection", "inbox", "left")

    def __init__(self, connection: Connection, inbox: str, left: int) -> None:
        self.connection = connection
        self.inbox = inbox
        self.left = left


class Consumer:
    """An ordered pull consumer: what it has yet to deliver."""

    def __init__(self, patterns: list[list[str]]) -> None:
        self.waiting: deque[Stored] = deque()
        self.sent = 0
        self.pull: Pull | None = None
        self._patterns = patterns

    def offer(self, stored: Stored) -> None:
        """Take in a message if it is asked for."""
        tokens = stored.subject.split(".")
        if any(_matches(pattern, tokens) for pattern in self._patterns):
            self.waiting.append(stored)

    def pending(self) -> int:
        """How many messages it has yet to deliver."""
        return sum(1 for stored in self.waiting if not stored.gone)


class Stream:
    """A stream: the last message of each subject, and who reads it."""

    def __init__(self, name: str, prefixes: tuple[str, ...], *, last_only: bool, marker_s: float):
        self.name = name
        self.prefixes = prefixes
        self.last_only = last_only
        self.marker_s = marker_s
        self.last_seq = 0
        self.by_subject: dict[str, Stored] = {}
        self.consumers: dict[str, Consumer] = {}
        self.busy_until = 0.0
        self.seen_ids: dict[str, int] = {}


OnCommit = Callable[[Stream, list[Stored], Connection | None], None]
"""Told of every change of a stream, all writes of a batch together, and who made it."""
OnCore = Callable[[SimMsg], None]


class Broker(Server):
    """The server of one `Network`."""

    def __init__(self, network: Network, chance: random.Random) -> None:
        self.network = network
        self.loop = network.loop
        self.chance = chance
        self.disk_s: Callable[[], float] = lambda: 0.0
        self.on_commit: OnCommit = lambda _stream, _stored, _by: None
        self.on_core: OnCore = lambda _message: None
        self.streams: dict[str, Stream] = {}
        for spec in all_streams():
            prefixes = tuple(subject.removesuffix(">") for subject in spec.subjects)
            self.streams[spec.name] = Stream(
                spec.name,
                prefixes,
                last_only=spec.max_msgs_per_subject == 1,
                marker_s=spec.limit_marker_ttl_s,
            )
        self._exact: dict[str, dict[tuple[int, int], Connection]] = {}
        self._inboxes: dict[str, tuple[int, Connection]] = {}
        self._patterns: dict[tuple[int, int], tuple[list[str], str, Connection]] = {}
        self._subjects: dict[tuple[int, int], str] = {}
        self._batches: dict[str, list[SimMsg]] = {}
        network.server = self

    # Connections and subjects --------------------------------------------------------------------

    def accept(self, connection: Connection) -> None:
        """Nothing is kept of a connection but its subscriptions."""

    def forget(self, connection: Connection) -> None:
        """Its subscriptions and pulls end."""
        for number, sid in [key for key in self._subjects if key[0] == connection.number]:
            self.subscribe(connection, sid, "", None)
            assert number == connection.number
        for stream in self.streams.values():
            for consumer in stream.consumers.values():
                if consumer.pull is not None and consumer.pull.connection is connection:
                    consumer.pull = None

    def crash(self) -> None:
        """The process dies; what was stored stays."""
        self.network.crash_server()
        self._batches.clear()
        for stream in self.streams.values():
            stream.consumers.clear()
            stream.busy_until = 0.0

    def restart(self) -> None:
        """It is back; what expired meanwhile goes now."""
        self.network.server_up = True
        for stream in self.streams.values():
            for stored in list(stream.by_subject.values()):
                if stored.expires_at is not None and stored.expires_at <= self.loop.now:
                    self._expire(stream, stored)

    def subscribe(self, connection: Connection, sid: int, subject: str, queue: str | None) -> None:
        """Take in or (queue None) end a subscription."""
        key = (connection.number, sid)
        if queue is None:
            old = self._subjects.pop(key, None)
            if old is not None:
                self._patterns.pop(key, None)
                self._inboxes.pop(old, None)
                self._exact.get(old, {}).pop(key, None)
            return
        self._subjects[key] = subject
        if subject.startswith("_INBOX") and subject.endswith(".*"):
            self._subjects[key] = subject[:-2]
            self._inboxes[subject[:-2]] = (sid, connection)
        elif "*" in subject or ">" in subject:
            self._patterns[key] = (subject.split("."), queue, connection)
        else:
            self._exact.setdefault(subject, {})[key] = connection

    def receive(self, connection: Connection, message: SimMsg) -> None:
        """Route a published message."""
        subject = message.subject
        if subject.startswith(_API):
            self._api(connection, message)
            return
        if subject.startswith("_INBOX"):
            self._to_subscribers(message)
            return
        stream = self._stream_of(subject)
        if stream is not None:
            self._to_stream(stream, connection, message)
            return
        weather = self.network.weather_of(connection.process)
        self.on_core(message)
        if self.chance.random() < weather.drop_share:
            return
        found = self._to_subscribers(message)
        if found and self.chance.random() < weather.twice_share:
            self._to_subscribers(message)
        if not found and message.reply:
            self._send(message.reply, SimMsg(message.reply, b"", {"Status": "503"}, ""))

    def _to_subscribers(self, message: SimMsg) -> bool:
        subject = message.subject
        found = self._send(subject, message)
        if not self._patterns or subject.startswith("_INBOX"):
            return found
        tokens = subject.split(".")
        groups: dict[str, list[tuple[int, Connection]]] = {}
        for key, (pattern, queue, connection) in self._patterns.items():
            if _matches(pattern, tokens):
                groups.setdefault(queue or f"{key}", []).append((key[1], connection))
        for members in groups.values():
            # One of a queue group gets it, whichever.
            sid, connection = members[0] if len(members) == 1 else self.chance.choice(members)
            connection.to_client(connection.client.hand_over, sid, message)
        return found or bool(groups)

    def _send(self, subject: str, message: SimMsg) -> bool:
        """To those who listen on exactly `subject`, or whose inbox it is."""
        inbox = self._inboxes.get(subject.rpartition(".")[0])
        if inbox is not None:
            sid, connection = inbox
            connection.to_client(connection.client.hand_over, sid, message)
            return True
        exact = self._exact.get(subject)
        if not exact:
            return False
        for (_number, sid), connection in list(exact.items()):
            connection.to_client(connection.client.hand_over, sid, message)
        return True

    def _answer(self, reply: str, body: object) -> None:
        if reply:
            self._send(reply, SimMsg(reply, msgspec.json.encode(body), {}, ""))

    def _stream_of(self, subject: str) -> Stream | None:
        for stream in self.streams.values():
            if subject.startswith(stream.prefixes):
                return stream
        return None

    # Storing -----------------------------------------------------------------------------------

    def _to_stream(self, stream: Stream, connection: Connection, message: SimMsg) -> None:
        """Writes of a stream go to the disk one after the other."""
        due = max(stream.busy_until, self.loop.now) + self.disk_s()
        stream.busy_until = due
        if due <= self.loop.now:
            self._write(stream, connection, message)
        else:
            self.loop.call_at_true(due, self._write_if_up, stream, connection, message)

    def _write_if_up(self, stream: Stream, connection: Connection, message: SimMsg) -> None:
        if self.network.server_up:
            self._write(stream, connection, message)

    def _write(self, stream: Stream, connection: Connection, message: SimMsg) -> None:
        batch_id = message.headers.get("Nats-Batch-Id")
        if batch_id is None:
            writes = [message]
        else:
            writes = self._batches.setdefault(batch_id, [])
            number = int(message.headers["Nats-Batch-Sequence"])
            if number != len(writes) + 1:
                # One before it was lost with an older connection: nothing of it is stored.
                self._batches.pop(batch_id)
                lost = {"code": 400, "err_code": 10176, "description": "batch is incomplete"}
                self._answer(message.reply, {"error": lost})
                return
            writes.append(message)
            if "Nats-Batch-Commit" not in message.headers:
                return
            self._batches.pop(batch_id)
        known = stream.seen_ids.get(message.headers.get("Nats-Msg-Id", ""))
        if known is not None:
            self._answer(message.reply, {"stream": stream.name, "seq": known, "duplicate": True})
            return
        if not all(self._expected(stream, write) for write in writes):
            self._answer(message.reply, {"error": _WRONG_SEQUENCE})
            return
        stored = [self._store(stream, w.subject, w.data, w.headers) for w in writes]
        self.on_commit(stream, stored, connection)
        self._answer(message.reply, {"stream": stream.name, "seq": stored[-1].seq})
        self._pump(stream)

    def _expected(self, stream: Stream, write: SimMsg) -> bool:
        wanted = write.headers.get(EXPECT_SUBJECT_SEQ)
        if wanted is None:
            return True
        last = stream.by_subject.get(write.headers.get(EXPECT_SUBJECT, write.subject))
        return (last.seq if last else 0) == int(wanted)

    def _store(self, stream: Stream, subject: str, data: bytes, headers: dict[str, str]) -> Stored:
        stream.last_seq += 1
        stored = Stored(subject, stream.last_seq, data, headers)
        if stream.last_only:
            old = stream.by_subject.get(subject)
            if old is not None:
                old.gone = True
            stream.by_subject[subject] = stored
        for consumer in stream.consumers.values():
            consumer.offer(stored)
        if "Nats-Msg-Id" in headers:
            stream.seen_ids[headers["Nats-Msg-Id"]] = stored.seq
        ttl = headers.get(TTL)
        if ttl is not None:
            stored.expires_at = self.loop.now + float(ttl.removesuffix("s"))
            late_s = self.chance.uniform(0.0, _EXPIRY_LATE_MAX_S)
            self.loop.call_at_true(stored.expires_at + late_s, self._expire_if_up, stream, stored)
        return stored

    def _expire_if_up(self, stream: Stream, stored: Stored) -> None:
        if self.network.server_up:
            self._expire(stream, stored)

    def _expire(self, stream: Stream, stored: Stored) -> None:
        if stored.gone:
            return
        stored.gone = True
        del stream.by_subject[stored.subject]
        if "Nats-Marker-Reason" in stored.headers or "KV-Operation" in stored.headers:
            return
        if stream.marker_s:
            headers = {"Nats-Marker-Reason": "MaxAge", TTL: f"{round(stream.marker_s)}s"}
            marker = self._store(stream, stored.subject, b"", headers)
            self.on_commit(stream, [marker], None)
            self._pump(stream)

    # The API -----------------------------------------------------------------------------------

    def _api(self, connection: Connection, message: SimMsg) -> None:
        parts = message.subject.removeprefix(_API).split(".", 4)
        body = msgspec.json.decode(message.data) if message.data else {}
        match parts:
            case ["STREAM", "MSG", "GET", name]:
                self._with_stream(name, message, lambda stream: _get(stream, body))
            case ["STREAM", "INFO", name]:
                self._with_stream(name, message, _info)
            case ["CONSUMER", "CREATE", stream_name, name, *_]:
                self._with_stream(
                    stream_name, message, lambda stream: _create_consumer(stream, name, body)
                )
            case ["CONSUMER", "DELETE", stream_name, name]:
                self._with_stream(
                    stream_name, message, lambda stream: _delete_consumer(stream, name)
                )
            case ["CONSUMER", "MSG", "NEXT", stream_name, name]:
                self._next(self.streams[stream_name], name, connection, message.reply, body)
            case _:
                raise AssertionError(f"the simulated server has no {message.subject}")

    def _with_stream(
        self, name: str, message: SimMsg, act: Callable[[Stream], dict[str, Any]]
    ) -> None:
        stream = self.streams.get(name)
        self._answer(message.reply, {"error": _NO_STREAM} if stream is None else act(stream))

    def _next(
        self,
        stream: Stream,
        name: str,
        connection: Connection,
        inbox: str,
        body: dict[str, Any],
    ) -> None:
        consumer = stream.consumers.get(name)
        if consumer is None:
            self._send(inbox, SimMsg(inbox, b"", {"Status": "503"}, ""))
            return
        consumer.pull = pull = Pull(connection, inbox, body["batch"])
        self._pump_one(stream, name, consumer)
        expires_s = body["expires"] / 1e9
        self.loop.call_at_true(self.loop.now + expires_s, self._end_pull, consumer, pull)

    def _end_pull(self, consumer: Consumer, pull: Pull) -> None:
        if consumer.pull is pull:
            consumer.pull = None
            self._send(pull.inbox, SimMsg(pull.inbox, b"", {"Status": "408"}, ""))

    def _pump(self, stream: Stream) -> None:
        for name, consumer in stream.consumers.items():
            if consumer.pull is not None:
                self._pump_one(stream, name, consumer)

    def _pump_one(self, stream: Stream, name: str, consumer: Consumer) -> None:
        pull, waiting = consumer.pull, consumer.waiting
        while pull is not None and pull.left and waiting:
            stored = waiting.popleft()
            if stored.gone:
                continue
            pull.left -= 1
            consumer.sent += 1
            ack = (
                f"$JS.ACK.{stream.name}.{name}.1.{stored.seq}.{consumer.sent}.0."
                f"{consumer.pending()}"
            )
            # It is delivered to the reader's inbox under the subject it was stored with.
            self._send(pull.inbox, SimMsg(stored.subject, stored.data, stored.headers, ack))
        if pull is not None and not pull.left:
            consumer.pull = None


def _get(stream: Stream, body: dict[str, Any]) -> dict[str, Any]:
    if "last_by_subj" not in body:
        raise AssertionError(f"the simulated server does not read by {body}")
    stored = stream.by_subject.get(body["last_by_subj"])
    if stored is None:
        return {"error": _NO_MESSAGE}
    lines = "".join(f"{name}: {value}\r\n" for name, value in stored.headers.items())
    return {
        "message": {
            "subject": stored.subject,
            "seq": stored.seq,
            "data": base64.b64encode(stored.data).decode(),
            "hdrs": base64.b64encode(f"NATS/1.0\r\n{lines}\r\n".encode()).decode(),
        }
    }


def _info(stream: Stream) -> dict[str, Any]:
    count = len(stream.by_subject)
    return {
        "config": {},
        "state": {
            "messages": count,
            "bytes": 0,
            "first_seq": 1,
            "last_seq": stream.last_seq,
            "num_subjects": count,
        },
    }


def _create_consumer(stream: Stream, name: str, body: dict[str, Any]) -> dict[str, Any]:
    config = body["config"]
    if config["deliver_policy"] != "last_per_subject":
        raise AssertionError("the simulated server has no such consumer")
    patterns = config.get("filter_subjects") or [config["filter_subject"]]
    stream.consumers[name] = consumer = Consumer([pattern.split(".") for pattern in patterns])
    for stored in sorted(stream.by_subject.values(), key=lambda stored: stored.seq):
        consumer.offer(stored)
    return {"name": name, "num_pending": consumer.pending()}


def _delete_consumer(stream: Stream, name: str) -> dict[str, Any]:
    return {"success": True} if stream.consumers.pop(name, None) else {"error": _NO_CONSUMER}


def _matches(pattern: list[str], tokens: list[str]) -> bool:
    if pattern and pattern[-1] == ">":
        if len(tokens) < len(pattern):
            return False
        pattern = pattern[:-1]
        tokens = tokens[: len(pattern)]
    elif len(pattern) != len(tokens):
        return False
    return all(want in ("*", have) for want, have in zip(pattern, tokens, strict=True))
