"""Paging: opaque cursors and slices of a sorted list.

Owns a cursor's coding. Never says what is sorted. A cursor names the last item seen, so that
items added or removed in between neither repeat nor hide others.
"""

import base64
import binascii
from collections.abc import Callable, Iterable
from typing import TypeVar

import msgspec

from schemas.errors import BlazzError, ErrorCode

T = TypeVar("T")
LIMIT_MAX = 200

Position = tuple[float, str]
"""Where an item stands: a time and, among equals, an id."""


def encode(position: Position) -> str:
    """Make a cursor."""
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).decode().rstrip("=")


def decode(cursor: str) -> Position:
    """Read a cursor. Raises `validation_failed`."""
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        return msgspec.json.decode(raw, type=tuple[float, str])
    except (binascii.Error, ValueError, msgspec.MsgspecError) as error:
        raise BlazzError(ErrorCode.VALIDATION_FAILED, "`cursor` is not one of ours") from error


def clamp(limit: int) -> int:
    """A limit as it is kept: at least one item, at most `LIMIT_MAX`."""
    return max(1, min(limit, LIMIT_MAX))


def take(
    items: Iterable[T], position_of: Callable[[T], Position], *, limit: int, cursor: str | None
) -> tuple[list[T], str | None]:
    """The next `limit` items, newest first, and the cursor after them (None at the end)."""
    limit = clamp(limit)
    after = decode(cursor) if cursor is not None else None
    ordered = sorted(items, key=position_of, reverse=True)
    left = [item for item in ordered if after is None or position_of(item) < after]
    page = left[:limit]
    return page, encode(position_of(page[-1])) if len(left) > limit else None
