"""Whether somebody may have published an event before: the rule behind asking.

Owns the arithmetic of the stream's duplicate window. Pure: times are arguments, Unix seconds.
"""

from typing import Final

WINDOW_S: Final = 600.0
"""`duplicate_window_s` of the stream EVENTS: within it the server drops a repeated id."""
SLACK_S: Final = 120.0
"""How far the clocks of WhatsApp, nodes and the bus may lie apart, and a publish may take."""


def window_covers(*, born_at: float, asked_at: float, now: float) -> bool:
    """Whether every earlier publication of an event is either known (it was asked at `asked_at`
    what there is) or young enough for the stream to drop a repeat by itself."""
    return max(born_at, asked_at) >= now - (WINDOW_S - SLACK_S)
