"""The picture of the session's table, for the docs (`python -m swarm_node.core.session_diagram`).

Owns only the drawing: every arrow comes from `TRANSITIONS`, so the page can't tell another story
than the code. A test compares `docs/session-states.md` with `page()`. Never reads or writes a file.
"""

from itertools import groupby

from schemas.states import SessionState
from swarm_node.core.session_table import TRANSITIONS, Effect, Event

_INTRO = """\
# The states of a session

Drawn from the table in `swarm_node/core/session_table.py`; write it anew with
`python -m swarm_node.core.session_diagram > docs/session-states.md`.

`online` is entered by one event alone, `probe_ok`: a probe through the engine that succeeded.
"""


def mermaid() -> str:
    """The table as a Mermaid state diagram: one arrow a pair of states, its events on it."""
    arrows: dict[tuple[SessionState, SessionState], list[Event]] = {}
    for (before, event), (after, _) in TRANSITIONS.items():
        arrows.setdefault((before, after), []).append(event)
    lines = ["stateDiagram-v2", f"    [*] --> {SessionState.PENDING}"]
    for before, after in sorted(arrows, key=_reading_order):
        words = " / ".join(sorted(arrows[before, after]))
        lines.append(f"    {before} --> {after}: {words}")
    return "\n".join(lines) + "\n"


def table() -> str:
    """The table as Markdown, one row a transition, in the order of the states."""
    lines = ["| state | event | next state | effects |", "|---|---|---|---|"]
    rows = sorted(TRANSITIONS.items(), key=lambda row: (_place(row[0][0]), row[0][1]))
    for before, group in groupby(rows, key=lambda row: row[0][0]):
        for (_, event), (after, effects) in group:
            lines.append(f"| {before} | {event} | {after} | {_words(effects)} |")
    return "\n".join(lines) + "\n"


def page() -> str:
    """The whole page of the docs."""
    return f"{_INTRO}\n```mermaid\n{mermaid()}```\n\n{table()}"


def _words(effects: tuple[Effect, ...]) -> str:
    return ", ".join(effects) or "-"


def _place(state: SessionState) -> int:
    return list(SessionState).index(state)


def _reading_order(arrow: tuple[SessionState, SessionState]) -> tuple[int, int]:
    return _place(arrow[0]), _place(arrow[1])


if __name__ == "__main__":
    print(page(), end="")  # noqa: T201 - the module's whole purpose when run
