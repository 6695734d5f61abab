"""Times as people write them: `90s`, `2h`, or a moment.

Owns the reading. Never prints.
"""

import re
import time
from datetime import UTC, datetime
from typing import Final

from schemas.errors import BlazzError, ErrorCode

_UNITS_S: Final = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_SPAN: Final = re.compile(r"(\d+(?:\.\d+)?)([smhd])")


def seconds(text: str) -> float:
    """`90s`, `5m`, `2h`, `1d` in seconds. Raises `validation_failed`."""
    found = _SPAN.fullmatch(text)
    if found is None:
        raise _unreadable(text, "a span such as 90s, 5m, 2h or 1d")
    return float(found[1]) * _UNITS_S[found[2]]


def moment_of(text: str) -> float:
    """A span before now, or a moment (in UTC unless it says otherwise), as Unix seconds. Raises
    `validation_failed`."""
    if _SPAN.fullmatch(text):
        return time.time() - seconds(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _unreadable(text, "`2h` or 2026-11-23T10:00:00Z") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp()


def _unreadable(text: str, wanted: str) -> BlazzError:
    return BlazzError(ErrorCode.VALIDATION_FAILED, f"{text!r} is not {wanted}")
