"""Snapshot rows: the generations that are kept of a session's state.

Pure.
"""

from typing import Final

from schemas.api_snapshots import GenerationView
from schemas.snapshots import GenerationUse
from tui.rows import words
from tui.rows.cells import Cell, Column, Row, Severity

COLUMNS: Final = (
    Column("generation", "GEN", 5, align="right"),
    Column("use", "USE", 10),
    Column("epoch", "EPOCH", 5, align="right"),
    Column("objects", "OBJECTS", 7, align="right"),
    Column("size", "SIZE", 7, align="right"),
    Column("age", "AGE", 6, align="right"),
    Column("proven", "PROVEN", 7),
    Column("last", "LAST", 10, rank=2),
    Column("build", "BUILD", 16, rank=1, grow=True, width_max=24),
    Column("node", "NODE", 10, rank=3, grow=True, width_max=30),
)
_USES: Final = {
    GenerationUse.CURRENT: Cell("● current", Severity.GOOD),
    GenerationUse.FALLBACK: Cell("○ fallback"),
    GenerationUse.UNLINKED: Cell("✗ unlinked", Severity.MUTED),
}


def snapshot_row(kept: GenerationView, unix_now: float) -> Row:
    """One line. LAST says how its newest object was taken."""
    cells = (
        Cell(str(kept.generation)),
        _USES[kept.use],
        Cell(str(kept.epoch)),
        Cell(str(kept.objects)),
        Cell(words.size(kept.size_bytes)),
        Cell(words.age(unix_now - kept.captured_at)),
        Cell("✓ yes", Severity.GOOD) if kept.proven else Cell("not yet", Severity.MUTED),
        Cell("clean stop" if kept.clean else "in use", Severity.MUTED),
        Cell(kept.chromium_build or kept.engine.value),
        Cell(kept.node_id),
    )
    return Row(str(kept.generation), cells)
