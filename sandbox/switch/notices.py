"""Notices: a queued frame for every device of some accounts, each in its own words.

Owns who is told. Never decides what happened, and never touches a socket.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sandbox.switch.devices import DeviceRegistry, FrameOf
from sandbox.switch.directory import Directory
from sandbox.switch.model import Account, Device

FrameFor = Callable[[Account], FrameOf]
"""The frame as one account sees it."""


class Notices:
    """Tells accounts' devices what changed."""

    def __init__(self, directory: Directory, devices: DeviceRegistry) -> None:
        self._directory = directory
        self._devices = devices

    def tell(self, numbers: Iterable[str], frame_for: FrameFor, origin: Device | None) -> None:
        """Queue the frame for every device of these accounts, but the one it came from."""
        for number in numbers:
            for device in self._devices.of(number):
                if device is not origin:
                    self._devices.deliver(device, frame_for(self._directory.accounts[number]))
