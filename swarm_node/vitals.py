"""What a running node says of itself to whoever runs its process.

Owns the record. Never a session's name or number.
"""

import msgspec

from schemas.turns import Turn


class NodeVitals(msgspec.Struct, frozen=True):
    """A node at this moment. `sessions`: those with an engine; `turns`: its loops."""

    sessions: int
    online: int
    sessions_max: int
    bus_connected: bool
    lease_held: bool
    turns: tuple[Turn, ...] = ()
