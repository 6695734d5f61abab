"""A scratch browser of the self-test's: it starts, and takes the wa-js bundle."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from schemas.errors import BlazzError, ErrorCode
from swarm_node.engines.chromium.bundle import WA_JS_VERSION
from swarm_node.engines.chromium.settings import ChromiumSettings
from swarm_node.engines.chromium.trial import try_browser


async def test_the_browser_of_this_host_takes_the_bundle() -> None:
    found = await try_browser(ChromiumSettings())
    assert found.wa_js == WA_JS_VERSION
    assert found.build.count(".") == 3
    assert found.sandboxed == (os.geteuid() != 0)


async def test_a_missing_bundle_is_told_before_a_browser_starts(tmp_path: Path) -> None:
    with pytest.raises(BlazzError) as error:
        await try_browser(ChromiumSettings(wa_js_path=tmp_path / "gone.js"))
    assert error.value.code is ErrorCode.WA_JS_MISSING


async def test_a_driver_that_does_not_start_is_an_error_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PLAYWRIGHT_NODEJS_PATH", "/bin/false")
    with pytest.raises(BlazzError, match="libatomic1") as error:
        await try_browser(ChromiumSettings())
    assert error.value.code is ErrorCode.BROWSER_START_FAILED
