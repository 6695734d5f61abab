"""The card: what is known of the one thing that a screen is about, in columns above its table.

Owns the lay-out only.
"""

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.geometry import Size
from textual.widget import Widget

from tui.rows.cards import Fact, card_lines
from tui.rows.cells import Severity


class Card(Widget):
    """As high as it needs."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"card--{severity.value}" for severity in Severity} | {
        "card--label"
    }
    DEFAULT_CSS = """
    Card {
        height: auto; max-height: 12; padding: 0 1; background: $background;
        .card--label { color: $text-muted; }
        .card--good { color: $success; }
        .card--busy { color: $secondary; }
        .card--warn { color: $warning; }
        .card--bad { color: $error; text-style: bold; }
        .card--muted { color: $text-muted; }
    }
    """

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._facts: Sequence[Fact] = ()

    def show(self, facts: Sequence[Fact]) -> None:
        """Say this from now on."""
        if facts != self._facts:
            width = self.size.width
            before, self._facts = len(card_lines(self._facts, width)), facts
            self.refresh(layout=len(card_lines(facts, width)) != before)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Its lines at this width."""
        return len(card_lines(self._facts, width))

    def render(self) -> Text:
        """Label and value, in columns."""
        text = Text(no_wrap=True)
        label = self.get_component_rich_style("card--label", partial=True)
        for number, line in enumerate(card_lines(self._facts, self.size.width)):
            if number:
                text.append("\n")
            for piece in line:
                style = self.get_component_rich_style(f"card--{piece.severity.value}", partial=True)
                text.append(piece.label, label).append(piece.value, style)
        return text
