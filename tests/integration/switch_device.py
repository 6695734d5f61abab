"""A linked device in Python: what a page does on its line, without a browser.

Owns the device key and the frames received. Never fakes the switch: it talks to a running one.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import aiohttp
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from sandbox.server import Sandbox
from schemas import switch_wire as wire

F = TypeVar("F")
FRAME_TIMEOUT_S = 15.0


class DeviceKeys:
    """What a profile keeps: the key, the device's id, and how far it has stored."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.device_id = ""
        self.stored_seq = 0

    @property
    def public_key(self) -> str:
        spki = self.key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return base64.b64encode(spki).decode()

    def sign(self, nonce: str) -> str:
        der = self.key.sign(base64.b64decode(nonce), ec.ECDSA(hashes.SHA256()))
        r, s = decode_dss_signature(der)
        return base64.b64encode(r.to_bytes(32) + s.to_bytes(32)).decode()


class Line:
    """One open line of a device."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, keys: DeviceKeys) -> None:
        self._socket = socket
        self._keys = keys
        self.passed: list[wire.SwitchFrame] = []

    async def post(self, frame: wire.ClientFrame) -> None:
        await self._socket.send_str(wire.encode(frame))

    async def next(self) -> wire.SwitchFrame:
        """The next frame; queued ones are confirmed, as a page does once they are durable."""
        async with asyncio.timeout(FRAME_TIMEOUT_S):
            frame = wire.decode_switch(await self._socket.receive_str())
        seq = getattr(frame, "seq", 0)
        if seq:
            self._keys.stored_seq = max(self._keys.stored_seq, seq)
            # The switch may have hung up meanwhile; what it had sent before is still to be read.
            with contextlib.suppress(aiohttp.ClientConnectionResetError):
                await self.post(wire.Stored(seq=seq))
        if isinstance(frame, wire.Paired):
            self._keys.device_id = frame.device_id
        return frame

    async def wait(self, kind: type[F]) -> F:
        """The next frame of a kind; those before it are kept in `passed`."""
        while True:
            frame = await self.next()
            if isinstance(frame, kind):
                return frame
            self.passed.append(frame)

    async def closed(self) -> bool:
        """Whether the switch has hung up."""
        async with asyncio.timeout(FRAME_TIMEOUT_S):
            message = await self._socket.receive()
        return message.type in {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED}

    async def hello(self, instance: str = "run-1", **changes: Any) -> None:
        """Say hello, and prove the key if the device is linked."""
        keys = self._keys
        values = {
            "device_id": keys.device_id,
            "public_key": "" if keys.device_id else keys.public_key,
            "freshness": keys.stored_seq,
            **changes,
        }
        await self.post(wire.Hello(instance=instance, app_version="2.3", **values))
        if keys.device_id:
            challenge = await self.wait(wire.Challenge)
            await self.post(wire.Proof(signature=keys.sign(challenge.nonce)))

    async def send(self, message_id: str, chat: str, body: str, req: int = 1) -> None:
        await self.post(wire.Send(req=req, id=message_id, chat=chat, type="chat", body=body))


@asynccontextmanager
async def open_line(sandbox: Sandbox, keys: DeviceKeys) -> AsyncIterator[Line]:
    connector = aiohttp.TCPConnector(ssl=sandbox.client_context())
    async with (
        aiohttp.ClientSession(connector=connector) as http,
        http.ws_connect(sandbox.link_url) as socket,
    ):
        yield Line(socket, keys)
