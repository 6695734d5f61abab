"""Snapshots as customers and operators see them: generations, and what each is good for.

Owns that answer. Reads pointers alone, never a store or a key.
"""

import time

from control_plane.core.needs import unlinked_epoch
from control_plane.core.snapshot_retention import uses
from control_plane.sessions import FleetSessions
from control_plane.state.fleet_state import FleetState
from control_plane.vault.pointers import Pointers
from schemas.api_snapshots import GenerationView, SnapshotsView
from schemas.ids import SessionId, TenantId
from schemas.snapshots import GenerationUse, SnapshotGeneration
from schemas.transport.connection import Bus


class PointerSnapshots:
    """Implements `ports.Snapshots`."""

    def __init__(self, bus: Bus, sessions: FleetSessions, state: FleetState) -> None:
        self._pointers = Pointers(bus)
        self._sessions = sessions
        self._state = state

    async def generations(self, tenant: TenantId, session: SessionId) -> SnapshotsView:
        """See `ports.Snapshots.generations`."""
        await self._sessions.record(tenant, session)
        held = await self._pointers.read(tenant, session)
        rows = [each for each in held.pointer.generations if each.objects]
        fleet = self._state.snapshot_of(session, time.monotonic(), time.time())
        assignment = fleet.assignments.get(session)
        gone = unlinked_epoch(assignment, fleet.observed.get(session)) if assignment else 0
        views = [_view(each, use) for each, use in zip(rows, uses(rows, gone), strict=True)]
        return SnapshotsView(session, views)


def _view(kept: SnapshotGeneration, use: GenerationUse) -> GenerationView:
    newest = kept.objects[-1]
    return GenerationView(
        generation=kept.generation,
        use=use,
        epoch=kept.epoch,
        node_id=kept.node_id,
        engine=kept.manifest.engine,
        chromium_build=kept.manifest.chromium_build,
        objects=len(kept.objects),
        size_bytes=sum(each.size_bytes for each in kept.objects),
        began_at=kept.objects[0].captured_at,
        captured_at=newest.captured_at,
        clean=newest.clean,
        proven=kept.proven,
    )
