"""The QR page: links a phone from the terminal.

Owns the code's life on the screen: it is shown while it can be scanned and gone the moment it
cannot (a phone that scans a dead code hangs). The value is never logged or copied.
"""

import asyncio
from collections.abc import Sequence
from typing import ClassVar, Final

from rich.style import Style
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from schemas.api import QrView
from schemas.errors import BlazzError, ErrorCode
from schemas.states import SessionState
from tui.acts import SessionRef
from tui.desk import Desk
from tui.rows.qr import drawn, qr_lines, small_qr_lines
from tui.rows.state_words import SESSION_WORDS

_PERIOD_S: Final = 0.5
_SAFETY_S: Final = 0.5
"""The code goes this long before its end: the answer was on its way for a while."""
_AROUND: Final = 2
"""Columns beside the code."""
_WORDS_LINES: Final = 2
_INK: Final = Style(color="#000000", bgcolor="#ffffff")
_DONE: Final = (SessionState.SYNCING, SessionState.ONLINE, SessionState.DEGRADED)
_WAITING: Final = (ErrorCode.QR_NOT_AVAILABLE, ErrorCode.SESSION_NOT_PAIRING)


class QrScreen(ModalScreen[None]):
    """Closed by esc or q; `r` asks for new codes when they have run out."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,i,enter", "dismiss", "Close"),
        Binding("r", "renew", "New codes"),
    ]
    DEFAULT_CSS = """
    QrScreen {
        align: center middle;
        #qr {
            width: auto; max-width: 100%; height: auto; max-height: 100%; background: $surface;
            padding: 0 1; border: none;
        }
        Static { width: auto; height: auto; min-width: 50; }
    }
    """

    def __init__(self, desk: Desk, ref: SessionRef, label: str) -> None:
        super().__init__()
        self._desk = desk
        self._ref = ref
        self._label = label
        self._code: QrView | None = None
        self._dead_at = 0.0
        self._said = "Asking for a code…"
        self._renew = asyncio.Event()

    def compose(self) -> ComposeResult:
        """One line of words over the code."""
        with Vertical(id="qr"):
            yield Static(id="qr-words")
            yield Static(id="qr-code")

    def on_mount(self) -> None:
        """Begin to ask."""
        self.set_interval(_PERIOD_S, self.redraw)
        self.redraw()
        self.run_worker(self._ask(), exit_on_error=True)

    def action_renew(self) -> None:
        """New codes, please."""
        self._renew.set()

    async def _ask(self) -> None:
        source = self._desk.source
        assert source is not None, "the page opens only with a source"
        while not self._linked():
            renew = self._renew.is_set()
            self._renew.clear()
            try:
                asked_at = self._desk.clock.monotonic()
                code = await source.qr(self._ref, renew=renew)
            except BlazzError as error:
                self._said = _sentence(error)
                await self._pause(4 * _PERIOD_S)
                continue
            # From when it was asked for: the answer's way counts against the code's life.
            self._code, self._dead_at = code, asked_at + code.expires_in_s - _SAFETY_S
            self.redraw()
            while self._alive() and not self._linked() and not self._renew.is_set():
                await self._pause(_PERIOD_S)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._renew.wait()
        except TimeoutError:
            return

    def _alive(self) -> bool:
        return self._code is not None and self._desk.clock.monotonic() < self._dead_at

    def _linked(self) -> bool:
        return self._state() in _DONE

    def _state(self) -> SessionState | None:
        self._desk.now()
        look = self._desk.roll.looks.get(self._ref.session_id)
        return None if look is None else look.state

    def redraw(self) -> None:
        """Show the code while it lives, the state otherwise."""
        words, code_shown = self.query_one("#qr-words", Static), self.query_one("#qr-code", Static)
        state = self._state()
        code = self._code
        if state in _DONE:
            words.update(f"{self._label}: linked, {SESSION_WORDS[state].word}. esc closes")
            code_shown.update("")
        elif code is not None and self._alive():
            left = self._dead_at - self._desk.clock.monotonic()
            hint, picture = self._picture(code.value)
            words.update(
                f"{self._label}: WhatsApp, Linked devices, scan.\n"
                f"code {code.index}/{code.count}, {left:.0f} s left{hint}"
            )
            code_shown.update(picture)
        else:
            self._code = None
            words.update(f"{self._label}: {self._said}")
            code_shown.update("")

    def _picture(self, value: str) -> tuple[str, Text]:
        """The code as large as it fits, and what to do if it can't be read."""
        width, height = self.size.width - _AROUND, self.size.height - _WORDS_LINES
        code = drawn(value, width, height)
        if code is None:
            needs = _size_of(small_qr_lines(value))
            return "", Text(
                f"The code needs {needs}; this terminal has {self.size.width}x{self.size.height}.\n"
                "Make it larger, its letters smaller, or use a link page: blazz session link"
            )
        hint = f". Not a clean square? Needs {_size_of(qr_lines(value))}" if code.small else ""
        return hint, Text("\n".join(code.lines), style=_INK, no_wrap=True)


def _size_of(lines: Sequence[str]) -> str:
    return f"{len(lines[0]) + _AROUND}x{len(lines) + _WORDS_LINES}"


def _sentence(error: BlazzError) -> str:
    if error.code is ErrorCode.QR_EXPIRED:
        return "the codes ran out. r brings new ones"
    if error.code in _WAITING:
        return "no code yet; the session is starting"
    return f"{error.detail or error.spec.title} ({error.code})"
