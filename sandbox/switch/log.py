"""The switch's log: the ground truth for loss, duplicates and split brain.

Owns the numbered entries, in memory and, if asked, in a JSONL file. Never holds message bodies:
a digest tells equal ones apart.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Literal

import msgspec

from schemas import switch_wire as wire

Kind = Literal[
    "message.accepted",
    "message.resent",
    "message.rejected",
    "message.stored",
    "message.read",
    "presence.shown",
    "group.changed",
    "call.changed",
    "profile.changed",
    "device.linked",
    "device.unlinked",
    "device.refused",
    "device.rolled_back",
    "line.opened",
    "line.closed",
    "hold.started",
    "hold.ended",
    "faults.set",
]


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One fact.

    `n`: 1, 2, 3…; `at_ms`: Unix ms; `message`: the number of the accepted message, shared by its
    later entries; `id`: the message's hex; `target`: the id of the message that a reaction, edit,
    delete or vote (its `type`) changed, with `message` that one's number; `chat`: the wid as the
    sender named it; `instances`: the browser runs concerned, older first.
    """

    n: int
    at_ms: int
    kind: Kind
    account: str = ""
    device_id: str = ""
    message: int = 0
    id: str = ""
    chat: str = ""
    target: str = ""
    type: str = ""
    body_digest: str = ""
    reason: str = ""
    instances: tuple[str, ...] = ()


class SwitchLog:
    """Append-only entries."""

    def __init__(self, now_ms: Callable[[], int], path: Path | None = None) -> None:
        self._now_ms = now_ms
        self._entries: list[Entry] = []
        self._file: IO[bytes] | None = path.open("ab") if path else None

    def write(self, kind: Kind, **fields: object) -> Entry:
        """Append a fact; `fields` are those of `Entry`."""
        entry = msgspec.convert(
            {"n": len(self._entries) + 1, "at_ms": self._now_ms(), "kind": kind, **fields}, Entry
        )
        self._entries.append(entry)
        if self._file is not None:
            self._file.write(msgspec.json.encode(entry) + b"\n")
            self._file.flush()
        return entry

    def since(self, n: int = 0) -> list[Entry]:
        """The entries after number `n`."""
        return self._entries[max(n, 0) :]

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            self._file.close()


def digest(body: str) -> str:
    """A short digest of a message's text."""
    return hashlib.sha256(body.encode()).hexdigest()[:16]


def digest_of(send: wire.Send) -> str:
    """A short digest of what is in a message: of its text, or what it has instead of one."""
    other = send.location or send.contacts or send.poll
    return digest(msgspec.json.encode(other).decode() if other else send.body)
