"""Presence: who types, records, is there; told to those who asked and are there, kept nowhere.

Owns the subscriptions and who is told. Never queues anything.
"""

from __future__ import annotations

from sandbox.switch.devices import DeviceRegistry
from sandbox.switch.directory import Directory
from sandbox.switch.log import SwitchLog
from sandbox.switch.model import Account, Device
from schemas import switch_wire as wire


class PresenceBoard:
    """Everyone's presence."""

    def __init__(self, directory: Directory, devices: DeviceRegistry, log: SwitchLog) -> None:
        self._directory = directory
        self._devices = devices
        self._log = log

    def subscribe(self, viewer: Account, device: Device, instance: str, chat: str) -> None:
        """Tell this run of a device what the others do in a chat. Raises `RefusedError`."""
        key = self._directory.open_chat(viewer, chat)
        if device.watching_as != instance:
            device.watching.clear()
            device.watching_as = instance
        device.watching.add(key)

    def show(self, by: Account, chat: str, state: wire.PresenceState) -> None:
        """Somebody does something in a chat. Raises `RefusedError`."""
        key = self._directory.open_chat(by, chat)
        self._log.write("presence.shown", account=by.number, chat=chat, type=state)
        for viewer in self._directory.others(key, by.number):
            frame = wire.Presence(
                chat=self._directory.chat_wid(key, viewer),
                sender=self._directory.seen(by, viewer),
                state=state,
            )
            for device in self._devices.of(viewer.number):
                line = device.active
                watches = key in device.watching and line is not None
                if watches and line is not None and line.instance == device.watching_as:
                    line.post(frame)
