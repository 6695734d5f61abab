"""Raw JetStream: its JSON API by request/reply, with nothing hidden.

Owns the API's subjects, bodies and error numbers. nats-py's own JetStream and KV layers are not
used: they cannot tell an expired key from an empty one and do not say what a refusal means.
Never caches and never retries: callers know whether a repeat is safe.
"""

import secrets
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final, TypeVar

import msgspec

from schemas.errors import BlazzError, ErrorCode
from schemas.transport.connection import Bus, BusMessage, NoResponders

EXPECT_SUBJECT_SEQ: Final = "Nats-Expected-Last-Subject-Sequence"
EXPECT_SUBJECT: Final = "Nats-Expected-Last-Subject-Sequence-Subject"
TTL: Final = "Nats-TTL"
_BATCH_MAX: Final = 1000

T = TypeVar("T")


class JetStreamError(BlazzError):
    """The server said no; `err_code` is its number (nats-server's `errors.json`)."""

    def __init__(self, err_code: int, description: str, code: ErrorCode) -> None:
        super().__init__(code, description, err_code=err_code)
        self.err_code = err_code


class Conflict(BlazzError):
    """A compare-and-set was refused: someone wrote first. Normal: read again, decide again."""

    def __init__(self, detail: str = "") -> None:
        super().__init__(ErrorCode.CONFLICT, detail)


_WRONG_SEQUENCE: Final = frozenset({10071, 10164})
_NO_SUCH: Final = frozenset({10037, 10043, 10057, 10059, 10014})
# No room, or a batch that lost its place on the way (a reconnect, too many at once): not stored.
_TRY_LATER: Final = frozenset({10047, 10077, 10023, 10028, 10054, 10176, 10210, 10211})


class _ApiError(msgspec.Struct, frozen=True):
    code: int
    err_code: int = 0
    description: str = ""


class _ErrorOnly(msgspec.Struct, frozen=True):
    error: _ApiError | None = None


class PubAck(msgspec.Struct, frozen=True):
    """Stored, and with `sync_interval: always` on the disk."""

    stream: str
    seq: int
    duplicate: bool = False


class StreamState(msgspec.Struct, frozen=True):
    """What a stream holds. `first_seq` above a wanted sequence means it was pruned."""

    messages: int
    bytes: int
    first_seq: int
    last_seq: int
    num_subjects: int = 0
    subjects: dict[str, int] | None = None


class StreamInfo(msgspec.Struct, frozen=True):
    """A stream's configuration as the server has it, and its state."""

    config: dict[str, Any]
    state: StreamState
    total: int = 0
    """Subjects that match the filter, over all pages."""


class StoredMessage(msgspec.Struct, frozen=True):
    """A message read from a stream."""

    subject: str
    seq: int
    data: bytes
    headers: dict[str, str]
    stored_at: float = 0.0
    """Unix seconds; 0 where it was not asked for."""


class _Stored(msgspec.Struct, frozen=True):
    subject: str
    seq: int
    data: bytes = b""
    hdrs: bytes = b""


class _StoredAnswer(msgspec.Struct, frozen=True):
    message: _Stored


class AckFloor(msgspec.Struct, frozen=True):
    """The stream's sequence up to which a consumer has everything acknowledged."""

    stream_seq: int = 0


class ConsumerInfo(msgspec.Struct, frozen=True):
    """A consumer. `num_pending` is what it has yet to deliver."""

    name: str
    num_pending: int
    num_ack_pending: int = 0
    num_waiting: int = 0
    ack_floor: AckFloor = AckFloor()


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """One message of an atomic batch."""

    subject: str
    payload: bytes
    headers: dict[str, str] = {}


def parse_headers(raw: bytes) -> dict[str, str]:
    """NATS headers (`NATS/1.0` line, then `Name: value` lines) to a dict."""
    headers = {}
    for line in raw.split(b"\r\n")[1:]:
        name, colon, value = line.partition(b":")
        if colon:
            headers[name.decode().strip()] = value.decode().strip()
    return headers


