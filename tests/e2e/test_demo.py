"""The demo's story with the real Chromium and the real wa-js bundle."""

import json
from pathlib import Path

from cli.exit_codes import Exit
from tests.integration.test_cli_demo import blazz, left_in

STORY_LIMIT_S = 170.0


async def test_the_whole_story_holds(tmp_path: Path) -> None:
    ran = await blazz("demo", "--once", limit_s=STORY_LIMIT_S, TMPDIR=str(tmp_path))
    assert ran.code == Exit.OK, ran.out + ran.err
    last = json.loads(ran.out.splitlines()[-1])
    assert last["ok"] is True
    # Chromium's own temporary files count too: nothing may stay.
    assert left_in(tmp_path) == []
