"""The node screen: one node, its sessions and, on a drain, why each is still there.

Owns nothing of a drain: it goes on in the control plane whether somebody looks or not.
"""

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from schemas.api import NodeDetail
from tui.actions import NODE, bindings
from tui.desk import Desk
from tui.rows import facts, session_rows
from tui.rows.card_facts import node_facts
from tui.rows.cards import Fact
from tui.rows.cells import Cell, Column, Row, Severity
from tui.rows.listing import Now, Scope, session_row_of
from tui.rows.order import SessionOrder
from tui.rows.query import Query
from tui.screens.loaded import LoadedScreen
from tui.widgets.card import Card

_WAITS = Column("waits", "WHY IT IS STILL HERE", 22, grow=True, width_max=50)
_KEPT = ("session", "tenant", "name", "state", "since", "epoch", "reason")


class NodeScreen(LoadedScreen):
    """`node_id` need not be known yet."""

    VIEW = NODE
    WORD = "SESSIONS"
    EMPTY = "no sessions on it"
    COLUMNS = (
        *(column for column in session_rows.COLUMNS if column.id in _KEPT[:-1]),
        _WAITS,
        *(column for column in session_rows.COLUMNS if column.id == _KEPT[-1]),
    )
    SORTS = tuple(sort for sort in session_rows.SORTS if sort in _KEPT)
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(NODE)]

    def __init__(self, desk: Desk, node_id: str) -> None:
        super().__init__(desk)
        self.node_id = node_id
        self._order = SessionOrder()
        self._detail: NodeDetail | None = None

    async def load(self) -> None:
        """The node as the control plane sees it."""
        if self.desk.source is not None:
            self._detail = await self.desk.source.node(self.node_id)

    def compose_body(self) -> Iterable[Widget]:
        """The node, then its sessions."""
        yield Card(id="card")
        yield from super().compose_body()

    def draw(self, now: Now, *, anew: bool) -> None:
        """The card and the table."""
        told = node_facts(self.view, self.node_id, now)
        detail = self._detail
        if detail is not None and detail.node.draining:
            left = len(detail.sessions)
            value = "● done, nothing is left" if detail.drained else f"↻ {left} sessions left"
            severity = Severity.GOOD if detail.drained else Severity.BUSY
            told.append(Fact("Drain", value, severity))
        self.query_one(Card).show(told)
        super().draw(now, anew=anew)

    def list_keys(self, now: Now, query: Query) -> Sequence[str]:
        """Sessions placed here, as the bus tells it."""
        return self._order.listed(
            self.desk.roll,
            now.monotonic,
            self.sort_by,
            Scope(self.node_id),
            query,
            show_phones=now.show_phones,
        )

    def row_of(self, key: str, now: Now) -> Row:
        """A session, and what it waits for."""
        whole = session_row_of(self.view, key, now)
        by_id = {
            column.id: cell for column, cell in zip(session_rows.COLUMNS, whole.cells, strict=True)
        }
        waits = {
            each.session_id: each.waits_for
            for each in (self._detail.sessions if self._detail else ())
        }
        by_id["waits"] = Cell(waits.get(key) or "", Severity.WARN)
        return Row(key, tuple(by_id[column.id] for column in self.COLUMNS), whole.stale)

    def total(self) -> int:
        """All that are on it."""
        return len(self.desk.roll.sessions_of(self.node_id))

    def why_empty(self) -> str:
        """The bus tells what is here, the API only why."""
        return self.EMPTY

    def title_words(self) -> str:
        """Whose sessions."""
        return f"SESSIONS of {self.node_id}"

    def chosen_nodes(self) -> Sequence[str]:
        """This one."""
        return (self.node_id,)

    def chosen_sessions(self) -> Sequence[str]:
        """The marked ones, or the cursor's."""
        return self.active_table().selected

    def detail(self, key: str, *, raw: bool) -> str:
        """A session."""
        return facts.session(self.view, key, self.desk.now(), raw=raw)

    def action_drill(self) -> None:
        """The session."""
        key = self.active_table().cursor_key
        if key:
            self.go("session", key)
