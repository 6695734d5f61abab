"""Actions: THE registry of what a key does, for bindings, footer and help alike.

Owns ids, keys and words, and on which screens each is there. An `id` is stable: operators remap by
it. Never performs anything.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from textual.binding import Binding

FLEET: Final = "fleet"
REGIONS: Final = "regions"
SESSIONS: Final = "sessions"
NODE: Final = "node"
SESSION: Final = "session"
MESSAGES: Final = "messages"
DEAD: Final = "dead-letters"
WEBHOOKS: Final = "webhooks"
DELIVERIES: Final = "deliveries"
EVENTS: Final = "events"
AUDIT: Final = "audit"

EVERYWHERE: Final = (
    FLEET, REGIONS, SESSIONS, NODE, SESSION, MESSAGES, DEAD, WEBHOOKS, DELIVERIES, EVENTS,
    AUDIT,
)  # fmt: skip
_OF_SESSIONS: Final = (FLEET, SESSIONS, NODE, SESSION)
_MARKED: Final = (FLEET, SESSIONS, NODE, DEAD, WEBHOOKS, DELIVERIES)


class Action(NamedTuple):
    """One thing a person can do. `keys` as Textual names them, `shown` as people read them;
    `footer` is its place there (0: only in help). Textual calls `action_<name>` of the screen, or
    of the application. `changes`: it acts on the fleet, so read-only mode refuses it."""

    id: str
    name: str
    keys: str
    shown: str
    label: str
    explanation: str
    group: str
    footer: int = 0
    screens: tuple[str, ...] = EVERYWHERE
    changes: bool = False


ACTIONS: Final = (
    Action("help", "help", "question_mark", "?", "Help", "This list", "General", 1),
    Action("filter", "filter", "slash", "/", "Filter", "Filter: re, !re, -l key=value, -f fuzzy",
           "Find", 2),
    Action("command", "command", "colon", ":", "Go to", "Another screen; tab completes",
           "Find", 5),
    Action("drill", "drill", "enter", "enter", "Open", "What is behind the row", "Move", 3),
    Action("back", "back", "escape", "esc", "Back", "Close; marks, filter, screen: one at a time",
           "Move", 4),
    Action("next_pane", "next_pane", "tab", "tab", "Pane", "The next table", "Move", 24,
           (FLEET, SESSION)),
    Action("previous_pane", "previous_pane", "shift+tab", "S-tab", "", "The table before", "Move",
           0, (FLEET, SESSION)),
    Action("sort", "sort", "o", "o", "Sort", "Sort by the next column", "Find", 20),
    Action("reverse", "reverse", "O", "O", "", "Turn the order round", "Find"),
    Action("pause", "pause", "p", "p", "Pause",
           "Hold the events still and count what comes", "Events", 21, (FLEET, EVENTS)),
    Action("zoom", "zoom", "z", "z", "Zoom", "One table over the whole screen, or all", "Move", 23,
           (FLEET,)),
    Action("describe", "describe", "d", "d", "Describe", "All that is known of the row", "Look",
           11),
    Action("raw", "raw", "y", "y", "", "The row's records as JSON, masked", "Look"),
    Action("events", "row_events", "l", "l", "", "The row's events", "Look", 0,
           (FLEET, SESSIONS, NODE, SESSION)),
    Action("copy", "copy", "c", "c", "", "Copy the row's id", "Look"),
    Action("letters", "letters", "x", "x", "", "The session's dead letters", "Look", 0,
           (FLEET, SESSIONS, NODE, SESSION, MESSAGES)),
    Action("mark", "mark", "space", "space", "Mark", "Mark the row for the next act", "Mark", 13,
           _MARKED),
    Action("mark_range", "mark_range", "ctrl+space,ctrl+@", "C-space", "",
           "Mark from the last mark to here", "Mark", 0, _MARKED),
    Action("cordon", "cordon", "u", "u", "Cordon", "Cordon a node, or undo it", "Nodes", 6,
           (FLEET, NODE), True),
    Action("drain", "drain", "r", "r", "Drain", "Move a node's sessions away", "Nodes", 7,
           (FLEET, NODE), True),
    Action("link", "link", "i", "i", "Link", "Show the QR code that links a phone", "Sessions", 8,
           _OF_SESSIONS, True),
    Action("start", "start", "s", "s", "Start", "Start sessions", "Sessions", 9, _OF_SESSIONS,
           True),
    Action("stop", "stop", "S", "S", "Stop", "Stop sessions; phones stay linked", "Sessions", 10,
           _OF_SESSIONS, True),
    Action("restart", "restart", "R", "R", "", "Restart sessions", "Sessions", 0, _OF_SESSIONS,
           True),
    Action("move", "move", "m", "m", "Move", "Move sessions to the best other node", "Sessions",
           12, _OF_SESSIONS, True),
    Action("log_out", "log_out", "U", "U", "", "Unlink sessions' phones", "Sessions", 0,
           _OF_SESSIONS, True),
    Action("delete", "delete", "ctrl+d", "C-d", "Delete", "Delete sessions with all they hold",
           "Sessions", 14, _OF_SESSIONS, True),
    Action("redrive", "redrive", "r", "r", "Redrive", "Send dead letters again", "Dead letters", 6,
           (DEAD,), True),
    Action("drop", "drop", "ctrl+d", "C-d", "Drop", "Forget dead letters", "Dead letters", 7,
           (DEAD,), True),
    Action("toggle_webhook", "toggle_webhook", "e", "e", "Enable", "Enable or disable webhooks",
           "Webhooks", 6, (WEBHOOKS,), True),
    Action("check_webhook", "check_webhook", "v", "v", "Test", "Send a test event", "Webhooks", 7,
           (WEBHOOKS,), True),
    Action("resend", "resend", "r", "r", "Resend", "Send these events again", "Webhooks", 6,
           (DELIVERIES,), True),
    Action("theme", "app.theme", "t", "t", "", "Light, or the skin; all colour-blind-safe",
           "General"),
    Action("quit", "app.quit", "q,ctrl+q", "q", "Quit", "Leave; what was begun goes on",
           "General", 25),
)  # fmt: skip

PAST_ACTIONS: Final = (
    Action("event_on", "past_event(1)", "right_square_bracket", "]", "", "The next event",
           "The past", 0, ()),
    Action("event_back", "past_event(-1)", "left_square_bracket", "[", "", "The event before",
           "The past", 0, ()),
    Action("minute_on", "past_seconds(60)", "right_curly_bracket", "}", "", "A minute on",
           "The past", 0, ()),
    Action("minute_back", "past_seconds(-60)", "left_curly_bracket", "{", "", "A minute back",
           "The past", 0, ()),
    Action("play", "past_play", "P", "P", "", "Let time run, or hold it", "The past", 0, ()),
)  # fmt: skip
"""On every screen of `blazz tui --at`."""

TABLE_KEYS: Final = (
    ("up down, k j", "One row"),
    ("pgup pgdn, ctrl+b ctrl+f", "One page"),
    ("home end, g G", "First and last row"),
)
"""The table's own keys, for the help only; bound in `widgets/table.py`."""


