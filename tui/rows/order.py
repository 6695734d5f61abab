"""Orders: the session table's rows for a scope, a filter and a sort, kept from repaint to repaint.

Owns one table's order. Pure. Only sessions that the roll says changed are looked at again, nothing
is sorted when no place can have changed, and a filter's next letter sorts nothing at all.
"""

from collections.abc import Iterable, Sequence
from itertools import chain, islice
from typing import Final

from tui.health import SessionLook
from tui.roll import Roll
from tui.rows.listing import Scope, Sort
from tui.rows.query import EVERYTHING, Query, matcher
from tui.rows.session_rows import SortKey, session_sort_key, session_words

SAID_AHEAD: Final = 1_000
"""Words made ahead in a repaint, at most: some two milliseconds."""


class SessionOrder:
    """For one table."""

    def __init__(self) -> None:
        self._ordered_by: tuple[Sort, Scope] | None = None
        self._filtered_by: tuple[Query, bool] = (EVERYTHING, False)
        self._version = 0
        self._keys: dict[str, SortKey] = {}
        """Of every session in the scope."""
        self._all: list[str] = []
        """The same, in order."""
        self._passing: set[str] = set()
        self._ids: list[str] = []
        self._passes = matcher(EVERYTHING)
        self._words: dict[str, tuple[SessionLook, str]] = {}
        """What each session says, for the next letter of a filter."""
        self._said = 0
        """So many of `_all` have had their words made ahead."""

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
        same_order = self._ordered_by == (sort, scope)
        changed = roll.changed_after(self._version) if same_order else None
        self._ordered_by, self._version = (sort, scope), roll.version
        if changed is None:
            self._keys = {}
        moved = self._take_in(roll, roll.looks if changed is None else changed, sort, scope)
        if sort.column == "age":
            # Ages change with every pulse.
            self._all = self._by_age(roll, now, reverse=sort.reverse)
        elif moved or changed is None:
            self._all = sorted(self._keys, key=self._keys.__getitem__, reverse=sort.reverse)
        reordered = moved or changed is None or sort.column == "age"
        self._filter(roll, changed, query, show_phones=show_phones, reordered=reordered)
        return self._ids

    # The order -----------------------------------------------------------------------------------

    def _take_in(self, roll: Roll, session_ids: Iterable[str], sort: Sort, scope: Scope) -> bool:
        """Whether any came, went or may stand elsewhere."""
        moved = False
        for session_id in session_ids:
            look = roll.looks.get(session_id)
            if look is None:
                self._words.pop(session_id, None)
            if look is None or (scope.node_id is not None and look.node_id != scope.node_id):
                moved = self._keys.pop(session_id, None) is not None or moved
                continue
            key = session_sort_key(look, sort.column)
            if self._keys.get(session_id) != key:
                self._keys[session_id] = key
                moved = True
        return moved

    def _by_age(self, roll: Roll, now: float, *, reverse: bool) -> list[str]:
        """The oldest word first, those who never spoke last, as `session_sort_key` has it; sorted
        by the moments, for there are as many sessions to most of them as a node has."""
        words = roll.by_last_word(self._keys)
        never = sorted(words.pop(None, ()))
        moments: dict[float, list[str]] = {}
        for at, session_ids in words.items():
            # What was said after this moment was said now.
            moments.setdefault(min(now, at or 0.0), []).extend(session_ids)
        ids: list[str] = []
        for at in sorted(moments):
            ids += sorted(moments[at])
        ids += never
        if reverse:
            ids.reverse()
        return ids

    # The filter ----------------------------------------------------------------------------------

    def _filter(
        self,
        roll: Roll,
        changed: set[str] | None,
        query: Query,
        *,
        show_phones: bool,
        reordered: bool,
    ) -> None:
        """Bring what passes up to date; `changed` as the roll says it, None: all may have."""
        same = self._filtered_by == (query, show_phones)
        if not same:
            if show_phones is not self._filtered_by[1]:
                self._words = {}
            self._filtered_by, self._passes = (query, show_phones), matcher(query)
        if query is EVERYTHING:
            self._passing, self._ids = set(), self._all
            self._say_ahead(roll, changed)
            return
        before = self._passing
        if same and changed is not None:
            self._passing = (before - changed) | self._those_passing(roll, changed)
        else:
            self._passing = self._those_passing(roll, self._keys)
        if reordered or not same or self._passing != before:
            passing = self._passing
            self._ids = [session_id for session_id in self._all if session_id in passing]

    def _those_passing(self, roll: Roll, session_ids: Iterable[str]) -> set[str]:
        return {
            session_id
            for session_id in session_ids
            if session_id in self._keys
            and self._passes(self._words_of(look := roll.looks[session_id]), look.metadata)
        }

    def _say_ahead(self, roll: Roll, changed: set[str] | None) -> None:
        """Have words ready before a filter's first letter asks for everybody's."""
        if changed is None:
            self._said = 0
        ahead = self._all[self._said : self._said + SAID_AHEAD]
        self._said += len(ahead)
        for session_id in chain(ahead, islice(changed or (), SAID_AHEAD)):
            look = roll.looks.get(session_id)
            if look is not None and session_id in self._keys:
                self._words_of(look)

    def _words_of(self, look: SessionLook) -> str:
        known = self._words.get(look.session_id)
        if known is None or known[0] is not look:
            known = (look, session_words(look, show_phones=self._filtered_by[1]))
            self._words[look.session_id] = known
        return known[1]
