"""Which events a reader wants: names from the query, checked.

Owns the parsing of `types` and the progress that a filter hides. Never reads a feed.
"""

from typing import Annotated, Final

from litestar.params import QueryParameter

from control_plane.http.problems import invalid
from control_plane.ports import FeedGap, FeedItem
from schemas.errors import BlazzError
from schemas.events import EVENT_TYPES, event_name

NAMES: Final = frozenset(str(kind.__struct_config__.tag) for kind in EVENT_TYPES)

Types = Annotated[
    str | None,
    QueryParameter(
        name="types",
        max_length=1_000,
        description="Only these events: names or families, with commas: "
        "`message.received,session.*`. A `gap` is told in any case.",
    ),
]


class EventFilter:
    """Says whether an event is wanted; without names everything is."""

    def __init__(self, names: frozenset[str] | None) -> None:
        self._names = names

    def wants(self, item: FeedItem | FeedGap) -> bool:
        """Whether to send it."""
        if self._names is None or isinstance(item, FeedGap):
            return True
        return event_name(item.event.data) in self._names


def event_filter(types: str | None) -> EventFilter:
    """The filter that a query asks for. Raises `validation_failed` for a name that is none."""
    if types is None:
        return EventFilter(None)
    wanted: set[str] = set()
    for word in filter(None, (word.strip() for word in types.split(","))):
        found = _named(word)
        if not found:
            raise unknown(word)
        wanted |= found
    return EventFilter(frozenset(wanted))


def unknown(word: str) -> BlazzError:
    """The error for a name that no event has."""
    return invalid("types", f"No event is called {word[:64]!r}; see docs/events.md.")


def _named(word: str) -> set[str]:
    if word.endswith(".*"):
        return {name for name in NAMES if name.startswith(word[:-1])}
    return {word} & NAMES
