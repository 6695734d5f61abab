"""Linked devices: their queues, their open lines, and holds.

Owns which line of a device is the active one, and what waits for the device. Two open lines from
two browser runs are a hold: the older gets `conflict`, and both moments are logged. Never decides
what a frame says.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from sandbox.switch.log import SwitchLog
from sandbox.switch.model import Device, Line
from schemas import switch_wire as wire

FrameOf = Callable[[int], wire.QueuedFrame]


class DeviceRegistry:
    """All linked devices, by id."""

    def __init__(self, log: SwitchLog, *, stale_after_frames: int, queue_frames_max: int) -> None:
        self._log = log
        self._stale_after_frames = stale_after_frames
        self._queue_frames_max = queue_frames_max
        self._devices: dict[str, Device] = {}

    def link(self, account: str, public_key: str, ts: int) -> Device:
        """A new device of an account."""
        device = Device(
            device_id=secrets.token_hex(8), account=account, public_key=public_key, linked_ts=ts
        )
        self._devices[device.device_id] = device
        self._log.write("device.linked", account=account, device_id=device.device_id)
        return device

    def get(self, device_id: str) -> Device | None:
        """A device that is linked now."""
        return self._devices.get(device_id)

    def of(self, account: str) -> list[Device]:
        """An account's devices."""
        return [d for d in self._devices.values() if d.account == account]

    def unlink(self, device: Device, reason: wire.UnlinkReason) -> None:
        """Forget a device for good and tell its open lines."""
        if self._devices.pop(device.device_id, None) is None:
            return
        device.active = None
        self._log.write(
            "device.unlinked", account=device.account, device_id=device.device_id, reason=reason
        )
        for line in list(device.lines):
            line.post(wire.Unlinked(reason=reason))

    def is_stale(self, device: Device, freshness: int) -> bool:
        """Whether a device with this stored counter came from a snapshot that is too old."""
        behind = device.stored_seq - freshness
        if behind > 0:
            self._log.write(
                "device.rolled_back",
                account=device.account,
                device_id=device.device_id,
                reason=f"{behind} frames behind",
            )
        return behind > self._stale_after_frames

    def attach(self, device: Device, line: Line) -> None:
        """Make a line the device's active one."""
        older = device.active
        if line not in device.lines:
            device.lines.append(line)
            self._note("line.opened", device, line)
        device.active = line
        if older is None or older is line:
            return
        if older.instance == line.instance:
            older.hang_up()
            return
        self._log.write(
            "hold.started",
            account=device.account,
            device_id=device.device_id,
            instances=(older.instance, line.instance),
        )
        older.ready = False
        older.post(wire.Conflict())

    def detach(self, device: Device, line: Line) -> None:
        """A line is closed."""
        if line not in device.lines:
            return
        runs = len({other.instance for other in device.lines})
        device.lines.remove(line)
        self._note("line.closed", device, line)
        if device.active is line:
            device.active = None
        if runs > 1 and len({other.instance for other in device.lines}) == 1:
            left = device.lines[0].instance
            self._log.write(
                "hold.ended",
                account=device.account,
                device_id=device.device_id,
                instances=(line.instance, left),
            )

    def deliver(self, device: Device, frame_of: FrameOf) -> None:
        """Queue a frame, and send it when the device is there."""
        if len(device.queue) >= self._queue_frames_max:
            self.unlink(device, "stale_state")
            return
        frame = frame_of(device.next_seq)
        device.next_seq += 1
        device.queue.append(frame)
        if device.active is not None and device.active.ready:
            device.active.post(frame)

    def stored(self, device: Device, seq: int) -> list[wire.QueuedFrame]:
        """Forget what the device has stored; returns the frames forgotten now."""
        forgotten: list[wire.QueuedFrame] = []
        while device.queue and device.queue[0].seq <= seq:
            forgotten.append(device.queue.popleft())
        device.stored_seq = max(device.stored_seq, min(seq, device.next_seq - 1))
        return forgotten

    def _note(self, kind: str, device: Device, line: Line) -> None:
        self._log.write(
            "line.opened" if kind == "line.opened" else "line.closed",
            account=device.account,
            device_id=device.device_id,
            instances=(line.instance,),
        )
