"""Audit rows: who did what to which target, from where, and how it ended.

Pure. An act without an end is shown as that: nobody knows whether it was done.
"""

from typing import Final

from schemas.audit import AuditRecord
from tui.rows import words
from tui.rows.cells import Cell, Column, Row, Severity

COLUMNS: Final = (
    Column("at", "UTC", 8),
    Column("ago", "AGO", 6, rank=2, align="right"),
    Column("who", "WHO", 14, grow=True, width_max=28),
    Column("operation", "ACT", 16, grow=True, width_max=28),
    Column("target", "TARGET", 16, grow=True, width_max=60),
    Column("end", "END", 12, grow=True, width_max=34),
    Column("tenant", "TENANT", 10, rank=1, grow=True, width_max=20),
    Column("address", "FROM", 15, rank=3),
    Column("parameters", "WITH", 16, rank=4, grow=True, width_max=60),
)
SORTS: Final = ("", "who", "operation", "target", "end", "tenant", "address")
_REFUSED_FROM: Final = 400


def audit_row(record: AuditRecord, unix_now: float) -> Row:
    """One act's line."""
    said = ", ".join(f"{key}={value}" for key, value in sorted(record.parameters.items()))
    cells = (
        Cell(words.clock_time(record.at), Severity.MUTED),
        Cell(words.age(unix_now - record.at), Severity.MUTED),
        Cell(record.key_name or record.key_id or words.NONE),
        Cell(record.operation),
        Cell(" ".join(words.short_id(each) for each in record.target)),
        _end(record),
        Cell(record.tenant_id),
        Cell(record.address),
        Cell(words.mask_numbers(said), Severity.MUTED),
    )
    return Row(record.audit_id, cells)


def _end(record: AuditRecord) -> Cell:
    if record.http is None:
        return Cell("? not ended", Severity.WARN)
    if record.http >= _REFUSED_FROM:
        return Cell(f"✗ {record.error_code or record.http}", Severity.BAD)
    return Cell(f"● {record.http}", Severity.GOOD)
