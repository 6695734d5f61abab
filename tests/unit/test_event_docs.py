"""The documentation of events names every event there is."""

from pathlib import Path

import pytest

from schemas.events import EVENT_TYPES

DOC = Path(__file__).parents[2] / "docs" / "events.md"


@pytest.mark.parametrize("name", [str(kind.__struct_config__.tag) for kind in EVENT_TYPES])
def test_an_event_is_documented(name: str) -> None:
    assert f"| `{name}` |" in DOC.read_text(encoding="utf-8")
