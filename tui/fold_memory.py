"""What the fold remembers besides the fleet: what is old, and what changed since somebody looked.

Owns the two records. Written by `model.fold` only; `roll.Roll` takes what was touched.
"""


class FoldMemory:
    """What `fold` must remember to refuse what is old. Emptied of the dead at each resync."""

    __slots__ = (
        "assigned_epochs",
        "event_epochs",
        "known",
        "last_event_sequence",
        "revisions",
        "seen",
    )

    def __init__(self) -> None:
        self.revisions: dict[str, int] = {}
        self.known: set[str] = set()
        self.seen: set[str] = set()
        """Keys that came since the resync began."""
        self.assigned_epochs: dict[str, int] = {}
        self.event_epochs: dict[str, int] = {}
        self.last_event_sequence = 0


class Touched:
    """What may look different now. Never too little, sometimes too much."""

    __slots__ = ("nodes", "pulsed", "sessions")

    def __init__(self) -> None:
        self.sessions: set[str] = set()
        self.nodes: set[str] = set()
        """Their records changed."""
        self.pulsed: set[str] = set()
        """They spoke; sessions whose line in the pulse changed are in `sessions`."""
