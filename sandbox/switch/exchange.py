"""What happens to messages: accept, deliver, receipts.

Owns an envelope's beginning and its acks, and which devices hear of it. What is changed about a
message later is in `changes`. Never touches a socket: frames go through the device registry. Never
reads a clock of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sandbox.switch.devices import DeviceRegistry, FrameOf
from sandbox.switch.directory import Directory, content_of
from sandbox.switch.log import SwitchLog, digest_of
from sandbox.switch.model import Account, Device, Envelope, RefusedError
from schemas import switch_wire as wire

_NEEDS: Final = {"location": "location", "vcard": "contacts", "poll_creation": "poll"}
"""What a message of a type can't be without."""


class Exchange:
    """Routes between accounts, their phones and their linked devices."""

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

    def accept(self, sender: Account, send: wire.Send, device: Device | None) -> Envelope | None:
        """Take a message in; None for a resend by the same device. Raises `RefusedError`.

        The message goes nowhere before `route`.
        """
        key = self._directory.open_chat(sender, send.chat)
        known = device.sent.get(send.id) if device else None
        if known is not None:
            self._note("message.resent", self._directory.messages[known - 1], send)
            return None
        group = self._directory.groups.get(key)
        if group is not None and group.announce_only and sender.number not in group.admins:
            raise RefusedError("admins_only")
        if getattr(send, _NEEDS.get(send.type, "type")) in (None, ()):
            raise RefusedError("bad_frame")
        others = self._directory.others(key, sender.number)
        envelope = Envelope(
            n=len(self._directory.messages) + 1,
            id=send.id,
            chat=key,
            sender=sender.number,
            device_id=device.device_id if device else "",
            type=send.type,
            ts=self._now_ms() // 1000,
            quoted_id=send.quoted_id,
            acks={other.number: wire.ACK_SENT for other in others},
            **content_of(send),
        )
        self._directory.add_message(envelope)
        if device is not None:
            device.sent[send.id] = envelope.n
        self._note("message.accepted", envelope, send)
        return envelope

    def resent(self, device: Device, message_id: str) -> Envelope:
        """The message a device sent before under this id."""
        return self._directory.messages[device.sent[message_id] - 1]

    def route(self, envelope: Envelope) -> None:
        """Bring an accepted message to everyone, and let the phones that are on confirm it."""
        for number in self._directory.members(envelope.chat):
            account = self._directory.accounts[number]
            for device in self._devices.of(number):
                if device.device_id != envelope.device_id:
                    self._devices.deliver(device, self._message_frame(envelope, account, device))
        for account in self._directory.others(envelope.chat, envelope.sender):
            if account.on:
                read = wire.ACK_READ if account.auto_read else wire.ACK_DELIVERED
                self.raise_ack(envelope, account, read)

    def phone_switched_on(self, account: Account) -> None:
        """Confirm what came while the phone was off."""
        for envelope in self._directory.messages:
            if envelope.acks.get(account.number) == wire.ACK_SENT:
                read = wire.ACK_READ if account.auto_read else wire.ACK_DELIVERED
                self.raise_ack(envelope, account, read)

    def raise_ack(self, envelope: Envelope, by: Account, ack: int) -> None:
        """Somebody received (2), read (3) or played (4) a message; never lowers."""
        before = envelope.ack
        if envelope.acks.get(by.number, wire.ACK_PLAYED) >= ack:
            return
        envelope.acks[by.number] = ack
        if ack >= wire.ACK_READ:
            self._log.write("message.read", account=by.number, message=envelope.n, id=envelope.id)
        if envelope.ack == before:
            return
        sender = self._directory.accounts[envelope.sender]
        chat = self._directory.chat_wid(envelope.chat, sender)
        rose, ts = envelope.ack, self._now_ms() // 1000
        for device in self._devices.of(sender.number):
            self._devices.deliver(
                device,
                lambda seq: wire.Ack(
                    seq=seq, chat=chat, ids=(envelope.id,), ack=rose, by=by.shown_wid, ts=ts
                ),
            )

    def read(
        self, reader: Account, chat: str, ids: tuple[str, ...], ack: int, origin: Device | None
    ) -> None:
        """An account saw a chat, or the named messages of it. Raises `RefusedError`."""
        key = self._directory.open_chat(reader, chat)
        for envelope in self._directory.history(key):
            if envelope.sender != reader.number and (not ids or envelope.id in ids):
                self.raise_ack(envelope, reader, ack)
        wid = self._directory.chat_wid(key, reader)
        for device in self._devices.of(reader.number):
            if device is not origin:
                self._devices.deliver(device, lambda seq: wire.ReadElsewhere(seq=seq, chat=wid))

    def stored(self, device: Device, seq: int) -> None:
        """A device has stored its frames up to `seq`; the messages among them are delivered."""
        account = self._directory.accounts[device.account]
        for frame in self._devices.stored(device, seq):
            if not isinstance(frame, wire.MessageIn) or frame.message.from_me:
                continue
            envelope = self._directory.message(account, frame.message.chat, frame.message.id)
            self._log.write(
                "message.stored",
                account=account.number,
                device_id=device.device_id,
                message=envelope.n,
                id=envelope.id,
            )
            self.raise_ack(envelope, account, wire.ACK_DELIVERED)

    def _message_frame(self, envelope: Envelope, viewer: Account, device: Device) -> FrameOf:
        message = self._directory.view(envelope, viewer)
        offline = device.active is None
        return lambda seq: wire.MessageIn(seq=seq, message=message, offline=offline)

    def _note(self, kind: str, envelope: Envelope, send: wire.Send) -> None:
        self._log.write(
            "message.resent" if kind == "message.resent" else "message.accepted",
            account=envelope.sender,
            device_id=envelope.device_id,
            message=envelope.n,
            id=envelope.id,
            chat=send.chat,
            type=envelope.type,
            body_digest=digest_of(send),
        )
