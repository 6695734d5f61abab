"""A loopback device's way out: every kind of message, looked up before it is sent.

Owns the order look-up, on disk, on the wire, which makes a repeat of an id change nothing. Never
dials, and never reads what comes in.
"""

import time

import msgspec

from schemas import switch_wire as wire
from schemas.errors import BlazzError, ErrorCode
from schemas.messages import Delete, Edit, Forward, Media, Reaction
from schemas.states import Ack
from schemas.transport.checkpoints import At, checkpoint
from swarm_node.engines.contract import SendOutcome, SendRequest
from swarm_node.engines.loopback import translate
from swarm_node.engines.loopback.link import SwitchLink
from swarm_node.engines.loopback.store import ProfileStore


class Outgoing:
    """Sends of one device; holds nothing of its own."""

    def __init__(self, store: ProfileStore, link: SwitchLink) -> None:
        self._store = store
        self._link = link

    async def send(self, request: SendRequest) -> SendOutcome:
        """What `Engine.send` promises."""
        if isinstance(request.content, Reaction | Edit | Delete):
            return await self._act(request.message_id, request.content)
        return await self._message(request)

    # Messages ------------------------------------------------------------------------------------

    async def _message(self, request: SendRequest) -> SendOutcome:
        checkpoint(At.LOOKUP_BEFORE)
        before = self._store.sent_before(request.message_id)
        checkpoint(At.LOOKUP_AFTER)
        if before is not None and before.ack >= wire.ACK_SENT:
            return SendOutcome(before.chat, Ack.from_level(before.ack), found_before=True)
        chat = before.chat if before is not None else await self._chat_of(request.to)
        message = await self._content(request, before, self._blank(request.message_id, chat))
        # On disk before it is on the wire: after a crash the id is found and sent as the same one.
        self._store.keep_sending(message)
        checkpoint(At.SEND_BEFORE)
        answer = await self._link.ask_any(lambda req: translate.send_frame(req, message))
        checkpoint(At.SEND_AFTER)
        if isinstance(answer, wire.SendFailed):
            raise translate.failure(answer.reason)
        if not isinstance(answer, wire.Sent):
            raise BlazzError(ErrorCode.PAGE_ERROR, "an answer to another question came")
        self._mark_sent(message, answer.ts)
        return SendOutcome(chat, Ack.SENT, found_before=answer.resend)

    def _blank(self, message_id: str, chat: str) -> wire.Message:
        device = self._store.device
        return wire.Message(
            id=message_id,
            chat=chat,
            sender=device.me if device else "",
            from_me=True,
            type="chat",
            ts=int(time.time()),
            ack=wire.ACK_CLOCK,
        )

    async def _content(
        self, request: SendRequest, before: wire.Message | None, blank: wire.Message
    ) -> wire.Message:
        content = request.content
        if isinstance(content, Forward):
            target = content.target
            source = before or self._store.message(target.message_id, target.chat_id)
            if source is None or source.deleted:
                raise BlazzError(ErrorCode.MESSAGE_NOT_FOUND, "what to forward is not here")
            return translate.forwarded(blank, source)
        assert isinstance(content, translate.Sendable)
        message = translate.filled(blank, content)
        if isinstance(content, Media):
            message = msgspec.structs.replace(message, media=await self._upload(request, content))
        return message

    def _mark_sent(self, message: wire.Message, ts: int) -> None:
        """A receipt may have come before the answer: an ack never falls."""
        now = self._store.message(message.id, message.chat)
        if now is None or now.ack < wire.ACK_SENT:
            sent = msgspec.structs.replace(message, ack=wire.ACK_SENT, ts=ts)
            self._store.keep_sending(sent)

    async def _chat_of(self, to: str) -> str:
        if self._store.chat(to) is not None:
            return to
        found = await self._link.ask(lambda req: wire.QueryChat(req=req, wid=to), wire.ChatFound)
        if found.chat is None:
            if to.endswith("@c.us"):
                raise BlazzError(ErrorCode.RECIPIENT_NOT_ON_WHATSAPP)
            raise BlazzError(ErrorCode.CHAT_NOT_FOUND)
        self._store.keep_chat(found.chat)
        return found.chat.wid

    async def _upload(self, request: SendRequest, content: Media) -> wire.MediaRef:
        if request.media_path is None:
            raise BlazzError(ErrorCode.MEDIA_NOT_FOUND, "the media was not fetched")
        stored = await self._link.upload(request.media_path, content.media.mimetype)
        return wire.MediaRef(
            media_id=stored.media_id,
            mimetype=content.media.mimetype,
            size=stored.size,
            filename=content.media.filename or "",
        )

    # Changes to other messages -------------------------------------------------------------------

    async def _act(self, own_id: str, act: translate.Act) -> SendOutcome:
        chat = act.target.chat_id
        if self._store.acted_before(own_id):
            return SendOutcome(chat, Ack.SENT, found_before=True)
        done = await self._link.ask(lambda req: translate.act_frame(req, own_id, act), wire.Done)
        if not done.ok:
            raise translate.act_failure(done.reason)
        self._store.keep_act(translate.act_frame(0, own_id, act))
        return SendOutcome(chat, Ack.SENT, found_before=done.found)
