"""Calls: a phone rings another account or a group, and gives up.

Owns the calls that ring. A call rings at the devices that are there, and is a missed one at all.
Never carries a voice.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import partial

import msgspec

from sandbox.switch.devices import DeviceRegistry
from sandbox.switch.directory import Directory
from sandbox.switch.log import SwitchLog
from sandbox.switch.model import Account, ChatKey
from schemas import switch_wire as wire


class _Ringing(msgspec.Struct, frozen=True):
    by: Account
    chat: ChatKey
    video: bool


class Calls:
    """All calls."""

    def __init__(
        self,
        directory: Directory,
        devices: DeviceRegistry,
        log: SwitchLog,
        now_ms: Callable[[], int],
    ) -> None:
        self._directory = directory
        self._devices = devices
        self._log = log
        self._now_ms = now_ms
        self._ringing: dict[str, _Ringing] = {}

    def ring(self, by: Account, to: str, *, video: bool) -> str:
        """Call a chat; the call's id. Raises `RefusedError`."""
        call_id = secrets.token_hex(16).upper()
        self._ringing[call_id] = _Ringing(by, self._directory.open_chat(by, to), video)
        self._tell(call_id, self._ringing[call_id], "ringing")
        return call_id

    def give_up(self, by: Account, call_id: str) -> None:
        """End a call that nobody took. Raises `ValueError` for no call of this account."""
        call = self._ringing.get(call_id)
        if call is None or call.by is not by:
            raise ValueError("no such call")
        del self._ringing[call_id]
        self._tell(call_id, call, "missed")

    def _tell(self, call_id: str, call: _Ringing, state: wire.CallKind) -> None:
        self._log.write("call.changed", account=call.by.number, id=call_id, type=state)
        group = call.chat if call.chat in self._directory.groups else ""
        for viewer in self._directory.others(call.chat, call.by.number):
            frame = wire.CallIn(
                seq=0,
                id=call_id,
                sender=self._directory.seen(call.by, viewer),
                state=state,
                ts=self._now_ms() // 1000,
                video=call.video,
                group=group,
            )
            for device in self._devices.of(viewer.number):
                if state == "missed" or device.active is not None:
                    self._devices.deliver(device, partial(_numbered, frame))


def _numbered(frame: wire.CallIn, seq: int) -> wire.CallIn:
    return msgspec.structs.replace(frame, seq=seq)