class JetStream:
    """The API over a bus; cheap to make, holds nothing."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.timeout_s = bus.settings.profile.jetstream_timeout_s
        self._api = bus.settings.jetstream_api

    async def api(self, suffix: str, body: object, kind: type[T]) -> T:
        """Call `$JS.API.<suffix>`, or where the settings have it. Raises `JetStreamError` (code
        `not_found` for what is not there), `nats_unavailable`, `timeout`, `forbidden`."""
        payload = b"" if body is None else msgspec.json.encode(body)
        answer = await self.bus.request(f"{self._api}.{suffix}", payload, timeout_s=self.timeout_s)
        raise_refusal(answer.data)
        return msgspec.json.decode(answer.data, type=kind)

    async def publish(
        self,
        subject: str,
        payload: bytes,
        *,
        headers: dict[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> PubAck:
        """Store one message. Raises `Conflict`, or as `api`; after `timeout` or
        `nats_unavailable` it may have been stored or not."""
        try:
            answer = await self.bus.request(
                subject, payload, timeout_s=timeout_s or self.timeout_s, headers=headers
            )
        except NoResponders as error:
            # A stream's leader may be starting or being elected: as good as away.
            raise BlazzError(
                ErrorCode.NATS_UNAVAILABLE, "no stream takes this subject now", subject=subject
            ) from error
        raise_refusal(answer.data)
        return msgspec.json.decode(answer.data, type=PubAck)

    async def publish_batch(
        self, writes: Sequence[Write], *, timeout_s: float | None = None
    ) -> PubAck:
        """Store all or none, in one stream with `allow_atomic`; returns the LAST one's ack, the
        others have the sequences right before it. Raises as `publish`."""
        if not 0 < len(writes) <= _BATCH_MAX:
            raise ValueError(f"a batch has 1 to {_BATCH_MAX} writes")
        if len(writes) == 1:
            only = writes[0]
            return await self.publish(
                only.subject, only.payload, headers=only.headers, timeout_s=timeout_s
            )
        batch_id = secrets.token_hex(16)
        for number, write in enumerate(writes[:-1], 1):
            await self.bus.publish(
                write.subject, write.payload, _batch_headers(batch_id, number, write)
            )
        last = writes[-1]
        headers = _batch_headers(batch_id, len(writes), last) | {"Nats-Batch-Commit": "1"}
        return await self.publish(last.subject, last.payload, headers=headers, timeout_s=timeout_s)

    async def last_by_subject(self, stream: str, subject: str) -> StoredMessage | None:
        """The raw last message on `subject` (markers of deletion and expiry too), or None."""
        return await self._get(stream, {"last_by_subj": subject})

    async def next_by_subject(
        self, stream: str, subject: str, start_seq: int = 1
    ) -> StoredMessage | None:
        """The first message at or after `start_seq` that matches `subject`: a lane's head."""
        return await self._get(stream, {"seq": max(1, start_seq), "next_by_subj": subject})

    async def by_sequence(self, stream: str, seq: int) -> StoredMessage | None:
        """The message with this sequence, or None."""
        return await self._get(stream, {"seq": seq})

    async def _get(self, stream: str, body: dict[str, Any]) -> StoredMessage | None:
        try:
            answer = await self.api(f"STREAM.MSG.GET.{stream}", body, _StoredAnswer)
        except JetStreamError as error:
            if error.err_code == 10037:
                return None
            raise
        raw = answer.message
        return StoredMessage(raw.subject, raw.seq, raw.data, parse_headers(raw.hdrs))

    async def delete_message(self, stream: str, seq: int) -> bool:
        """Remove one message; False if it was gone already."""
        try:
            await self.api(f"STREAM.MSG.DELETE.{stream}", {"seq": seq, "no_erase": True}, _Ignored)
        except JetStreamError as error:
            if error.code is ErrorCode.NOT_FOUND:
                return False
            raise
        return True

    async def purge(self, stream: str, subject: str) -> None:
        """Remove every message that matches `subject`."""
        await self.api(f"STREAM.PURGE.{stream}", {"filter": subject}, _Ignored)

    async def stream_info(self, stream: str) -> StreamInfo:
        """Raises `not_found` if there is no such stream."""
        return await self.api(f"STREAM.INFO.{stream}", None, StreamInfo)

    async def delete_stream(self, stream: str) -> None:
        """Remove a stream with all that it holds."""
        await self.api(f"STREAM.DELETE.{stream}", None, _Ignored)

    async def subjects(self, stream: str, subject: str) -> dict[str, int]:
        """Every subject under `subject` that holds messages, with how many."""
        found: dict[str, int] = {}
        while True:
            info = await self.api(
                f"STREAM.INFO.{stream}",
                {"subjects_filter": subject, "offset": len(found)},
                StreamInfo,
            )
            page = info.state.subjects or {}
            found |= page
            if not page or len(found) >= info.total:
                return found

    async def create_consumer(self, stream: str, name: str, config: dict[str, Any]) -> ConsumerInfo:
        """Create, or update a durable with the same name. `config` is the server's own JSON."""
        suffix = f"CONSUMER.CREATE.{stream}.{name}"
        if "filter_subject" in config:
            suffix += f".{config['filter_subject']}"
        return await self.api(
            suffix, {"stream_name": stream, "config": {"name": name, **config}}, ConsumerInfo
        )

    async def consumer_info(self, stream: str, name: str) -> ConsumerInfo:
        """Raises `not_found` if there is no such consumer."""
        return await self.api(f"CONSUMER.INFO.{stream}.{name}", None, ConsumerInfo)

    async def delete_consumer(self, stream: str, name: str) -> None:
        """Remove a consumer; one that is gone already is fine."""
        try:
            await self.api(f"CONSUMER.DELETE.{stream}.{name}", None, _Ignored)
        except JetStreamError as error:
            if error.code is not ErrorCode.NOT_FOUND:
                raise

    async def fetch(
        self, stream: str, consumer: str, *, batch: int, expires_s: float, wait: bool = True
    ) -> AsyncGenerator[BusMessage, None]:
        """One pull: up to `batch` messages as they come, for at most `expires_s`; without `wait`,
        only what is there at once.

        Raises `not_found` if the consumer is gone, `nats_unavailable` on a lost connection.
        """
        body: dict[str, Any] = {"batch": batch}
        body |= {"expires": int(expires_s * 1e9)} if wait else {"no_wait": True}
        async with self.bus.request_many(
            f"{self._api}.CONSUMER.MSG.NEXT.{stream}.{consumer}",
            msgspec.json.encode(body),
            answers_max=batch + 4,
            timeout_s=self.timeout_s,
        ) as answers:
            received = 0
            while received < batch:
                try:
                    message = await answers.next(expires_s + 1.0)
                except NoResponders as error:
                    raise _consumer_gone() from error
                except BlazzError as error:
                    if error.code is ErrorCode.TIMEOUT:
                        return
                    raise
                match message.nats_state:
                    case "":
                        received += 1
                        yield message
                    case "404" | "408":
                        return
                    case "409" if "deleted" in message.headers.get("Description", "").lower():
                        raise _consumer_gone()
                    case "409":
                        return
                    case _:
                        continue


class _Ignored(msgspec.Struct):
    pass


def _consumer_gone() -> JetStreamError:
    return JetStreamError(10014, "the consumer is gone", ErrorCode.NOT_FOUND)


def _batch_headers(batch_id: str, number: int, write: Write) -> dict[str, str]:
    return {
        "Nats-Batch-Id": batch_id,
        "Nats-Batch-Sequence": str(number),
        **write.headers,
    }


def raise_refusal(data: bytes) -> None:
    """Raise what the server's answer says went wrong, if it does: as `JetStream.api`."""
    error = msgspec.json.decode(data, type=_ErrorOnly).error
    if error is None:
        return
    if error.err_code in _WRONG_SEQUENCE:
        raise Conflict(error.description)
    if error.err_code in _NO_SUCH or error.code == 404:
        raise JetStreamError(error.err_code, error.description, ErrorCode.NOT_FOUND)
    if error.code == 503 or error.err_code in _TRY_LATER:
        raise JetStreamError(error.err_code, error.description, ErrorCode.NATS_UNAVAILABLE)
    raise JetStreamError(error.err_code, error.description, ErrorCode.INTERNAL)
