"""The one-line widgets: header, banner, footer.

Own the drawing only: what they say is made in `rows.header` and `actions`. Never scroll, never
take the focus.
"""

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual.widget import Widget

from tui.actions import Action
from tui.rows.cells import Cell, Severity, fit
from tui.rows.header import Banner

_TITLE = " Blazz "
_GAP = 2


class HeaderBar(Widget):
    """Context, role, bus, age of the last data, counts; what does not fit goes from the end."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"bar--{severity.value}" for severity in Severity} | {
        "bar--title"
    }
    DEFAULT_CSS = """
    HeaderBar {
        height: 1; background: $panel; color: $foreground;
        .bar--title { background: $primary; color: $background; text-style: bold; }
        .bar--good { color: $success; }
        .bar--busy { color: $secondary; }
        .bar--warn { color: $warning; text-style: bold; }
        .bar--bad { color: $error; text-style: bold; }
        .bar--muted { color: $text-muted; }
        &.-production { background: $error 45%; }
        &.-production .bar--title { background: $error; }
        &.-production .bar--bad { color: $foreground; }
    }
    """

    def __init__(self, *, production: bool = False, id: str) -> None:
        super().__init__(id=id, classes="-production" if production else None)
        self._parts: Sequence[Cell] = ()

    def show(self, parts: Sequence[Cell]) -> None:
        """Say this from now on."""
        if parts != self._parts:
            self._parts = parts
            self.refresh()

    def render(self) -> Text:
        """One line, no wider than the widget."""
        text = Text(no_wrap=True)
        text.append(_TITLE, self.get_component_rich_style("bar--title"))
        for part in self._parts:
            if text.cell_len + _GAP + cell_len(part.text) > self.size.width:
                break
            style = self.get_component_rich_style(f"bar--{part.severity.value}", partial=True)
            text.append(" " * _GAP).append(part.text, style)
        return text


class MixBar(Widget):
    """What states the fleet's sessions are in, and how many were online lately."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"bar--{severity.value}" for severity in Severity}
    DEFAULT_CSS = """
    MixBar {
        height: 1; background: $background; padding: 0 1;
        .bar--good { color: $success; }
        .bar--busy { color: $secondary; }
        .bar--warn { color: $warning; }
        .bar--bad { color: $error; text-style: bold; }
        .bar--muted { color: $text-muted; }
    }
    """

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._parts: Sequence[Cell] = ()

    def show(self, parts: Sequence[Cell]) -> None:
        """Say this from now on."""
        if parts != self._parts:
            self._parts = parts
            self.refresh()

    def render(self) -> Text:
        """One line; what does not fit goes from the end."""
        text = Text(no_wrap=True)
        for part in self._parts:
            if text.cell_len + _GAP + cell_len(part.text) > self.size.width:
                break
            style = self.get_component_rich_style(f"bar--{part.severity.value}", partial=True)
            text.append(part.text, style).append(" " * _GAP)
        return text


class BannerBar(Widget):
    """A sentence that must be read before the tables are believed; takes no room when silent."""

    DEFAULT_CSS = """
    BannerBar {
        height: 1; display: none; padding: 0 1; text-style: bold;
        &.-busy { display: block; background: $secondary 30%; color: $foreground; }
        &.-warn { display: block; background: $warning 35%; color: $foreground; }
        &.-bad { display: block; background: $error; color: $background; }
        &:nocolor { text-style: bold reverse; }
    }
    """

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._banner: Banner | None = None

    def show(self, banner: Banner | None) -> None:
        """Say this, or nothing."""
        if banner == self._banner:
            return
        self._banner = banner
        for severity in (Severity.BUSY, Severity.WARN, Severity.BAD):
            wanted = banner is not None and banner.severity is severity
            self.set_class(wanted, f"-{severity.value}")
        self.refresh()

    def render(self) -> Text:
        """One line, cut at the width."""
        words = self._banner.text if self._banner else ""
        return Text(fit(words, self.size.width), no_wrap=True)


class FooterBar(Widget):
    """Keys and their labels from the action registry, as many as fit."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"footer--key"}
    DEFAULT_CSS = """
    FooterBar {
        height: 1; background: $panel; color: $text-muted;
        .footer--key { color: $primary; text-style: bold; }
    }
    """

    def __init__(self, actions: Sequence[Action], *, id: str) -> None:
        super().__init__(id=id)
        self._actions = actions

    def render(self) -> Text:
        """One line; actions that do not fit are in the help."""
        key_style = self.get_component_rich_style("footer--key", partial=True)
        text = Text(no_wrap=True)
        for action in self._actions:
            width = cell_len(action.shown) + cell_len(action.label) + 3
            if text.cell_len + width > self.size.width:
                break
            text.append(f" {action.shown}", key_style).append(f" {action.label} ")
        return text
