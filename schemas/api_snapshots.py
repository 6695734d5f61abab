"""The HTTP API's bodies about snapshots.

Owns their structs, as `api` does for all else. Times are Unix seconds. Never a key, a digest or
anything of a snapshot's content.
"""

import msgspec

from schemas.ids import NodeId, SessionId
from schemas.snapshots import GenerationUse
from schemas.states import EngineKind


class GenerationView(msgspec.Struct, frozen=True):
    """A generation: a baseline and the deltas after it.

    `epoch`, `node_id`: of the run that wrote it. `captured_at` and `clean` (taken after a clean
    stop: nothing is newer) are of its newest object, `began_at` of its baseline. `size_bytes` is
    what its `objects` take in the store. `proven`: a restore of it came online. Only the very
    `chromium_build` opens it.
    """

    generation: int
    use: GenerationUse
    epoch: int
    node_id: NodeId
    engine: EngineKind
    chromium_build: str | None
    objects: int
    size_bytes: int
    began_at: float
    captured_at: float
    clean: bool
    proven: bool


class SnapshotsView(msgspec.Struct, frozen=True):
    """`GET /v1/sessions/{id}/snapshots`: newest first; none where nothing was kept yet, or the
    fleet keeps no snapshots."""

    session_id: SessionId
    generations: list[GenerationView]
