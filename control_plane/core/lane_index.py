"""A paced lane's index: which of its messages may come next, by chat and by class.

Owns the order: within a chat strictly as accepted, and among chats of one class as accepted.
Never a message's content, a clock or the stream: sequences and marks are handed in.
"""

from collections import deque

import msgspec

from control_plane.core.contacts import ChatMark
from control_plane.core.pacing import Standing, send_class
from schemas.pacing import PacingRules, SendClass


class _Waiting(msgspec.Struct, frozen=True):
    sequence: int
    mark: ChatMark


class LaneIndex:
    """One lane's messages that wait."""

    def __init__(self) -> None:
        self._chats: dict[str, deque[_Waiting]] = {}
        self._standings: dict[str, Standing] = {}
        self._last = 0

    def __len__(self) -> int:
        return sum(len(waiting) for waiting in self._chats.values())

    def add(self, sequence: int, mark: ChatMark) -> None:
        """A message lies in the lane; they come in their order, and a repeat changes nothing."""
        if sequence > self._last:
            self._last = sequence
            self._chats.setdefault(mark.digest, deque()).append(_Waiting(sequence, mark))

    def remove(self, sequence: int) -> None:
        """A message left the lane: always the first of its chat."""
        for digest, waiting in self._chats.items():
            if waiting[0].sequence == sequence:
                waiting.popleft()
                if not waiting:
                    del self._chats[digest]
                    self._standings.pop(digest, None)
                return

    def unknown_chats(self) -> list[str]:
        """Digests of chats whose standing has to be learnt first."""
        return [digest for digest in self._chats if digest not in self._standings]

    def learn(self, digest: str, standing: Standing) -> bool:
        """A chat's standing; False if none of its messages waits here."""
        if digest not in self._chats:
            return False
        self._standings[digest] = standing
        return True

    def firsts(self, now: float, rules: PacingRules) -> dict[SendClass, int]:
        """The sequence that comes next in each class, those that go first before the others.

        Linear in the number of chats. A chat that is not known yet is left out.
        """
        found: dict[SendClass, int] = {}
        for digest, waiting in self._chats.items():
            standing = self._standings.get(digest)
            if standing is None:
                continue
            first = waiting[0]
            sending = send_class(first.mark, standing, now, rules)
            found[sending] = min(first.sequence, found.get(sending, first.sequence))
        return {sending: found[sending] for sending in SendClass if sending in found}
