"""QR codes as lines of a terminal: two modules a character, dark on light.

Pure. Owns their drawing and size. Never keeps a value: whoever scans it owns the account.
"""

from typing import Final

from qrcode.constants import ERROR_CORRECT_L
from qrcode.main import QRCode

_QUIET_MODULES: Final = 2
"""The standard says 4; phones read 2 from a screen, and terminals are small."""
_GLYPHS: Final = {(False, False): " ", (False, True): "▄", (True, False): "▀", (True, True): "█"}


def qr_lines(value: str) -> list[str]:
    """Lines to be drawn black on white."""
    code = QRCode(error_correction=ERROR_CORRECT_L, border=_QUIET_MODULES)
    code.add_data(value)
    code.make(fit=True)
    rows = [[bool(cell) for cell in row] for row in code.get_matrix()]
    if len(rows) % 2:
        rows.append([False] * len(rows[0]))
    pairs = zip(rows[::2], rows[1::2], strict=True)
    return ["".join(_GLYPHS[cell] for cell in zip(*pair, strict=True)) for pair in pairs]
