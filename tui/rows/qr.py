"""QR codes as lines of a terminal: dark on light, in half blocks, or smaller in sextants.

Pure. Owns their drawing and size. Never keeps a value: whoever scans it owns the account.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from qrcode.constants import ERROR_CORRECT_L
from qrcode.main import QRCode

_QUIET_MODULES: Final = 2
"""The standard says 4; phones read 2 from a screen, and terminals are small."""
_HALVES: Final = " ▀▄█"
"""By the upper module (1) and the lower (2)."""
_SEXTANTS_FROM: Final = 0x1FB00
"""Unicode 13's block sextants, without the four patterns that are older."""
_OLDER: Final = {0: " ", 21: "▌", 42: "▐", 63: "█"}


class Drawn(NamedTuple):
    """Lines to be drawn black on white. `small`: in sextants, which not every font has."""

    lines: list[str]
    small: bool


def drawn(value: str, width: int, height: int) -> Drawn | None:
    """The code within so many columns and lines: in half blocks if they fit, else in sextants
    (half as wide, two thirds as high); None if not even they do."""
    for small, lines in ((False, qr_lines(value)), (True, small_qr_lines(value))):
        if len(lines) <= height and len(lines[0]) <= width:
            return Drawn(lines, small)
    return None


def qr_lines(value: str) -> list[str]:
    """Two modules a character, one above the other."""
    return _blocks(value, 1, 2, _HALVES)


def small_qr_lines(value: str) -> list[str]:
    """Six modules a character, two by three."""
    return _blocks(value, 2, 3, [_sextant(bits) for bits in range(64)])


def _sextant(bits: int) -> str:
    if bits in _OLDER:
        return _OLDER[bits]
    return chr(_SEXTANTS_FROM + bits - 1 - (bits > 21) - (bits > 42))


def _blocks(value: str, across: int, down: int, glyphs: Sequence[str]) -> list[str]:
    """Blocks of so many modules; the glyphs by their bits, the first the upper left one."""
    code = QRCode(error_correction=ERROR_CORRECT_L, border=_QUIET_MODULES)
    code.add_data(value)
    code.make(fit=True)
    rows = code.get_matrix()
    size = len(rows)

    def glyph(top: int, left: int) -> str:
        bits = 0
        for place in range(across * down):
            y, x = top + place // across, left + place % across
            if y < size and x < size and rows[y][x]:
                bits |= 1 << place
        return glyphs[bits]

    return [
        "".join(glyph(top, left) for left in range(0, size, across)) for top in range(0, size, down)
    ]
