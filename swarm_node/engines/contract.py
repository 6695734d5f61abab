"""The engine contract: what every engine does for one session, and what it reports.

Owns the protocol, its event union and its value types. Never names a browser, wa-js or a wire
format: engines translate at their own edge. One suite (`tests/contract/test_engines.py`) runs on
every engine.

An engine never decides a session's state. It reports what it sees as events, answers `probe`
with what it checked this very moment, and leaves the table to `swarm_node.core.session_table`.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import msgspec

from schemas.messages import ChatMessage, Content
from schemas.states import Ack, EngineKind


class EngineSpec(msgspec.Struct, frozen=True):
    """Which session an engine runs. `profile_dir` is its own; it outlives the engine.

    `page_storage`: what the page's localStorage must hold before the first load (a snapshot's, or
    the last one read: it reaches the disk up to 52 s late); None leaves it as it is on disk.
    """

    session_id: str
    tenant_id: str
    epoch: int
    profile_dir: Path
    proxy: str | None = None
    page_storage: dict[str, str] | None = None


class SnapshotFiles(msgspec.Struct, frozen=True):
    """Which files of a profile a snapshot holds: paths or directories relative to `profile_dir`.
    `append_only`: name patterns (`*.log`) of files that only ever grow at their end."""

    include: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    append_only: tuple[str, ...] = ()


class Capabilities(msgspec.Struct, frozen=True):
    """What an engine can do beyond the contract's minimum."""

    kind: EngineKind
    pairing_code: bool = True
    media: bool = True
    proxy: bool = False


class Probe(msgspec.Struct, frozen=True):
    """What was checked just now, in one round trip through the engine."""

    authenticated: bool
    main_loaded: bool
    stream_main: bool
    socket_connected: bool
    round_trip_s: float
    detail: str = ""

    @property
    def online(self) -> bool:
        """The only ground on which a session may be called online."""
        return (
            self.authenticated and self.main_loaded and self.stream_main and self.socket_connected
        )


class Identity(msgspec.Struct, frozen=True):
    """Whose account is linked. `phone` is E.164 digits without +."""

    phone: str
    lid: str | None = None
    name: str | None = None


class SendRequest(msgspec.Struct, frozen=True):
    """A message to send; `media_path` holds the bytes when the content names media."""

    message_id: str
    to: str
    content: Content
    media_path: Path | None = None


class SendOutcome(msgspec.Struct, frozen=True):
    """It is with WhatsApp. `found_before`: the look-up found it from an earlier attempt."""

    chat_id: str
    ack: Ack
    found_before: bool = False


class MediaKey(msgspec.Struct, frozen=True):
    """Which message's media to read."""

    message_id: str
    chat_id: str
    from_me: bool
    participant: str | None = None


class MediaBytes(msgspec.Struct, frozen=True):
    """Media as it was read."""

    data: bytes
    mimetype: str


class QrShown(msgspec.Struct, frozen=True):
    """A code to scan is on show; `index` counts from 1."""

    value: str
    index: int
    count: int
    expires_in_s: float


class QrExpired(msgspec.Struct, frozen=True):
    """The codes ran out; `renew_qr` brings new ones."""


class PasskeyAsked(msgspec.Struct, frozen=True):
    """WhatsApp wants a passkey confirmed on the phone."""


class Linked(msgspec.Struct, frozen=True):
    """The account is authenticated: just linked, or restored from the profile."""

    identity: Identity


class SyncProgress(msgspec.Struct, frozen=True):
    """How far the first sync is, 0 to 100."""

    percent: int


class ConnectionChanged(msgspec.Struct, frozen=True):
    """Something about the connection changed: a hint to probe now, never a state."""

    detail: str


class Replaced(msgspec.Struct, frozen=True):
    """Another client holds this device: the split-brain alarm. The engine must not take over."""


class LoggedOut(msgspec.Struct, frozen=True):
    """The device was unlinked, by the phone or by WhatsApp."""

    reason: str


class EngineFailed(msgspec.Struct, frozen=True):
    """The engine can't go on: crash, page never ready. `code` is an `ErrorCode`."""

    code: str
    detail: str = ""


class MessageArrived(msgspec.Struct, frozen=True):
    """A message arrived, or was sent from another device of the account."""

    message: ChatMessage


class AckChanged(msgspec.Struct, frozen=True):
    """A message of ours got further."""

    message_id: str
    chat_id: str
    ack: Ack


class Reacted(msgspec.Struct, frozen=True):
    """Somebody reacted; an empty `emoji` takes it back."""

    message_id: str
    chat_id: str
    from_id: str
    emoji: str


class Edited(msgspec.Struct, frozen=True):
    """A message's text was changed."""

    message_id: str
    chat_id: str
    text: str


class Deleted(msgspec.Struct, frozen=True):
    """A message was deleted for everyone."""

    message_id: str
    chat_id: str


EngineEvent = (
    QrShown
    | QrExpired
    | PasskeyAsked
    | Linked
    | SyncProgress
    | ConnectionChanged
    | Replaced
    | LoggedOut
    | EngineFailed
    | MessageArrived
    | AckChanged
    | Reacted
    | Edited
    | Deleted
)


class Engine(Protocol):
    """One session's engine. `start` once, then any calls, then `stop` or `kill`; all are bounded.

    Every call raises `BlazzError` with a stable code: a retryable one when the same call may work
    later, a final one when it can't. No call waits without a limit.
    """

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        ...

    async def start(self) -> None:
        """Launch it and begin to load. Returns when launched, before anything is linked.

        Raises `browser_missing`, `wa_js_missing`, `browser_start_failed`.
        """
        ...

    async def stop(self) -> None:
        """End it cleanly (the profile is flushed). Idempotent, safe after a crash; leaves no
        process and no lock behind.

        Raises `timeout` when it had to be killed: the profile may lack what was last."""
        ...

    async def kill(self) -> None:
        """End it at once: nothing is flushed and WhatsApp is told nothing. For an engine that is
        fenced or hangs, so it must work (and be quick) while any other call, `stop` included, is
        stuck. Idempotent; leaves no process and no lock behind. Never raises."""
        ...

    def events(self) -> AsyncIterator[EngineEvent]:
        """What it sees, in order, until it has stopped. One reader. Bounded: when the reader
        falls behind, the engine waits."""
        ...

    async def probe(self) -> Probe:
        """Check it through and through, now. Raises `page_timeout` when it doesn't answer."""
        ...

    @property
    def snapshot_files(self) -> SnapshotFiles:
        """What of its profile makes the session; the rest is caches."""
        ...

    async def page_storage(self) -> dict[str, str] | None:
        """The page's localStorage, read now; None if the engine keeps nothing but files.
        Raises `page_timeout`, `page_not_ready`."""
        ...

    async def renew_qr(self) -> None:
        """Ask for new codes; they come as `QrShown`. Raises `session_already_linked`."""
        ...

    async def pairing_code(self, phone: str) -> str:
        """Ask for a code to type on the phone (digits of E.164). Eight characters, no dash."""
        ...

    async def send(self, request: SendRequest) -> SendOutcome:
        """Look the id up, send unless found, wait (bounded) until WhatsApp has it.

        Raises `recipient_not_on_whatsapp`, `message_refused`, `media_unsupported` (final);
        `session_not_online`, `page_timeout`, `page_error` (retryable or not, as the code says).
        A repeat with the same id never makes a second message.
        """
        ...

    async def download(self, key: MediaKey) -> MediaBytes:
        """Read a message's media. Raises `media_not_found`."""
        ...

    async def logout(self) -> None:
        """Unlink the device at WhatsApp. `LoggedOut` follows."""
        ...
