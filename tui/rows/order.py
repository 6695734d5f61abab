"""Orders: the session table's rows for a scope, a filter and a sort, kept from repaint to repaint.

Owns one table's order. Pure. Only sessions that the roll says changed are looked at again, and
nothing is sorted when no place can have changed.
"""

from collections.abc import Iterable, Sequence

from tui.health import SessionLook, session_said_at
from tui.roll import Roll
from tui.rows.listing import Scope, Sort
from tui.rows.query import EVERYTHING, Query, passes_text
from tui.rows.session_rows import SortKey, age_sort_key, session_sort_key, session_words


class SessionOrder:
    """For one table."""

    def __init__(self) -> None:
        self._asked: tuple[Sort, Scope, Query, bool] | None = None
        self._version = 0
        self._keys: dict[str, SortKey] = {}
        self._ids: list[str] = []
        self._words: dict[str, tuple[SessionLook, str]] = {}
        """What each session says, for the next letter of a filter."""
        self._phones_in_words = False

    def listed(
        self,
        roll: Roll,
        now: float,
        sort: Sort,
        scope: Scope,
        query: Query = EVERYTHING,
        *,
        show_phones: bool = False,
    ) -> Sequence[str]:
        """Session ids in order; the same list as before if nothing changed in it. `now`:
        monotonic seconds."""
        asked = (sort, scope, query, show_phones)
        changed = roll.changed_after(self._version) if asked == self._asked else None
        self._asked, self._version = asked, roll.version
        if changed is None:
            self._keys = {}
        if query is EVERYTHING or show_phones is not self._phones_in_words:
            self._words, self._phones_in_words = {}, show_phones
        moved = self._take_in(roll, roll.looks if changed is None else changed)
        if sort.column == "age":
            self._age_all(roll, now)
        if moved or changed is None or sort.column == "age":
            self._ids = sorted(self._keys, key=self._keys.__getitem__, reverse=sort.reverse)
        return self._ids

    def _take_in(self, roll: Roll, session_ids: Iterable[str]) -> bool:
        """Whether any came, went or may stand elsewhere."""
        moved = False
        for session_id in session_ids:
            look = roll.looks.get(session_id)
            key = None if look is None else self._key(look)
            if key is None:
                moved = self._keys.pop(session_id, None) is not None or moved
            elif self._keys.get(session_id) != key:
                self._keys[session_id] = key
                moved = True
        return moved

    def _key(self, look: SessionLook) -> SortKey | None:
        assert self._asked is not None
        sort, scope, query, show_phones = self._asked
        if scope.node_id is not None and look.node_id != scope.node_id:
            return None
        if query is not EVERYTHING:
            known = self._words.get(look.session_id)
            if known is None or known[0] is not look:
                known = (look, session_words(look, show_phones=show_phones))
                self._words[look.session_id] = known
            if not passes_text(query, known[1], look.metadata):
                return None
        return session_sort_key(look, sort.column)

    def _age_all(self, roll: Roll, now: float) -> None:
        """Ages change with every pulse."""
        for session_id in self._keys:
            said_at = session_said_at(roll.view, roll.view.sessions[session_id])
            age_s = None if said_at is None else max(0.0, now - said_at)
            self._keys[session_id] = age_sort_key(session_id, age_s)
