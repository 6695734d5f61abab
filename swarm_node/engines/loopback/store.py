"""What a loopback device keeps on disk: its key and link, chats, messages and freshness.

Owns one SQLite file in the profile directory. Every change is one transaction, so a killed process
leaves either the old or the new. Never talks to anybody.
"""

import sqlite3
from pathlib import Path
from typing import Final

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from schemas import switch_wire as wire
from swarm_node.engines.contract import SnapshotFiles

FILE_NAME: Final = "loopback.sqlite3"
SNAPSHOT_FILES: Final = SnapshotFiles(include=(FILE_NAME, FILE_NAME + "-wal"))
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS chats (wid TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS messages (
    id TEXT NOT NULL, chat TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (id, chat)
) WITHOUT ROWID;
"""


class LinkedDevice(msgspec.Struct, frozen=True):
    """The link, as the switch granted it."""

    device_id: str
    me: str
    lid: str
    pushname: str


class ProfileStore:
    """One device's file. Calls are short and synchronous; use it from one thread."""

    def __init__(self, profile_dir: Path) -> None:
        profile_dir.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(profile_dir / FILE_NAME, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_SCHEMA)
        self.key = self._load_key()
        self.device = self._load_device()
        self.freshness = int(self._fact("freshness") or b"0")

    def close(self) -> None:
        """Close the file; everything is on disk already."""
        self._db.close()

    # The link ----------------------------------------------------------------------------------

    def link(self, device: LinkedDevice) -> None:
        """Keep a link; it must be on disk before the device answers anything."""
        self._set_fact("device", msgspec.json.encode(device))
        self.device = device

    def unlink(self) -> None:
        """Forget everything of the account; a new key is made for the next link."""
        with _Transaction(self._db):
            for table in ("facts", "chats", "messages"):
                self._db.execute(f"DELETE FROM {table}")  # noqa: S608 - names are ours
        self.device, self.freshness = None, 0
        self.key = self._load_key()

    def _load_key(self) -> ec.EllipticCurvePrivateKey:
        pem = self._fact("key")
        if pem is not None:
            key = serialization.load_pem_private_key(pem, password=None)
            if isinstance(key, ec.EllipticCurvePrivateKey):
                return key
        made = ec.generate_private_key(ec.SECP256R1())
        self._set_fact(
            "key",
            made.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )
        return made

    def _load_device(self) -> LinkedDevice | None:
        raw = self._fact("device")
        return msgspec.json.decode(raw, type=LinkedDevice) if raw is not None else None

    # Chats and messages --------------------------------------------------------------------------

    def apply_sync(self, sync: wire.Sync) -> None:
        """Keep a part of the first sync."""
        with _Transaction(self._db):
            for chat in sync.chats:
                self._put_chat(chat)
            for message in sync.messages:
                self._put_message(message)

    def apply_queued(self, frame: wire.QueuedFrame) -> bool:
        """Keep a queued frame and its number, together. False when it was kept before."""
        if frame.seq <= self.freshness:
            return False
        with _Transaction(self._db):
            self._apply(frame)
            self._set_fact("freshness", str(frame.seq).encode())
        self.freshness = frame.seq
        return True

    def _apply(self, frame: wire.QueuedFrame) -> None:
        match frame:
            case wire.MessageIn(message=message):
                self._put_message(message)
            case wire.Ack(ids=ids, chat=chat, ack=ack):
                for message_id in ids:
                    self._raise_ack(message_id, chat, ack)
            case wire.Edited(id=message_id, chat=chat, body=body):
                self._change(message_id, chat, body=body, edited=True)
            case wire.Deleted(id=message_id, chat=chat):
                self._change(message_id, chat, body="", media=None, deleted=True)
            case wire.ChatAdded(chat=chat):
                self._put_chat(chat)
            case _:
                pass

    def keep_sending(self, message: wire.Message) -> None:
        """Note an own message, before it is sent and when it is."""
        with _Transaction(self._db):
            self._put_message(message)

    def sent_before(self, message_id: str) -> wire.Message | None:
        """An own message of this id, sent or about to be."""
        rows = self._db.execute("SELECT body FROM messages WHERE id = ?", (message_id,))
        for (body,) in rows:
            message = msgspec.json.decode(body, type=wire.Message)
            if message.from_me:
                return message
        return None

    def message(self, message_id: str, chat: str) -> wire.Message | None:
        """A message by id and chat."""
        row = self._db.execute(
            "SELECT body FROM messages WHERE id = ? AND chat = ?", (message_id, chat)
        ).fetchone()
        return msgspec.json.decode(row[0], type=wire.Message) if row else None

    def chat(self, wid: str) -> wire.ChatInfo | None:
        """A chat this device knows."""
        row = self._db.execute("SELECT body FROM chats WHERE wid = ?", (wid,)).fetchone()
        return msgspec.json.decode(row[0], type=wire.ChatInfo) if row else None

    def _raise_ack(self, message_id: str, chat: str, ack: int) -> None:
        message = self.message(message_id, chat)
        if message is not None and message.ack < ack:
            self._put_message(msgspec.structs.replace(message, ack=ack))

    def _change(self, message_id: str, chat: str, **changes: object) -> None:
        message = self.message(message_id, chat)
        if message is not None:
            self._put_message(msgspec.structs.replace(message, **changes))

    def _put_message(self, message: wire.Message) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO messages (id, chat, body) VALUES (?, ?, ?)",
            (message.id, message.chat, msgspec.json.encode(message)),
        )

    def _put_chat(self, chat: wire.ChatInfo) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO chats (wid, body) VALUES (?, ?)",
            (chat.wid, msgspec.json.encode(chat)),
        )

    def keep_chat(self, chat: wire.ChatInfo) -> None:
        """Keep a chat that a query found."""
        with _Transaction(self._db):
            self._put_chat(chat)

    # Facts --------------------------------------------------------------------------------

    def _fact(self, name: str) -> bytes | None:
        row = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def _set_fact(self, name: str, value: bytes) -> None:
        self._db.execute("INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)", (name, value))


class _Transaction:
    """All of the block's changes, or none."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._db.execute("COMMIT" if kind is None else "ROLLBACK")
