"""The demo's story with the real Chromium and the real wa-js bundle."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.exit_codes import Exit
from tests.integration.test_cli_demo import blazz, left_in

STORY_LIMIT_S = 170.0


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """A directory with a name so short that Chromium's own socket fits into it."""
    with tempfile.TemporaryDirectory(prefix="b-") as name:
        yield Path(name)


async def test_the_whole_story_holds(short_dir: Path) -> None:
    ran = await blazz("demo", "--once", limit_s=STORY_LIMIT_S, TMPDIR=str(short_dir))
    assert ran.code == Exit.OK, ran.out + ran.err
    last = json.loads(ran.out.splitlines()[-1])
    assert last["ok"] is True
    # Chromium's own temporary files count too: nothing may stay.
    assert left_in(short_dir) == []
