"""QR codes as pictures: SVG, PNG and blocks for a terminal.

Owns their drawing, always dark on light with the standard's quiet zone of 4 modules. Never keeps
a value: it opens an account.
"""

import struct
import zlib

from qrcode.constants import ERROR_CORRECT_L
from qrcode.main import QRCode

_QUIET_MODULES = 4


def modules(value: str) -> list[list[bool]]:
    """The code's rows, True is dark, quiet zone included."""
    # Level L: a code on a screen has no dirt on it, and fewer modules scan from further away.
    code = QRCode(error_correction=ERROR_CORRECT_L, border=_QUIET_MODULES)
    code.add_data(value)
    code.make(fit=True)
    return [[bool(cell) for cell in row] for row in code.get_matrix()]


def svg(value: str, label: str = "QR code") -> str:
    """An SVG without a fixed size: one path, one unit a module."""
    rows = modules(value)
    size = len(rows)
    path = "".join(
        f"M{x} {y}h{length}v1h-{length}z" for y, row in enumerate(rows) for x, length in _runs(row)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}" '
        f'shape-rendering="crispEdges" role="img" aria-label="{label}">'
        f'<path fill="#fff" d="M0 0h{size}v{size}H0z"/><path fill="#000" d="{path}"/></svg>'
    )


def png(value: str, scale: int = 8) -> bytes:
    """A one-bit PNG, `scale` pixels a module."""
    rows = modules(value)
    size = len(rows) * scale
    raw = bytearray()
    for row in rows:
        # In a one-bit grey image 1 is white.
        bits = "".join(("0" if dark else "1") * scale for dark in row)
        packed = int(bits.ljust(-(-size // 8) * 8, "0"), 2).to_bytes(-(-size // 8), "big")
        raw += (b"\0" + packed) * scale
    header = struct.pack(">IIBBBBB", size, size, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(bytes(raw), 9))
        + _chunk(b"IEND", b"")
    )


def terminal(value: str) -> str:
    """Half blocks for a terminal with light text on dark: two modules a character."""
    rows = modules(value)
    if len(rows) % 2:
        rows.append([False] * len(rows[0]))
    glyphs = {(False, False): "█", (False, True): "▀", (True, False): "▄", (True, True): " "}
    pairs = zip(rows[::2], rows[1::2], strict=True)
    lines = ("".join(glyphs[cell] for cell in zip(*pair, strict=True)) for pair in pairs)
    return "\n".join(lines) + "\n"


def _runs(row: list[bool]) -> list[tuple[int, int]]:
    """Runs of dark modules as (start, length)."""
    runs: list[tuple[int, int]] = []
    for x, dark in enumerate(row):
        if dark and runs and sum(runs[-1]) == x:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        elif dark:
            runs.append((x, 1))
    return runs


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
