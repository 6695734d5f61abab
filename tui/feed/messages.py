"""What the feed says to the application: immutable messages, the only way in.

Owns the message classes. Never a reference to a widget or to the view.
"""

from textual.message import Message

from tui.changes import Batch


class FeedBatch(Message):
    """Changes to fold."""

    def __init__(self, batch: Batch) -> None:
        super().__init__()
        self.batch = batch
