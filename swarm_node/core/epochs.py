"""Epochs: whether a command's epoch is the one this node holds for the session.

Owns the decision. A session's epoch rises each time it is placed anew, so an older command comes
from a placement that is over, and a newer one than held means that this node's own is over.
"""

from enum import StrEnum

from schemas.errors import BlazzError, ErrorCode


class Verdict(StrEnum):
    """What a `create_session` or `start` means for the session held here."""

    ADMIT = "admit"
    CURRENT = "current"
    REPLACE = "replace"


def on_admission(held: int | None, given: int) -> Verdict:
    """Judge a command that may bring a session here: a newer epoch replaces the one held.

    Raises `stale_epoch` when `given` is older than what is held.
    """
    if held is None:
        return Verdict.ADMIT
    if given < held:
        raise _stale(held, given)
    return Verdict.CURRENT if given == held else Verdict.REPLACE


def on_command(held: int, given: int) -> None:
    """Judge any other command: only the epoch held will do. Raises `stale_epoch`.

    A newer one is refused too: the session was placed here again, and must be told to start under
    that epoch before anything is asked of it.
    """
    if given != held:
        raise _stale(held, given)


def on_released(released: int | None, given: int) -> None:
    """Judge a command that may bring back a session this node let go under epoch `released`: only
    a later placement may. Raises `stale_epoch`."""
    if released is not None and given <= released:
        raise _stale(released, given)


def on_dispatch(seen: int, given: int) -> int:
    """Judge a send by the epoch of the dispatcher that asks for it; returns the newest one seen.

    An older one has been replaced: its message may have been ended by its successor meanwhile.
    0 comes from a dispatcher that says none. Raises `stale_epoch`.
    """
    if 0 < given < seen:
        raise BlazzError(
            ErrorCode.STALE_EPOCH,
            f"the send comes from dispatcher epoch {given}, {seen} has sent since",
            held=seen,
            given=given,
        )
    return max(seen, given)


def _stale(held: int, given: int) -> BlazzError:
    return BlazzError(
        ErrorCode.STALE_EPOCH,
        f"the command carries epoch {given}, the node holds {held}",
        held=held,
        given=given,
    )
