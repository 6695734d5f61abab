"""State mixes and sparklines: how many sessions are in which state, and how that went lately.

Pure. A history is fed with the moment; it keeps a bounded number of samples.
"""

from collections import Counter, deque
from collections.abc import Iterable
from typing import Final

from schemas.states import SessionState
from tui.rows.cells import Cell, Severity
from tui.rows.header import FleetCounts
from tui.rows.state_words import DOUBT_GLYPH, SESSION_WORDS, urgency

_LEVELS: Final = "▁▂▃▄▅▆▇█"
SAMPLE_PERIOD_S: Final = 5.0
SAMPLES_MAX: Final = 60


def mix_words(states: Iterable[SessionState]) -> str:
    """`●38 ◐1 ✗1`, the worst first after the online ones."""
    tally = Counter(states)
    order = sorted(
        tally,
        key=lambda state: (
            state is not SessionState.ONLINE,
            urgency(SESSION_WORDS[state].severity),
            state,
        ),
    )
    return " ".join(f"{SESSION_WORDS[state].glyph}{tally[state]}" for state in order)


def mix_cells(counts: FleetCounts) -> list[Cell]:
    """The fleet's states with their words, the most first."""
    cells = [
        Cell(f"{SESSION_WORDS[state].glyph} {count} {SESSION_WORDS[state].word}",
             SESSION_WORDS[state].severity)
        for state, count in counts.states
    ]  # fmt: skip
    if counts.sessions_doubted:
        cells.append(Cell(f"{DOUBT_GLYPH} {counts.sessions_doubted} unsure", Severity.WARN))
    return cells


def sparkline(values: Iterable[float], width: int) -> str:
    """The last `width` values between the lowest and the highest of them; level when all are
    equal."""
    shown = list(values)[-width:]
    if not shown:
        return ""
    low, high = min(shown), max(shown)
    span = high - low
    top = len(_LEVELS) - 1
    return "".join(_LEVELS[round((value - low) / span * top) if span else 0] for value in shown)


class History:
    """A number over the last minutes, sampled."""

    def __init__(self) -> None:
        self._samples: deque[float] = deque(maxlen=SAMPLES_MAX)
        self._next_at = 0.0

    @property
    def samples(self) -> tuple[float, ...]:
        """The oldest first, `SAMPLE_PERIOD_S` apart."""
        return tuple(self._samples)

    def add(self, now: float, value: float) -> None:
        """Take a value in, unless the last one is too young. `now`: monotonic seconds."""
        if now >= self._next_at:
            self._next_at = now + SAMPLE_PERIOD_S
            self._samples.append(value)
