"""An entry: one event on its way to the stream.

Owns what is known of it until the stream has it. Never moves it: the lane and the journal do.
"""

import asyncio

from schemas.events import Event
from schemas.facts import fact_born_at


class Entry:
    """An event that waits. `settled` is set once a crash of this process can no longer lose it:
    the stream has it, or the journal."""

    __slots__ = ("born_at", "event", "gone", "number", "on_disk", "settled", "size")

    def __init__(self, event: Event) -> None:
        self.event = event
        self.born_at = fact_born_at(event.data, event.at)
        """Before when nobody can have published it (Unix seconds); 0: not known."""
        self.number = 0
        """Its number in the journal, from 1; 0: it has none yet."""
        self.size = 0
        """Bytes it takes in the journal."""
        self.on_disk = False
        self.gone = False
        """The stream has it (or never will)."""
        self.settled = asyncio.Event()
