"""The node's half of the vault: what gives each session its safekeeping.

Owns what the sessions share (the line to the control plane, the places for captures) and who is
kept: a session that came with a data key. Never talks for a session itself.
"""

import asyncio
from collections.abc import Callable

from schemas.commands import Admission
from swarm_node.data_dir import DataDir
from swarm_node.vault.line import AskVault
from swarm_node.vault.local_state import LocalFolder
from swarm_node.vault.metrics import VaultMetrics
from swarm_node.vault.session_vault import SessionVault, VaultShare
from swarm_node.vault.settings import VaultSettings


class NodeVault:
    """Makes the safekeeping of sessions."""

    def __init__(
        self,
        settings: VaultSettings,
        data: DataDir,
        metrics: VaultMetrics,
        *,
        node_id: str,
        ask: AskVault,
        may_act: Callable[[], bool],
        chromium_build: str | None,
    ) -> None:
        self._data = data
        self._share = VaultShare(
            node_id=node_id,
            ask=ask,
            settings=settings,
            metrics=metrics,
            places=asyncio.Semaphore(settings.captures_at_once_max),
            may_act=may_act,
            chromium_build=chromium_build,
        )

    def keeping(self, admission: Admission) -> SessionVault | None:
        """A session's safekeeping under the epoch of its admission; None where the fleet keeps no
        snapshots."""
        if not admission.data_key:
            return None
        session_id = admission.session_id
        folder = LocalFolder(self._data.beside_profile(session_id), self._data.profile(session_id))
        return SessionVault(self._share, admission, folder)
