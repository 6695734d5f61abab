"""What a linked device may ask for on its line.

Owns turning a client's frame into an act of the exchange and its answer, with the faults that
strike answers. Never reads the socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Protocol

from sandbox.switch.model import Account, Device, Envelope, Line, RefusedError
from sandbox.switch.switch import Switch
from schemas import switch_wire as wire


class Asker(Line, Protocol):
    """The line the request came on."""

    def spawn(self, coroutine: Coroutine[None, None, None]) -> object: ...


class Requests:
    """Requests of one line."""

    def __init__(self, switch: Switch, line: Asker) -> None:
        self._switch = switch
        self._line = line

    def handle(self, frame: wire.ClientFrame, device: Device) -> None:
        """Do what a linked device asks; a line that is not the active one is not heard."""
        account = self._switch.directory.accounts[device.account]
        if device.active is not self._line:
            if isinstance(frame, wire.Send):
                self._note_rejected(frame, device, "conflict")
            return
        match frame:
            case wire.Send():
                self._send(frame, account, device)
            case wire.Stored(seq=seq):
                self._switch.exchange.stored(device, seq)
            case wire.React() | wire.Edit() | wire.Delete():
                self._change(frame, account, device)
            case (
                wire.Receipt() | wire.ShowPresence() | wire.SubscribePresence() | wire.SetProfile()
            ):
                self._act(frame, account, device)
            case _:
                answer = self._found(frame, account)
                if answer is not None:
                    self._line.post(answer)

    def _send(self, frame: wire.Send, account: Account, device: Device) -> None:
        faults = self._switch.faults
        if faults.use_up(account.number, "reject_sends"):
            self._fail(frame, device, "rejected")
            return
        if frame.media is not None and self._switch.media.get(frame.media.media_id) is None:
            self._fail(frame, device, "media_missing")
            return
        try:
            fresh = self._switch.exchange.accept(account, frame, device)
        except RefusedError as refusal:
            self._fail(frame, device, refusal.reason)
            return
        if faults.use_up(account.number, "lose_answers"):
            self._line.hang_up()
            if fresh is not None:
                self._switch.exchange.route(fresh)
            return
        envelope = fresh or self._switch.exchange.resent(device, frame.id)
        delay_s = faults.of(account.number).ack_delay_ms / 1000
        if delay_s > 0:
            self._line.spawn(self._answer_later(delay_s, frame, envelope, fresh is None))
        else:
            self._answer(frame, envelope, fresh is None)

    async def _answer_later(
        self, delay_s: float, frame: wire.Send, envelope: Envelope, resend: bool
    ) -> None:
        try:
            await asyncio.sleep(delay_s)
        except asyncio.CancelledError:
            # The line is gone, but an accepted message still reaches its recipients.
            if not resend:
                self._switch.exchange.route(envelope)
            raise
        self._answer(frame, envelope, resend)

    def _answer(self, frame: wire.Send, envelope: Envelope, resend: bool) -> None:
        self._line.post(
            wire.Sent(req=frame.req, id=frame.id, chat=frame.chat, ts=envelope.ts, resend=resend)
        )
        if not resend:
            self._switch.exchange.route(envelope)

    def _change(
        self, frame: wire.React | wire.Edit | wire.Delete, account: Account, device: Device
    ) -> None:
        faults = self._switch.faults
        if faults.use_up(account.number, "reject_sends"):
            self._line.post(wire.Done(req=frame.req, ok=False, reason="rejected"))
            return
        try:
            found = self._switch.changes.ask(account, frame, device)
        except RefusedError as refusal:
            self._line.post(wire.Done(req=frame.req, ok=False, reason=refusal.reason))
            return
        if faults.use_up(account.number, "lose_answers"):
            self._line.hang_up()
            return
        self._line.post(wire.Done(req=frame.req, ok=True, found=found))

    def _act(
        self,
        frame: wire.Receipt | wire.ShowPresence | wire.SubscribePresence | wire.SetProfile,
        account: Account,
        device: Device,
    ) -> None:
        switch, reason = self._switch, ""
        try:
            match frame:
                case wire.Receipt(chat=chat, ids=ids, ack=ack):
                    switch.exchange.read(account, chat, ids, ack, device)
                case wire.ShowPresence(chat=chat, state=state):
                    switch.presence.show(account, chat, state)
                case wire.SubscribePresence(chat=chat):
                    switch.presence.subscribe(account, device, self._line.instance, chat)
                case wire.SetProfile(name=name, about=about):
                    switch.set_profile(account, name, about, self._picture(frame))
        except RefusedError as refusal:
            reason = refusal.reason
        if frame.req:
            self._line.post(wire.Done(req=frame.req, ok=not reason, reason=reason))

    def _picture(self, frame: wire.SetProfile) -> str | None:
        if frame.picture is None:
            return "" if frame.remove_picture else None
        if self._switch.media.get(frame.picture.media_id) is None:
            raise RefusedError("media_missing")
        return frame.picture.media_id

    def _found(self, frame: wire.ClientFrame, account: Account) -> wire.SwitchFrame | None:
        directory = self._switch.directory
        match frame:
            case wire.QueryExists(req=req, wid=wid):
                return self._exists(req, wid)
            case wire.QueryChat(req=req, wid=wid):
                key = directory.chat_key(account, wid)
                info = directory.chat_info(key, account) if key else None
                return wire.ChatFound(req=req, chat=info)
            case wire.QueryChats(req=req):
                return wire.ChatsListed(req=req, chats=tuple(directory.chats(account)))
            case wire.QueryContacts(req=req):
                contacts = sorted(directory.contacts(account), key=lambda c: c.wid)
                return wire.ContactsListed(req=req, contacts=tuple(contacts))
            case wire.QueryGroup(req=req, wid=wid):
                return wire.GroupFound(req=req, group=directory.group_info(account, wid))
            case wire.QueryProfile(req=req, wid=wid):
                return wire.ProfileFound(req=req, profile=directory.profile(account, wid))
            case _:
                return None

    def _exists(self, req: int, wid: str) -> wire.Exists:
        account = self._switch.directory.account_of(wid)
        if account is None:
            return wire.Exists(req=req, wid=None)
        return wire.Exists(
            req=req,
            wid=account.wid,
            lid=account.lid_wid,
            name=account.name,
            business=account.business,
        )

    def _fail(self, frame: wire.Send, device: Device, reason: wire.SendFailure) -> None:
        self._note_rejected(frame, device, reason)
        self._line.post(wire.SendFailed(req=frame.req, id=frame.id, reason=reason))

    def _note_rejected(self, frame: wire.Send, device: Device, reason: str) -> None:
        self._switch.log.write(
            "message.rejected",
            account=device.account,
            device_id=device.device_id,
            id=frame.id,
            chat=frame.chat,
            type=frame.type,
            reason=reason,
        )
