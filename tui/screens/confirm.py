"""Confirmation: what is about to be done, to how many and to which.

Owns the question. "No" is what enter, esc and a stray key mean.
"""

from collections.abc import Sequence
from typing import ClassVar, Final

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

_SHOWN_MAX: Final = 8


class ConfirmScreen(ModalScreen[bool]):
    """Dismissed with True only by `y`, or by typing `word` where one is asked for."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,n,enter", "answer(False)", "No"),
        Binding("y", "answer(True)", "Yes"),
    ]
    DEFAULT_CSS = """
    ConfirmScreen {
        align: center middle;
        #confirm {
            width: 70; max-width: 100%; height: auto; max-height: 100%; background: $surface;
            border: solid $error; border-title-style: bold; padding: 0 1;
        }
        Static { width: 1fr; height: auto; }
        Input { height: 1; border: none; padding: 0; background: $panel; }
        Input:focus { border: none; }
    }
    """

    def __init__(self, title: str, warning: str, labels: Sequence[str], word: str = "") -> None:
        super().__init__()
        self._title = title
        self._warning = warning
        self._labels = labels
        self._word = word

    def compose(self) -> ComposeResult:
        """The question, the targets, and how to answer."""
        with Vertical(id="confirm") as page:
            page.border_title = f"{self._title}?"
            yield Static(self._question())
            if self._word:
                yield Input(id="confirm-word", placeholder=self._word)

    def _question(self) -> Text:
        text = Text()
        if self._warning:
            text.append(f"{self._warning}\n\n")
        for label in self._labels[:_SHOWN_MAX]:
            text.append(f"  {label}\n")
        if len(self._labels) > _SHOWN_MAX:
            text.append(f"  and {len(self._labels) - _SHOWN_MAX} more\n")
        text.append("\n")
        if self._word:
            text.append("Type ").append(self._word, "bold").append(" and enter; esc leaves all be.")
        else:
            text.append("y", "bold").append(" yes    ").append("n", "bold").append(" no")
        return text

    def action_answer(self, sure: bool) -> None:
        """Yes only where no word is asked for."""
        self.dismiss(sure and not self._word)

    @on(Input.Submitted)
    def _typed(self, event: Input.Submitted) -> None:
        event.stop()
        if event.value == self._word:
            self.dismiss(True)
        else:
            self.query_one(Input).value = ""
            self.notify("That is not the name; nothing was done", severity="warning")
