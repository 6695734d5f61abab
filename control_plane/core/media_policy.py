"""Media policy: which media that arrived is downloaded by itself, and what ends the trying.

Owns these decisions. Never asks anybody or keeps anything.
"""

from typing import Final

from schemas.errors import ErrorCode
from schemas.messages import ChatMessage, MediaMode, MediaPolicy

HOPELESS_TRIES: Final = 3
"""An engine may have a message a moment after it told of it; what is not there then, is not."""
_HOPELESS: Final = frozenset({ErrorCode.MEDIA_NOT_FOUND, ErrorCode.MEDIA_CORRUPT})


def wanted(policy: MediaPolicy, message: ChatMessage) -> bool:
    """Whether it is downloaded at once, as far as its own word about its size can be believed."""
    media = message.media
    if policy.mode is not MediaMode.AUTO or media is None or message.kind not in policy.kinds:
        return False
    return fits(policy, media.size_bytes or 0)


def fits(policy: MediaPolicy, size_bytes: int) -> bool:
    """Whether so much may be kept."""
    return size_bytes <= policy.bytes_max


def given_up(code: ErrorCode, *, tries: int, age_s: float, away_max_s: float) -> bool:
    """Whether an error was the last one. Most say only that the session is away just now."""
    return age_s >= away_max_s or (code in _HOPELESS and tries >= HOPELESS_TRIES)
