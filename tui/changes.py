"""Changes: everything the fleet view can be told, as immutable structs.

Owns the vocabulary between the feed (which hears) and the model (which folds). Never holds a
clock: a batch says when it was received, by the receiver's monotonic clock in seconds.
"""

import msgspec

from schemas.events import Event
from schemas.records import (
    Assignment,
    CapacityRecord,
    Heartbeat,
    NodeIntent,
    NodeRecord,
    SessionObserved,
    SessionRecord,
)

FleetRecord = (
    NodeRecord | NodeIntent | CapacityRecord | SessionRecord | Assignment | SessionObserved
)


class RecordPut(msgspec.Struct, frozen=True):
    """A key of the fleet bucket has this value at this revision."""

    key: str
    revision: int
    record: FleetRecord


class RecordGone(msgspec.Struct, frozen=True):
    """A key of the fleet bucket was deleted, or expired, at this revision."""

    key: str
    revision: int


class Pulse(msgspec.Struct, frozen=True):
    """A node's heartbeat arrived."""

    heartbeat: Heartbeat


class Happened(msgspec.Struct, frozen=True):
    """An event of the stream. `live` is false while the stream's recent past is read back."""

    sequence: int
    event: Event
    live: bool = True


class EventsGap(msgspec.Struct, frozen=True):
    """Events from `from_seq` to `to_seq` cannot be had any more; with `from_seq` above `to_seq`
    the stream itself was set back to `to_seq`."""

    from_seq: int
    to_seq: int


class ResyncBegan(msgspec.Struct, frozen=True):
    """The whole bucket is about to be read again; as a `sweep` if only to make sure."""

    sweep: bool = False


class ResyncDone(msgspec.Struct, frozen=True):
    """All of it was read: a key that did not come is gone."""


class BusUp(msgspec.Struct, frozen=True):
    """The bus answers; `round_trip_s` is how fast."""

    round_trip_s: float


class BusDown(msgspec.Struct, frozen=True):
    """The bus is away: from here on silence proves nothing about a node."""

    reason: str


class Trouble(msgspec.Struct, frozen=True):
    """A part of the feed does not come, though the bus is there. An empty `why` ends it."""

    part: str
    why: str = ""


class Unreadable(msgspec.Struct, frozen=True):
    """Something came that this version cannot decode. `what` is a kind of datum, never content."""

    what: str


class Rewound(msgspec.Struct, frozen=True):
    """The past is told anew from its beginning: nothing of what was known holds."""


class PastMoment(msgspec.Struct, frozen=True):
    """What is shown is the past: `at` (Unix seconds), `ago_s` before now."""

    at: float
    ago_s: float
    playing: bool = False


Change = (
    RecordPut
    | RecordGone
    | Pulse
    | Happened
    | EventsGap
    | ResyncBegan
    | ResyncDone
    | BusUp
    | BusDown
    | Trouble
    | Unreadable
    | Rewound
    | PastMoment
)


class Batch(msgspec.Struct, frozen=True):
    """Changes in the order they came; `received_at` is monotonic seconds."""

    received_at: float
    changes: tuple[Change, ...]
