"""A virtual table: draws only the lines on the screen, over a list of any length.

Owns the cursor, scrolling and drawing. Never knows what its rows mean: it holds keys and asks for
a row when a line of it is drawn. Says what happened by messages; attributes come down.
"""

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.rows.cells import GAP, Column, Placed, Row, Severity, fit, place

CURSOR_MARK = "▌"
MARKED = "✓"
_MARGIN = 2
"""The cursor's mark and the operator's before the first cell."""


class VirtualTable(ScrollView, can_focus=True):
    """Rows by key, under a fixed heading. Lines are redrawn only where they changed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup,ctrl+b", "page(-1)", "Page up", show=False),
        Binding("pagedown,ctrl+f", "page(1)", "Page down", show=False),
        Binding("home,g", "edge(-1)", "First", show=False),
        Binding("end,G", "edge(1)", "Last", show=False),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "table--head",
        "table--cursor",
        "table--idle-cursor",
        *(f"table--{severity.value}" for severity in Severity),
    }
    DEFAULT_CSS = """
    VirtualTable {
        background: $background;
        overflow-x: hidden;
        overflow-y: auto;
        scrollbar-size-vertical: 1;
        border: none;
        .table--head { color: $text-muted; background: $surface; text-style: bold; }
        .table--cursor { background: $primary-muted; text-style: bold; }
        .table--idle-cursor { background: $panel; }
        .table--plain { color: $foreground; }
        .table--good { color: $success; }
        .table--busy { color: $secondary; }
        .table--warn { color: $warning; }
        .table--bad { color: $error; text-style: bold; }
        .table--muted { color: $text-muted; }
    }
    """

    cursor: reactive[int] = reactive(0, repaint=False)
    follow = reactive(False)
    """Keep the last row in sight as rows are added."""

    class Moved(Message):
        """The cursor stands on another row, by a person's hand."""

        def __init__(self, table: "VirtualTable", key: str | None) -> None:
            super().__init__()
            self.table = table
            self.key = key

        @property
        def control(self) -> "VirtualTable":
            """The table."""
            return self.table

    class Chosen(Moved):
        """A row was double-clicked."""

    def __init__(self, columns: tuple[Column, ...], *, empty: str, id: str) -> None:
        super().__init__(id=id)
        self._columns = columns
        self._placed: tuple[Placed, ...] = ()
        self._keys: Sequence[str] = ()
        self._row_of: Callable[[str], Row] | None = None
        self._strips: dict[int, Strip] = {}
        self._empty = empty
        self._sorted_by = ""
        self._descending = False
        self._marks: frozenset[str] = frozenset()
        self._last_mark: str | None = None

    # Data ------------------------------------------------------------------------------------

    @property
    def keys(self) -> Sequence[str]:
        """The rows' keys, in order."""
        return self._keys

    @property
    def cursor_key(self) -> str | None:
        """The key under the cursor."""
        return self._keys[self.cursor] if self.cursor < len(self._keys) else None

    def show_rows(
        self,
        keys: Sequence[str],
        row_of: Callable[[str], Row],
        *,
        empty: str | None = None,
        sorted_by: str = "",
        descending: bool = False,
    ) -> None:
        """Replace all rows. `row_of` is called for visible rows only. The cursor stays on its key;
        if that is gone, on its place."""
        key = self.cursor_key
        at_end = self.cursor >= len(self._keys) - 1
        grown = len(keys) != len(self._keys)
        self._keys, self._row_of = keys, row_of
        self._empty = self._empty if empty is None else empty
        self._sorted_by, self._descending = sorted_by, descending
        if grown:
            self.virtual_size = Size(self.size.width, len(keys) + 1)
        if self.follow and at_end:
            self.cursor = max(0, len(keys) - 1)
        elif key is not None and (self.cursor >= len(keys) or keys[self.cursor] != key):
            self.cursor = self._place_of(key)
        if grown or self.follow:
            self._scroll_to_cursor()
        self.redraw()

    def redraw(self) -> None:
        """Draw again the lines that differ from what is on the screen."""
        before, self._strips = self._strips, {}
        if not self.is_attached or not self.size:
            return
        changed = []
        for y in range(self.size.height):
            span = changed_span(before.get(y), self._strip(y))
            if span is not None:
                changed.append(Region(span[0], y, span[1] - span[0], 1))
        if changed:
            self.refresh(*changed)

    # Marks -----------------------------------------------------------------------------------

    @property
    def marks(self) -> frozenset[str]:
        """Keys that are marked, also of rows that are not shown now."""
        return self._marks

    @property
    def selected(self) -> tuple[str, ...]:
        """What an act is about: the marked rows that are shown, in order; without marks, the row
        under the cursor. A row that nobody sees is never acted on."""
        if self._marks:
            return tuple(key for key in self._keys if key in self._marks)
        return () if self.cursor_key is None else (self.cursor_key,)

    def toggle_mark(self) -> None:
        """Mark the cursor's row, or not, and go to the next."""
        key = self.cursor_key
        if key is None:
            return
        self._marks, self._last_mark = self._marks ^ {key}, key
        self.move_to(self.cursor + 1)

    def mark_range(self) -> None:
        """Mark every row from the last mark to the cursor."""
        if self.cursor_key is None:
            return
        start = self.cursor if self._last_mark is None else self._place_of(self._last_mark)
        first, last = sorted((start, self.cursor))
        self._marks |= set(self._keys[first : last + 1])
        self._last_mark = self.cursor_key
        self.redraw()

    def clear_marks(self) -> None:
        """Mark nothing."""
        self._marks, self._last_mark = frozenset(), None
        self.redraw()

    def _place_of(self, key: str) -> int:
        try:
            return self._keys.index(key)
        except ValueError:
            return max(0, min(self.cursor, len(self._keys) - 1))

    # Moving ------------------------------------------------------------------------------------

    def move_to(self, place_wanted: int, *, told: bool = True) -> None:
        """Put the cursor there, in sight."""
        self.cursor = max(0, min(place_wanted, len(self._keys) - 1))
        self._scroll_to_cursor()
        self.redraw()
        if told:
            self.post_message(self.Moved(self, self.cursor_key))

    def action_move(self, step: int) -> None:
        """One row up or down."""
        self.move_to(self.cursor + step)

    def action_page(self, step: int) -> None:
        """One page up or down."""
        self.move_to(self.cursor + step * max(1, self.size.height - 2))

    def action_edge(self, step: int) -> None:
        """To the first or last row."""
        self.move_to(0 if step < 0 else len(self._keys) - 1)

    def _scroll_to_cursor(self) -> None:
        lines = max(1, self.size.height - 1)
        top = round(self.scroll_y)
        if self.cursor < top:
            top = self.cursor
        elif self.cursor >= top + lines:
            top = self.cursor - lines + 1
        top = max(0, min(top, len(self._keys) - lines))
        if top != round(self.scroll_y):
            # Forced: the scrollbar may be about to appear, and Textual refuses without one.
            self.scroll_to(y=top, animate=False, immediate=True, force=True)

    def on_click(self, event: events.Click) -> None:
        """Choose a row by mouse."""
        offset = event.get_content_offset(self)
        if offset is None or offset.y == 0:
            return
        row = offset.y - 1 + round(self.scroll_y)
        if row < len(self._keys):
            self.move_to(row)
            if event.chain == 2:
                self.post_message(self.Chosen(self, self.cursor_key))

    def on_resize(self, event: events.Resize) -> None:
        """Share the width anew."""
        self._placed = place(self._columns, max(1, event.size.width - _MARGIN))
        self.virtual_size = Size(event.size.width, len(self._keys) + 1)
        self._scroll_to_cursor()
        self._strips = {}
        self.refresh()

    def on_focus(self) -> None:
        """The cursor shows who has the keys."""
        self.redraw()

    def on_blur(self) -> None:
        """The cursor shows who has the keys."""
        self.redraw()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Lines are cached by their place on the screen, which has just moved."""
        self._strips = {}
        super().watch_scroll_y(old_value, new_value)

    def notify_style_update(self) -> None:
        """Another theme: every line changes."""
        self._strips = {}
        super().notify_style_update()

    # Drawing -----------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """One line of the screen."""
        return self._strip(y)

    def _strip(self, y: int) -> Strip:
        strip = self._strips.get(y)
        if strip is None:
            strip = self._strips[y] = self._draw(y)
        return strip

    def _draw(self, y: int) -> Strip:
        width = self.size.width
        base = self.rich_style
        if y == 0:
            return self._draw_head(width)
        row_index = y - 1 + round(self.scroll_y)
        if not self._keys and y == 1:
            muted = base + self.get_component_rich_style("table--muted", partial=True)
            return Strip([Segment(fit("  " + self._empty, width), muted)], width)
        if self._row_of is None or row_index >= len(self._keys):
            return Strip.blank(width, base)
        key = self._keys[row_index]
        chosen, marked = row_index == self.cursor, key in self._marks
        return self._draw_row(self._row_of(key), width, base, chosen=chosen, marked=marked)

    def _draw_head(self, width: int) -> Strip:
        style = self.get_component_rich_style("table--head")
        parts = []
        for placed in self._placed:
            title = placed.column.title
            if placed.column.id == self._sorted_by:
                title += "↑" if self._descending else "↓"
            parts.append(fit(title, placed.width, placed.column.align))
        return Strip([Segment(fit("  " + (" " * GAP).join(parts), width), style)], width)

    def _draw_row(self, row: Row, width: int, base: Style, *, chosen: bool, marked: bool) -> Strip:
        mark = " "
        if chosen:
            name = "table--cursor" if self.has_focus else "table--idle-cursor"
            base = base + self.get_component_rich_style(name, partial=True)
            if self.has_focus:
                mark = CURSOR_MARK
        if row.stale:
            base = base + Style(dim=True)
        segments = [Segment(mark + (MARKED if marked else " "), base)]
        blank = Segment(" " * GAP, base)
        for placed in self._placed:
            cell = row.cells[placed.index]
            colour = self.get_component_rich_style(f"table--{cell.severity.value}", partial=True)
            text = fit(cell.text, placed.width, placed.column.align)
            segments += [Segment(text, base + colour), blank]
        # Simplified, because every change of style costs some 40 bytes on the wire.
        return Strip(segments).adjust_cell_length(width, base).simplify()


def changed_span(before: Strip | None, after: Strip) -> tuple[int, int] | None:
    """From which to which column a line differs, None if it does not. Over a slow connection,
    sending an age anew is cheap and sending its whole row is not."""
    if before is None or before.cell_length != after.cell_length:
        return 0, after.cell_length
    start = _same_cells(before, after)
    if start == after.cell_length:
        return None
    return start, after.cell_length - _same_cells(before, after, from_end=True)


def _same_cells(before: Strip, after: Strip, *, from_end: bool = False) -> int:
    """How many cells at one end are the same."""
    step = -1 if from_end else 1
    same = 0
    for old, new in zip(list(before)[::step], list(after)[::step], strict=False):
        if old == new:
            same += new.cell_length
            continue
        if old.style == new.style:
            for old_char, new_char in zip(old.text[::step], new.text[::step], strict=False):
                if old_char != new_char:
                    break
                same += cell_len(new_char)
        break
    return same
