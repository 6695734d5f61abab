"""Rules of keeping: when a session's state is captured, and which state a start begins from.

Owns both decisions. Pure: times are monotonic seconds, `spread` (0 to 1) is the session's own
share of randomness, fixed, so that the captures of one node don't fall together.
"""

from collections.abc import Collection
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from schemas.snapshots import SnapshotGeneration

_SPREAD_SHARE: Final = 0.2
"""How much earlier than its period a capture may come."""


class CapturePolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often the state of a session that is online is captured.

    - `busy_s`: at most this much of a busy session's state is lost with its node.
    - `idle_s`: how often a session that nothing went through is looked at; if nothing changed on
      its disk or page either, nothing is stored.
    - `settle_s`: how long after a message, so that the page has stored it too.
    - `first_s`: how long after the link; an earlier copy of a browser's profile does not come up.
    """

    busy_s: Annotated[float, Meta(gt=0)] = 10.0
    idle_s: Annotated[float, Meta(gt=0)] = 60.0
    settle_s: Annotated[float, Meta(ge=0)] = 1.0
    first_s: Annotated[float, Meta(ge=0)] = 10.0


class CaptureState(msgspec.Struct, frozen=True):
    """What the rule looks at. None: never, or not now.

    - `linked_at_s`: since when the account is authenticated, in this run of the engine.
    - `looked_at_s`: when it was last captured or found unchanged, or that failed.
    - `active_since_s`: when something first went through it since then.
    """

    online: bool = False
    linked_at_s: float | None = None
    looked_at_s: float | None = None
    active_since_s: float | None = None


def capture_due_s(policy: CapturePolicy, state: CaptureState, spread: float) -> float | None:
    """When the next capture is due; None while there is nothing to be captured."""
    if not state.online or state.linked_at_s is None:
        return None
    durable_s = state.linked_at_s + policy.first_s
    if state.looked_at_s is None:
        return durable_s
    early = 1.0 - _SPREAD_SHARE * spread
    due_s = state.looked_at_s + policy.idle_s * early
    if state.active_since_s is not None:
        busy_s = max(
            state.looked_at_s + policy.busy_s * early - policy.settle_s,
            state.active_since_s + policy.settle_s,
        )
        due_s = min(due_s, busy_s)
    return max(due_s, durable_s)


class Origin(StrEnum):
    """What a start begins from."""

    NOTHING = "nothing"
    """No state of the session is anywhere: it begins anew."""
    LOCAL = "local"
    VAULT = "vault"


class LocalMark(msgspec.Struct, frozen=True):
    """What a node knows of the profile on its disk: the epoch it last ran under."""

    epoch: int


def origin(
    mark: LocalMark | None,
    *,
    profile_there: bool,
    generations: Collection[SnapshotGeneration],
    unlinked_epoch: int = 0,
) -> Origin:
    """Where the newest state of a session is.

    An epoch has one node, so a profile that ran here under the epoch of the newest snapshot, or
    under a later one, is at least as new as that snapshot: this node made it. A profile without a
    mark proves nothing, and one of no later epoch than `unlinked_epoch` is of a device that was
    unlinked: there might as well be none.
    """
    if mark is not None and mark.epoch <= unlinked_epoch:
        profile_there = False
    newest = max((generation.epoch for generation in generations), default=None)
    if newest is None:
        return Origin.LOCAL if profile_there else Origin.NOTHING
    if profile_there and mark is not None and mark.epoch >= newest:
        return Origin.LOCAL
    return Origin.VAULT


def candidates(
    generations: Collection[SnapshotGeneration], failed: Collection[int]
) -> tuple[SnapshotGeneration, ...]:
    """What is left to restore, newest first; `failed`: generations that did not come up."""
    left = [one for one in generations if one.generation not in failed and one.objects]
    return tuple(sorted(left, key=lambda one: one.generation, reverse=True))
