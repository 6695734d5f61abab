"""The engine contract: what every engine does for one session, and what it reports.

Owns the protocol and its value types; the events are in `contract_events`. Never names a browser,
wa-js or a wire format: engines translate at their own edge. One suite
(`tests/contract/test_engines.py`) runs on every engine.

An engine never decides a session's state. It reports what it sees as events, answers `probe`
with what it checked this very moment, and leaves the table to `swarm_node.core.session_table`.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import msgspec

from schemas.chats import Chat, ChatPresence, Contact, Group, NumberCheck, Profile
from schemas.messages import Content
from schemas.states import Ack, EngineKind

# The whole contract can be had from this one module.
from swarm_node.engines.contract_events import *  # noqa: F403
from swarm_node.engines.contract_events import EngineEvent


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


class SendRequest(msgspec.Struct, frozen=True):
    """A message to send; `media_path` holds the bytes when the content names media. For a
    reaction, edit or delete `to` is the target's chat."""

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

    def events(self) -> AsyncIterator[tuple[EngineEvent, ...]]:
        """What it sees, in order, until it has stopped: each time all there is by then, at least
        one. One reader. Bounded: when the reader falls behind, the engine waits. What was sent by
        `send` is not reported (its receipts and votes are), what the account's other devices do
        is.

        Events are settled when the reader asks for the next ones: not before may the engine tell
        its source that they were stored, for until then a crash loses them here. What a source
        still has after a restart is reported again; the reader tells repeats by the fact
        itself."""
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

        A reaction, edit or delete that is in place already counts as found; a forward reads its
        target here and sends it anew under the request's own id.

        Raises `recipient_not_on_whatsapp`, `message_refused`, `media_unsupported`,
        `message_not_found` (the target), `unsupported_by_engine` (final);
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

    async def set_presence(self, chat_id: str, presence: ChatPresence) -> None:
        """Show that we type, record or stopped. Raises `chat_not_found`, `session_not_online`."""
        ...

    async def subscribe_presence(self, chat_id: str) -> None:
        """Have `PresenceSeen` reported of a chat as long as this engine runs. Raises
        `chat_not_found`."""
        ...

    async def mark_seen(self, chat_id: str) -> None:
        """Tell the senders that all of a chat was read; to repeat it changes nothing. Raises
        `chat_not_found`."""
        ...

    async def check_number(self, phone: str) -> NumberCheck:
        """Ask whether digits of E.164 are an account. Raises `session_not_online`."""
        ...

    async def read_chats(
        self, limit: int, after: str | None, groups_only: bool
    ) -> tuple[tuple[Chat, ...], str | None]:
        """At most `limit` chats, last used first, and what to give as `after` for the next ones
        (None: there are none)."""
        ...

    async def read_contacts(
        self, limit: int, after: str | None
    ) -> tuple[tuple[Contact, ...], str | None]:
        """At most `limit` contacts by id, and the next `after`."""
        ...

    async def read_group(self, chat_id: str) -> Group:
        """A group as it is now. Raises `chat_not_found`."""
        ...

    async def read_profile(self) -> Profile:
        """The account itself, as WhatsApp shows it."""
        ...

    async def set_profile(
        self,
        name: str | None,
        about: str | None,
        picture_path: Path | None,
        remove_picture: bool,
    ) -> None:
        """Change what is not None. Raises `media_unsupported` for a file that is no picture."""
        ...

    async def read_picture(self, chat_id: str) -> str | None:
        """Where a person's or group's picture can be had for a while; None: none that we may see.
        Raises `chat_not_found`."""
        ...
