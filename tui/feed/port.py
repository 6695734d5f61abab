"""The feed's port: where the fleet's changes come from.

Owns the contract. The real one is `bus_feed.BusFeed`; a recording can stand in its place.
"""

from collections.abc import Callable
from typing import Protocol

from tui.changes import Batch


class Feed(Protocol):
    """A source of changes, run as one task for the life of the application."""

    async def run(self, post: Callable[[Batch], object]) -> None:
        """Post batches until cancelled. Raises BlazzError for what no waiting mends."""

    def taken(self) -> None:
        """The application has folded one batch: another may be posted."""
