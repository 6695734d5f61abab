"""How long a session was without a delivery, and how long it was not online.

Pure: both are read off what was noted while the bench ran.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import msgspec

from bench.chaos_traffic import Record
from bench.report import percentile
from sandbox.switch.log import Entry
from schemas.api import SessionView
from schemas.states import SessionState


def longest_gaps(
    record: Record, log: Iterable[Entry], from_s: float, until_s: float
) -> dict[str, float]:
    """By session: the longest time (s) between two messages that the switch took from it or
    brought to it, within a time (Unix seconds) whose ends count as deliveries."""
    by_digest = {one.digest: one.session_id for one in record.accepted}
    times: dict[str, list[float]] = defaultdict(list)
    for known in {*by_digest.values(), *record.inbound.values()}:
        times[known] = [from_s, until_s]
    for entry in log:
        session_id: str | None = None
        if entry.kind == "message.accepted":
            session_id = by_digest.get(entry.body_digest)
        elif entry.kind == "message.stored":
            session_id = record.inbound.get(entry.id)
        at_s = entry.at_ms / 1000
        if session_id is not None and from_s < at_s < until_s:
            times[session_id].append(at_s)
    return {sid: _longest(sorted(of_session)) for sid, of_session in times.items()}


def _longest(times: Sequence[float]) -> float:
    return max((later - sooner for sooner, later in pairwise(times)), default=0.0)


class OnlineWatch(msgspec.Struct):
    """How long each session was not online, by repeated looks at the list of sessions."""

    since: dict[str, float] = {}
    """Not online since."""
    longest: dict[str, float] = {}
    times: dict[str, int] = {}

    def look(self, views: Iterable[SessionView], at_s: float) -> None:
        """Take in one look."""
        for view in views:
            sid = view.session_id
            if view.state is not SessionState.ONLINE:
                if sid not in self.since:
                    self.since[sid] = at_s
                    self.times[sid] = self.times.get(sid, 0) + 1
            elif sid in self.since:
                away_s = at_s - self.since.pop(sid)
                self.longest[sid] = max(self.longest.get(sid, 0.0), away_s)


def spread(values: Mapping[str, float]) -> dict[str, float]:
    """Middle and worst of a figure of many sessions."""
    if not values:
        return {"p50": 0.0, "max": 0.0}
    figures = list(values.values())
    return {"p50": round(percentile(figures, 0.5), 2), "max": round(max(figures), 2)}
