"""Queries: what a `/` filter means, and whether a row passes it.

Owns the filter grammar, k9s's: `re`, `!re`, `-l key=value`, `-f fuzzy`. Pure.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final, Literal

import msgspec

from tui.rows.cells import Row

PATTERN_CHARS_MAX: Final = 100


class Query(msgspec.Struct, frozen=True):
    """A filter as typed, taken apart. `kind` `all` passes everything."""

    text: str = ""
    kind: Literal["all", "regex", "not", "label", "fuzzy"] = "all"
    pattern: str = ""
    label: str = ""


EVERYTHING: Final = Query()


def parse(text: str) -> Query:
    """Read a filter. Raises ValueError with a sentence for the person who typed it."""
    text = text.strip()
    if not text:
        return EVERYTHING
    if len(text) > PATTERN_CHARS_MAX:
        raise ValueError(f"a filter has at most {PATTERN_CHARS_MAX} characters")
    if text.startswith("-l"):
        label, equals, value = text[2:].strip().partition("=")
        if not label or not equals:
            raise ValueError("a label filter reads -l key=value")
        return Query(text, "label", value, label)
    if text.startswith("-f"):
        return Query(text, "fuzzy", text[2:].strip().casefold())
    kind: Literal["not", "regex"] = "not" if text.startswith("!") else "regex"
    pattern = text[1:] if kind == "not" else text
    try:
        re.compile(pattern, re.IGNORECASE)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error.msg}") from error
    return Query(text, kind, pattern)


def passes(query: Query, row: Row, labels: Mapping[str, str] | None = None) -> bool:
    """Whether a row is shown. What it is searched in is its key and what its cells say, so a
    masked number cannot be found by its hidden digits."""
    return query.kind == "all" or passes_text(query, _text(row), labels)


def passes_text(query: Query, text: str, labels: Mapping[str, str] | None = None) -> bool:
    """The same of what a row says."""
    return matcher(query)(text, labels or {})


def matcher(query: Query) -> Callable[[str, Mapping[str, str]], bool]:
    """The same for many: whether what a row says, and its labels, pass."""
    pattern = query.pattern
    match query.kind:
        case "all":
            return lambda _text, _labels: True
        case "label":
            return lambda _text, labels: labels.get(query.label) == pattern
        case "fuzzy":
            return lambda text, _labels: _in_order(pattern, text)
        case "not":
            unwanted = re.compile(pattern, re.IGNORECASE).search
            return lambda text, _labels: unwanted(text) is None
        case "regex":
            wanted = re.compile(pattern, re.IGNORECASE).search
            return lambda text, _labels: wanted(text) is not None


def _in_order(chars: str, text: str) -> bool:
    remaining = iter(text.casefold())
    return all(char in remaining for char in chars)


def _text(row: Row) -> str:
    return " ".join((row.key, *(cell.text for cell in row.cells)))
