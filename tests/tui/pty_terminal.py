"""A program in a pseudo-terminal, and what its screen shows: as lines, and as a picture.

Owns the emulator's way. The picture is an SVG of the cells' own colours; several make an animation.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import pexpect
import pyte

COLUMNS, LINES = 120, 40
ROOT = Path(__file__).resolve().parents[2]
_NOT_INHERITED = ("NO_COLOR", "COLUMNS", "LINES")
_CELL_W, _CELL_H = 8.4, 18
_NAMED = {
    "black": "#000000", "red": "#cd3131", "green": "#0dbc79", "brown": "#e5e510",
    "blue": "#2472c8", "magenta": "#bc3fbc", "cyan": "#11a8cd", "white": "#e5e5e5",
}  # fmt: skip


class Terminal:
    """`argv` runs in it; `more` is added to its environment."""

    def __init__(self, *argv: str, **more: str) -> None:
        environment = {
            **{key: value for key, value in os.environ.items() if key not in _NOT_INHERITED},
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            **more,
        }
        self._screen = pyte.Screen(COLUMNS, LINES)
        self._stream = pyte.ByteStream(self._screen)
        self.bytes_read = 0
        self.process = pexpect.spawn(
            argv[0], list(argv[1:]), cwd=ROOT, env=environment, dimensions=(LINES, COLUMNS)
        )

    def lines(self) -> list[str]:
        while True:
            try:
                data = self.process.read_nonblocking(65_536, timeout=0)
            except (pexpect.TIMEOUT, pexpect.EOF):
                return [line.rstrip() for line in self._screen.display]
            self.bytes_read += len(data)
            self._stream.feed(data)

    def shows(self, *wanted: str) -> bool:
        """Whether one line holds all of it."""
        lines = self.lines()
        assert any(all(text in line for text in wanted) for line in lines), "\n".join(lines)
        return True

    def press(self, keys: str) -> None:
        self.process.send(keys)

    def picture(self) -> str:
        """The screen now, as SVG elements."""
        self.lines()
        return "".join(_line(y, self._screen.buffer[y]) for y in range(LINES))


def animation(frames: Sequence[tuple[str, str]], seconds: float) -> str:
    """An SVG that shows each frame (what it is, its picture) for so long, over and over."""
    width, height = COLUMNS * _CELL_W, LINES * _CELL_H
    whole_s, share = seconds * len(frames), 100 / len(frames)
    style = (
        "text{white-space:pre;dominant-baseline:text-before-edge}"
        f".f{{visibility:hidden;animation:f {whole_s:g}s infinite step-end}}"
        f"@keyframes f{{0%{{visibility:visible}}{share:g}%{{visibility:hidden}}}}"
    )
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height + 26:g}" '
        'font-family="Menlo,Consolas,DejaVu Sans Mono,monospace" font-size="14">'
        f"<style>{style}</style>"
        f'<rect width="{width:g}" height="{height + 26:g}" fill="#101418"/>'
    )
    parts = [head]
    for number, (told, picture) in enumerate(frames):
        caption = f'<text x="8" y="{height + 4:g}" fill="#ffffff">{escape(told)}</text>'
        parts.append(
            f'<g class="f" style="animation-delay:{number * seconds:g}s">{picture}{caption}</g>'
        )
    return "".join(parts) + "</svg>\n"


def _line(y: int, row: Any) -> str:
    parts, x = [], 0
    while x < COLUMNS:
        first, length = row[x], 1
        while x + length < COLUMNS and _look(row[x + length]) == _look(first):
            length += 1
        text = "".join(row[x + offset].data for offset in range(length))
        front, back, bold = _look(first)
        left, top, wide = x * _CELL_W, y * _CELL_H, length * _CELL_W
        if back:
            parts.append(
                f'<rect x="{left:.1f}" y="{top}" width="{wide:.1f}" height="{_CELL_H}" '
                f'fill="{back}"/>'
            )
        if text.strip():
            weight = ' font-weight="bold"' if bold else ""
            parts.append(
                f'<text x="{left:.1f}" y="{top + 1}" textLength="{wide:.1f}" fill="{front}"'
                f"{weight}>{escape(text)}</text>"
            )
        x += length
    return "".join(parts)


def _look(cell: Any) -> tuple[str, str, bool]:
    front, back = _colour(cell.fg, "#e0e0e0"), _colour(cell.bg, "")
    if cell.reverse:
        front, back = back or "#101418", front
    return front, back, bool(cell.bold)


def _colour(name: str, usual: str) -> str:
    if name == "default":
        return usual
    return _NAMED.get(name) or (f"#{name}" if len(name) == 6 else usual)
