"""Moments: what a person means by `--at`.

Pure. Never asks what time it is.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

_AGO: Final = re.compile(r"^-(\d+)(s|m|h|d)$")
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_CLOCK: Final = re.compile(r"^(\d{1,2}):(\d{2})(?::(\d{2}))?$")


def parse_moment(text: str, unix_now: float) -> float:
    """Unix seconds of `14:05` or `14:05:30` (UTC, the last time it was), `-10m` (also s, h, d), or
    an ISO time (UTC unless it says otherwise).

    Raises ValueError with a sentence for the person who typed it.
    """
    text = text.strip()
    if ago := _AGO.match(text):
        return unix_now - int(ago[1]) * _UNITS_S[ago[2]]
    now = datetime.fromtimestamp(unix_now, UTC)
    try:
        if clock := _CLOCK.match(text):
            moment = now.replace(
                hour=int(clock[1]), minute=int(clock[2]), second=int(clock[3] or 0), microsecond=0
            )
            if moment > now:
                moment -= timedelta(days=1)
        else:
            moment = datetime.fromisoformat(text)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    except ValueError as error:
        raise ValueError(f"{text!r} is no moment: say 14:05, -10m or 2026-11-23T14:05") from error
    if moment.timestamp() > unix_now:
        raise ValueError(f"{text} has not come yet")
    return moment.timestamp()
