"""One WebSocket of one page or engine, from `hello` to its end.

Owns the order of frames on the line: QR run or challenge, welcome, sync, then requests. Never
changes an envelope, a queue or a link by itself: it asks the switch's parts.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import Coroutine
from typing import Final, NoReturn

import msgspec
import structlog
from aiohttp import WSMsgType, web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_public_key

from sandbox.switch.linking import CODE_TTL_S, FIRST_REF_TTL_S, LATER_REF_TTL_S, REFS_A_RUN
from sandbox.switch.model import Device
from sandbox.switch.requests import Requests
from sandbox.switch.switch import Switch, unix_ms, whats_new
from schemas import switch_wire as wire

OUTBOX_FRAMES_MAX: Final = 50_000
_log = structlog.get_logger()


class _LineEndedError(Exception):
    """The line is to be closed."""


class Connection:
    """A line; `ready` once queued frames may be sent at once."""

    def __init__(self, switch: Switch, socket: web.WebSocketResponse) -> None:
        self._switch = switch
        self._socket = socket
        self._outbox: asyncio.Queue[wire.SwitchFrame] = asyncio.Queue(OUTBOX_FRAMES_MAX)
        self._tasks: set[asyncio.Task[None]] = set()
        self._group: asyncio.TaskGroup | None = None
        self._qr_run: asyncio.Task[None] | None = None
        self._dialog: asyncio.Task[None] | None = None
        self._requests = Requests(switch, self)
        self.device: Device | None = None
        self.instance = ""
        self.public_key = ""
        self.app_version = ""
        self.ready = False

    async def run(self) -> None:
        """Serve the line until either side ends it."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                self.spawn(self._write())
                try:
                    await self._greet()
                    while True:
                        await self._handle(await self._read())
                except (_LineEndedError, TimeoutError):
                    pass
                finally:
                    self._leave()
        finally:
            await self._socket.close()

    # ---- what the switch's parts call --------------------------------------------------------

    def post(self, frame: wire.SwitchFrame) -> None:
        """Send a frame after those before it; a line that does not drain is cut."""
        if isinstance(frame, wire.Notice) and frame.deadline_ms > 0 and self._dialog is None:
            self._dialog = self.spawn(self._unlink_unless_closed(frame.deadline_ms / 1000))
        try:
            self._outbox.put_nowait(frame)
        except asyncio.QueueFull:
            self.hang_up()

    def hang_up(self) -> None:
        """Close the line at once; frames not sent yet stay in the device's queue."""
        self.ready = False
        self.spawn(self._close())

    def linked(self, device: Device) -> None:
        """The phone linked the page on this line."""
        self._stop_qr()
        account = self._switch.directory.accounts[device.account]
        device.app_version = self.app_version
        self.device = device
        self.post(
            wire.Paired(
                device_id=device.device_id,
                me=account.wid,
                lid=account.lid_wid,
                pushname=account.name,
            )
        )
        self.spawn(self.log_in())

    def spawn(self, coroutine: Coroutine[None, None, None]) -> asyncio.Task[None] | None:
        """Run something for as long as the line lives."""
        if self._group is None or self._socket.closed:
            coroutine.close()
            return None
        task = self._group.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # ---- logging in --------------------------------------------------------------------------

    async def _greet(self) -> None:
        async with asyncio.timeout(self._switch.settings.login_timeout_s):
            hello = await self._read()
            if not isinstance(hello, wire.Hello):
                raise _LineEndedError
            self.instance, self.app_version = hello.instance, hello.app_version
            if hello.device_id:
                await self._prove(hello)
                return
        if self._switch.faults.of().offline:
            raise _LineEndedError
        if _public_key(hello.public_key) is None:
            await self._refuse("bad_proof")
        self.public_key = hello.public_key
        self._start_qr()

    async def _prove(self, hello: wire.Hello) -> None:
        device = self._switch.devices.get(hello.device_id)
        if device is None:
            await self._refuse("unlinked")
        if self._switch.faults.of(device.account).offline:
            raise _LineEndedError
        nonce = secrets.token_bytes(32)
        self.post(wire.Challenge(nonce=base64.b64encode(nonce).decode()))
        proof = await self._read()
        if not isinstance(proof, wire.Proof) or not _is_signed(
            device.public_key, nonce, proof.signature
        ):
            self._note_refused(device, "bad_proof")
            await self._refuse("bad_proof")
        if self._switch.devices.is_stale(device, hello.freshness):
            self._note_refused(device, "stale_state")
            self._switch.devices.unlink(device, "stale_state")
            await self._refuse("stale_state")
        device.app_version = hello.app_version
        self.device = device
        await self.log_in()

    async def log_in(self) -> None:
        """Become the device's active line: welcome, sync, and what waited."""
        device, switch = self.device, self._switch
        if device is None or switch.devices.get(device.device_id) is not device:
            return
        account = switch.directory.accounts[device.account]
        switch.devices.attach(device, self)
        self.post(
            wire.Welcome(
                device_id=device.device_id,
                me=account.wid,
                lid=account.lid_wid,
                pushname=account.name,
                first=not device.synced,
                queued=len(device.queue),
                ts_ms=unix_ms(),
            )
        )
        if not device.synced:
            await self._sync(device)
        if device.active is not self:
            return
        for frame in device.queue:
            self.post(frame)
        self.ready = True
        self.post(wire.SyncDone())
        faults = switch.faults.of(device.account)
        if faults.whats_new_deadline_ms >= 0 and not device.whats_new_closed:
            self.post(whats_new(faults))

    async def _sync(self, device: Device) -> None:
        directory = self._switch.directory
        account = directory.accounts[device.account]
        pause_s = self._switch.faults.of(account.number).sync_delay_ms / 1000
        messages = [
            directory.view(envelope, account)
            for envelope in directory.messages
            if account.number in directory.members(envelope.chat)
        ][-wire.SYNC_MESSAGES_MAX :]
        for part in (
            wire.Sync(percent=0),
            wire.Sync(
                percent=40,
                chats=tuple(directory.chats(account)),
                contacts=tuple(directory.contacts(account)),
            ),
            wire.Sync(percent=100, messages=tuple(messages)),
        ):
            await asyncio.sleep(pause_s)
            self.post(part)
        device.synced = True

    def _start_qr(self) -> None:
        self._stop_qr()
        self._qr_run = self.spawn(self._run_qr())

    def _stop_qr(self) -> None:
        if self._qr_run is not None:
            self._qr_run.cancel()
            self._qr_run = None

    async def _run_qr(self) -> None:
        for index in range(REFS_A_RUN):
            ttl_s = FIRST_REF_TTL_S if index == 0 else LATER_REF_TTL_S
            ttl_s *= self._switch.settings.time_scale
            self.post(
                wire.Qr(
                    ref=self._switch.office.new_ref(self),
                    index=index,
                    count=REFS_A_RUN,
                    ttl_ms=int(ttl_s * 1000),
                )
            )
            await asyncio.sleep(ttl_s)
        self._switch.office.drop_ref(self)
        self.post(wire.QrIdle())

    # ---- frames ------------------------------------------------------------------------------

    async def _handle(self, frame: wire.ClientFrame) -> None:
        match frame:
            case wire.Ping(req=req):
                self.post(wire.Pong(req=req, ts_ms=unix_ms()))
            case _ if self.device is None:
                self._handle_unlinked(frame)
            case wire.Takeover():
                await self.log_in()
            case wire.Logout():
                self._switch.devices.unlink(self.device, "user")
            case wire.NoticeAck(kind=kind):
                self._close_dialog(kind)
            case _:
                self._requests.handle(frame, self.device)

    def _handle_unlinked(self, frame: wire.ClientFrame) -> None:
        office = self._switch.office
        match frame:
            case wire.RefreshQr():
                self._start_qr()
            case wire.RequestPairingCode(req=req, phone=phone):
                ttl_ms = int(CODE_TTL_S * self._switch.settings.time_scale * 1000)
                known = phone in self._switch.directory.accounts
                code = office.new_code(self, phone, unix_ms() + ttl_ms) if known else ""
                self.post(wire.PairingCode(req=req, code=code, ttl_ms=ttl_ms))
            case wire.Passkey():
                office.passkey_passed(self, unix_ms() // 1000)
            case _:
                raise _LineEndedError

    def _close_dialog(self, kind: wire.NoticeKind) -> None:
        if kind == "whats_new" and self.device is not None:
            self.device.whats_new_closed = True
            if self._dialog is not None:
                self._dialog.cancel()
                self._dialog = None

    async def _unlink_unless_closed(self, deadline_s: float) -> None:
        await asyncio.sleep(deadline_s)
        if self.device is not None:
            self._switch.devices.unlink(self.device, "notice_ignored")

    # ---- the socket --------------------------------------------------------------------------

    async def _read(self) -> wire.ClientFrame:
        message = await self._socket.receive()
        if message.type is not WSMsgType.TEXT:
            raise _LineEndedError
        try:
            return wire.decode_client(message.data)
        except msgspec.MsgspecError as error:
            _log.warning("switch.frame_refused", reason=type(error).__name__)
            raise _LineEndedError from error

    async def _write(self) -> None:
        while True:
            frame = await self._outbox.get()
            try:
                await self._socket.send_str(wire.encode(frame))
            except (ConnectionError, RuntimeError):
                return

    async def _close(self) -> None:
        await self._socket.close()

    def _leave(self) -> None:
        self.ready = False
        self._switch.office.forget(self)
        if self.device is not None:
            self._switch.devices.detach(self.device, self)
        for task in self._tasks:
            task.cancel()

    async def _refuse(self, reason: wire.RefusedReason) -> NoReturn:
        await self._socket.send_str(wire.encode(wire.Refused(reason=reason)))
        raise _LineEndedError

    def _note_refused(self, device: Device, reason: str) -> None:
        self._switch.log.write(
            "device.refused", account=device.account, device_id=device.device_id, reason=reason
        )


def _public_key(spki: str) -> ec.EllipticCurvePublicKey | None:
    try:
        key = load_der_public_key(base64.b64decode(spki, validate=True))
    except ValueError:
        return None
    return key if isinstance(key, ec.EllipticCurvePublicKey) else None


def _is_signed(spki: str, nonce: bytes, signature: str) -> bool:
    key = _public_key(spki)
    try:
        raw = base64.b64decode(signature, validate=True)
    except ValueError:
        return False
    if key is None or len(raw) != 64:
        return False
    der = encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    try:
        key.verify(der, nonce, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True
