"""What is changed about a message later: reactions, votes, edits, deletes.

Owns these changes and who hears of them. A change that is so already, and one whose own id the
device has used before, is told to nobody. Never makes a message.
"""

from __future__ import annotations

from collections.abc import Callable

from sandbox.switch.directory import Directory
from sandbox.switch.log import SwitchLog, digest
from sandbox.switch.model import Account, Device, Envelope, RefusedError
from sandbox.switch.notices import FrameFor, Notices
from schemas import switch_wire as wire


class Changes:
    """Changes to accepted messages. Every call answers whether it was so before."""

    def __init__(
        self, directory: Directory, notices: Notices, log: SwitchLog, now_ms: Callable[[], int]
    ) -> None:
        self._directory = directory
        self._notices = notices
        self._log = log
        self._now_ms = now_ms

    def ask(self, by: Account, frame: wire.React | wire.Edit | wire.Delete, origin: Device) -> bool:
        """Carry out what a device asks. Raises `RefusedError`."""
        match frame:
            case wire.React(emoji=emoji):
                return self.react(by, frame.chat, frame.id, emoji, origin, frame.own_id)
            case wire.Edit(body=body):
                return self.edit(by, frame.chat, frame.id, body, origin, frame.own_id)
            case wire.Delete():
                return self.delete(by, frame.chat, frame.id, origin, frame.own_id)

    def react(
        self,
        by: Account,
        chat: str,
        message_id: str,
        emoji: str,
        origin: Device | None = None,
        own_id: str = "",
    ) -> bool:
        """Set a reaction; an empty one removes it. Raises `RefusedError`."""
        envelope = self._directory.message(by, chat, message_id)
        same = envelope.reactions.get(by.number, "") == emoji
        if self._seen_before(by, envelope, "reaction", emoji, same, origin, own_id):
            return True
        if emoji:
            envelope.reactions[by.number] = emoji
        else:
            envelope.reactions.pop(by.number, None)
        author = self._directory.accounts[envelope.sender]
        now_ms = self._now_ms()

        def frame_for(viewer: Account) -> Callable[[int], wire.QueuedFrame]:
            return lambda seq: wire.Reaction(
                seq=seq,
                chat=self._directory.chat_wid(envelope.chat, viewer),
                id=envelope.id,
                author=self._directory.seen(author, viewer),
                author_is_me=author.number == viewer.number,
                sender=self._directory.seen(by, viewer),
                emoji=emoji,
                ts=now_ms // 1000,
                ts_ms=now_ms,
            )

        self._tell(envelope, frame_for, origin)
        return False

    def vote(self, by: Account, chat: str, message_id: str, options: tuple[str, ...]) -> bool:
        """Vote in a poll: all that is chosen; nothing takes the vote back. Raises `RefusedError`,
        `ValueError` for what can't be chosen."""
        envelope = self._directory.message(by, chat, message_id)
        poll = envelope.poll
        if poll is None or envelope.deleted:
            raise RefusedError("bad_frame")
        chosen = tuple(option for option in poll.options if option in options)
        if len(chosen) < len(options) or 0 < poll.choices_max < len(chosen):
            raise ValueError("not among the poll's options, or too many of them")
        same = envelope.votes.get(by.number, ()) == chosen
        if self._seen_before(by, envelope, "vote", "\n".join(chosen), same, None, ""):
            return True
        if chosen:
            envelope.votes[by.number] = chosen
        else:
            envelope.votes.pop(by.number, None)
        author = self._directory.accounts[envelope.sender]
        now_ms = self._now_ms()

        def frame_for(viewer: Account) -> Callable[[int], wire.QueuedFrame]:
            return lambda seq: wire.PollVoted(
                seq=seq,
                chat=self._directory.chat_wid(envelope.chat, viewer),
                id=envelope.id,
                author=self._directory.seen(author, viewer),
                author_is_me=author.number == viewer.number,
                sender=self._directory.seen(by, viewer),
                options=chosen,
                ts=now_ms // 1000,
                ts_ms=now_ms,
            )

        self._tell(envelope, frame_for, None)
        return False

    def edit(
        self,
        by: Account,
        chat: str,
        message_id: str,
        body: str,
        origin: Device | None = None,
        own_id: str = "",
    ) -> bool:
        """Change an own message's text. Raises `RefusedError`."""
        envelope = self._own(by, chat, message_id)
        if envelope.deleted:
            raise RefusedError("rejected")
        same = envelope.edited and envelope.body == body
        if self._seen_before(by, envelope, "edit", body, same, origin, own_id):
            return True
        envelope.body, envelope.edited = body, True
        now_ms = self._now_ms()

        def frame_for(viewer: Account) -> Callable[[int], wire.QueuedFrame]:
            return lambda seq: wire.Edited(
                seq=seq,
                chat=self._directory.chat_wid(envelope.chat, viewer),
                id=envelope.id,
                sender=self._directory.seen(by, viewer),
                from_me=by.number == viewer.number,
                body=body,
                ts=now_ms // 1000,
                ts_ms=now_ms,
            )

        self._tell(envelope, frame_for, origin)
        return False

    def delete(
        self,
        by: Account,
        chat: str,
        message_id: str,
        origin: Device | None = None,
        own_id: str = "",
    ) -> bool:
        """Delete an own message for everyone. Raises `RefusedError`."""
        envelope = self._own(by, chat, message_id)
        if self._seen_before(by, envelope, "delete", "", envelope.deleted, origin, own_id):
            return True
        envelope.deleted = True

        def frame_for(viewer: Account) -> Callable[[int], wire.QueuedFrame]:
            return lambda seq: wire.Deleted(
                seq=seq,
                chat=self._directory.chat_wid(envelope.chat, viewer),
                id=envelope.id,
                sender=self._directory.seen(by, viewer),
                from_me=by.number == viewer.number,
                ts=self._now_ms() // 1000,
            )

        self._tell(envelope, frame_for, origin)
        return False

    def _own(self, viewer: Account, chat: str, message_id: str) -> Envelope:
        envelope = self._directory.message(viewer, chat, message_id)
        if envelope.sender != viewer.number:
            raise RefusedError("rejected")
        return envelope

    def _seen_before(
        self,
        by: Account,
        envelope: Envelope,
        what: str,
        content: str,
        same: bool,
        origin: Device | None,
        own_id: str,
    ) -> bool:
        """Log the change; whether there is nothing to do. An id that is new is accepted even if
        all is so already: it is a send of its own."""
        repeated = origin is not None and own_id in origin.acts
        if origin is not None and own_id:
            origin.acts.add(own_id)
        self._log.write(
            "message.resent" if repeated or (same and not own_id) else "message.accepted",
            account=by.number,
            device_id=origin.device_id if origin else "",
            message=envelope.n,
            id=own_id,
            target=envelope.id,
            chat=self._directory.chat_wid(envelope.chat, by),
            type=what,
            body_digest=digest(content),
        )
        return repeated or same

    def _tell(self, envelope: Envelope, frame_for: FrameFor, origin: Device | None) -> None:
        self._notices.tell(self._directory.members(envelope.chat), frame_for, origin)
