"""The ledger's index in memory: the order of recently listed sessions' messages.

Owns a bounded cache, about 250 bytes a message: `entries_max` of them, whole sessions at a time,
least recently used first out. Never holds a body and never is the truth: a session that is not
here is read from the stream again (once through all of its messages).
"""

from collections import OrderedDict

import msgspec

from schemas.messages import ChatMessage


class IndexEntry(msgspec.Struct, frozen=True):
    """What is needed to order and filter."""

    message_id: str
    created_at: float
    chat_id: str

    @classmethod
    def of(cls, message: ChatMessage) -> "IndexEntry":
        """Take it from a message."""
        return cls(message.message_id, message.created_at, message.chat_id)

    @property
    def position(self) -> tuple[float, str]:
        """Its place in the order."""
        return self.created_at, self.message_id


Entries = dict[str, IndexEntry]
SessionKey = tuple[str, str]


class LedgerIndex:
    """(tenant, session) → entries."""

    def __init__(self, entries_max: int) -> None:
        self._entries_max = entries_max
        self._sessions: OrderedDict[SessionKey, Entries] = OrderedDict()
        self._loading: dict[SessionKey, Entries] = {}
        self._total = 0

    def __len__(self) -> int:
        return self._total

    def entries(self, key: SessionKey) -> Entries | None:
        """A session's entries if they are here: a mapping that goes on changing."""
        found = self._sessions.get(key)
        if found is not None:
            self._sessions.move_to_end(key)
        return found

    def put(self, key: SessionKey, message: ChatMessage) -> None:
        """A message was written."""
        entry = IndexEntry.of(message)
        if key in self._loading:
            self._loading[key][entry.message_id] = entry
        found = self._sessions.get(key)
        if found is not None:
            self._total += entry.message_id not in found
            found[entry.message_id] = entry
            self._shrink()

    def begin_load(self, key: SessionKey) -> None:
        """From here on, what is written is kept for `end_load`."""
        self._loading.setdefault(key, {})

    def end_load(self, key: SessionKey, loaded: Entries | None) -> Entries:
        """The session was read (None: that failed); what was written meanwhile is newer."""
        written = self._loading.pop(key, {})
        if loaded is None:
            return {}
        entries = loaded | written
        self._total += len(entries) - len(self._sessions.get(key, {}))
        self._sessions[key] = entries
        self._sessions.move_to_end(key)
        self._shrink()
        return entries

    def clear(self) -> None:
        """Forget all: something was missed."""
        self._sessions.clear()
        self._total = 0

    def _shrink(self) -> None:
        while self._total > self._entries_max and self._sessions:
            _key, entries = self._sessions.popitem(last=False)
            self._total -= len(entries)
