"""One session in Chromium: the engine contract over a page of WhatsApp Web.

Owns the order of starting and ending, and the mapping of the contract's calls to the bridge's.
Never names anything of wa-js, never decides a session's state, and never takes a session over
that another client holds.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import structlog

from schemas import log_keys
from schemas.chats import Chat, ChatPresence, Contact, Group, NumberCheck, Profile
from schemas.errors import BlazzError, ErrorCode
from schemas.messages import MEDIA_BYTES_MAX, Forward, Media
from schemas.states import Ack, EngineKind
from schemas.transport.checkpoints import At, checkpoint
from swarm_node.core.account_pages import chats_page, contacts_page
from swarm_node.engines.chromium.bridge.contents import page_request
from swarm_node.engines.chromium.bridge.page_bridge import PageBridge
from swarm_node.engines.chromium.bundle import Bundle, find_bundle
from swarm_node.engines.chromium.event_queue import EventQueue
from swarm_node.engines.chromium.hosts.contract import BrowserHost, OpenProfile
from swarm_node.engines.chromium.keeper import PageKeeper
from swarm_node.engines.chromium.profile_files import SNAPSHOT_FILES
from swarm_node.engines.chromium.settings import ChromiumSettings
from swarm_node.engines.contract import (
    Capabilities,
    EngineEvent,
    EngineFailed,
    EngineSpec,
    MediaBytes,
    MediaKey,
    Probe,
    SendOutcome,
    SendRequest,
    SnapshotFiles,
)

log = structlog.get_logger()

T = TypeVar("T")

_PAIRING_CODE_CHARS: Final = 8
_END_LIFE_S: Final = 5.0


class ChromiumEngine:
    """One session's browser. Every call but `start`, `stop` and `kill` needs a ready page."""

    def __init__(self, spec: EngineSpec, settings: ChromiumSettings, host: BrowserHost) -> None:
        self._spec = spec
        self._settings = settings
        self._host = host
        self._events = EventQueue(settings.events_max)
        self._profile: OpenProfile | None = None
        self._keeper: PageKeeper | None = None
        self._life: asyncio.Task[None] | None = None
        self._ended = False

    @property
    def capabilities(self) -> Capabilities:
        """All of the contract, and a proxy."""
        return Capabilities(kind=EngineKind.CHROMIUM, proxy=True)

    @property
    def pids(self) -> list[int]:
        """The browser's processes, for measuring memory; empty when there is none."""
        return self._profile.pids if self._profile is not None else []

    @property
    def page_version(self) -> str | None:
        """The version of WhatsApp Web that was loaded last."""
        return self._keeper.version if self._keeper is not None else None

    async def start(self) -> None:
        """Launch the browser and begin to load WhatsApp Web."""
        if self._life is not None or self._closing():
            raise BlazzError(ErrorCode.INTERNAL, "an engine starts once")
        # Reading half a megabyte and hashing it would hold up the other sessions.
        bundle = await asyncio.to_thread(find_bundle, self._settings)
        opened = await self._host.open_profile(self._spec.profile_dir, proxy=self._spec.proxy)
        self._profile = opened
        if self._closing():
            await opened.kill()
            raise BlazzError(ErrorCode.SHUTTING_DOWN)
        self._keeper = self._make_keeper(bundle, opened)
        # Owned: `stop` and `kill` end it.
        self._life = asyncio.create_task(self._live(self._keeper, opened), name="chromium-engine")

    async def stop(self) -> None:
        """Take over what the page still holds, close the browser (it flushes its profile).
        Raises `timeout` when the browser did not close and was killed."""
        self._ended = True
        await self._end_life()
        try:
            if self._keeper is not None:
                await self._keeper.drain()
            if self._profile is not None:
                await self._profile.close()
        finally:
            await self._events.close()

    async def kill(self) -> None:
        """SIGKILL the browser first, then tidy up."""
        self._ended = True
        if self._profile is not None:
            with contextlib.suppress(OSError):
                await self._profile.kill()
        await self._events.close()
        await self._end_life()

    def events(self) -> AsyncIterator[tuple[EngineEvent, ...]]:
        """Its events, until it is stopped and all are read."""
        return self._events.read()

    async def probe(self) -> Probe:
        """One call into the page, which asks WhatsApp itself when its last answer is old."""
        began = time.monotonic()
        limit_s = self._settings.call_timeout_s
        argument = {
            "askAfterMs": self._settings.server_check_period_s * 1000,
            "askLimitMs": limit_s * 1000 * 0.8,
        }
        try:
            _, bridge = self._usable()
            seen = await bridge.call("probe", argument, timeout_s=limit_s)
        except BlazzError as error:
            if error.code is ErrorCode.PAGE_NOT_READY:
                return Probe(False, False, False, False, time.monotonic() - began, error.detail)
            raise
        return _probe(seen, time.monotonic() - began)

    @property
    def snapshot_files(self) -> SnapshotFiles:
        """What of the profile makes the session."""
        return SNAPSHOT_FILES

    async def page_storage(self) -> dict[str, str]:
        """The page's localStorage, read now."""
        _, bridge = self._usable()
        return await bridge.page_storage(timeout_s=self._settings.call_timeout_s)

    async def renew_qr(self) -> None:
        """Ask for a new run of codes."""
        keeper, bridge = await self._soon_usable()
        keeper.new_qr_run()
        await self._call(bridge, "refreshQr")

    async def pairing_code(self, phone: str) -> str:
        """Ask for a code; wa-js keeps it fresh while it waits."""
        # A code can be on show a moment before the page has passed its self-test.
        _, bridge = await self._soon_usable()
        try:
            code = str(await self._call(bridge, "linkCode", {"phone": phone}))
        except BlazzError as error:
            if error.code is ErrorCode.PAGE_ERROR:
                raise BlazzError(ErrorCode.PAIRING_CODE_REFUSED) from error
            raise
        code = code.replace("-", "").upper()
        if len(code) != _PAIRING_CODE_CHARS:
            raise BlazzError(ErrorCode.PAIRING_CODE_REFUSED, "the code has an unknown shape")
        return code

    async def send(self, request: SendRequest) -> SendOutcome:
        """Look the id up, send unless found, wait until WhatsApp has it."""
        keeper, bridge = self._usable_to_send()
        message = page_request(request)
        settings, path = self._settings, request.media_path
        # A forward may carry media, which the page downloads and uploads.
        slow = isinstance(request.content, Media | Forward)
        limit_s = settings.media_timeout_s if slow else settings.send_timeout_s
        # The page looks the id up itself, in the same call.
        checkpoint(At.SEND_BEFORE)
        with keeper.calling():
            if path is not None:
                answer = await bridge.call_with_file("send", path, message, timeout_s=limit_s)
            else:
                answer = await bridge.call("send", message, timeout_s=limit_s)
        checkpoint(At.SEND_AFTER)
        return SendOutcome(
            chat_id=str(answer["chat"]),
            ack=Ack.from_level(int(answer["ack"])),
            found_before=bool(answer["found"]),
        )

    async def download(self, key: MediaKey) -> MediaBytes:
        """Read a message's media out of the page, in chunks."""
        keeper, bridge = self._usable_to_send()
        asked: dict[str, object] = {
            "id": key.message_id,
            "chat": key.chat_id,
            "fromMe": key.from_me,
            "participant": key.participant,
        }
        with keeper.calling():
            data, mimetype = await bridge.read_media(
                asked, timeout_s=self._settings.media_timeout_s, bytes_max=MEDIA_BYTES_MAX
            )
        return MediaBytes(data=data, mimetype=mimetype)

    async def logout(self) -> None:
        """Unlink the device; the page tells when it is done."""
        _, bridge = await self._soon_usable()
        await self._call(bridge, "logout")

    async def set_presence(self, chat_id: str, presence: ChatPresence) -> None:
        """Show it; WhatsApp ends typing by itself after some seconds."""
        await self._ask("setPresence", chat=chat_id, presence=presence.value)

    async def subscribe_presence(self, chat_id: str) -> None:
        """Subscribe, and anew on every later page."""
        keeper, bridge = self._usable_to_send()
        chat = await self._call(bridge, "subscribePresence", {"chat": chat_id})
        keeper.subscribed(str(chat))

    async def mark_seen(self, chat_id: str) -> None:
        """As if somebody had opened the chat."""
        await self._ask("markSeen", chat=chat_id)

    async def check_number(self, phone: str) -> NumberCheck:
        """Ask WhatsApp itself, never wa-js's memory."""
        return _made(await self._ask("checkNumber", phone=phone), NumberCheck)

    async def read_chats(
        self, limit: int, after: str | None, groups_only: bool
    ) -> tuple[tuple[Chat, ...], str | None]:
        """What the page has loaded, which is all chats once it is in use."""
        chats = _made(await self._ask("chats"), list[Chat])
        return chats_page(chats, limit, after, groups_only)

    async def read_contacts(
        self, limit: int, after: str | None
    ) -> tuple[tuple[Contact, ...], str | None]:
        """The page's contacts: the address book, and whoever wrote."""
        return contacts_page(_made(await self._ask("contacts"), list[Contact]), limit, after)

    async def read_group(self, chat_id: str) -> Group:
        """A group, asked of WhatsApp where the page's copy is old."""
        return _made(await self._ask("group", chat=chat_id), Group)

    async def read_profile(self) -> Profile:
        """The account's own profile."""
        return _made(await self._ask("profile"), Profile)

    async def set_profile(
        self,
        name: str | None,
        about: str | None,
        picture_path: Path | None,
        remove_picture: bool,
    ) -> None:
        """Picture, about, name, in this order; wa-js cuts the picture to a square."""
        wanted: dict[str, object] = {
            "name": name,
            "about": about,
            "picture": picture_path is not None,
            "removePicture": remove_picture,
        }
        if picture_path is None:
            await self._ask("setProfile", **wanted)
            return
        _, bridge = self._usable_to_send()
        await bridge.call_with_file(
            "setProfile", picture_path, wanted, timeout_s=self._settings.send_timeout_s
        )

    async def read_picture(self, chat_id: str) -> str | None:
        """WhatsApp's own address of the picture."""
        found = await self._ask("picture", chat=chat_id)
        return None if found is None else str(found)

    def _make_keeper(self, bundle: Bundle, opened: OpenProfile) -> PageKeeper:
        return PageKeeper(
            self._spec, self._settings, bundle, opened, self._events.put, self._events.settled
        )

    async def _live(self, keeper: PageKeeper, opened: OpenProfile) -> None:
        try:
            failed = await keeper.run()
        except Exception:
            log.exception("engine.keeper_failed", **{log_keys.SESSION: self._spec.session_id})
            failed = EngineFailed(ErrorCode.INTERNAL, "the engine's own fault; see the log")
        # It is of no use any more, and may still hold memory and a connection.
        await opened.kill()
        await self._events.put(failed)

    def _closing(self) -> bool:
        return self._ended

    async def _end_life(self) -> None:
        life = self._life
        if life is None or life is asyncio.current_task():
            return
        life.cancel()
        await asyncio.wait({life}, timeout=_END_LIFE_S)

    def _usable(self) -> tuple[PageKeeper, PageBridge]:
        if self._keeper is None:
            raise BlazzError(ErrorCode.PAGE_NOT_READY, "the browser is not running")
        return self._keeper, self._keeper.usable()

    async def _soon_usable(self) -> tuple[PageKeeper, PageBridge]:
        if self._keeper is None:
            raise BlazzError(ErrorCode.PAGE_NOT_READY, "the browser is not running")
        return self._keeper, await self._keeper.soon_usable(self._settings.call_timeout_s)

    def _usable_to_send(self) -> tuple[PageKeeper, PageBridge]:
        try:
            return self._usable()
        except BlazzError as error:
            raise BlazzError(ErrorCode.SESSION_NOT_ONLINE, error.detail) from error

    async def _ask(self, name: str, /, **argument: object) -> Any:
        _, bridge = self._usable_to_send()
        return await self._call(bridge, name, argument)

    async def _call(self, bridge: PageBridge, name: str, argument: object = None) -> Any:
        return await bridge.call(name, argument, timeout_s=self._settings.call_timeout_s)


def _probe(seen: dict[str, Any], round_trip_s: float) -> Probe:
    answered = bool(seen["answered"])
    return Probe(
        authenticated=bool(seen["authenticated"]),
        main_loaded=bool(seen["mainLoaded"]),
        stream_main=seen["mode"] == "MAIN",
        # A socket that says CONNECTED and gets no answer is none.
        socket_connected=seen["socket"] == "CONNECTED" and answered,
        round_trip_s=round_trip_s,
        detail="" if answered else "WhatsApp does not answer on a connected socket",
    )


def _made(raw: Any, wanted: type[T]) -> T:
    try:
        return msgspec.convert(raw, wanted)
    except msgspec.ValidationError as error:
        # Never the error's own text: it may quote a name.
        raise BlazzError(ErrorCode.PAGE_ERROR, "the page's answer is malformed") from error
