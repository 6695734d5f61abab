"""Whether an event may still be published without asking: the rules behind asking.

Owns the arithmetic of the stream's duplicate window, and of what waits. Pure: times are
arguments, Unix seconds.
"""

from typing import Final

WINDOW_S: Final = 600.0
"""`duplicate_window_s` of the stream EVENTS: within it the server drops a repeated id."""
SLACK_S: Final = 120.0
"""How far the clocks of WhatsApp, nodes and the bus may lie apart, and a publish may take."""


PROMPT_S: Final = 5.0
"""What waited for longer may outlive its tenant: no erasure ends sooner after its node was lost."""


def window_covers(*, born_at: float, asked_at: float, now: float) -> bool:
    """Whether every earlier publication of an event is either known (it was asked at `asked_at`
    what there is) or young enough for the stream to drop a repeat by itself."""
    return max(born_at, asked_at) >= now - (WINDOW_S - SLACK_S)


def may_be_erased(*, made_at: float, asked_at: float, now: float) -> bool:
    """Whether an event's tenant may have been erased since anybody looked."""
    return max(made_at, asked_at) < now - PROMPT_S
