"""The loopback engine's line to the switch: one WebSocket, dialled again when it breaks.

Owns dialling, the login (key proof), requests and their answers, and media transfers. Every other
frame goes to `on_frame`, in order. Never keeps anything on disk and never takes a device over.
"""

import asyncio
import base64
import random
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import aiohttp
import msgspec
import structlog
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from schemas import switch_wire as wire
from schemas.errors import BlazzError, ErrorCode
from swarm_node.core.backoff import BackoffPolicy, delay_s
from swarm_node.engines.loopback.settings import LoopbackSettings
from swarm_node.engines.loopback.store import ProfileStore

log = structlog.get_logger()

A = TypeVar("A", bound=wire.Frame)
OnFrame = Callable[[wire.SwitchFrame], Awaitable[None]]
OnDown = Callable[[], Awaitable[None]]


class SwitchLink:
    """One device's line. `run` keeps it up until cancelled or `give_up` was called."""

    def __init__(
        self,
        settings: LoopbackSettings,
        store: ProfileStore,
        *,
        instance: str,
        on_frame: OnFrame,
        on_down: OnDown,
    ) -> None:
        self.connected = False
        self._settings = settings
        self._store = store
        self._instance = instance
        self._on_frame = on_frame
        self._on_down = on_down
        self._tls = ssl.create_default_context(cadata=settings.ca_pem or None)
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._http: aiohttp.ClientSession | None = None
        self._answers: dict[int, asyncio.Future[wire.SwitchFrame]] = {}
        self._req = 0
        self._over = False
        self._redial = BackoffPolicy(
            first_s=settings.redial_first_s, longest_s=settings.redial_longest_s
        )

    def give_up(self) -> None:
        """Don't dial again: the device is unlinked or taken over."""
        self._over = True

    async def run(self) -> None:
        """Keep the line up."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._settings.answer_timeout_s)
        connector = aiohttp.TCPConnector(ssl=self._tls)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:
            self._http = http
            attempt = 0
            while not self._over:
                try:
                    welcomed = await self._one_connection(http)
                except (aiohttp.ClientError, OSError, TimeoutError) as error:
                    log.debug("loopback.dial_failed", detail=type(error).__name__)
                    welcomed = False
                except BlazzError as error:
                    # The line broke while a frame of it was being answered: dial again.
                    if error.code is not ErrorCode.SESSION_NOT_ONLINE:
                        raise
                    welcomed = False
                attempt = 1 if welcomed else attempt + 1
                if not self._over:
                    await asyncio.sleep(delay_s(self._redial, attempt, random.random()))

    async def _one_connection(self, http: aiohttp.ClientSession) -> bool:
        welcomed = False
        async with asyncio.timeout(self._settings.answer_timeout_s):
            socket = await http.ws_connect(
                self._settings.link_url, max_msg_size=wire.FRAME_BYTES_MAX, heartbeat=10.0
            )
        try:
            self._socket = socket
            await self._greet()
            async for message in socket:
                if message.type is not aiohttp.WSMsgType.TEXT:
                    break
                frame = self._decode(message.data)
                welcomed = welcomed or isinstance(frame, wire.Welcome | wire.Qr)
                # Not before: a question that came between challenge and proof would fail the login.
                self.connected = welcomed
                await self._take(frame)
                if self._over:
                    break
        finally:
            self.connected = False
            self._socket = None
            self._fail_answers()
            await socket.close()
            await self._on_down()
        return welcomed

    @staticmethod
    def _decode(text: str) -> wire.SwitchFrame:
        try:
            return wire.decode_switch(text)
        except msgspec.MsgspecError as error:
            raise aiohttp.ClientError("not a frame") from error

    async def _take(self, frame: wire.SwitchFrame) -> None:
        req = getattr(frame, "req", None)
        if isinstance(frame, wire.Challenge):
            await self.tell(wire.Proof(signature=self._sign(frame.nonce)))
        elif req is not None:
            answer = self._answers.pop(req, None)
            if answer is not None and not answer.done():
                answer.set_result(frame)
        else:
            await self._on_frame(frame)

    async def _greet(self) -> None:
        device = self._store.device
        spki = self._store.key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        await self.tell(
            wire.Hello(
                instance=self._instance,
                app_version=self._settings.app_version,
                device_id=device.device_id if device else "",
                public_key="" if device else base64.b64encode(spki).decode(),
                freshness=self._store.freshness,
            )
        )

    def _sign(self, nonce: str) -> str:
        der = self._store.key.sign(base64.b64decode(nonce), ec.ECDSA(hashes.SHA256()))
        r, s = decode_dss_signature(der)
        return base64.b64encode(r.to_bytes(32, "big") + s.to_bytes(32, "big")).decode()

    # Frames out ----------------------------------------------------------------------------------

    async def tell(self, frame: wire.ClientFrame) -> None:
        """Send a frame. Raises `session_not_online`."""
        socket = self._socket
        if socket is None or socket.closed:
            raise _away()
        try:
            await socket.send_str(wire.encode(frame))
        except (aiohttp.ClientError, ConnectionError, RuntimeError) as error:
            raise _away() from error

    async def ask(self, make: Callable[[int], wire.ClientFrame], kind: type[A]) -> A:
        """Send a request and wait for its answer. Raises `session_not_online`, `page_timeout`."""
        frame = await self.ask_any(make)
        if not isinstance(frame, kind):
            raise BlazzError(ErrorCode.PAGE_ERROR, "an answer to another question came")
        return frame

    async def ask_any(self, make: Callable[[int], wire.ClientFrame]) -> wire.SwitchFrame:
        """`ask` for a request that has several kinds of answer."""
        self._req += 1
        req = self._req
        answer: asyncio.Future[wire.SwitchFrame] = asyncio.get_running_loop().create_future()
        self._answers[req] = answer
        try:
            async with asyncio.timeout(self._settings.answer_timeout_s):
                await self.tell(make(req))
                return await answer
        except TimeoutError:
            raise BlazzError(ErrorCode.PAGE_TIMEOUT, "the switch gave no answer") from None
        finally:
            self._answers.pop(req, None)

    def _fail_answers(self) -> None:
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(_away())

    # Media ---------------------------------------------------------------------------------------

    async def upload(self, path: Path, mimetype: str) -> wire.MediaStored:
        """Bring media to the switch. Raises `session_not_online`, `page_error`."""
        data = await asyncio.to_thread(path.read_bytes)
        body = await self._transfer("PUT", wire.MEDIA_PATH, data, mimetype)
        return msgspec.json.decode(body, type=wire.MediaStored)

    def media_url(self, media_id: str) -> str:
        """Where the switch serves media."""
        return f"{self._settings.media_url}{wire.MEDIA_PATH}/{media_id}"

    async def download(self, media_id: str) -> bytes:
        """Read media from the switch. Raises `media_not_found`, `session_not_online`."""
        return await self._transfer("GET", f"{wire.MEDIA_PATH}/{media_id}", None, "")

    async def _transfer(self, method: str, path: str, data: bytes | None, mimetype: str) -> bytes:
        if self._http is None:
            raise _away()
        headers = {"Content-Type": mimetype} if mimetype else {}
        try:
            async with self._http.request(
                method, self._settings.media_url + path, data=data, headers=headers
            ) as response:
                if response.status == 404:
                    raise BlazzError(ErrorCode.MEDIA_NOT_FOUND, "the switch has no such media")
                if response.status != 200:
                    raise BlazzError(ErrorCode.PAGE_ERROR, "the switch refused the media")
                return await response.read()
        except (aiohttp.ClientError, OSError) as error:
            raise _away() from error


def _away() -> BlazzError:
    return BlazzError(ErrorCode.SESSION_NOT_ONLINE, "the switch is away")
