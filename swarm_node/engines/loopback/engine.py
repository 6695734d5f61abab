"""The loopback engine: a linked device without a browser, for tests, demos and load.

Owns one device's behaviour behind the engine contract: it speaks to the sandbox's switch itself.
Keys and messages are in its profile directory and survive it. Never decides a session's state and
never takes a device over from another client.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator

import structlog

from schemas import switch_wire as wire
from schemas.chats import ChatPresence
from schemas.errors import BlazzError, ErrorCode
from schemas.states import EngineKind
from swarm_node.engines import contract
from swarm_node.engines.contract import EngineSpec, SendOutcome, SendRequest
from swarm_node.engines.event_pipe import EventPipe
from swarm_node.engines.loopback import translate
from swarm_node.engines.loopback.account import AccountCalls
from swarm_node.engines.loopback.confirmations import Confirmations
from swarm_node.engines.loopback.link import SwitchLink
from swarm_node.engines.loopback.outgoing import Outgoing
from swarm_node.engines.loopback.settings import LoopbackSettings
from swarm_node.engines.loopback.store import SNAPSHOT_FILES, LinkedDevice, ProfileStore

log = structlog.get_logger()

_GONE_FOR_GOOD = ("unlinked", "stale_state", "unknown_device")


class LoopbackEngine(AccountCalls):
    """An `Engine` over the switch's wire."""

    def __init__(self, spec: EngineSpec, settings: LoopbackSettings) -> None:
        self._spec = spec
        self._settings = settings
        self._faults = settings.faults
        self._replies_to_lose = settings.faults.replies_lost
        self._probes_to_lose = settings.faults.probes_lost
        self._pipe = EventPipe()
        self._confirmations = Confirmations(self._pipe)
        self._store: ProfileStore | None = None
        self._link: SwitchLink | None = None
        self._life: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._unlinked = asyncio.Event()
        self._welcomed = False
        self._synced = False
        self._conflict = False

    @property
    def capabilities(self) -> contract.Capabilities:
        """What it can do."""
        return contract.Capabilities(kind=EngineKind.LOOPBACK)

    # Its life ------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the profile and begin to dial."""
        if not self._settings.link_url:
            raise BlazzError(ErrorCode.CONFIG_INVALID, "loopback.link_url is not set")
        await asyncio.sleep(self._faults.start_delay_s)
        if self._faults.start_fails:
            raise BlazzError(ErrorCode.BROWSER_START_FAILED, "a fault was asked for")
        self._store = ProfileStore(self._spec.profile_dir)
        self._link = SwitchLink(
            self._settings,
            self._store,
            instance=secrets.token_hex(8),
            on_frame=self._on_frame,
            on_down=self._on_down,
        )
        # Owned by this object: `stop` and `kill` cancel it and wait for its end.
        self._life = asyncio.get_running_loop().create_task(
            self._live(self._link), name=f"loopback {self._spec.session_id}"
        )

    async def stop(self) -> None:
        """End it. What it saw stays readable until the reader has it."""
        if self._faults.stop_hangs:
            await asyncio.Event().wait()
        await self._end()

    async def kill(self) -> None:
        """End it at once; the store is on disk after each change anyway."""
        await self._end()

    async def _end(self) -> None:
        life = self._life
        if life is not None:
            life.cancel()
            await asyncio.wait({life})
        self._pipe.close()
        if self._store is not None:
            self._store.close()
            self._store = None

    def events(self) -> AsyncIterator[tuple[contract.EngineEvent, ...]]:
        """What it sees."""
        return self._pipe.events()

    async def _live(self, link: SwitchLink) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._watch_ready(), name="ready watch")
                tasks.create_task(self._confirmations.run(link), name="confirmations")
                if self._faults.crash_after_s:
                    tasks.create_task(self._crash(), name="crash fault")
                if not self._faults.never_ready:
                    if self._device is not None:
                        await self._say_linked(self._device)
                    tasks.create_task(link.run(), name="switch link")
        except ExceptionGroup as group:
            first = group.exceptions[0]
            if isinstance(first, BlazzError):
                await self._pipe.put(contract.EngineFailed(first.code, first.detail))
            else:
                log.error("loopback.failed", exc_info=first)
                await self._pipe.put(contract.EngineFailed(ErrorCode.INTERNAL, "the engine failed"))

    async def _watch_ready(self) -> None:
        try:
            async with asyncio.timeout(self._settings.ready_timeout_s):
                await self._ready.wait()
        except TimeoutError:
            raise BlazzError(ErrorCode.PAGE_NOT_READY, "no code and no link in time") from None

    async def _crash(self) -> None:
        await asyncio.sleep(self._faults.crash_after_s)
        raise BlazzError(ErrorCode.BROWSER_CRASHED, "a fault was asked for")

    # Frames in -----------------------------------------------------------------------------------

    async def _on_frame(self, frame: wire.SwitchFrame) -> None:
        store, _ = self._parts()
        if isinstance(frame, wire.QueuedFrame):
            store.apply_queued(frame)
            # One that comes again may have been kept by us and lost on its way to the world: it is
            # reported again too. The switch forgets it only when the reader is done with it.
            for event in translate.queued_events(frame, self._spec.session_id):
                await self._pipe.put(event)
            self._confirmations.add(frame.seq)
            return
        match frame:
            case wire.Qr():
                await self._show(frame)
            case wire.QrIdle():
                await self._pipe.put(contract.QrExpired())
            case wire.PasskeyRequired():
                await self._pipe.put(contract.PasskeyAsked())
            case wire.Paired():
                store.link(LinkedDevice(frame.device_id, frame.me, frame.lid, frame.pushname))
                await self._say_linked(store.device)
            case wire.Welcome():
                self._welcomed = True
                await self._pipe.put(contract.ConnectionChanged("welcomed"))
            case wire.Sync(percent=percent):
                store.apply_sync(frame)
                await self._pipe.put(contract.SyncProgress(percent))
            case wire.SyncDone():
                self._synced = True
                await self._pipe.put(contract.ConnectionChanged("in use"))
            case _:
                await self._on_rarer_frame(frame)

    async def _on_rarer_frame(self, frame: wire.SwitchFrame) -> None:
        match frame:
            case wire.Presence(chat=chat, sender=sender, state=state):
                await self._pipe.put(contract.PresenceSeen(chat, sender, ChatPresence(state)))
            case wire.Notice(kind=kind):
                await self._parts()[1].tell(wire.NoticeAck(kind=kind))
            case wire.Conflict():
                self._conflict = True
                self._parts()[1].give_up()
                await self._pipe.put(contract.Replaced())
            case wire.Unlinked(reason=reason):
                await self._forget(reason)
            case wire.Refused(reason=reason) if reason in _GONE_FOR_GOOD:
                await self._forget(reason)
            case wire.Refused(reason=reason):
                raise BlazzError(ErrorCode.PAGE_ERROR, f"the switch refused the login: {reason}")
            case _:
                log.debug("loopback.frame_ignored", kind=type(frame).__name__)

    async def _show(self, frame: wire.Qr) -> None:
        self._ready.set()
        keys = ",".join(secrets.token_urlsafe(32) for _ in range(3))
        await self._pipe.put(
            contract.QrShown(
                value=f"{frame.ref},{keys}",
                index=frame.index + 1,
                count=frame.count,
                expires_in_s=frame.ttl_ms / 1000,
            )
        )

    async def _say_linked(self, device: LinkedDevice | None) -> None:
        self._ready.set()
        if device is not None:
            await self._pipe.put(contract.Linked(translate.identity(device)))

    async def _forget(self, reason: str) -> None:
        store, link = self._parts()
        link.give_up()
        store.unlink()
        self._welcomed = self._synced = False
        self._unlinked.set()
        await self._pipe.put(contract.LoggedOut(reason))

    async def _on_down(self) -> None:
        self._welcomed = self._synced = False
        await self._pipe.put(contract.ConnectionChanged("the line broke"))

    # Calls --------------------------------------------------------------------------------

    async def probe(self) -> contract.Probe:
        """Look at the link and ask the switch something."""
        if self._probes_to_lose:
            self._probes_to_lose = max(-1, self._probes_to_lose - 1)
            raise BlazzError(ErrorCode.PAGE_TIMEOUT, "a fault was asked for")
        _, link = self._parts()
        began_s = time.monotonic()
        if link.connected:
            try:
                await link.ask(lambda req: wire.Ping(req=req), wire.Pong)
            except BlazzError as error:
                # The line broke under the question; what is left of it says enough.
                if error.code is not ErrorCode.SESSION_NOT_ONLINE:
                    raise
        return contract.Probe(
            authenticated=self._device is not None,
            main_loaded=self._synced,
            stream_main=self._welcomed and not self._conflict,
            socket_connected=link.connected,
            round_trip_s=time.monotonic() - began_s,
            detail="" if link.connected else "no_connection",
        )

    @property
    def snapshot_files(self) -> contract.SnapshotFiles:
        """Its one kind of file."""
        return SNAPSHOT_FILES

    async def page_storage(self) -> None:
        """Nothing: it keeps all it has in files."""
        return

    async def renew_qr(self) -> None:
        """Ask for a new run of codes."""
        self._not_linked()
        await self._parts()[1].tell(wire.RefreshQr())

    async def pairing_code(self, phone: str) -> str:
        """Ask for a code for the owner of `phone`."""
        self._not_linked()
        answer = await self._parts()[1].ask(
            lambda req: wire.RequestPairingCode(req=req, phone=phone), wire.PairingCode
        )
        if not answer.code:
            raise BlazzError(ErrorCode.PAIRING_CODE_REFUSED, "no such account")
        return answer.code

    async def send(self, request: SendRequest) -> SendOutcome:
        """Look the id up in the own store, send unless found, wait until the switch has it."""
        outcome = await Outgoing(*self._parts()).send(request)
        if self._replies_to_lose and not outcome.found_before:
            self._replies_to_lose -= 1
            raise BlazzError(ErrorCode.PAGE_TIMEOUT, "a fault was asked for")
        return outcome

    async def download(self, key: contract.MediaKey) -> contract.MediaBytes:
        """Read a message's media from the switch."""
        store, link = self._parts()
        message = store.message(key.message_id, key.chat_id)
        if message is None or message.media is None:
            raise BlazzError(ErrorCode.MEDIA_NOT_FOUND, "no such message with media")
        data = await link.download(message.media.media_id)
        return contract.MediaBytes(data, message.media.mimetype)

    async def logout(self) -> None:
        """Unlink the device at the switch; `LoggedOut` follows."""
        if self._device is None:
            raise BlazzError(ErrorCode.SESSION_NOT_ONLINE, "nothing is linked")
        await self._parts()[1].tell(wire.Logout())
        try:
            async with asyncio.timeout(self._settings.answer_timeout_s):
                await self._unlinked.wait()
        except TimeoutError:
            raise BlazzError(ErrorCode.PAGE_TIMEOUT, "the switch gave no answer") from None

    @property
    def _device(self) -> LinkedDevice | None:
        return self._store.device if self._store is not None else None

    def _parts(self) -> tuple[ProfileStore, SwitchLink]:
        if self._store is None or self._link is None:
            raise BlazzError(ErrorCode.SESSION_NOT_RUNNING, "the engine does not run")
        return self._store, self._link

    def _line(self) -> SwitchLink:
        return self._parts()[1]

    def _not_linked(self) -> None:
        if self._device is not None:
            raise BlazzError(ErrorCode.SESSION_ALREADY_LINKED)
