"""The deck: how a person moves through the past.

Owns the contract between the application's keys and the feed that plays the past.
"""

from typing import Protocol


class Deck(Protocol):
    """Each wish is carried out in turn; what it led to comes as batches."""

    def step_event(self, direction: int) -> None:
        """To the next event (1) or the one before (-1)."""

    def step_s(self, seconds: float) -> None:
        """So many seconds on, or back."""

    def play(self) -> None:
        """Let time run, or hold it."""
