"""Snapshots for a session that is to start: its data key, and what it can be restored from.

Owns putting the two together. Never starts anything.
"""

from control_plane.core.snapshot_retention import of_last_link
from control_plane.vault.data_keys import DataKeys
from control_plane.vault.pointers import Pointers
from schemas.ids import SessionId, TenantId
from schemas.snapshots import SnapshotGeneration


class VaultAdmission:
    """Implements `ports.SnapshotAdmission`."""

    def __init__(self, keys: DataKeys, pointers: Pointers) -> None:
        self._keys = keys
        self._pointers = pointers

    async def admission(
        self, tenant: TenantId, session: SessionId
    ) -> tuple[bytes, tuple[SnapshotGeneration, ...]]:
        """See `ports.SnapshotAdmission.admission`."""
        held = await self._pointers.read(tenant, session)
        return await self._keys.ensure(session), of_last_link(held.pointer.generations)


class NoSnapshots:
    """Implements `ports.SnapshotAdmission` where the fleet keeps none."""

    async def admission(
        self, tenant: TenantId, session: SessionId
    ) -> tuple[bytes, tuple[SnapshotGeneration, ...]]:
        """Nothing."""
        return b"", ()
