"""The switch as a whole: its parts, put together once.

Owns the composition and the few acts that concern several parts. Never touches a socket.
"""

from __future__ import annotations

import time

from sandbox.settings import SandboxSettings
from sandbox.switch.calls import Calls
from sandbox.switch.changes import Changes
from sandbox.switch.devices import DeviceRegistry
from sandbox.switch.directory import Directory
from sandbox.switch.exchange import Exchange
from sandbox.switch.faults import EVERYONE, FaultBoard, Faults
from sandbox.switch.groups import Groups
from sandbox.switch.linking import LinkOffice
from sandbox.switch.log import SwitchLog
from sandbox.switch.media import MediaShelf
from sandbox.switch.model import Account
from sandbox.switch.notices import Notices
from sandbox.switch.presence import PresenceBoard
from schemas import switch_wire as wire


def unix_ms() -> int:
    """The wall clock, Unix milliseconds."""
    return time.time_ns() // 1_000_000


class Switch:
    """One local WhatsApp."""

    def __init__(self, settings: SandboxSettings) -> None:
        self.settings = settings
        self.log = SwitchLog(unix_ms, settings.log_path)
        self.faults = FaultBoard()
        self.directory = Directory()
        self.devices = DeviceRegistry(
            self.log,
            stale_after_frames=settings.stale_after_frames,
            queue_frames_max=settings.queue_frames_max,
        )
        self.exchange = Exchange(self.directory, self.devices, self.log, unix_ms)
        notices = Notices(self.directory, self.devices)
        self.changes = Changes(self.directory, notices, self.log, unix_ms)
        self.groups = Groups(self.directory, notices, self.log, unix_ms)
        self.presence = PresenceBoard(self.directory, self.devices, self.log)
        self.calls = Calls(self.directory, self.devices, self.log, unix_ms)
        self.office = LinkOffice(self.devices, self.faults)
        self.media = MediaShelf()

    @property
    def app_version(self) -> str:
        """The version the page carries now."""
        return self.faults.of().app_version or self.settings.app_version

    def set_profile(
        self, account: Account, name: str | None, about: str | None, picture: str | None
    ) -> None:
        """Change an account's profile; what is None stays, an empty picture is removed."""
        account.name = account.name if name is None else name
        account.about = account.about if about is None else about
        account.picture = account.picture if picture is None else picture
        self.log.write("profile.changed", account=account.number)

    def set_faults(self, account: str, values: dict[str, object]) -> Faults:
        """Switch faults for an account or everyone, and apply those that act at once.

        Raises `msgspec.ValidationError` for an unknown fault or a wrong value.
        """
        faults = self.faults.set(account, values)
        self.log.write("faults.set", account=account, reason=",".join(sorted(values)))
        for number in [account] if account != EVERYONE else list(self.directory.accounts):
            for device in self.devices.of(number):
                for line in list(device.lines):
                    if faults.offline:
                        line.hang_up()
                    if "whats_new_deadline_ms" in values and faults.whats_new_deadline_ms >= 0:
                        line.post(whats_new(faults))
                    if values.get("app_version"):
                        line.post(wire.Notice(kind="version", text=self.app_version))
        return faults


def whats_new(faults: Faults) -> wire.Notice:
    """The dialog a new companion has to close."""
    return wire.Notice(
        kind="whats_new",
        text="What's new in WhatsApp Web",
        deadline_ms=faults.whats_new_deadline_ms,
    )
