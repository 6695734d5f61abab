"""Actions: THE registry of what a key does, for bindings, footer and help alike.

Owns ids, keys and words. An `id` is stable: operators remap by it. Never performs anything.
"""

from typing import Final, NamedTuple

from textual.binding import Binding


class Action(NamedTuple):
    """One thing a person can do. `keys` as Textual names them, `shown` as people read them;
    `footer` is its place there (0: only in help). Textual calls `action_<name>` of the screen, or
    of the application."""

    id: str
    name: str
    keys: str
    shown: str
    label: str
    explanation: str
    group: str
    footer: int = 0


ACTIONS: Final = (
    Action("help", "help", "question_mark", "?", "Help", "This list", "General", 1),
    Action("filter", "filter", "slash", "/", "Filter", "Filter: re, !re, -l key=value, -f fuzzy",
           "Find", 2),
    Action("command", "command", "colon", ":", "Go to", "nodes, sessions, events, quit", "Find", 5),
    Action("drill", "drill", "enter", "enter", "Open",
           "A node's sessions; a session's events", "Move", 3),
    Action("back", "back", "escape", "esc", "Back", "Close, clear the filter, go back up",
           "Move", 4),
    Action("next_pane", "next_pane", "tab", "tab", "Pane", "The next table", "Move", 9),
    Action("previous_pane", "previous_pane", "shift+tab", "S-tab", "", "The table before", "Move"),
    Action("sort", "sort", "o", "o", "Sort", "Sort by the next column", "Find", 6),
    Action("reverse", "reverse", "O", "O", "", "Turn the order round", "Find"),
    Action("pause", "pause", "p", "p", "Pause",
           "Hold the events still and count what comes", "Events", 7),
    Action("zoom", "zoom", "z", "z", "Zoom", "One table over the whole screen, or all", "Move", 8),
    Action("theme", "app.theme", "t", "t", "", "Dark or light, both colour-blind-safe",
           "General"),
    Action("quit", "app.quit", "q,ctrl+q", "q", "Quit", "Leave; nothing in the fleet changes",
           "General", 10),
)  # fmt: skip

TABLE_KEYS: Final = (
    ("up down, k j", "One row"),
    ("pgup pgdn, ctrl+b ctrl+f", "One page"),
    ("home end, g G", "First and last row"),
)
"""The table's own keys, for the help only; bound in `widgets/table.py`."""


def bindings() -> list[Binding]:
    """Every action as Textual binds it; `id` makes it remappable by `App.set_keymap`."""
    return [
        Binding(action.keys, action.name, action.label or action.explanation, id=action.id)
        for action in ACTIONS
    ]


def footer_actions() -> tuple[Action, ...]:
    """Those in the footer, the most wanted first."""
    shown = (action for action in ACTIONS if action.footer)
    return tuple(sorted(shown, key=lambda action: action.footer))
