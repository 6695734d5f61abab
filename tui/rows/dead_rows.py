"""Dead-letter rows: what failed or ended unknown, without its body.

Pure.
"""

from typing import Final

from schemas.api_sending import DeadLetterView
from schemas.states import MessageState
from tui.rows import words
from tui.rows.cells import Cell, Column, Row, Severity

COLUMNS: Final = (
    Column("message", "MESSAGE", 13),
    Column("state", "STATE", 9),
    Column("died", "DIED", 6, align="right"),
    Column("code", "CODE", 18, grow=True, width_max=28),
    Column("to", "TO", 14, rank=1, grow=True, width_max=24),
    Column("kind", "KIND", 8, rank=2),
    Column("attempts", "TRIES", 5, rank=3, align="right"),
    Column("redrives", "REDRIVEN", 8, rank=4, align="right"),
    Column("detail", "DETAIL", 20, rank=5, grow=True, width_max=60),
)
SORTS: Final = ("", "died", "code", "state", "to", "kind", "attempts")


def dead_row(letter: DeadLetterView, unix_now: float, *, show_phones: bool) -> Row:
    """One line. `unknown` is the worse end: it may have gone out."""
    unknown = letter.state is MessageState.UNKNOWN
    chat, detail = letter.chat_id, letter.error_detail or ""
    if not show_phones:
        chat, detail = words.mask_numbers(chat), words.mask_numbers(detail)
    cells = (
        Cell(words.short_id(letter.message_id)),
        Cell("? unknown" if unknown else "✗ failed", Severity.WARN if unknown else Severity.BAD),
        Cell(words.age(unix_now - letter.died_at)),
        Cell(letter.error_code),
        Cell(chat),
        Cell(letter.kind.value),
        Cell(str(letter.attempts)),
        Cell(str(letter.redrives) if letter.redrives else words.NONE),
        Cell(detail, Severity.MUTED),
    )
    return Row(letter.message_id, cells)
