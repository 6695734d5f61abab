"""Words: ages, sizes, bars, and the masking of what must not be read off a screen.

Pure. Never decides how a thing is doing; see the row modules.
"""

import re
from datetime import UTC, datetime
from typing import Final

NONE: Final = "-"
_MINUTE: Final = 60
_HOUR: Final = 3_600
_DAY: Final = 86_400
_MASKED_FROM: Final = 6
_PHONE_LIKE: Final = re.compile(rf"\d{{{_MASKED_FROM},}}")
_SHOWN_FIRST: Final = 2
_SHOWN_LAST: Final = 2


def age(seconds: float | None) -> str:
    """Two units at most, k9s's way: `4s`, `3m20s`, `5h12m`, `9d`."""
    if seconds is None:
        return NONE
    whole = max(0, int(seconds))
    if whole < _MINUTE:
        return f"{whole}s"
    if whole < 10 * _MINUTE:
        return f"{whole // _MINUTE}m{whole % _MINUTE:02d}s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}m"
    if whole < 2 * _DAY:
        return f"{whole // _HOUR}h{whole % _HOUR // _MINUTE:02d}m"
    return f"{whole // _DAY}d"


def round_trip(seconds: float | None) -> str:
    """Milliseconds, with a decimal where it matters."""
    if seconds is None:
        return NONE
    milliseconds = seconds * 1_000
    return f"{milliseconds:.1f}ms" if milliseconds < 10 else f"{milliseconds:.0f}ms"


def size(count: int) -> str:
    """Bytes in binary units: `512M`, `3.2G`."""
    value = float(count)
    for unit in ("B", "K", "M", "G"):
        if value < 1_000 or unit == "G":
            break
        value /= 1024
    return f"{value:.1f}{unit}" if unit == "G" and value < 100 else f"{value:.0f}{unit}"


def bar(share: float, width: int) -> str:
    """`share` (0 to 1) of `width` cells filled. Anything above nothing shows at least one."""
    share = min(1.0, max(0.0, share))
    filled = round(share * width)
    if share > 0:
        filled = max(1, filled)
    return "█" * filled + "░" * (width - filled)


def clock_time(unix_s: float) -> str:
    """Time of day in UTC, as every log of the fleet has it."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%H:%M:%S")


def date_time(unix_s: float) -> str:
    """Day and time of day in UTC."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M:%S")


def mask_numbers(text: str) -> str:
    """Hide the middle of anything long enough to be a phone number: `62•••••••89`."""
    return _PHONE_LIKE.sub(_mask, text)


def _mask(found: re.Match[str]) -> str:
    digits = found.group()
    hidden = len(digits) - _SHOWN_FIRST - _SHOWN_LAST
    return digits[:_SHOWN_FIRST] + "•" * hidden + digits[-_SHOWN_LAST:]


def phone(number: str | None, *, shown: bool) -> str:
    """A number as it may be shown."""
    if not number:
        return NONE
    if shown:
        return f"+{number}"
    if len(number) >= _MASKED_FROM and number.isdecimal():
        # Without the pattern: a filter asks for every session's.
        hidden = len(number) - _SHOWN_FIRST - _SHOWN_LAST
        return f"+{number[:_SHOWN_FIRST]}{'•' * hidden}{number[-_SHOWN_LAST:]}"
    return "+" + mask_numbers(number)


def short_id(session_id: str) -> str:
    """A session's id short enough for a narrow table, still unlikely to be another's: ids sort by
    time of creation, so the random part is at the end."""
    return f"{session_id[:4]}…{session_id[-8:]}" if len(session_id) > 13 else session_id
