"""Every command that the pages about the command line show is one that parses."""

import shlex
from pathlib import Path

import pytest

from cli.exit_codes import Exit
from cli.main import app

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "cli.md"
SHOWN_IN = (
    PAGE,
    DOCS / "audit.md",
    DOCS / "capacity.md",
    DOCS / "backup.md",
    *sorted((DOCS / "operations").glob("*.md")),
)


def shown() -> list[str]:
    lines = (line.split("  #")[0].split(" | ")[0].split(" > ")[0] for line in _code())
    return [line.strip() for line in lines if line.startswith("blazz ")]


def _code() -> list[str]:
    inside, found = False, []
    for line in (line for page in SHOWN_IN for line in page.read_text("utf-8").splitlines()):
        if line.startswith("```"):
            inside = line == "```bash"
        elif inside:
            found.append(line)
    return found


@pytest.mark.parametrize("line", shown())
def test_an_example_parses(line: str) -> None:
    _command, _bound, _ignored = app.parse_args(
        shlex.split(line)[1:], exit_on_error=False, print_error=False
    )


def test_the_page_names_every_verb_and_exit_code() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for noun in (
        "node",
        "session",
        "message",
        "webhook",
        "event",
        "key",
        "tenant",
        "context",
        "pacing",
        "opt-out",
        "config",
        "audit",
        "backup",
    ):
        row = next(line for line in text.splitlines() if line.startswith(f"| `{noun}` |"))
        verbs = {name for name in app[noun] if not name.startswith("-")} - {"describe"}
        assert all(verb in row for verb in verbs), (noun, verbs)
    assert all(f"\n| {code.value} |" in text for code in Exit)
