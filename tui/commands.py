"""Commands: the words after `:`, what they mean, and how they are completed.

Owns the grammar. Pure: it says where to go, the application goes.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec


class CommandWord(NamedTuple):
    """A command: its name, k9s-like short names, what may follow, and words for the help."""

    name: str
    short: tuple[str, ...]
    argument: str
    explanation: str


COMMANDS: Final = (
    CommandWord("fleet", ("nodes", "no"), "", "Nodes, sessions and events on one screen"),
    CommandWord("regions", ("re",), "", "Nodes added up by region and provider"),
    CommandWord("sessions", ("ses", "pods", "po"), "filter", "All sessions"),
    CommandWord("node", (), "node", "One node: its sessions, and why they are still there"),
    CommandWord("session", (), "session", "One session: its states, lane and snapshots"),
    CommandWord("messages", ("me",), "filter", "Rates and latencies by session"),
    CommandWord(
        "dead-letters",
        ("dl",),
        "session",
        "A session's dead letters; alone: which sessions have any",
    ),
    CommandWord("webhooks", ("wh",), "tenant", "Endpoints and their deliveries"),
    CommandWord("events", ("ev",), "filter", "What happens, as it happens"),
    CommandWord("audit", ("au",), "filter", "Who did what, and how it ended"),
    CommandWord("help", (), "", "Keys and signs"),
    CommandWord("quit", ("q", "q!", "exit"), "", "Leave"),
)
NAMES: Final = tuple(word.name for word in COMMANDS)


class Command(msgspec.Struct, frozen=True):
    """A command as understood."""

    name: str
    argument: str = ""


def parse_command(text: str) -> Command:
    """Read what was typed. A beginning is enough where it is clear.

    Raises ValueError with a sentence for the person who typed it.
    """
    name, _, argument = text.strip().partition(" ")
    name, argument = name.casefold(), argument.strip()
    found = [word for word in COMMANDS if name == word.name or name in word.short]
    if not found and name:
        found = [word for word in COMMANDS if word.name.startswith(name)]
    if len(found) != 1:
        raise ValueError(f"one of: {', '.join(w.name for w in found) or ', '.join(NAMES)}")
    word = found[0]
    if argument and not word.argument:
        raise ValueError(f"{word.name} takes no more words")
    return Command(word.name, argument)


def complete(text: str, known: Mapping[str, Iterable[str]]) -> str | None:
    """What was typed with its rest added, if there is one. `known`: the names that may follow, by
    the kind of argument (`node`, `session`, `tenant`)."""
    name, blank, argument = text.partition(" ")
    if not name:
        return None
    if not blank:
        return next((each for each in NAMES if each.startswith(name.casefold())), None)
    try:
        command = parse_command(name)
    except ValueError:
        return None
    kind = next(word.argument for word in COMMANDS if word.name == command.name)
    if not argument:
        return None
    rest = next((each for each in known.get(kind, ()) if each.startswith(argument)), None)
    return None if rest is None else f"{name} {rest}"


def the_one(wanted: str, ids: Sequence[str], names: Mapping[str, str]) -> str:
    """The id that a person meant: the id itself, its end, its beginning, or its name.

    Raises ValueError with a sentence.
    """
    if wanted in ids:
        return wanted
    named = [each for each in ids if names.get(each) == wanted]
    found = named or [each for each in ids if each.startswith(wanted) or each.endswith(wanted)]
    if len(found) == 1:
        return found[0]
    raise ValueError("which one?" if found else f"there is no {wanted!r}")
