"""The vault's truth: what was committed of each session, and what each start began from.

Owns the checks of snapshots: no commit from an older epoch, no start from less than was committed,
and how much of a session's life a start had lost. Never looks into a sealed object: the switch
knows what a state was when it was looked at.
"""

from bisect import bisect_right

from schemas.records import Assignment
from schemas.snapshots import SnapshotObject, SnapshotPointer
from tests.simulation.switch import Browser
from tests.simulation.world import World


class VaultTruth:
    """Follows the pointers and the starts of one run."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rollback_allowed = False
        """Whether a fault made engines fail: then a start may fall back to an older generation."""
        self.lost_s = 0.0
        """The most of a session's life that a start had lost, in seconds."""
        self.never_kept: set[str] = set()
        """Sessions whose node died before their first snapshot: they must be linked anew."""
        self._known: dict[str, set[str]] = {}
        self._committed: dict[str, dict[int, int]] = {}
        world.switch.on_load = self.loaded

    def committed(
        self, session_id: str, pointer: SnapshotPointer | None, assignment: Assignment | None
    ) -> None:
        """A pointer was written."""
        if pointer is None:
            return
        known = self._known.setdefault(session_id, set())
        for generation in pointer.generations:
            for each in generation.objects:
                if each.name not in known:
                    known.add(each.name)
                    self._take(session_id, generation.epoch, each, assignment)

    def _take(
        self, session_id: str, epoch: int, stored: SnapshotObject, assignment: Assignment | None
    ) -> None:
        if assignment is not None and epoch < assignment.epoch:
            self.world.breach(f"snapshot {stored.name[-8:]} was committed at {assignment}")
        looks = self.world.switch.captured.get((session_id, epoch), [])
        seen = bisect_right([at for at, _steps in looks], stored.captured_at)
        steps = looks[seen - 1][1] if seen else 0
        of_epoch = self._committed.setdefault(session_id, {})
        of_epoch[epoch] = max(steps, of_epoch.get(epoch, 0))

    def loaded(self, browser: Browser, steps: int) -> None:
        """A browser has begun with a state."""
        committed = self._committed.get(browser.session_id, {})
        before = max((n for epoch, n in committed.items() if epoch < browser.epoch), default=0)
        lived = self.world.switch.stepped_at.get(browser.session_id, [])
        lost_s = self.world.loop.now - lived[steps] if steps < len(lived) else 0.0
        self.world.note("switch", f"{browser.name} begins at step {steps} of {len(lived)}")
        if steps == 0 and not committed:
            self.never_kept.add(browser.session_id)
            return
        if steps < before and not self.rollback_allowed:
            self.world.breach(f"{browser.name} begins at step {steps}, committed was {before}")
        if not self.rollback_allowed:
            self.lost_s = max(self.lost_s, lost_s)
