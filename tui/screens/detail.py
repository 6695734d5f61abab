"""Details: a row's whole story, or its records, to read and scroll.

Owns the page only; the text is made in `rows`.
"""

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static


class DetailScreen(ModalScreen[None]):
    """Closed by esc, q, d, y or enter; `c` copies it all."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,d,y,enter", "dismiss", "Close"),
        Binding("c", "copy", "Copy"),
    ]
    DEFAULT_CSS = """
    DetailScreen {
        align: center middle;
        #detail {
            width: 100; max-width: 100%; height: auto; max-height: 100%; background: $surface;
            border: solid $primary; border-title-style: bold; padding: 0 1;
            scrollbar-size-vertical: 1;
        }
        Static { width: 1fr; height: auto; }
    }
    """

    def __init__(self, title: str, text: str) -> None:
        super().__init__()
        self._title = title
        self._text = text

    def compose(self) -> ComposeResult:
        """One scrolling page."""
        with VerticalScroll(id="detail") as page:
            page.border_title = self._title.replace("[", "\\[")
            page.border_subtitle = "esc closes, c copies"
            yield Static(Text(self._text))

    def action_copy(self) -> None:
        """Copy the text."""
        self.app.copy_to_clipboard(self._text)
        self.notify("Copied", timeout=3)
