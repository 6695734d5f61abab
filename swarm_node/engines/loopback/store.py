"""What a loopback device keeps on disk: its key and link, chats, messages and freshness.

Owns what a change means and the state that all changes make. Every change is one line of the
journal, so a killed process leaves either the old or the new, and so does a copy of the files
taken at any moment. Everything is in memory as well, and the file grows until the next start:
enough for tests and load. Never talks to anybody.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from schemas import switch_wire as wire
from schemas.errors import BlazzError, ErrorCode
from swarm_node.engines.contract import SnapshotFiles
from swarm_node.journal import Journal

DIRECTORY: Final = "loopback"
SNAPSHOT_FILES: Final = SnapshotFiles(
    include=(DIRECTORY,), exclude=("*.tmp",), append_only=("*.log",)
)


_NOTHING: Final[dict[str, Any]] = {
    "body": "",
    "media": None,
    "location": None,
    "contacts": (),
    "poll": None,
    "preview": None,
    "deleted": True,
}
"""What is left of a message that was deleted."""


class LinkedDevice(msgspec.Struct, frozen=True):
    """The link, as the switch granted it."""

    device_id: str
    me: str
    lid: str
    pushname: str


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """One change: what is set takes the place of what was there."""

    key: str = ""
    device: LinkedDevice | None = None
    freshness: int | None = None
    chats: tuple[wire.ChatInfo, ...] = ()
    messages: tuple[wire.Message, ...] = ()
    acts: tuple[str, ...] = ()


class ProfileStore:
    """One device's profile. Calls are short and synchronous; use it from one thread."""

    def __init__(self, profile_dir: Path) -> None:
        directory = profile_dir / DIRECTORY
        directory.mkdir(parents=True, exist_ok=True)
        self.device: LinkedDevice | None = None
        self.freshness = 0
        self._pem = ""
        self._chats: dict[str, wire.ChatInfo] = {}
        self._messages: dict[str, dict[str, wire.Message]] = {}
        self._acts: dict[str, None] = {}
        self._journal = Journal(directory)
        for line in self._journal.read():
            self._apply(msgspec.json.decode(line, type=Change))
        self._journal.rewrite(self._everything())
        self.key = self._load_key()

    def close(self) -> None:
        """Close the file; everything is on disk already."""
        self._journal.close()

    # The link ----------------------------------------------------------------------------------

    def link(self, device: LinkedDevice) -> None:
        """Keep a link; it must be on disk before the device answers anything."""
        self._keep(Change(device=device))

    def unlink(self) -> None:
        """Forget everything of the account; a new key is made for the next link."""
        self._journal.rewrite(())
        self.device, self.freshness, self._pem = None, 0, ""
        self._chats.clear()
        self._messages.clear()
        self._acts.clear()
        self.key = self._load_key()

    def _load_key(self) -> ec.EllipticCurvePrivateKey:
        if not self._pem:
            self._keep(Change(key=_pem(ec.generate_private_key(ec.SECP256R1()))))
        key = serialization.load_pem_private_key(self._pem.encode(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise BlazzError(ErrorCode.SNAPSHOT_CORRUPT, "the profile's key is of another kind")
        return key

    # Chats and messages --------------------------------------------------------------------------

    def apply_sync(self, sync: wire.Sync) -> None:
        """Keep a part of the first sync."""
        self._keep(Change(chats=tuple(sync.chats), messages=tuple(sync.messages)))

    def apply_queued(self, frame: wire.QueuedFrame) -> bool:
        """Keep a queued frame and its number, together. False when it was kept before."""
        if frame.seq <= self.freshness:
            return False
        change = self._change_of(frame)
        self._keep(msgspec.structs.replace(change, freshness=frame.seq))
        return True

    def keep_sending(self, message: wire.Message) -> None:
        """Note an own message, before it is sent and when it is."""
        self._keep(Change(messages=(message,)))

    def keep_act(self, frame: wire.React | wire.Edit | wire.Delete) -> None:
        """Note a reaction, edit or delete of ours that is done, by its own id."""
        match frame:
            case wire.React():
                change = Change()
            case wire.Edit(body=body):
                change = self._altered(frame.id, frame.chat, body=body, edited=True)
            case wire.Delete():
                change = self._altered(frame.id, frame.chat, **_NOTHING)
        self._keep(msgspec.structs.replace(change, acts=(frame.own_id,)))

    def acted_before(self, own_id: str) -> bool:
        """Whether the reaction, edit or delete of this id is done."""
        return own_id in self._acts

    def keep_chat(self, chat: wire.ChatInfo) -> None:
        """Keep a chat that a query found."""
        self._keep(Change(chats=(chat,)))

    def sent_before(self, message_id: str) -> wire.Message | None:
        """An own message of this id, sent or about to be."""
        found = self._messages.get(message_id, {}).values()
        return next((message for message in found if message.from_me), None)

    def message(self, message_id: str, chat: str) -> wire.Message | None:
        """A message by id and chat."""
        return self._messages.get(message_id, {}).get(chat)

    def chat(self, wid: str) -> wire.ChatInfo | None:
        """A chat this device knows."""
        return self._chats.get(wid)

    def _change_of(self, frame: wire.QueuedFrame) -> Change:
        match frame:
            case wire.MessageIn(message=message):
                return Change(messages=(message,))
            case wire.Ack(ids=ids, chat=chat, ack=ack):
                known = (self.message(one, chat) for one in ids)
                return Change(
                    messages=tuple(
                        msgspec.structs.replace(message, ack=ack)
                        for message in known
                        if message is not None and message.ack < ack
                    )
                )
            case wire.Edited(id=message_id, chat=chat, body=body):
                return self._altered(message_id, chat, body=body, edited=True)
            case wire.Deleted(id=message_id, chat=chat):
                return self._altered(message_id, chat, **_NOTHING)
            case wire.ChatAdded(chat=info) | wire.GroupChanged(info=info):
                return Change(chats=(info,))
            case _:
                return Change()

    def _altered(self, message_id: str, chat: str, **fields: object) -> Change:
        message = self.message(message_id, chat)
        if message is None:
            return Change()
        return Change(messages=(msgspec.structs.replace(message, **fields),))

    # Changes -----------------------------------------------------------------------------------

    def _keep(self, change: Change) -> None:
        self._journal.append(msgspec.json.encode(change))
        self._apply(change)

    def _apply(self, change: Change) -> None:
        self._pem = change.key or self._pem
        self.device = change.device or self.device
        if change.freshness is not None:
            self.freshness = change.freshness
        for chat in change.chats:
            self._chats[chat.wid] = chat
        for message in change.messages:
            self._messages.setdefault(message.id, {})[message.chat] = message
        self._acts.update(dict.fromkeys(change.acts))

    def _everything(self) -> Iterator[bytes]:
        """The whole state, as few changes as can be."""
        if self._pem:
            first = Change(
                key=self._pem,
                device=self.device,
                freshness=self.freshness,
                chats=tuple(self._chats.values()),
                acts=tuple(self._acts),
            )
            yield msgspec.json.encode(first)
        for by_chat in self._messages.values():
            yield msgspec.json.encode(Change(messages=tuple(by_chat.values())))


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
