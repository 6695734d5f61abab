"""The audit screen: what operators and key owners did, from the log that refuses deletion.

Owns the table. Never an act: the log is only read.
"""

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import BindingType

from schemas.audit import AuditRecord
from tui.actions import AUDIT, bindings
from tui.desk import Desk
from tui.rows import audit_rows
from tui.rows.cells import Row
from tui.rows.listing import Now
from tui.rows.raw import raw_json
from tui.screens.loaded import LoadedScreen


class AuditScreen(LoadedScreen):
    """The newest first."""

    VIEW = AUDIT
    WORD = "AUDIT"
    EMPTY = "nobody has done anything yet"
    COLUMNS = audit_rows.COLUMNS
    SORTS = audit_rows.SORTS
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(AUDIT)]

    def __init__(self, desk: Desk, filter_text: str = "") -> None:
        super().__init__(desk, filter_text)
        self._records: dict[str, AuditRecord] = {}

    async def load(self) -> None:
        """The newest page."""
        if self.desk.source is not None:
            self._records = {each.audit_id: each for each in await self.desk.source.audit()}

    def rows(self, now: Now) -> Sequence[Row]:
        """Of the last answer."""
        return [audit_rows.audit_row(each, now.unix) for each in self._records.values()]

    def detail(self, key: str, *, raw: bool) -> str:
        """The whole record."""
        record = self._records.get(key)
        return raw_json(record, show_phones=self.desk.settings.show_phones) if record else ""

    def action_drill(self) -> None:
        """The whole record."""
        self.action_describe()
