"""Lane reports: what a lane waits for, in words that customers read.

Owns the wording. Pure: never asks the bus or a clock.
"""

from control_plane.core.lanes import Lane, LaneBook, Park, Place
from control_plane.dispatcher.delivery import Head
from control_plane.dispatcher.picker import BACKING_OFF
from schemas.pacing import LaneReport, LaneState

_PARKED = {
    Park.BACKING_OFF: LaneState.BACKING_OFF,
    Park.OFFLINE: LaneState.OFFLINE,
    Park.PACED: LaneState.PACED,
}
_PLACES = {
    Place.NOWHERE: LaneState.EMPTY,
    Place.READY: LaneState.QUEUED,
    Place.RUNNING: LaneState.SENDING,
}


def report(
    book: LaneBook, lane: Lane, tried: Head | None, *, now: float, wall_now: float
) -> LaneReport:
    """A lane as it stands; `now` is the book's clock (monotonic), `wall_now` is for people."""
    parked = book.parked(lane)
    message_id = tried.item.message_id if tried is not None else None
    attempts = tried.progress.attempts if tried is not None else 0
    if parked is None:
        state = _PLACES[book.place(lane)]
        return LaneReport(state, message_id=message_id, attempts=attempts)
    state, reason = _PARKED[parked.why], parked.reason
    if reason == BACKING_OFF:
        state = LaneState.BACKING_OFF
        reason = tried.wait.reason if tried is not None else ""
    return LaneReport(
        state,
        until=wall_now + max(0.0, parked.until - now),
        reason=reason or None,
        message_id=message_id,
        attempts=attempts,
    )
