"""The doctor: every finding that is not ok says how to mend it."""

import json
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cli.doctor import Finding, Verdict, run_doctor
from cli.doctor_fleet import expiry, skew
from cli.exit_codes import Exit
from cli.findings import exit_for, written


def test_what_is_missing_is_named_with_its_fix(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BLAZZ_CHROMIUM", str(tmp_path / "no-browser"))
    monkeypatch.setenv("BLAZZ_WA_JS", str(tmp_path / "no-bundle.js"))
    assert run_doctor("json") == Exit.FAILED
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
    assert run_doctor("text") == Exit.FAILED
    assert "is not wa-js" in capsys.readouterr().out


FINDINGS = (
    Finding("disk", Verdict.OK, "9 GB free"),
    Finding("clock (bus)", Verdict.WARN, "3.0 s ahead", "run chrony", 3.0, "seconds"),
)


def test_nagios_gets_one_line_its_exit_code_and_the_fixes() -> None:
    said = written(FINDINGS, "nagios", 0.0).splitlines()
    assert said[0].startswith("BLAZZ WARNING - clock (bus): 3.0 s ahead | failed=0 warnings=1")
    assert "'clock (bus)'=3s" in said[0]
    assert said[1] == "clock (bus): run chrony"
    assert (exit_for(FINDINGS, "nagios"), exit_for(FINDINGS, "text")) == (1, 0)
    failed = (*FINDINGS, Finding("bus", Verdict.FAIL, "away", "start it"))
    assert (exit_for(failed, "nagios"), exit_for(failed, "text")) == (2, 1)


def test_prometheus_reads_what_is_written() -> None:
    samples = {
        (sample.name, sample.labels.get("check")): sample.value
        for family in text_string_to_metric_families(written(FINDINGS, "prometheus", 12.5))
        for sample in family.samples
    }
    assert samples["blazz_doctor_check", "disk"] == 0
    assert samples["blazz_doctor_check", "clock (bus)"] == 1
    assert samples["blazz_doctor_measured", "clock (bus)"] == 3.0
    assert samples["blazz_doctor_run_timestamp_seconds", None] == 12.5


@pytest.mark.parametrize(("days", "wanted"), [(90, "ok"), (10, "warn"), (1, "fail"), (-1, "fail")])
def test_a_certificate_is_told_of_in_time(days: int, wanted: str) -> None:
    assert expiry("c", days * 86_400.0, 0.0).verdict == wanted


@pytest.mark.parametrize(("apart_s", "wanted"), [(0.4, "ok"), (-5.0, "warn"), (60.0, "fail")])
def test_clocks_that_differ_are_told(apart_s: float, wanted: str) -> None:
    assert skew("c", apart_s).verdict == wanted
