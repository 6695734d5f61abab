"""The engine's small parts: bundle, executable, codes, self-test, troubles, script."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from schemas.errors import BlazzError, ErrorCode
from swarm_node.engines.chromium import bundle as bundles
from swarm_node.engines.chromium import executable, link_mark
from swarm_node.engines.chromium.bridge.page_bridge import CODES
from swarm_node.engines.chromium.bridge.script import init_script
from swarm_node.engines.chromium.keeper import Troubles
from swarm_node.engines.chromium.qr import QrRun
from swarm_node.engines.chromium.settings import ChromiumSettings, settings_from_environment
from swarm_node.engines.chromium.snapshot import PageState, SelfTest
from swarm_node.engines.contract import QrExpired

SETTINGS = ChromiumSettings()


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BLAZZ_CHROMIUM", "BLAZZ_WA_JS"):
        monkeypatch.delenv(name, raising=False)


def test_another_bundle_than_the_pinned_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wa.js"
    path.write_text("window.WPP = {}")
    with pytest.raises(BlazzError) as error:
        bundles.find_bundle(ChromiumSettings(wa_js_path=path))
    assert error.value.code is ErrorCode.WA_JS_MISSING
    assert "npm ci" in error.value.detail


def test_the_pinned_bundle_is_taken_from_where_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "wa.js"
    path.write_text("window.WPP = {}")
    monkeypatch.setattr(bundles, "WA_JS_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    assert bundles.find_bundle(ChromiumSettings(wa_js_path=path)).text == "window.WPP = {}"
    monkeypatch.setenv("BLAZZ_WA_JS", str(path))
    assert bundles.find_bundle(SETTINGS).path == path
    monkeypatch.setenv("BLAZZ_WA_JS", str(tmp_path / "nothing"))
    with pytest.raises(BlazzError):
        bundles.find_bundle(SETTINGS)


def test_the_pin_is_the_version_in_package_json() -> None:
    package = json.loads((Path(__file__).parents[2] / "package.json").read_text())
    assert package["dependencies"]["@wppconnect/wa-js"] == bundles.WA_JS_VERSION


def test_a_named_browser_is_never_swapped_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "chromium"
    here.write_text("#!/bin/sh\n")
    here.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert executable.find_executable(SETTINGS) == here
    with pytest.raises(BlazzError) as error:
        executable.find_executable(ChromiumSettings(executable=tmp_path / "other"))
    assert error.value.code is ErrorCode.BROWSER_MISSING
    monkeypatch.setenv("BLAZZ_CHROMIUM", str(tmp_path / "other"))
    with pytest.raises(BlazzError):
        executable.find_executable(SETTINGS)
    assert settings_from_environment().executable == tmp_path / "other"


def test_playwrights_own_browser_is_the_last_resort(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    own = tmp_path / "own"
    with pytest.raises(BlazzError):
        executable.find_executable(SETTINGS, bundled=own)
    own.write_text("")
    own.chmod(0o755)
    assert executable.find_executable(SETTINGS, bundled=own) == own


def test_codes_are_counted_and_the_first_lives_longest() -> None:
    run = QrRun(SETTINGS)
    assert run.expired() is None
    shown = [run.shown(f"code {number}") for number in range(6)]
    assert [code.index for code in shown if code] == [1, 2, 3, 4, 5, 6]
    assert [code.expires_in_s for code in shown if code] == [60, 20, 20, 20, 20, 20]
    assert run.shown("code 5") is None
    assert run.expired() == QrExpired()
    assert run.expired() is None
    again = run.shown("new")
    assert again is not None
    assert again.index == 1


def test_the_self_test_names_what_is_wrong() -> None:
    assert SelfTest().fault is None
    assert "MsgStore" in (SelfTest(unwired=("MsgStore",)).fault or "")
    assert "Conn" in (SelfTest(missing=("Conn",)).fault or "")
    assert "2 new messages" in (SelfTest(deaf=2).fault or "")


def test_a_ready_page_is_not_a_linked_one() -> None:
    # wa-js is fully ready on the page that shows the code, too.
    assert not PageState(full_ready=True, ready=True, injected=True, mode="QR").linked
    assert PageState(mode="CONFLICT").replaced
    assert PageState(socket="CONFLICT").replaced


def test_troubles_are_counted_by_kind_and_forgotten_in_time() -> None:
    troubles = Troubles(ChromiumSettings(crashes_max=2, reloads_max=1, crash_window_s=100))
    crash, late = ErrorCode.BROWSER_CRASHED, ErrorCode.PAGE_NOT_READY
    assert [troubles.too_many(crash, now) for now in (0, 1, 2)] == [False, False, True]
    assert not troubles.too_many(late, 3)
    assert troubles.too_many(late, 4)
    assert not troubles.too_many(crash, 200)
    assert troubles.backoff_s() == 0.25


def test_the_link_mark(tmp_path: Path) -> None:
    assert not link_mark.is_linked(tmp_path)
    link_mark.mark_linked(tmp_path)
    assert link_mark.is_linked(tmp_path)
    link_mark.mark_unlinked(tmp_path)
    link_mark.mark_unlinked(tmp_path)
    assert not link_mark.is_linked(tmp_path)


def test_the_script_switches_analytics_off_before_the_bundle_and_stays_on_the_origin() -> None:
    script = init_script(bundles.Bundle(Path("wa.js"), "4.6.0", "THE_BUNDLE"))
    assert script.index("disableGoogleAnalytics: true") < script.index("THE_BUNDLE")
    assert script.index("THE_BUNDLE") < script.index("const blazz")
    assert script.startswith("if (location.origin === 'https://web.whatsapp.com' &&")


def test_every_error_of_our_javascript_has_a_code() -> None:
    here = Path(init_script.__wrapped__.__code__.co_filename).parent
    text = "".join(path.read_text() for path in here.glob("*.js"))
    raised = set(re.findall(r"CallError\(\s*'(\w+)'", text))
    # Our own faults, which no caller can act on.
    internal = {"no_such_call", "no_such_handle"}
    assert raised - internal <= set(CODES)
