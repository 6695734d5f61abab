"""The help: keys from the action registry, the signs from the state tables.

Owns the page's order. Never lists a key or a sign of its own.
"""

from itertools import groupby
from operator import attrgetter
from typing import ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.actions import PAST_ACTIONS, TABLE_KEYS, on_screen, remapped
from tui.commands import COMMANDS
from tui.desk import Desk
from tui.rows.state_words import DOUBT_GLYPH, NODE_WORDS, SESSION_WORDS, StateWord

_KEY_WIDTH: Final = 24
_SIGN_WIDTH: Final = 15


class HelpScreen(ModalScreen[None]):
    """Closed by esc, ?, q or enter."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q,enter", "dismiss", "Close"),
    ]
    DEFAULT_CSS = """
    HelpScreen {
        align: center middle;
        #help {
            width: 80; max-width: 100%; height: auto; max-height: 100%; background: $surface;
            border: solid $primary; border-title-style: bold; padding: 0 1;
            scrollbar-size-vertical: 1;
        }
        Static { width: 1fr; height: auto; }
    }
    """

    def __init__(self, view: str, desk: Desk) -> None:
        super().__init__()
        self._view = view
        self._desk = desk

    def compose(self) -> ComposeResult:
        """One scrolling page."""
        with VerticalScroll(id="help") as page:
            page.border_title = f"Help: {self._view} (esc closes)"
            yield Static(help_text(self._view, self._desk))


def help_text(view: str, desk: Desk) -> Text:
    """The page as text: the keys of this screen, all commands, all signs."""
    bold = "bold"
    text = Text()
    why = desk.why_read_only
    if why:
        text.append(f"{why}: keys marked * are refused.\n")
    else:
        text.append("Keys marked * change the fleet; what is dangerous asks first.\n")
    text.append("Dim rows are old or unconfirmed. Times of day are UTC. Numbers are masked.\n")
    there = on_screen(view) + (PAST_ACTIONS if desk.settings.at is not None else ())
    shown = remapped(there, desk.settings.keymap)
    for group, actions in groupby(sorted(shown, key=attrgetter("group")), attrgetter("group")):
        text.append(f"\n{group}\n", bold)
        for action in actions:
            star = "*" if action.changes else " "
            text.append(f" {star}{action.shown:<{_KEY_WIDTH - 2}}", bold)
            text.append(f"{action.explanation}\n")
        if group == "Move":
            for keys, explanation in TABLE_KEYS:
                text.append(f"  {keys:<{_KEY_WIDTH - 2}}", bold)
                text.append(f"{explanation}\n")
    text.append("\nCommands\n", bold)
    for word in COMMANDS:
        names = " ".join((word.name, *word.short))
        wanted = f" <{word.argument}>" if word.argument else ""
        text.append(f"  :{names}{wanted}".ljust(_KEY_WIDTH + _SIGN_WIDTH - 5), bold)
        text.append(f"{word.explanation}\n")
    _append_signs(text, "Sessions", list(SESSION_WORDS.values()))
    text.append(f"  {DOUBT_GLYPH} was online", bold)
    text.append("    the last word of a node that is silent or cannot be heard\n")
    _append_signs(text, "Nodes", list(NODE_WORDS.values()))
    text.rstrip()
    return text


def _append_signs(text: Text, title: str, signs: list[StateWord]) -> None:
    text.append(f"\n{title}\n", "bold")
    for place, sign in enumerate(signs, 1):
        text.append("  " + f"{sign.glyph} {sign.word}".ljust(_SIGN_WIDTH))
        if place % 4 == 0 or place == len(signs):
            text.append("\n")
