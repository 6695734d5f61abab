"""Safekeeping: what a runner tells and asks of whatever keeps its session's state safe.

Owns the protocol between the two and the stand-in for a session that nobody keeps. The real one is
`swarm_node.vault.session_vault`. Never decides a session's state.
"""

import asyncio
from typing import Protocol

from schemas.states import SessionState
from swarm_node.engines.contract import Engine


class Safekeeping(Protocol):
    """One session's safekeeping. All but `run` may be called at any time; nothing here raises but
    `prepare`."""

    @property
    def trouble(self) -> str | None:
        """Why the session begins without its state (`restore_failed`), until it is online again."""
        ...

    @property
    def linked_epoch(self) -> int:
        """The epoch under which the profile's device was linked; 0: not known."""
        ...

    async def prepare(self) -> dict[str, str] | None:
        """Make the profile on disk the newest there is, before a launch. Returns what the page's
        localStorage must hold (`EngineSpec.page_storage`). Bounded.

        Raises `BlazzError`: retryable when the vault does not answer, else
        `snapshot_incompatible`.
        """
        ...

    def launched(self, engine: Engine) -> None:
        """This engine uses the profile from now on."""
        ...

    def note_state(self, state: SessionState) -> None:
        """The session has entered a state."""
        ...

    def note_activity(self) -> None:
        """Something went through the session: what was kept is no longer the newest."""
        ...

    async def keep_last(self, *, clean: bool) -> None:
        """The engine has ended and the session is let go: keep its last state. Bounded."""
        ...

    def fence(self) -> None:
        """The session is somebody else's: nothing may be stored any more."""
        ...

    def fall_back(self) -> bool:
        """The restored state did not come up: whether an older one remains to be tried; the next
        `prepare` restores that one."""
        ...

    async def run(self) -> None:
        """Keep the running session's state safe, until cancelled."""
        ...


class NotKept:
    """The safekeeping of a session that has none: what is on disk is all there is."""

    @property
    def trouble(self) -> str | None:
        """None: nothing is restored."""
        return None

    @property
    def linked_epoch(self) -> int:
        """0: there is nothing older that could come back."""
        return 0

    async def prepare(self) -> dict[str, str] | None:
        """Leave the profile as it is."""
        return None

    def launched(self, engine: Engine) -> None:
        """Nothing to do."""

    def note_state(self, state: SessionState) -> None:
        """Nothing to do."""

    def note_activity(self) -> None:
        """Nothing to do."""

    async def keep_last(self, *, clean: bool) -> None:
        """Nothing to do."""

    def fence(self) -> None:
        """Nothing to do."""

    def fall_back(self) -> bool:
        """There is nothing older."""
        return False

    async def run(self) -> None:
        """Nothing to do, for ever."""
        await asyncio.Event().wait()
