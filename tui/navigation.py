"""Navigation: how a screen asks for another one.

Owns the message. The application alone knows every screen.
"""

from textual.message import Message

from tui.commands import Command


class Go(Message):
    """Go there; `on_top` keeps the screen that asks below, so that esc comes back to it."""

    def __init__(self, command: Command, *, on_top: bool = False) -> None:
        super().__init__()
        self.command = command
        self.on_top = on_top
