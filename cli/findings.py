"""What the doctor finds, and its four ways of saying it.

Owns a finding's shape and the formats. Never looks at anything.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final, Literal

import msgspec

from cli.exit_codes import Exit
from schemas.errors import BlazzError

Format = Literal["text", "json", "nagios", "prometheus"]


class Verdict(StrEnum):
    """How a check went."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(msgspec.Struct, frozen=True, omit_defaults=False):
    """One check's result. `value` is what was measured, where that is a number, in `unit`."""

    check: str
    verdict: Verdict
    detail: str
    fix: str = ""
    value: float | None = None
    unit: str = ""


_RANK: Final = {Verdict.OK: 0, Verdict.WARN: 1, Verdict.FAIL: 2}
_NAGIOS: Final = ("OK", "WARNING", "CRITICAL")


def from_error(check: str, error: BlazzError, verdict: Verdict = Verdict.FAIL) -> Finding:
    """A failed check, in the error's own words."""
    return Finding(check, verdict, error.detail or error.spec.title, error.spec.mend)


def written(findings: Sequence[Finding], form: Format, now: float) -> str:
    """All of them, in a format, with the last line break."""
    if form == "json":
        return msgspec.json.encode(findings).decode() + "\n"
    if form == "nagios":
        return _nagios(findings)
    if form == "prometheus":
        return _prometheus(findings, now)
    width = max((len(finding.check) for finding in findings), default=0) + 1
    lines = []
    for finding in findings:
        lines.append(f"{finding.verdict:<5} {finding.check:<{width}} {finding.detail}")
        if finding.fix:
            lines.append(f"{'':<{width + 6}} → {finding.fix}")
    return "\n".join(lines) + "\n"


def exit_for(findings: Sequence[Finding], form: Format) -> int:
    """1 if something failed, a warning is no failure; for Nagios its plugins' codes 0, 1, 2."""
    worst = _worst(findings)
    if form == "nagios":
        return worst
    return Exit.FAILED if worst == _RANK[Verdict.FAIL] else Exit.OK


def _worst(findings: Sequence[Finding]) -> int:
    return max((_RANK[finding.verdict] for finding in findings), default=0)


def _nagios(findings: Sequence[Finding]) -> str:
    bad = [finding for finding in findings if finding.verdict is not Verdict.OK]
    said = "; ".join(f"{f.check}: {f.detail}" for f in bad) or f"{len(findings)} checks"
    counts = {verdict: sum(f.verdict is verdict for f in findings) for verdict in Verdict}
    measured = " ".join(
        f"'{f.check}'={f.value:g}{'s' if f.unit == 'seconds' else ''}"
        for f in findings
        if f.value is not None
    )
    lines = [
        f"BLAZZ {_NAGIOS[_worst(findings)]} - {said.replace('|', '/')} | "
        f"failed={counts[Verdict.FAIL]} warnings={counts[Verdict.WARN]} {measured}".rstrip(),
        *(f"{f.check}: {f.fix}" for f in bad if f.fix),
    ]
    return "\n".join(lines) + "\n"


def _prometheus(findings: Sequence[Finding], now: float) -> str:
    lines = [
        "# HELP blazz_doctor_check How a check went: 0 ok, 1 a warning, 2 failed.",
        "# TYPE blazz_doctor_check gauge",
        *(f'blazz_doctor_check{{check="{_label(f.check)}"}} {_RANK[f.verdict]}' for f in findings),
        "# HELP blazz_doctor_measured What a check measured.",
        "# TYPE blazz_doctor_measured gauge",
        *(
            f'blazz_doctor_measured{{check="{_label(f.check)}",unit="{f.unit}"}} {f.value:g}'
            for f in findings
            if f.value is not None
        ),
        "# HELP blazz_doctor_run_timestamp_seconds When the doctor looked.",
        "# TYPE blazz_doctor_run_timestamp_seconds gauge",
        f"blazz_doctor_run_timestamp_seconds {now:.3f}",
    ]
    return "\n".join(lines) + "\n"


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
