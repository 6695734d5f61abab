"""Sorting of rows by what their cells say, for tables too small to need better.

Pure.
"""

import re
from typing import Final

_NUMBER: Final = re.compile(r"(\d+(?:\.\d+)?)")


def natural(text: str) -> tuple[tuple[int, float, str], ...]:
    """Numbers by their value, the rest by its letters: `node-9` before `node-10`."""
    return tuple(
        (0, float(part), "") if _NUMBER.fullmatch(part) else (1, 0.0, part.casefold())
        for part in _NUMBER.split(text)
        if part
    )
