"""The doctor: every finding that is not ok says how to mend it."""

import json
from pathlib import Path

import pytest

from cli.doctor import Verdict, run_doctor
from cli.exit_codes import Exit


def test_what_is_missing_is_named_with_its_fix(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BLAZZ_CHROMIUM", str(tmp_path / "no-browser"))
    monkeypatch.setenv("BLAZZ_WA_JS", str(tmp_path / "no-bundle.js"))
    assert run_doctor("json") is Exit.FAILED
    findings = {row["check"]: row for row in json.loads(capsys.readouterr().out)}
    for check in ("chromium", "wa-js"):
        assert findings[check]["verdict"] == Verdict.FAIL
        assert str(tmp_path) in findings[check]["detail"]
    assert all(row["fix"] for row in findings.values() if row["verdict"] != Verdict.OK)


def test_a_changed_bundle_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "wppconnect-wa.js"
    bundle.write_text("console.log('not the pinned one')")
    monkeypatch.setenv("BLAZZ_WA_JS", str(bundle))
    assert run_doctor("text") is Exit.FAILED
    assert "is not wa-js" in capsys.readouterr().out
