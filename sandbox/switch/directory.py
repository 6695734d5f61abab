"""Who there is: accounts and groups, and how one account sees a chat or a message.

Owns the lookups from wids to accounts and chats and back. Never delivers anything.
"""

from __future__ import annotations

from typing import Any

from sandbox.switch.model import (
    CONTENT_FIELDS,
    Account,
    ChatKey,
    Envelope,
    Group,
    RefusedError,
    direct_key,
    split_wid,
)
from schemas import switch_wire as wire


class Directory:
    """Accounts, groups and accepted messages."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.groups: dict[str, Group] = {}
        self.messages: list[Envelope] = []
        self._by_chat: dict[ChatKey, dict[str, Envelope]] = {}

    def add_account(self, account: Account) -> None:
        """Create an account. Raises `ValueError` when the number or lid is taken or no number."""
        if not account.number.isdigit() or (account.lid and not account.lid.isdigit()):
            raise ValueError("number and lid are digits")
        if account.lid_only and not account.lid:
            raise ValueError("a lid-only account needs a lid")
        lid_taken = any(a.lid == account.lid for a in self.accounts.values() if account.lid)
        if account.number in self.accounts or lid_taken:
            raise ValueError("number or lid is taken")
        self.accounts[account.number] = account

    def add_group(self, name: str, members: list[str], ts: int) -> Group:
        """Create a group; it is the first member's. Raises `ValueError` for an unknown member."""
        if not members or any(m not in self.accounts for m in members):
            raise ValueError("a group needs known members")
        wid = f"12036300000000{len(self.groups):04d}@g.us"
        self.groups[wid] = Group(
            wid=wid,
            name=name,
            members=list(dict.fromkeys(members)),
            admins=[members[0]],
            owner=members[0],
            created_ts=ts,
        )
        return self.groups[wid]

    def add_message(self, envelope: Envelope) -> None:
        """Keep an accepted message."""
        self.messages.append(envelope)
        self._by_chat.setdefault(envelope.chat, {})[envelope.id] = envelope

    def account_of(self, wid: str) -> Account | None:
        """The account behind a `@c.us` or `@lid` wid, or bare digits."""
        user, server = split_wid(wid)
        if server == "lid":
            return next((a for a in self.accounts.values() if a.lid == user), None)
        return self.accounts.get(user) if server == "c.us" else None

    def chat_key(self, viewer: Account, wid: str) -> ChatKey | None:
        """The chat a wid means to an account; None when it leads nowhere."""
        if wid.endswith("@g.us"):
            return wid if wid in self.groups else None
        other = self.account_of(wid)
        return direct_key(viewer.number, other.number) if other else None

    def members(self, key: ChatKey) -> list[str]:
        """Account numbers in a chat."""
        group = self.groups.get(key)
        return group.members if group else list(dict.fromkeys(key.split("|")))

    def others(self, key: ChatKey, number: str) -> list[Account]:
        """The other accounts of a chat; in the chat with oneself, oneself."""
        numbers = [m for m in self.members(key) if m != number] or [number]
        return [self.accounts[m] for m in numbers]

    def chat_wid(self, key: ChatKey, viewer: Account) -> str:
        """How an account names a chat."""
        return key if key in self.groups else self.others(key, viewer.number)[0].shown_wid

    def seen(self, account: Account, viewer: Account) -> str:
        """The wid by which an account is shown to a viewer."""
        return account.wid if account.number == viewer.number else account.shown_wid

    def find(self, key: ChatKey, message_id: str) -> Envelope | None:
        """A message by chat and id."""
        return self._by_chat.get(key, {}).get(message_id)

    def open_chat(self, viewer: Account, wid: str) -> ChatKey:
        """A chat this account is in. Raises `RefusedError`."""
        key = self.chat_key(viewer, wid)
        if key is None:
            raise RefusedError("unknown_chat")
        if viewer.number not in self.members(key):
            raise RefusedError("not_a_member")
        return key

    def message(self, viewer: Account, chat: str, message_id: str) -> Envelope:
        """A message of a chat this account is in. Raises `RefusedError`."""
        envelope = self.find(self.open_chat(viewer, chat), message_id)
        if envelope is None:
            raise RefusedError("unknown_chat")
        return envelope

    def history(self, key: ChatKey) -> list[Envelope]:
        """A chat's messages, oldest first."""
        return list(self._by_chat.get(key, {}).values())

    def chat_info(self, key: ChatKey, viewer: Account) -> wire.ChatInfo:
        """A chat as an account sees it."""
        history = self.history(key)
        ts = history[-1].ts if history else 0
        unread = sum(
            1
            for e in history
            if e.sender != viewer.number and e.acks.get(viewer.number, 9) < wire.ACK_READ
        )
        group = self.groups.get(key)
        if group is not None:
            people = tuple(self.accounts[m].shown_wid for m in group.members)
            return wire.ChatInfo(
                wid=key, name=group.name, participants=people, unread=unread, ts=ts
            )
        other = self.others(key, viewer.number)[0]
        return wire.ChatInfo(
            wid=other.shown_wid, name=other.name, phone=self._phone(other), unread=unread, ts=ts
        )

    def chats(self, viewer: Account) -> list[wire.ChatInfo]:
        """An account's chats, newest first."""
        keys = {k for k in self._by_chat if viewer.number in self.members(k)}
        keys |= {g.wid for g in self.groups.values() if viewer.number in g.members}
        infos = [self.chat_info(k, viewer) for k in keys]
        return sorted(infos, key=lambda c: (-c.ts, c.wid))

    def contacts(self, viewer: Account) -> list[wire.ContactInfo]:
        """Everyone else: in the sandbox all know all."""
        return [
            wire.ContactInfo(
                wid=a.shown_wid,
                name=a.name,
                lid=a.lid_wid,
                pushname=a.name,
                phone=self._phone(a),
                business=a.business,
            )
            for a in self.accounts.values()
            if a.number != viewer.number
        ]

    def group_info(self, viewer: Account, wid: str) -> wire.GroupInfo | None:
        """A group as a member sees it; None for everyone else."""
        group = self.groups.get(wid)
        if group is None or viewer.number not in group.members:
            return None
        people = [self.accounts[m] for m in group.members]
        return wire.GroupInfo(
            wid=wid,
            name=group.name,
            participants=tuple(
                wire.Participant(
                    wid=self.seen(a, viewer), admin=a.number in group.admins, phone=self._phone(a)
                )
                for a in people
            ),
            owner=self.seen(self.accounts[group.owner], viewer),
            created_ts=group.created_ts,
            description=group.description,
            announce_only=group.announce_only,
            picture=group.picture,
        )

    def profile(self, viewer: Account, wid: str) -> wire.ProfileInfo | None:
        """The profile behind a wid; an empty one is the viewer's own."""
        group = self.groups.get(wid)
        if group is not None:
            return wire.ProfileInfo(wid=wid, name=group.name, picture=group.picture)
        account = self.account_of(wid) if wid else viewer
        if account is None:
            return None
        return wire.ProfileInfo(
            wid=self.seen(account, viewer),
            name=account.name,
            lid=account.lid_wid,
            about=account.about,
            picture=account.picture,
        )

    def _phone(self, account: Account) -> str:
        return account.wid if account.shown_wid != account.wid else ""

    def view(self, envelope: Envelope, viewer: Account) -> wire.Message:
        """A message as an account sees it."""
        sender = self.accounts[envelope.sender]
        mine = sender.number == viewer.number
        quoted = self.find(envelope.chat, envelope.quoted_id) if envelope.quoted_id else None
        return wire.Message(
            id=envelope.id,
            chat=self.chat_wid(envelope.chat, viewer),
            sender=self.seen(sender, viewer),
            from_me=mine,
            type=envelope.type,
            ts=envelope.ts,
            quoted_id=quoted.id if quoted else "",
            quoted_sender=self._sender_wid(quoted, viewer) if quoted else "",
            ack=envelope.ack if mine else envelope.acks.get(viewer.number, wire.ACK_SENT),
            sender_name=sender.name,
            edited=envelope.edited,
            deleted=envelope.deleted,
            **({} if envelope.deleted else content_of(envelope)),
        )

    def _sender_wid(self, envelope: Envelope, viewer: Account) -> str:
        return self.seen(self.accounts[envelope.sender], viewer)


def content_of(message: wire.Send | Envelope) -> dict[str, Any]:
    """What is in a message, by field."""
    return {name: getattr(message, name) for name in CONTENT_FIELDS}