def on_screen(screen: str) -> tuple[Action, ...]:
    """The actions of a screen."""
    return tuple(action for action in ACTIONS if screen in action.screens)


def bindings(screen: str) -> list[Binding]:
    """A screen's actions as Textual binds them; `id` makes each remappable by `set_keymap`."""
    return [
        Binding(action.keys, action.name, action.label or action.explanation, id=action.id)
        for action in on_screen(screen)
    ]


def footer_actions(screen: str, *, read_only: bool) -> tuple[Action, ...]:
    """Those in a screen's footer, the most wanted first."""
    shown = (
        action
        for action in on_screen(screen)
        if action.footer and not (read_only and action.changes)
    )
    return tuple(sorted(shown, key=lambda action: action.footer))


def remapped(actions: Iterable[Action], keymap: Mapping[str, str]) -> tuple[Action, ...]:
    """The same with the operator's own keys in their words."""
    return tuple(
        action._replace(keys=keymap[action.id], shown=keymap[action.id].replace("ctrl+", "C-"))
        if action.id in keymap
        else action
        for action in actions
    )


def unknown_ids(keymap: Mapping[str, str]) -> list[str]:
    """Ids of a keymap that no action has."""
    return sorted(keymap.keys() - {action.id for action in (*ACTIONS, *PAST_ACTIONS)})
