"""The prompt line: one input, for a filter or a command.

Owns the text being typed. Says what was typed by messages; never applies it.
"""

from collections.abc import Callable
from typing import ClassVar, Literal

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.suggester import Suggester
from textual.widgets import Input, Label

Purpose = Literal["filter", "command"]
_MARKS: dict[Purpose, str] = {"filter": "/", "command": ":"}
TEXT_CHARS_MAX = 100


class Prompt(Horizontal):
    """Hidden until opened; enter gives the text, esc closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel", show=False),
        Binding("tab", "complete", "Complete", show=False, priority=True),
    ]
    DEFAULT_CSS = """
    Prompt {
        height: 1; display: none; background: $surface;
        &.-open { display: block; }
        Label { width: auto; padding: 0 1; color: $primary; text-style: bold; }
        #prompt-trouble { color: $error; dock: right; }
        Input { width: 1fr; height: 1; border: none; padding: 0; background: $surface; }
        Input:focus { border: none; }
    }
    """

    class Typed(Message):
        """The text changed while it is being typed."""

        def __init__(self, purpose: Purpose, text: str) -> None:
            super().__init__()
            self.purpose = purpose
            self.text = text

    class Given(Typed):
        """Enter was pressed."""

    class Cancelled(Message):
        """Esc was pressed."""

        def __init__(self, purpose: Purpose) -> None:
            super().__init__()
            self.purpose = purpose

    def __init__(self, completed: Callable[[str], str | None], *, id: str) -> None:
        super().__init__(id=id)
        self._purpose: Purpose = "filter"
        self._completed = completed

    def compose(self) -> ComposeResult:
        """The mark, the input, and what is wrong with it."""
        yield Label("/", id="prompt-mark", markup=False)
        yield Input(
            id="prompt-input",
            max_length=TEXT_CHARS_MAX,
            select_on_focus=False,
            suggester=_CommandSuggester(self._suggest),
        )
        yield Label("", id="prompt-trouble", markup=False)

    def open(self, purpose: Purpose, text: str = "") -> None:
        """Show it and take the keys."""
        self._purpose = purpose
        self.query_one("#prompt-mark", Label).update(_MARKS[purpose])
        field = self.query_one(Input)
        with field.prevent(Input.Changed):
            field.value = text
        field.cursor_position = len(text)
        self.say("")
        self.add_class("-open")
        # At once: `focus()` would wait its turn, and what is typed meanwhile would be lost.
        self.screen.set_focus(field)

    @property
    def is_open(self) -> bool:
        """Whether something is being typed."""
        return self.has_class("-open")

    def catch_up(self, event: events.Key) -> bool:
        """Take a key that came to the screen: it was pressed for the prompt before it had the
        keys, for else its field would have kept it. Whether it was taken."""
        field = self.query_one(Input)
        if event.key == "enter":
            self.post_message(self.Given(self._purpose, field.value))
        elif event.key == "tab":
            self.action_complete()
        elif event.is_printable and event.character:
            field.insert_text_at_cursor(event.character)
        else:
            return False
        return True

    def close(self) -> None:
        """Hide it; the screen gives the keys to a table again."""
        self.remove_class("-open")

    def say(self, trouble: str) -> None:
        """Tell what is wrong with the text."""
        self.query_one("#prompt-trouble", Label).update(trouble)

    def _suggest(self, text: str) -> str | None:
        return self._completed(text) if self._purpose == "command" else None

    def action_complete(self) -> None:
        """Take the rest that is suggested."""
        field = self.query_one(Input)
        rest = self._suggest(field.value)
        if rest is not None:
            field.value = rest
            field.cursor_position = len(rest)

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Typed(self._purpose, event.value))

    @on(Input.Submitted)
    def _given(self, event: Input.Submitted) -> None:
        event.stop()
        self.post_message(self.Given(self._purpose, event.value))

    def action_cancel(self) -> None:
        """Close without giving."""
        self.post_message(self.Cancelled(self._purpose))


class _CommandSuggester(Suggester):
    """Shows, in grey, what tab would add. Uncached: nodes and sessions come and go."""

    def __init__(self, completed: Callable[[str], str | None]) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._completed = completed

    async def get_suggestion(self, value: str) -> str | None:
        """The whole text with its rest."""
        return self._completed(value)
